#!/usr/bin/env bash
# CUDA's headers for the emulated kernels (tests only), from the Python packages that ship them, into .cuda-headers/. Does
# nothing where a CUDA toolkit or the headers are already there. Nothing is installed; no compiler and no driver is needed.
set -euo pipefail
cd "$(dirname "$0")/.."
target=.cuda-headers
for d in "${CUDA_ROOT:-/usr/local/cuda}/include" /usr/include /usr/local/include "$target/nvidia/cu13/include"; do
    [ -f "$d/cuda_bf16.h" ] && { echo "CUDA headers are in $d"; exit 0; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$work" \
    nvidia-cuda-runtime==13.0.96 nvidia-cuda-crt==13.0.88 ||
    { echo "fetch_cuda_headers.sh: could not download; the emulated CUDA kernels will not be tested here" >&2; exit 0; }
python3 - "$work" <<'PY'
import glob, sys, zipfile
for wheel in glob.glob(sys.argv[1] + "/*.whl"):
    with zipfile.ZipFile(wheel) as z:
        z.extractall(sys.argv[1] + "/out", [m for m in z.namelist() if "/include/" in m or "LICENSE" in m.upper()])
PY
rm -rf "$target"
mv "$work/out" "$target"
echo "CUDA headers fetched into $target"
