#!/usr/bin/env bash
# The binary as a user meets it: what goes wrong ends with one sentence on stderr, a non-zero exit, and nothing half-written.
#   tests/cli.sh BINARY
set -u
scvd=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
checks=0

die() { printf 'FAILED: %s\n' "$*"; exit 1; }
# refuses SENTENCE COMMAND...: fails, says SENTENCE (a part of the one line it prints), and leaves no checkpoint behind.
refuses() {
    local sentence=$1
    shift
    "$scvd" "$@" >out 2>err && die "should have been refused: scvd $*"
    grep -qF -- "$sentence" err || die "scvd $* said: $(cat err); wanted: $sentence"
    [ "$(grep -c . err)" = 1 ] || die "scvd $* said more than one line: $(cat err)"
    [ ! -e run/last.safetensors ] || die "scvd $* left a checkpoint"
    ls -A run 2>/dev/null | grep -q partial && die "scvd $* left a partial file"
    checks=$((checks + 1))
}
works() {
    "$scvd" "$@" >out 2>err || die "scvd $*: $(cat err)"
    checks=$((checks + 1))
}

works synth --out set --train 12 --val 4 --test 4 --train-images 2
refuses "A subcommand is required (--help says more)"
refuses "--cpu-threads: Value many not in range" --cpu-threads many train --data set --out run
refuses "--out is required" train --data set
refuses "unknown command \"serch\"; did you mean \"search\"?" serch x
refuses "unknown option --train.epoch; did you mean --train.epochs?" train --data set --out run --train.epoch 3
refuses "train.epochs = \"many\" is not a whole number" train --data set --out run --train.epochs many
refuses "neither a preset" train --config nothing.toml --data set --out run
refuses "nowhere is not a folder" train --data nowhere --out run
refuses "train.optimizer = \"sgd\", want adamw | adam" train --data set --out run --train.optimizer sgd
refuses "train.schedule = \"linear\", want cosine | multistep" train --data set --out run --train.schedule linear
refuses "train.log_every = 0, want at least 1" train --data set --out run --train.log_every 0
refuses "train.accumulate = 0, want at least 1" train --data set --out run --train.accumulate 0
refuses "data.flip = 7, want at most 1" train --data set --out run --data.flip 7
refuses "data.pad = -3, want at least 0" train --data set --out run --data.pad -3
refuses "train.warmup = nan, want at least 0" train --data set --out run --train.warmup nan
refuses "model.classes = 3, and the training split has 12 identities" train --data set --out run --model.classes 3
refuses "--stop-after -1, want at least 1" train --data set --out run --stop-after -1
refuses "--comm-timeout 0, want more than 0 seconds" train --data set --out run --comm-timeout 0
refuses "set: cannot be read: Is a directory" train --config set --data set --out run
refuses "data check: unknown option --jso; did you mean --json?" data check set --sheet sheet.png --jso x
refuses "unknown command \"chek\"; did you mean \"check\"?" data chek set
refuses "--val 7 and --test 0.1 are no shares" data import set --out own --val 7
refuses "--elastic-restarts -1" launch -n 2 --elastic-restarts -1 -- train --data set --out run
printf 'image,caption,person\nnowhere.jpg,a man,1\n' >own.csv
refuses "own.csv row 2: " data import own.csv --out own
refuses "data.on_bad = \"ignore\", want fatal | skip" train --data set --out run --data.on_bad ignore
refuses "cgi.vsr = \"both\", want pair | text" train --data set --out run --cgi.vsr both
mkdir empty
refuses "holds no data_captions.json" train --data empty --out run
printf '[train]\nepochs = "ten"\n' >bad.toml
refuses "train.epochs = \"ten\" is not a whole number" train --config bad.toml --data set --out run
refuses "--resume: run/last.safetensors is not there" train --data set --out run --resume
[ ! -e run ] || die "a run that was refused before it began left a folder"

tiny="--train.batch 8 --image.dim 32 --image.layers 1 --image.heads 1 --text.dim 32 --text.layers 1 --text.heads 1 --model.embed 32"
refuses "the loss is" train --data set --out run $tiny --train.lr 1e30 --train.head_lr 1e30 --train.clip_norm 0 --train.warmup 0

