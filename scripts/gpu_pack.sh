#!/usr/bin/env bash
# Builds everything that scripts/gpu_suite.sh runs and packs it with the libraries it needs, for a machine that has a GPU
# and its driver but no compiler and none of our packages: copy gpu-pack.tar.xz there, unpack it
# (tar xf, or python3 -m tarfile -e), run ./gpu_suite.sh.
#   gpu_pack.sh [BUILD_FOLDER [cmake options...]]
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build-gpu}
shift $(($# > 0))
# The suite compares with the CPU: AVX2, which every x86 host of such cards has, is several times as fast at that as x86-64's common part.
host=()
[ "$(uname -m)" != x86_64 ] || host=(-DCMAKE_CXX_FLAGS=-march=x86-64-v3)
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DSCVD_CUDA=ON -DSCVD_BENCH=ON -DSCVD_NATIVE=OFF "${host[@]}" \
    "-DCMAKE_CUDA_ARCHITECTURES=80;90a-real" "$@" >/dev/null
cmake --build "$build" --target gpu_suite
pack=$build/gpu-pack
rm -rf "$pack"
mkdir -p "$pack/bin" "$pack/lib"
cp "$build"/gpu_* "$build/scvd" "$build/libscvd_bench.so" "$build/bench_all_pairs" "$pack/bin/"
mkdir -p "$pack/bench" "$pack/model"
cp bench/*.py bench/goals.json "$pack/bench/"
cp -r model/presets "$pack/model/"
[ -d assets ] && cp -r assets "$pack/"
cp scripts/gpu_suite.sh "$pack/"
git describe --always --dirty --abbrev=40 --exclude="*" >"$pack/revision" 2>/dev/null || echo unknown >"$pack/revision"
# Everything but the C library and the driver travels along.
for b in "$pack"/bin/*; do ldd "$b"; done | awk '$3 ~ /^\// {print $3}' | sort -u |
    grep -vE '/(libc|libm|libdl|librt|libpthread|ld-linux[^/]*|libcuda)\.so' | xargs -I{} cp -L {} "$pack/lib/"
tar -C "$build" -cf - gpu-pack | xz -9 -T1 >"$build/gpu-pack.tar.xz"  # its window is wide enough to see that the programs hold the same kernels
echo "$build/gpu-pack.tar.xz: $(ls "$pack/bin" | wc -l) programs, $(du -sh "$build/gpu-pack.tar.xz" | cut -f1)"
