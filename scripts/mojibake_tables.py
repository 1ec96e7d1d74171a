#!/usr/bin/env python3
"""Writes model/code_pages.inc and model/mojibake_classes.inc.

usage: mojibake_tables.py code_pages | classes > FILE
needs: pip install ftfy==6.3.1   (only to write the files again)
Code pages are Python's, classes of characters are those of ftfy (Apache-2.0, copyright 2023 Robyn Speer), on which it decides
what was decoded with the wrong code page.
"""
import re
import sys

from ftfy import badness, chardata

PAGES = ["cp1252", "cp1251", "cp1250", "cp1253", "cp1254", "cp1257", "iso8859-2", "mac-roman", "cp437"]
CLUES = {"utf8_first_of_2": "first_of_2", "utf8_first_of_3": "first_of_3", "utf8_first_of_4": "first_of_4",
         "utf8_continuation": "continuation", "utf8_continuation_strict": "continuation_strict"}


def code_pages():
    print("// Code points of the bytes 0x80 to 0xFF, 0 where a page has none. Written by scripts/mojibake_tables.py.")
    for page in PAGES:
        points = [0 if c == "\ufffd" else ord(c) for c in bytes(range(128, 256)).decode(page, "replace")]
        print("{  // " + page)
        for i in range(0, 128, 16):
            print("    " + ", ".join(f"0x{p:04X}" for p in points[i:i + 16]) + ",")
        print("},")


def classes():
    print("// Code points of each class, as first-last. Written by scripts/mojibake_tables.py from the tables of ftfy 6.3.1")
    print("// (Apache-2.0, copyright 2023 Robyn Speer).")
    for name, members in {**badness.MOJIBAKE_CATEGORIES, **{CLUES[k]: v for k, v in chardata.UTF8_CLUES.items()}}.items():
        matches = re.compile("[" + members + "]").match
        points = [c for c in range(0x110000) if matches(chr(c))]
        ranges, row = [], "    "
        for p in points:
            if ranges and ranges[-1][1] == p - 1:
                ranges[-1][1] = p
            else:
                ranges.append([p, p])
        print("{" + name + ", {")
        for a, b in ranges:
            item = f"{{0x{a:X}, 0x{b:X}}}, "
            if len(row) + len(item) > 121:
                print(row.rstrip())
                row = "    "
            row += item
        print(row.rstrip() + "\n}},")


if __name__ == "__main__":
    {"code_pages": code_pages, "classes": classes}[sys.argv[1]]()
