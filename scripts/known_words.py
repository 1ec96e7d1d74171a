#!/usr/bin/env python3
"""Writes model/semantics/known_words.txt: correct English words that the typo correction would take for a misspelling.

usage: known_words.py WORD_LIST > model/semantics/known_words.txt
WORD_LIST has one word a line (Debian: /usr/share/dict/american-english-small of the package wamerican-small, public domain).
Only words close to a word of the lexicon are kept, so that the list stays short. Run it again when the lexicon grows.
"""
import os
import re
import sys
from collections import defaultdict

here = os.path.dirname(os.path.abspath(__file__))
# The classes that Lexicon::correct() corrects to, see model/semantics/typos.cpp.
USEFUL = set("""man woman boy girl child teen person upper lower full foot headwear accessory bag carried held screen pushed
 ridden animal hair style facial body bodypart part colour shade mod padj wear carry have with suffix""".split())
lexicon, useful, section = set(), set(), ""
files = [os.path.join(here, "../model/semantics", name) for name in ("lexicon.txt", "function_words.txt")]
for line in (line for name in files for line in open(name, encoding="utf-8")):
    if line[0] == "[":
        section = line.strip()[1:-1]
    elif line[0] not in "#)R\n":
        for item in line.split(","):
            words = re.findall(r"[a-z]+", item.split("=")[0])
            lexicon.update(words)
            if section in USEFUL and len(words) == 1:
                useful.update(words)
single = {w for w in useful if len(w) >= 3}
single = {w for w in single | {w + "s" for w in single} if len(w) >= 4}


def near(a, b, limit):
    """Whether a and b are within `limit` edits, swaps of neighbours included."""
    if abs(len(a) - len(b)) > limit:
        return False
    before, last = None, list(range(len(b) + 1))
    for i in range(1, len(a) + 1):
        now = [i]
        for j in range(1, len(b) + 1):
            n = min(last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1]))
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                n = min(n, before[j - 2] + 1)
            now.append(n)
        if min(now) > limit:
            return False
        before, last = last, now
    return last[-1] <= limit


shapes = defaultdict(list)
for w in single:
    shapes[w[0], len(w)].append(w)

words = sorted({w.strip() for w in open(sys.argv[1], encoding="utf-8") if re.fullmatch(r"[a-z]{4,22}\n", w)} - lexicon)
kept = []
for w in words:
    limit = 2 if len(w) >= 7 else 1
    if any(near(w, c, limit) for d in range(-limit, limit + 1) for c in shapes[w[0], len(w) + d]):
        kept.append(w)
line = ""
print('R"lexicon(')
for w in kept:
    if len(line) + len(w) + 1 > 120:
        print(line)
        line = ""
    line += (" " if line else "") + w
print(line)
print(')lexicon"')