"$scvd" train --data set --out stopped $tiny --train.epochs 100000 --train.log_every 1 >out 2>err &
asked=$!
until [ -s stopped/metrics.jsonl ]; do kill -0 $asked 2>/dev/null || die "training ended by itself: $(cat err)"; sleep 0.1; done
kill -TERM $asked
wait $asked || die "an interrupted run said: $(cat err)"
grep -q "interrupted at update" out || die "an interrupted run said: $(cat out err)"
[ -s stopped/last.safetensors ] || die "an interrupted run kept nothing"
checks=$((checks + 1))
refuses "the first output that is not finite" train --data set --out run $tiny --train.lr 1e30 --train.head_lr 1e30 --train.clip_norm 0 --train.warmup 0 --check-numerics
export SCVD_CUDNN=/nowhere/libcudnn.so.9  # what cannot be loaded, or what the build lacks, is said before anything is done
refuses "cudnn: --conv cudnn" train --data set --out run $tiny --device cuda --conv cudnn
refuses "--attention cudnn" train --data set --out run $tiny --device cuda --attention cudnn
unset SCVD_CUDNN
works train --data set --out good $tiny --train.epochs 1
[ -s good/build.txt ] && [ -s good/config.toml ] && [ -s good/metrics.jsonl ] || die "the run folder lacks build.txt, config.toml or metrics.jsonl"
refuses "already holds a run" train --data set --out good $tiny
refuses "this model wants" train --data set --out run $tiny --model.embed 16 --init good/best.safetensors
works eval --weights good/best.safetensors --json eval.json --curves cmc.svg
for key in split identities gallery_images queries chance_R1 train_seconds R1 mINP localisation; do
    grep -q "\"$key\"" eval.json || die "eval.json lacks $key"
done

head -c 5000 good/best.safetensors >half.safetensors
refuses "half.safetensors" eval --weights half.safetensors
refuses "holds no pictures" index empty --weights good/best.safetensors --out people.index
works index set/imgs --weights good/best.safetensors --out people.index
works search "a woman in a green coat" --index people.index --html page.html
works explain "a woman in a green coat" --index people.index --out maps --sheet sheet.png
refuses "--lambda 9, want at most 1" search "a man" --index people.index --lambda 9
refuses "--lambda nan, want at most 1" eval --weights good/best.safetensors --lambda nan
refuses "--results 0, want at least 1" explain "a man" --index people.index --out maps --results 0
refuses "the description is empty" search "  " --index people.index
refuses "not UTF-8" search "$(printf 'a \xff man')" --index people.index
refuses "is not an index" search "a man" --index good/best.safetensors

works deconstruct "A man in a wite shirt." --explain --prompts
grep -q "typo" out && grep -q "a photo of a {person} wearing {a} {phrase} -> a photo of a man wearing a white shirt" out || die "deconstruct said: $(cat out)"
printf '[sd]\nslots = 2\ntemplate.garment_upper = "{phrase}!"\n' >templates.toml
works deconstruct "A man in a red shirt and jeans." --config templates.toml
grep -q '"prompts":\["a photo of a man","red shirt!"\],"mask":\[1,1\]' out || die "deconstruct said: $(cat out)"
refuses "either a description in quotes or --jsonl" deconstruct
"$scvd" data check set --json texts.json >out 2>err
[ $? = 3 ] || die "data check of a set with other counts than published should end with 3, it said: $(cat err)"
grep -q "captions, .* phrases each" out && grep -q "most_unknown" texts.json || die "the report said: $(cat out)"
refuses "--slots 0, want at least 1" deconstruct "a man" --slots 0
refuses "nowhere.txt: cannot be opened" deconstruct "a man" --lexicon nowhere.txt
refuses "set: cannot be read: Is a directory" deconstruct "a man" --lexicon set
echo '{"id": "a", "text": "\u00e9 \ud83d\ude00 a red hat"}' >lines.jsonl
"$scvd" deconstruct --jsonl --explain --prompts <lines.jsonl >out 2>err || die "deconstruct --jsonl: $(cat err)"
grep -q '"id":"a","person":"person","phrases":\["red hat"\]' out || die "deconstruct --jsonl said: $(cat out)"
printf '{"text": "a man"}\na red hat\n' | "$scvd" deconstruct --jsonl >out 2>err && die "text that is no JSON should have been refused"
grep -q 'line 2 is not a JSON object: parse error at column 1' err || die "deconstruct --jsonl said: $(cat err)"
echo '["a red hat"]' | "$scvd" deconstruct --jsonl >out 2>err && die "a list should have been refused"
grep -q 'line 1 is not a JSON object' err || die "deconstruct --jsonl said: $(cat err)"

picture=$(ls set/imgs | head -n 1)
head -c 900 "set/imgs/$picture" >cut.jpg && mv cut.jpg "set/imgs/$picture"
refuses "$picture: the picture is cut short" train --data set --out run $tiny
refuses "$picture: the picture is cut short" index set/imgs --weights good/best.safetensors --out other.index
[ ! -e other.index ] || die "a refused index was written"
works train --data set --out skipped $tiny --train.epochs 1 --data.on_bad skip
grep -q "1 of 40 records left out" err || die "the record left out is not counted: $(cat err)"

echo "$checks passed, 0 failed"
