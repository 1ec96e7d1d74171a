#!/usr/bin/env bash
# What scripts/gpu_suite.sh does about programs that fail, fault and spin, with programs made up here and no GPU.
#   tests/gpu_suite.sh
set -euo pipefail
suite=$(cd "$(dirname "$0")/.." && pwd)/scripts/gpu_suite.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/bin" "$work/tools" "$work/bench"
cp "$suite" "$work/"
echo made-up >"$work/revision"
printf '#!/bin/sh\necho "made up, 0, 9.0"\n' >"$work/tools/nvidia-smi"
for p in conformance order clean test_ladder test_cuda_memory test_cuda_graph test_cuda_comm; do printf '#!/bin/sh\necho fine\n' >"$work/bin/gpu_$p"; done
# One like GoogleTest: cases a, b, c, chosen by --gtest_filter=, of which ${1}'s line says what b does.
program() {
    cat >"$work/bin/gpu_$1" <<END
#!/bin/bash
filter=\${1#--gtest_filter=}
for c in a b c; do
    case "\$filter" in "" | "*" | T.\$c/0) ;; "*-"*) [[ :\${filter#*-}: != *:T.\$c/0:* ]] || continue ;; *) continue ;; esac
    echo "[ RUN      ] T.\$c/0"
    if [ \$c = b ]; then $2; fi
    echo "[       OK ] T.\$c/0 (1 ms)"
done
END
}
program test_gemm '[ "${SCVD_EARLY_LAUNCH:-}" = 0 ] || { echo "[  FAILED  ] T.b/0, where GetParam() = 4 (1 ms)"; exit 1; }'
program test_parity '[ -n "${SCVD_SMALL_CARD:-}" ] || sleep 60'
program test_attention 'echo "what():  cuda: an illegal memory access"; exit 134'
chmod +x "$work"/bin/* "$work"/tools/*

if PATH=$work/tools:$PATH RESULTS=$work/results LIMIT_TESTS=3 LIMIT_AGAIN=3 "$work/gpu_suite.sh" proof >"$work/out" 2>&1; then
    echo "FAILED: the suite says that all is well"
    exit 1
fi
expect() { grep -qE -- "$1" "$work/out" || { echo "FAILED: nothing like \"$1\" in:"; cat "$work/out"; exit 1; }; }
expect '^gemm +FAILED .*T\.b/0'
expect '^gemm: T\.b/0 by itself +FAILED'
expect '^gemm: T\.b/0, SCVD_CLUSTERS=0 +FAILED'
expect '^gemm: T\.b/0, SCVD_EARLY_LAUNCH=0 +passed'
expect '^from here on with SCVD_EARLY_LAUNCH=0'
expect '^gemm +passed'
expect '^parity +FAILED .*ended after 3 s, at: \[ RUN      \] T\.b/0'
expect '^parity: T\.b/0, SCVD_HOPPER=0 +FAILED'
expect '^parity, without T\.b/0 +passed .*OK \] T\.c/0'
expect '^attention +FAILED .*illegal memory access'
expect '^attention, without T\.b/0 +passed'
grep -q '^attention: T\.b/0, SCVD_CLUSTERS=0' "$work/out" && { echo "FAILED: what helped nobody was tried again"; exit 1; }
python3 -c 'import json, sys; s = json.load(open(sys.argv[1]))["steps"]; assert any(x["name"] == "parity, without T.b/0" and x["state"] == "passed" for x in s), s' "$work"/results/gpu-*.json
echo "the suite goes on behind programs that fail, fault and spin"
