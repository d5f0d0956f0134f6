# shellcheck shell=bash
# What every finding shares: a temporary folder with a virtual environment of pinned packages, one run of
# Python in it, and a comparison of what it printed with what was seen when the finding was written.
#
#   packages 'name==1.2.3' ...   installs them, and nothing else, in the temporary folder
#   with_file NAME               puts a file of this folder beside the program
#   seen <<'TEXT'                the output that was seen
#   observe <<'PYTHON'           runs the program; ends the script: 0 held, 1 changed, 3 could not run
#
# PYTHON names the interpreter (default python3). NEWEST=1 drops the pins: what do today's releases do?

PYTHON="${PYTHON:-python3}"
finding="$(basename "$0" .sh)"
temporary="$(mktemp -d "${TMPDIR:-/tmp}/finding-XXXXXX")"
trap 'rm -rf "$temporary"' EXIT

could_not_run() {
    echo "$finding: could not run: $1"
    exit 3
}

packages() {
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        could_not_run "$PYTHON is not Python 3.11 or newer"
    local wanted=("$@")
    if [ -n "${NEWEST:-}" ]; then
        wanted=("${@%%==*}")
    fi
    named=("${@%%==*}")
    # run.sh names a folder in which findings with equal packages share an environment.
    venv="${ENVIRONMENTS:-$temporary}/venv-$(printf '%s\n' "${wanted[@]}" | sort | cksum | cut -d ' ' -f 1)"
    [ ! -e "$venv/complete" ] || return 0
    "$PYTHON" -m venv --clear "$venv" >"$temporary/log" 2>&1 || {
        tail -n 3 "$temporary/log"
        could_not_run "no virtual environment could be made"
    }
    PIP_DISABLE_PIP_VERSION_CHECK=1 "$venv/bin/pip" install --quiet --prefer-binary "${wanted[@]}" \
        >"$temporary/log" 2>&1 || {
        tail -n 3 "$temporary/log"
        could_not_run "the packages could not be installed"
    }
    touch "$venv/complete"
}

seen() {
    cat >"$temporary/seen"
}

with_file() {
    mkdir -p "$temporary/work"
    cp "$(dirname "$0")/$1" "$temporary/work/"
}

observe() {
    mkdir -p "$temporary/work"
    cat >"$temporary/observe.py"
    # -I: neither this folder, nor PYTHONPATH, nor the user's own packages are on the path.
    (cd "$temporary/work" && "$venv/bin/python" -I -W ignore ../observe.py) \
        >"$temporary/now" 2>"$temporary/errors" || {
        tail -n 5 "$temporary/errors"
        echo "$finding: changed: the program no longer ends well ($(tail -n 1 "$temporary/errors"))"
        exit 1
    }
    local versions
    versions="$("$venv/bin/python" -I -c '
import sys
from importlib.metadata import version
print(", ".join(f"{name} {version(name)}" for name in sys.argv[1:]))' "${named[@]%%\[*}")"
    echo "with $versions:"
    sed 's/^/    /' "$temporary/now"
    if cmp -s "$temporary/seen" "$temporary/now"; then
        echo "$finding: held"
        exit 0
    fi
    diff "$temporary/seen" "$temporary/now" >"$temporary/differences" || true
    cat "$temporary/differences"
    local first
    first="$(sed -n 's/^> //p' "$temporary/differences" | head -n 1)"
    echo "$finding: changed: $(grep -c '^[<>]' "$temporary/differences") lines differ (< seen then, > now); now: ${first:-one line less}"
    exit 1
}
