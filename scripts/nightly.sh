#!/usr/bin/env bash
# The long form of the CUDA kernels' proof on the CPU: 20 random schedules of every program in the plain and the checked
# build, every planted bug, and every barrier removed in turn. Hours, not minutes, on two cores. Needs scripts/test.sh's
# release build.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
first=${2:-$(date +%j)}  # other schedules each day
export OMP_WAIT_POLICY=passive
for b in plain check; do
    for t in cuemu_conformance cuemu_clean test_parity test_gemm test_attention; do
        [ -x "$build/${t}_$b" ] || continue
        for ((seed = first * 100; seed < first * 100 + 20; ++seed)); do
            CUEMU_ORDER=random CUEMU_ASYNC=random CUEMU_SEED=$seed "$build/${t}_$b" >nightly.log 2>&1 ||
                { echo "FAILED: $t $b, CUEMU_SEED=$seed"; tail -20 nightly.log; exit 1; }
        done
        echo "passed: $t $b, 20 random schedules from seed $((first * 100))"
    done
done
rm -f nightly.log
tests/cuemu/run_bugs.py "$build"
tests/cuemu/mutate.py "$build"
# Processes: twenty kills, every world size, and two hosts where this user may make them.
python3 tests/ranks.py "$build/scvd" --full
if [ "$(id -u)" = 0 ] && command -v ip >/dev/null; then tests/two_hosts.sh "$build/scvd"; else echo "two hosts: not tried (needs root and iproute2)"; fi
