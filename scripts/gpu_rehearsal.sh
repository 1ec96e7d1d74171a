#!/usr/bin/env bash
# scripts/gpu_suite.sh without a GPU: its programs on the emulator, PyTorch's CUDA over the processor (tests/rehearsal),
# everything small. What is right here is what the scripts say and do; no time means anything and no result is kept. Exit 0: every
# part passed, and every row of the kernels could be captured into a graph.
#   cmake --build build --target gpu_rehearsal
#   PYTHON=python with PyTorch, torchvision and safetensors  BUILD=build  scripts/gpu_rehearsal.sh [PART...]      six minutes, ten on a slow machine
set -euo pipefail
cd "$(dirname "$0")/.."
build=$(realpath -m "${BUILD:-build}") python=$(command -v "${PYTHON:-python3}")
needed=(scvd_emulated cuemu_conformance_plain)
[ "$*" = training ] || needed+=(libscvd_bench_emulated.so bench_all_pairs_emulated)
for f in "${needed[@]}"; do
    [ -x "$build/$f" ] || { echo "gpu_rehearsal: no $build/$f; build the target gpu_rehearsal, or name another folder with BUILD=" >&2; exit 2; }
done
pack=$(mktemp -d)
trap 'rm -rf "$pack"' EXIT
mkdir "$pack/bin" "$pack/tools" "$pack/bench"
for t in conformance order clean; do ln -s "$build/cuemu_${t}_plain" "$pack/bin/gpu_$t"; done
for t in parity gemm attention ladder cuda_memory cuda_graph cuda_train cuda_comm; do ln -s "$build/test_${t}_plain" "$pack/bin/gpu_test_$t"; done
for t in scvd bench_all_pairs; do ln -s "$build/${t}_emulated" "$pack/bin/$t"; done
ln -s "$build/libscvd_bench_emulated.so" "$pack/bin/libscvd_bench.so"
cp bench/*.py bench/goals.json "$pack/bench/"
ln -s "$PWD/model" "$PWD/assets" "$pack/"
cp scripts/gpu_suite.sh "$pack/"
git rev-parse HEAD >"$pack/revision"
cat >"$pack/tools/nvidia-smi" <<'END'
#!/bin/sh
case "$*" in *clocks*) echo "0, 0" ;; *name*) echo "emulated, not a GPU" ;; *) echo none ;; esac
END
printf '#!/bin/sh\nSCVD_REHEARSAL_LIBRARY=%q PYTHONPATH=%q exec %q "$@"\n' "$build/libscvd_bench_emulated.so" "$PWD/tests/rehearsal" "$python" >"$pack/tools/python3"
chmod +x "$pack"/tools/*
export PATH=$pack/tools:$PATH SCVD_CUDNN=$build/libcudnn_twin.so SCVD_NCCL=$build/libnccl_twin.so CUEMU_ASYNC=eager OMP_WAIT_POLICY=passive
export SUITE_TRAIN="--stop-after 2 --train.batch 4" SUITE_KERNELS="--size tiny --batches 4 --samples 1"
export SUITE_STEP="--preset demo --batches 4 --samples 1" SUITE_PAIRS="demo bf16 cuda 5 6 4 3" SUITE_KNOBS="demo 2 1"
export ROW_SECONDS=${ROW_SECONDS:-1800} SUITE_SECONDS=7200 LIMIT_TESTS=1800 LIMIT_AGAIN=1800 LIMIT_KERNELS=1800 LIMIT_KNOBS=1800 LIMIT_STEP=1800 LIMIT_PAIRS=1800  # an emulator takes its time
export RESULTS=$pack/results
"$pack/gpu_suite.sh" "$@" || { tail -n 60 "$RESULTS"/*.log; exit 1; }
if grep -h 'not as a graph$' "$RESULTS"/*.log; then echo "gpu_rehearsal: these rows waited for the host while they were captured" >&2; exit 1; fi
