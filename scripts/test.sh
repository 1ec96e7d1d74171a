#!/usr/bin/env bash
# Sets up, builds and runs every test: an optimised build, then AddressSanitizer with UndefinedBehaviorSanitizer.
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh
for preset in release asan; do
    echo "== $preset: build"
    cmake --preset "$preset" -DSCVD_CUDA=AUTO >/dev/null
    cmake --build --preset "$preset"
    echo "== $preset: test"
    ctest --preset "$preset" -j 2
done
