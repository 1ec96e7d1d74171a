#!/usr/bin/env bash
# The proof on hardware, one command: conformance of the PTX first, then what is named, or everything, in this order:
#   proof          the catalogue against the CPU, products, attention, ladders, graph against eager, NCCL, determinism
#   training       a step and a run whose losses match the CPU's
#   kernels        each call of a step beside PyTorch, cuBLASLt and cuDNN
#   training_step  whole steps beside PyTorch
#   pairs          scores of every pair beside PyTorch
#   through_cudnn  what cuDNN can compute, computed by it
#   sanitizer      compute-sanitizer's four tools over the catalogue: slow
# Runs prebuilt programs (beside this script in a pack made by gpu_pack.sh, or in $BUILD, else build/) and builds them where a
# compiler is. Writes gpu-<date>* into $RESULTS, else bench/results/, as it goes, and says what could not run. $SUITE_TRAIN,
# _KERNELS, _STEP and _PAIRS: flags of those parts, such as SUITE_KERNELS="--batches 128" where time is short.
# Exit 0: everything that ran passed.
set -uo pipefail
all=(proof training kernels training_step pairs through_cudnn sanitizer)
parts=("$@")
[ $# -gt 0 ] || parts=("${all[@]}")
for part in "${parts[@]}"; do
    [[ " ${all[*]} " = *" $part "* ]] || { echo "gpu_suite: no part \"$part\"; there are ${all[*]}" >&2; exit 2; }
done
here=$(cd "$(dirname "$0")" && pwd)
if [ -d "$here/bin" ]; then                  # a pack
    root=$here bin=$here/bin
    export LD_LIBRARY_PATH=$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    revision=$(cat "$here/revision")
else
    root=$(cd "$here/.." && pwd) bin=$(realpath -m "${BUILD:-$root/build}")
    revision=$(git -C "$root" rev-parse HEAD 2>/dev/null || echo unknown)
fi
if ! gpu=$(nvidia-smi --query-gpu=name,driver_version,compute_cap --format=csv,noheader 2>/dev/null | head -1) || [ -z "$gpu" ]; then
    echo "gpu_suite: this machine has no NVIDIA GPU, or no driver for it: nothing was run" >&2
    exit 2
fi
if [ ! -x "$bin/gpu_conformance" ]; then
    echo "== no prebuilt programs in $bin: building"
    (cd "$root" && cmake -S . -B "$bin" -G Ninja -DCMAKE_BUILD_TYPE=Release -DSCVD_CUDA=ON && cmake --build "$bin" --target gpu_suite) || exit 1
fi
export SCVD_BPE=$root/assets/bpe_simple_vocab_16e6.txt.gz
results=${RESULTS:-$root/bench/results} library=$bin/libscvd_bench.so
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$results"
stamp=$(date -u +%Y%m%d-%H%M%S)
json=$results/gpu-$stamp.json table=$results/gpu-$stamp.txt
names=() states=() seconds=() notes=()

record() { names+=("$1") states+=("$2") seconds+=("$3") notes+=("$4"); printf '%-34s %-8s %6s s  %s\n' "$1" "$2" "$3" "$4" | tee -a "$table"; }
# step NAME COMMAND...: passed when the command exits 0; its last line is the note.
step() {
    local name=$1 start=$SECONDS log=$work/log
    shift
    if "$@" >"$log" 2>&1; then record "$name" passed $((SECONDS - start)) "$(grep -vE '^\s*$' "$log" | tail -1 | cut -c1-100)"
    else
        record "$name" FAILED $((SECONDS - start)) "$(grep -E 'FAILED|rror|Failure' "$log" | head -1 | cut -c1-160)"
        cp "$log" "$results/gpu-$stamp-${name//[^A-Za-z0-9]/_}.log"
    fi
}
skip() { record "$1" skipped 0 "$2"; }

{ echo "GPU        $gpu"; echo "revision   $revision"; echo "date       $stamp"; echo; } | tee "$table"

step "conformance of the PTX" "$bin/gpu_conformance"
if [ "${states[0]}" != passed ]; then
    echo "the PTX does not do what its twins do: what follows cannot be trusted" | tee -a "$table"
fi
proof() {
    step "clean kernels" "$bin/gpu_clean"
    step "catalogue cpu <-> cuda" "$bin/gpu_test_parity"
    for t in gemm attention ladder; do
        if [ -x "$bin/gpu_test_$t" ]; then step "$t" "$bin/gpu_test_$t"; else skip "$t" "not built"; fi
    done
    step "memory, copies, small graph" "$bin/gpu_test_cuda_memory"
    step "whole step as a graph == eager" "$bin/gpu_test_cuda_graph"
    if [ ! -x "$bin/gpu_test_cuda_comm" ]; then
        skip "NCCL: one rank, and two refused" "not built"
    elif ldconfig -p 2>/dev/null | grep -q libnccl.so.2 || ls "${LD_LIBRARY_PATH%%:*}"/libnccl.so.2 >/dev/null 2>&1; then
        step "NCCL: one rank, and two refused" "$bin/gpu_test_cuda_comm"
    else
        skip "NCCL: one rank, and two refused" "libnccl.so.2 is not installed here"
    fi
    step "determinism: catalogue, 5 times" "$bin/gpu_test_parity" --gtest_repeat=5 --gtest_brief=1
}

# The parts that cuDNN can compute, through cuDNN: what it is missing is the first line that the program prints.
through_cudnn() {
    for part in conv attention; do
        missing=$("$bin/scvd" train --data "$work/none" --out "$work/none" --$part cudnn 2>&1 | grep 'cudnn: ' || true)
        if [ -n "$missing" ]; then skip "$part through cuDNN" "$missing"
        elif [ $part = conv ]; then step "conv through cuDNN" env SCVD_TEST_CONV=cudnn "$bin/gpu_test_parity" --gtest_filter='*conv2d*:*batch_norm*:BatchNorm*'
        else step "attention through cuDNN" env SCVD_TEST_ATTENTION=cudnn "$bin/gpu_test_parity" --gtest_filter='*attention*'; fi
    done
}

sanitizer() {
    local program tool
    program=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null || true)
    for tool in memcheck racecheck initcheck synccheck; do
        if [ -n "$program" ]; then
            step "compute-sanitizer $tool" "$program" --tool $tool --error-exitcode 1 "$bin/gpu_test_parity" --gtest_brief=1
        else
            skip "compute-sanitizer $tool" "compute-sanitizer is not installed here"
        fi
    done
}

