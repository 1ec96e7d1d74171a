#!/usr/bin/env bash
# The long form of the CUDA kernels' proof on the CPU: random schedules of every program in the plain and the checked build
# (SEEDS=n of them, 20 if not said), every planted bug, and every barrier removed in turn. Hours, not minutes, on two cores.
# Needs scripts/test.sh's release build.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
first=${2:-$((10#$(date +%j)))}  # other schedules each day
seeds=${SEEDS:-20}
export OMP_WAIT_POLICY=passive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for b in plain check; do
    for t in cuemu_conformance cuemu_order cuemu_clean test_parity test_gemm test_attention test_ladder; do
        [ -x "$build/${t}_$b" ] || { echo "FAILED: $build/${t}_$b is not built"; exit 1; }
        for ((seed = first * 100; seed < first * 100 + seeds; ++seed)); do
            CUEMU_ORDER=random CUEMU_ASYNC=random CUEMU_SEED=$seed "$build/${t}_$b" >"$log" 2>&1 ||
                { echo "FAILED: $t $b, CUEMU_SEED=$seed"; tail -20 "$log"; exit 1; }
        done
        echo "passed: $t $b, $seeds random schedules from seed $((first * 100))"
    done
done
tests/cuemu/run_bugs.py "$build" --seeds "$seeds"
tests/cuemu/mutate.py "$build"
# Processes: twenty kills, every world size, and two hosts where this user may make them.
python3 tests/ranks.py "$build/scvd" --full
if [ "$(id -u)" = 0 ] && command -v ip >/dev/null; then tests/two_hosts.sh "$build/scvd"; else echo "two hosts: not tried (needs root and iproute2)"; fi
