#!/usr/bin/env bash
# Installs what the build needs (Debian packages) and fetches the tokenizer's vocabulary. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(g++ cmake ninja-build pkg-config git ccache xz-utils python3-pip
    libdnnl-dev ocl-icd-opencl-dev libcairo2-dev libstb-dev libjpeg62-turbo-dev nlohmann-json3-dev libcli11-dev
    libtomlplusplus-dev libfmt-dev libutf8proc-dev zlib1g-dev libgloo-dev wordnet-base libgtest-dev libbenchmark-dev)
missing=()
for p in "${packages[@]}"; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p")
done
if ((${#missing[@]})); then
    echo "== installing: ${missing[*]}"
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
echo "== tokenizer vocabulary"
bash scripts/fetch_bpe.sh
echo "== CUDA headers"
bash scripts/fetch_cuda_headers.sh
echo "== cudnn-frontend's headers"
bash scripts/fetch_cudnn_frontend.sh
