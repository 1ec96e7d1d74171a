#!/usr/bin/env python3
"""What goes into the encoders: tokens against OpenAI's tokenizer on 25,000 texts, resized pictures against Pillow in 200 sizes.

usage: check_inputs.py BUILD_FOLDER      (needs clip-anytorch, ftfy, regex, pillow < 12.2, numpy)
Exit code 1 when a picture differs or a text differs for an unknown reason.
"""
import collections
import html
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import unicodedata

import ftfy
import numpy as np
from clip.simple_tokenizer import SimpleTokenizer
from ftfy.badness import MOJIBAKE_CATEGORIES
from ftfy.chardata import UTF8_CLUES
from PIL import Image

tool, folder = pathlib.Path(sys.argv[1]) / "reference_tool", pathlib.Path(tempfile.mkdtemp())
rng = random.Random(5)
WORDS = ("A The man woman boy girl person wearing wears carrying holding walks with red blue dark-blue black white grey khaki shirt T-shirt jeans skirt "
         "coat jacket backpack handbag umbrella shoes sneakers hat glasses phone he's she'll don't they've 's and in on of to , . ! ? ; : ( ) - -- ... \" ' & / 23 2024 3.5 "
         "striped long-sleeved mid-length ponytail").split()
ENTITIES = "&amp; &lt;b&gt; &quot; &#39; &#x27; &eacute; &Eacute; &nbsp; &copy &hellip; &amp;amp; &notin; &hearts; &#8364; &times; &ldquo;x&rdquo; &unknown; & &;".split()
RANGES = {"english": None, "entities": None, "latin": (0xA1, 0x24F), "greek, cyrillic": (0x370, 0x52F), "hebrew, arabic": (0x590, 0x6FF), "indic, thai": (0x900, 0xE7F),
          "cjk": (0x3040, 0x9FFF), "hangul": (0xAC00, 0xD7A3), "emoji": (0x1F300, 0x1FAFF), "punctuation, symbols": (0x2000, 0x27BF), "control": (0x00, 0xA0),
          "compatibility": (0xF900, 0xFFEF), "mathematical": (0x1D400, 0x1D7FF), "any": (0x20, 0x2FFFF), "mojibake": None, "mojibake, damaged": None, "signs of mojibake": None, "long": None}
PAGES = ["latin-1", "iso-8859-2", "macroman", "cp437"] + [f"sloppy-windows-{n}" for n in (1252, 1251, 1250, 1253, 1254, 1257)]
GOOD = "éèüößñçãéàœ–—’“”€™…«»°²½§¿ŁşğżŽħįţ日本語한국어ЖяШщЁћαβΩπώدعريهقकिতगழఎ😀👗🧥💩À\u00a0\u00ad\ufffd"
SIGNS = [chr(c) for c in range(0x24F8) if any(re.match("[" + m + "]", chr(c)) for m in [*MOJIBAKE_CATEGORIES.values(), *UTF8_CLUES.values()])] + list("\uf8ff\ufb01\ufffd")


def mojibake(damaged):
    """UTF-8 read with a wrong code page, now and then twice; damaged as programs do: no-break spaces and controls lost, CESU-8."""
    s = "".join(rng.choice(GOOD + "  aàs'?") for _ in range(rng.randint(1, 12)))
    for _ in range(1 if rng.random() < 0.8 else 2):
        b = s.encode("utf-16-le", "surrogatepass") if damaged and rng.random() < 0.2 else None
        if b:  # each half of a pair on its own
            s = "".join(chr(b[i] + 256 * b[i + 1]) for i in range(0, len(b), 2))
        s = s.encode("utf-8", "surrogatepass").replace(b"\0", b"\xc0\x80").decode(rng.choice(PAGES[:1] + PAGES[4:5] + PAGES))
        if damaged:
            s = re.sub("[\x80-\x9f]", lambda m: rng.choice([m[0], m[0], m[0], "\ufffd", "?", ""]), s)
            s = re.sub("\xa0", lambda m: rng.choice(["\xa0", " "]), s)
    if damaged and rng.random() < 0.3:
        s = rng.choice(["Ж", "日", "中“", "\x85", "Ω", "&amp;", "<"]) + s + rng.choice(["", "\n", "\r\n", "Ж", "À\n", "à la"])
    return s


