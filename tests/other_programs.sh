#!/usr/bin/env bash
# Exports and class maps in the programs that they are for, each in an environment of its own: bioimageio.core, OpenCV's
# dnn, OpenVINO, WSInfer, readers of slides, SpatialData. Outside CI. Give names (bioimageio, opencv, ...) to run some.
# The inputs are made by PYTHON, in which l2s_jax is installed with the extras onnx, torch and bioimageio. Slides of
# L2S_DATA are taken along. WSInfer needs 1 GB, or 6 where pip has torch for CUDA alone.
set -uo pipefail
cd "$(dirname "$0")/.."
here=tests/other_programs
folder=${OTHER_PROGRAMS:-.venv-other-programs}
python=${PYTHON:-.venv/bin/python}
inputs=$folder/inputs
failed=0
lines=()

environment() { # NAME PACKAGE...: made once; packages are pinned to what was seen to work
  local name=$1
  shift
  [ -e "$folder/$name/complete" ] && return 0
  python3 -m venv --clear "$folder/$name" &&
    "$folder/$name/bin/pip" install --quiet --disable-pip-version-check "$@" && touch "$folder/$name/complete"
}

check() { # NAME [ARGUMENT...]: runs check_NAME.py in the environment of that name
  local name=$1
  shift
  if "$folder/${ENVIRONMENT:-$name}/bin/python" -W ignore "$here/check_$name.py" "$inputs" "$@"; then
    lines+=("${ENVIRONMENT:-$name}: passed")
  else
    lines+=("${ENVIRONMENT:-$name}: FAILED") failed=1
  fi
}

[ -e "$inputs/complete" ] || { "$python" "$here/make_inputs.py" "$inputs" && touch "$inputs/complete"; } || exit 1
for name in "${@:-all}"; do
  case $name in
    all | bioimageio)
      environment bioimageio bioimageio.core==0.11.0 pydantic==2.13.4 onnxruntime==1.32.0 torch==2.13.0 &&
        check bioimageio || failed=1
      ;;&
    all | opencv)
      for version in 4.14.0.94 5.0.0.93; do
        environment "opencv-$version" "opencv-python-headless==$version" &&
          ENVIRONMENT=opencv-$version check opencv || failed=1
      done
      ;;&
    all | openvino)
      environment openvino openvino==2026.4.1 && check openvino || failed=1
      ;;&
    all | wsinfer) # of its time: zarr 3, NumPy 2 and pandas 3 are too new for it
      environment wsinfer wsinfer==0.6.1 torch==2.13.0 torchvision==0.28.0 zarr==2.18.3 tifffile==2024.8.30 \
        tiffslide==2.4.0 'numcodecs<0.14' 'numpy<2' 'pandas<3' 'imagecodecs<2025' opencv-python-headless==4.10.0.84 &&
        check wsinfer && "$python" "$here/compare_wsinfer.py" "$inputs" || failed=1
      ;;&
    all | viewers)
      environment viewers openslide-bin==4.0.1.2 openslide-python==1.4.7 tiffslide==3.0.1 tifffile==2026.3.3 \
        imagecodecs large-image-source-{tiff,tifffile,ometiff,openslide}==1.35.6 napari-tiff==0.1.6 \
        rasterio==1.4.4 && check viewers || failed=1
      ;;&
    all | spatialdata)
      environment spatialdata spatialdata==0.7.3 geopandas==1.2.0 shapely==2.2.0 tifffile==2026.3.3 imagecodecs &&
        check spatialdata || failed=1
      ;;&
    all | bioimageio | opencv | openvino | wsinfer | viewers | spatialdata) ;;
    *)
      echo "unknown: $name (bioimageio, opencv, openvino, wsinfer, viewers, spatialdata)" >&2
      exit 2
      ;;
  esac
done
printf '%s\n' "" "${lines[@]}"
exit $failed