demo() {  # $1 device, $2 run name: preset demo, 30 updates
    # shellcheck disable=SC2086  # several flags
    "$bin/scvd" train --config demo --data "$work/set" --out "$work/$2" --device "$1" --bpe "$SCVD_BPE" --train.log_every 1 ${SUITE_TRAIN:---stop-after 30}
}
losses() { grep -o '"loss":[0-9.e+-]*' "$work/$1/metrics.jsonl" | cut -d: -f2; }
demo_curve() {  # the same bits twice on the GPU; within 2 % of the CPU's curve (bf16 paths round differently)
    "$bin/scvd" synth --out "$work/set" --train 200 --val 20 --test 20 && demo cuda a && demo cuda b && demo cpu c || return 1
    diff <(losses a) <(losses b) || { echo "two runs differ: FAILED"; return 1; }
    paste <(losses a) <(losses c) | awk '{d = $1 - $2; if (d < 0) d = -d; r = d / $2; if (r > worst) worst = r; n++}
        END {printf "%d losses, largest difference from the CPU %.3f %%\n", n, 100 * worst; exit !(n > 0 && worst < 0.02)}'
}
training() {
    step "training, cpu against cuda" "$bin/gpu_test_cuda_train"
    step "demo run: loss curve" demo_curve
}

# Beside PyTorch and its libraries, in a Python that brings its own; our libraries are found beside ours.
with_torch=no
python3 -c 'import torch, safetensors; assert torch.cuda.is_available()' 2>/dev/null && with_torch=yes
compare() {
    local name=$1
    shift
    if [ $with_torch = yes ]; then step "$name" env -u LD_LIBRARY_PATH OMP_WAIT_POLICY=passive python3 "$@"
    else skip "$name" "python3 here has no PyTorch with CUDA, or no safetensors"; fi
}
run=run
[ "${states[0]}" = passed ] && [ -e "$library" ] || run=peers  # what is not right is not timed: the peers alone
# shellcheck disable=SC2086  # SUITE_* are several flags
kernels() { compare "$run: kernels" "$root/bench/$run.py" kernels --lib "$library" --out "$results/gpu-$stamp-kernels.jsonl" ${SUITE_KERNELS:-}; }
# shellcheck disable=SC2086
training_step() {
    if [ ! -e "$library" ]; then skip "training step" "libscvd_bench.so is not in $bin"
    else compare "$run: training step" "$root/bench/$run.py" step --lib "$library" --out "$results/gpu-$stamp-step.jsonl" ${SUITE_STEP:-}; fi
}
# shellcheck disable=SC2086
pairs() { compare "scores of every pair" "$root/bench/all_pairs.py" "$bin/bench_all_pairs" ${SUITE_PAIRS:-}; }

for part in "${parts[@]}"; do $part; done

failed=0
{
    printf '{"gpu": "%s", "revision": "%s", "date": "%s", "steps": [' "$gpu" "$revision" "$stamp"
    for i in "${!names[@]}"; do
        ((i)) && printf ','
        printf '\n  {"name": "%s", "state": "%s", "seconds": %s, "note": "%s"}' "${names[i]}" "${states[i]}" "${seconds[i]}" \
            "$(printf '%s' "${notes[i]}" | tr -d '\000-\037' | sed 's/[\\"]/\\&/g')"
    done
    printf '\n]}\n'
} >"$json"
for i in "${!names[@]}"; do [ "${states[i]}" = FAILED ] && failed=1; done
echo "written: $table $json"
exit $failed