def text(kind):
    words = [rng.choice(WORDS) for _ in range(rng.randint(1, 30))]
    if kind == "entities":
        words += [rng.choice(ENTITIES) for _ in range(rng.randint(1, 5))]
    elif kind.startswith("mojibake"):
        words.append(mojibake("damaged" in kind))
    elif kind == "signs of mojibake":
        words += ["".join(rng.choice(SIGNS + list("aZ  .\n€")) for _ in range(rng.randint(1, 6))) for _ in range(rng.randint(1, 3))]
    elif kind == "long":
        words = [rng.choice(WORDS) for _ in range(1200)]
    elif RANGES[kind]:
        lo, hi = RANGES[kind]
        chars = [c for c in (rng.randint(lo, hi) for _ in range(rng.randint(1, 25))) if not 0xD800 <= c < 0xE000]
        words.append("".join(map(chr, chars)))
    if kind != "long":
        rng.shuffle(words)
    joined = rng.choice([" ", "  ", " \t", "\n"]).join(words)
    return joined.upper() if rng.random() < 0.1 else joined


def reason(t):
    """Why a text may differ: utf8proc, this Python and the regex package know three versions of Unicode."""
    if any(unicodedata.category(c) == "Cn" for c in html.unescape(ftfy.fix_text(t))):
        return f"characters younger than Unicode {unicodedata.unidata_version}"
    return "unexplained"


def tokens(count):
    texts = [(k, text(k)) for k in RANGES for _ in range(30 if k == "long" else count)]
    (folder / "texts.jsonl").write_text("\n".join(json.dumps({"text": t}) for _, t in texts) + "\n")
    print(subprocess.run([tool, "tokens", folder / "texts.jsonl", folder / "ids.jsonl"], check=True, capture_output=True, text=True).stdout.strip())
    tokenizer, wrong, total, reasons = SimpleTokenizer(), collections.Counter(), collections.Counter(), collections.Counter()
    for (kind, t), line in zip(texts, (folder / "ids.jsonl").read_text().splitlines()):
        total[kind] += 1
        want, got = tokenizer.encode(t), json.loads(line)
        if want == got:
            continue
        wrong[kind] += 1
        why = reason(t)
        reasons[why] += 1
        if why == "unexplained" and reasons[why] <= 10:
            i = next((i for i, (a, b) in enumerate(zip(want, got)) if a != b), 0)
            print("   ", kind, ascii(t)[:300], "theirs", ascii(tokenizer.decode(want[i:i + 4])), "ours", ascii(tokenizer.decode(got[i:i + 4])))
    for k in RANGES:
        print(f"  {k:<24} {wrong[k]:>5} of {total[k]} differ")
    print(f"  {sum(wrong.values())} of {len(texts)} differ:", dict(reasons))
    return reasons["unexplained"]


def pictures():
    cases, sizes = [], [(128, 384), (224, 224), (64, 192)]
    g = np.random.default_rng(3)
    for i in range(200):
        w, h = (int(v) for v in g.integers(1, 400, 2))
        ow, oh = sizes[i % 3] if i % 4 else (int(v) for v in g.integers(1, 400, 2))
        cases.append((w, h, ow, oh, "bicubic" if i % 5 == 0 else "bilinear"))
    (folder / "list").write_text("".join(" ".join(map(str, c)) + "\n" for c in cases))
    inputs = []
    for i, (w, h, *_) in enumerate(cases):
        inputs.append(g.integers(0, 256, (h, w, 3)).astype(np.uint8))
        (folder / f"{i}.in").write_bytes(inputs[-1].tobytes())
    subprocess.run([tool, "resize", folder / "list", folder], check=True)
    different, worst, values = 0, 0, 0
    for i, (w, h, ow, oh, filter) in enumerate(cases):
        want = np.asarray(Image.fromarray(inputs[i]).resize((ow, oh), Image.Resampling[filter.upper()])).astype(int)
        got = np.frombuffer((folder / f"{i}.out").read_bytes(), np.uint8).reshape(oh, ow, 3).astype(int)
        different += int((want != got).sum())
        worst, values = max(worst, int(np.abs(want - got).max())), values + want.size
    print(f"resize: {different} of {values} values differ in 200 sizes, by {worst} levels at most")
    return different


if __name__ == "__main__":
    sys.exit(1 if tokens(int(sys.argv[2]) if len(sys.argv) > 2 else 1666) + pictures() else 0)
