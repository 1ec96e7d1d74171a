#!/usr/bin/env bash
# From nothing to a trained model and a search page, on the CPU: sets up, builds, makes data, trains, evaluates, searches.
set -euo pipefail
cd "$(dirname "$0")/.."
run=runs/demo data=data/synth
step() { printf '\n== %s\n' "$*"; }

step "set up"
bash scripts/setup.sh
step "build"
cuda=OFF  # the kernels for GPUs take minutes to compile
if nvidia-smi >/dev/null 2>&1; then cuda=AUTO; fi
cmake --preset release -DSCVD_CUDA=$cuda >/dev/null
cmake --build --preset release --target scvd
scvd=build/scvd

step "make the synthetic set ($data)"
[ -f "$data/data_captions.json" ] || $scvd synth --out "$data"
step "train ($run)"
rm -rf "$run"
$scvd train --config demo --data "$data" --out "$run"
step "evaluate on the test split, read once"
$scvd eval --weights "$run/best.safetensors" --json "$run/eval.json" --curves "$run/cmc.svg"
step "search"
$scvd index "$data/imgs" --weights "$run/best.safetensors" --out "$run/gallery.index"
query="a man in a red shirt and blue jeans with short black hair, a green backpack and an orange umbrella"
$scvd search "$query" --index "$run/gallery.index" --html "$run/search.html"
$scvd explain "$query" --index "$run/gallery.index" --out "$run/heatmaps" --sheet "$run/explain.png" --results 3
printf '\nopen %s/search.html in a browser; why: %s/explain.png; curves: %s/curves.svg; numbers: %s/eval.json\n' "$run" "$run" "$run" "$run"
