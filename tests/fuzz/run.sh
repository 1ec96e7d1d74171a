#!/usr/bin/env bash
# Builds the fuzz targets with clang and runs each for MINUTES, from the tests' own files as seeds.
# usage: tests/fuzz/run.sh MINUTES [TARGET..]      Corpora and logs: build-fuzz/. Crashers are printed by name.
set -euo pipefail
cd "$(dirname "$0")/../.."
minutes=$1
shift
targets=("$@")
((${#targets[@]})) || targets=(torch safetensors index records image text)
out=build-fuzz
mkdir -p $out
flags=(-std=c++20 -O1 -g1 -I. -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
for t in "${targets[@]}"; do
    sources=(engine/io/*.cpp)
    [ "$t" = image ] && sources=(engine/io/file.cpp engine/io/json.cpp engine/io/tensor_file.cpp engine/io/torch_file.cpp engine/io/safetensors.cpp engine/io/pickle.cpp engine/io/zip.cpp
        train/data/image.cpp train/data/exif.cpp train/data/jpeg.cpp)
    [ "$t" = records ] && sources=(engine/io/file.cpp engine/io/json.cpp engine/parallel_threads.cpp train/config.cpp model/config.cpp model/semantics/prompts.cpp
        train/data/{dataset,layout,records,image,exif,jpeg}.cpp)
    [ "$t" = text ] && sources=(model/{text_clean,html_entities,mojibake,badness,code_pages}.cpp)
    clang++ "${flags[@]}" "tests/fuzz/fuzz_$t.cpp" "${sources[@]}" -o "$out/fuzz_$t" -lz -ljpeg -lutf8proc
done
seeds() {
    case $1 in
        torch) echo tests/data/weights/*.pt tests/data/weights/*.pth ;;
        safetensors) echo tests/data/weights/*.safetensors tests/data/io/*.safetensors ;;
        records | text) echo tests/fuzz/seeds/"$1"/* ;;
        index) echo tests/data/weights/sharded/*.json tests/data/weights/hf.safetensors tests/data/weights/state.pth ;;
        image) echo tests/data/images/*.jpg tests/data/images/*.png tests/data/images/*.bmp tests/data/images/*.webp ;;
    esac
}
for t in "${targets[@]}"; do
    corpus=$out/corpus_$t
    mkdir -p "$corpus"
    # shellcheck disable=SC2046
    cp $(seeds "$t") "$corpus/"
    [ -d "tests/fuzz/seeds/$t" ] && cp tests/fuzz/seeds/"$t"/* "$corpus/"
    "$out/fuzz_$t" "$corpus" -max_total_time=$((minutes * 60)) -timeout=20 -rss_limit_mb=4096 -max_len=100000 -artifact_prefix="$out/crash_${t}_" \
        -print_final_stats=1 >"$out/$t.log" 2>&1 || echo "$t: see $out/$t.log"
    grep -E "stat::number_of_executed_units|cov:" "$out/$t.log" | tail -2
done
