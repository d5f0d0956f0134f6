#!/usr/bin/env bash
# One sitting on a GPU of nine minutes: the most valuable parts first, each with a time of its own.
#   benchmarks/gpu_session.sh OUT
# OUT gets a log and, where a part measures, a JSON file as soon as the part has ended, and summary.txt: how each ended
# and how long it took. What fails costs the others nothing. BUDGET_S is the whole time (540), PYTHON the interpreter,
# WHEELS a folder of wheels that are installed first, without a network. DEVICE=cpu tries the script without a GPU.
set -uo pipefail
cd "$(dirname "$0")/.."
out=$(mkdir -p "${1:?name the folder of the results}" && cd "$1" && pwd)
python=${PYTHON:-python3}
device=${DEVICE:-cuda}
end=$((SECONDS + ${BUDGET_S:-540}))
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
export XLA_PYTHON_CLIENT_PREALLOCATE=false
[ "$device" = cpu ] && export JAX_PLATFORMS=cpu || export JAX_PLATFORMS=cuda,cpu
tf32=()
[ "$device" = cuda ] && tf32=(--tf32)
: > "$out/summary.txt"

# NAME SECONDS COMMAND...: runs a part, for so long at most and not beyond the end of the sitting.
part() {
  local name=$1 limit=$2 began=$SECONDS left code
  shift 2
  left=$((end - SECONDS))
  if [ "$left" -lt 10 ]; then
    echo "$name: no time was left" | tee -a "$out/summary.txt"
    return
  fi
  timeout --kill-after=5 "$((limit < left ? limit : left))" "$@" > "$out/$name.log" 2>&1
  code=$?
  case $code in
    0) how=done ;;
    124 | 137) how="cut off" ;;
    *) how="failed ($code): $(grep -v '^$' "$out/$name.log" | tail -1 | cut -c1-160)" ;;
  esac
  echo "$name: $how after $((SECONDS - began)) s" | tee -a "$out/summary.txt"
}

bench() { # NAME SECONDS SCRIPT OPTIONS...
  local name=$1 limit=$2 script=$3
  shift 3
  part "$name" "$limit" "$python" "benchmarks/$script.py" --short --device "$device" --json "$out/$name.json" "$@"
}

if [ -n "${WHEELS:-}" ]; then
  site=$(mktemp -d)
  export PYTHONPATH="$PYTHONPATH:$site"
  part install 60 "$python" -m pip install -q --no-index --no-deps --no-compile --target "$site" "$WHEELS"/*.whl
fi
# The tolerances of the tests are those of float32. Names of what fails stand at the end of the log.
part tests 150 env JAX_DEFAULT_MATMUL_PRECISION=highest "$python" -m pytest -q -rf --tb=line -m "not slow" -p no:cacheprovider \
  tests/train_step/test_{parity,step,losses,seeds}.py tests/models/test_convolution.py tests/prediction/test_tiles.py tests/stain
bench step 60 train_step "${tf32[@]}"
bench step_batch_64 40 train_step "${tf32[@]}" --batch 64 --torch channels_last
bench step_batch_256 50 train_step "${tf32[@]}" --batch 256 --torch channels_last --steps 10
bench step_patch_256 50 train_step "${tf32[@]}" --patch 256 --torch channels_last --steps 10
bench step_patch_512 50 train_step "${tf32[@]}" --patch 512 --torch channels_last --steps 5
bench inference 40 inference "${tf32[@]}"
bench loop 50 loop
for seeds in 1 4 16 32; do
  bench "seeds_$seeds" 40 five_seeds "${tf32[@]}" --seeds "$seeds" --strategies vmap
done
part profile_loop 40 "$python" benchmarks/profiled.py loop --device "$device" --json "$out/profile_loop.json"
part profile_slide 40 "$python" benchmarks/profiled.py slide --device "$device" --json "$out/profile_slide.json"
bench macenko 30 macenko
bench start 60 start
bench extraction 40 extraction
bench sweep_jobs 60 sweep_jobs
cat "$out/summary.txt"
