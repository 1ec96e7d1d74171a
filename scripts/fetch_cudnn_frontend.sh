#!/usr/bin/env bash
# NVIDIA's cudnn-frontend (headers only), through which --attention cudnn speaks to cuDNN, from the Python package that ships
# it, into .cudnn-frontend/. Does nothing where cuDNN's own headers are missing: a build without them could not use it.
set -euo pipefail
cd "$(dirname "$0")/.."
target=.cudnn-frontend
[ -f "$target/include/cudnn_frontend.h" ] && { echo "cudnn-frontend's headers are in $target"; exit 0; }
for d in "${CUDA_ROOT:-/usr/local/cuda}/include" /usr/include /usr/include/x86_64-linux-gnu /usr/local/include none; do
    [ -f "$d/cudnn.h" ] && break
done
[ "$d" != none ] || { echo "cuDNN's headers are not here: its back end will not be built"; exit 0; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$work" nvidia-cudnn-frontend==1.32.0 ||
    { echo "fetch_cudnn_frontend.sh: could not download; --attention cudnn will not be built" >&2; exit 0; }
python3 - "$work" <<'PY'
import glob, sys, zipfile
for wheel in glob.glob(sys.argv[1] + "/*.whl"):
    with zipfile.ZipFile(wheel) as z:
        z.extractall(sys.argv[1] + "/out", [m for m in z.namelist() if m.startswith("include/") or "/licenses/" in m])
PY
rm -rf "$target"
mv "$work/out" "$target"
echo "cudnn-frontend's headers fetched into $target"
