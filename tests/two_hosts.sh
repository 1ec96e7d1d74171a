#!/usr/bin/env bash
# Two hosts, imitated by network namespaces joined by a cable of veth: a run over both gives what one process gives; a cut
# cable is noticed within the time-out. Needs root and iproute2.
#   usage: two_hosts.sh SCVD
set -euo pipefail
scvd=$(realpath "$1")
work=$(mktemp -d)
a=scvd-a-$$ b=scvd-b-$$
clean() {
    ip netns pids "$a" 2>/dev/null | xargs -r kill -9 || true
    ip netns pids "$b" 2>/dev/null | xargs -r kill -9 || true
    ip netns del "$a" 2>/dev/null || true
    ip netns del "$b" 2>/dev/null || true
    rm -rf "$work"
}
trap clean EXIT
ip netns add "$a" && ip netns add "$b"
ip link add va-$$ type veth peer name vb-$$
ip link set va-$$ netns "$a" && ip link set vb-$$ netns "$b"
ip -n "$a" addr add 10.77.0.1/24 dev va-$$ && ip -n "$b" addr add 10.77.0.2/24 dev vb-$$
for n in "$a" "$b"; do ip -n "$n" link set lo up; done
ip -n "$a" link set va-$$ up && ip -n "$b" link set vb-$$ up

cd "$work"
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
"$scvd" synth --out set --train 24 --val 8 --test 12 --train-images 2 --width 32 --height 64 >/dev/null
model=(--config demo --data set --image.height 48 --image.width 24 --image.patch 8 --image.stride 8 --image.dim 32 --image.layers 2 --image.heads 1
    --text.dim 32 --text.layers 2 --text.heads 1 --model.embed 32 --loss.pairs hard:4 --train.batch 14 --train.log_every 1 --train.eval_every 0)
# As one would on each host: ranks 0 and 1 on the first, 2 on the second.
rank() {
    local ns=$1 rank=$2 out=$3
    shift 3
    ip netns exec "$ns" env RANK="$rank" WORLD_SIZE=3 LOCAL_RANK=$((rank % 2)) MASTER_ADDR=10.77.0.1 MASTER_PORT=29500 \
        "$scvd" train "${model[@]}" --out "$out" "$@" >"$out.$rank.log" 2>&1
}
bytes() { ip netns exec "$1" cat "/sys/class/net/$2/statistics/tx_bytes"; }

"$scvd" train "${model[@]}" --out one --train.epochs 3 >one.log
before=$(bytes "$a" va-$$)
rank "$a" 0 two --train.epochs 3 & rank "$a" 1 two --train.epochs 3 & rank "$b" 2 two --train.epochs 3 &
wait %1 && wait %2 && wait %3
sent=$(($(bytes "$a" va-$$) - before))
python3 - "$sent" <<'PY'
import json, sys
def losses(run):
    return [j for j in map(json.loads, open(run + "/metrics.jsonl")) if "loss" in j]
one, two = losses("one"), losses("two")
worst = max(abs(x["loss"] - y["loss"]) / x["loss"] for x, y in zip(one[:20], two[:20]))
assert len(one) == len(two) and len(one) >= 20 and worst < 1e-5, worst
print("two hosts, three ranks: 20 losses within %.1e of one process; the first host sent %.1f MB through the cable in %d updates"
      % (worst, int(sys.argv[1]) / 1e6, len(two)))
PY

jobs=()
for r in 0 1 2; do
    ns=$a
    [ $r = 2 ] && ns=$b
    rank "$ns" $r cut --train.epochs 40 --comm-timeout 4 &
    jobs+=($!)
done
for ((i = 0; i < 600; ++i)); do [ -e cut/last.safetensors ] && break; sleep 0.1; done
ip -n "$a" link set va-$$ down
start=$(date +%s)
for j in "${jobs[@]}"; do ! wait "$j" || { echo "a rank ended well without its host"; exit 1; }; done
grep -h "gave up in" cut.0.log cut.1.log cut.2.log
echo "cable cut: all ranks ended after $(($(date +%s) - start)) s of a time-out of 4"
