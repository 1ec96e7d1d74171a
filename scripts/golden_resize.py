#!/usr/bin/env python3
"""Writes tests/data/images/resize_golden.txt: what Pillow's Image.resize makes of pictures that both sides can compute.

One line a case: filter, input width height, output width height, CRC-32 of the output bytes, and for small outputs the
bytes themselves in hex, so that a difference can be looked at. tests/test_resize.cpp repeats picture().
Needs Pillow < 12.2: from then on the vertical pass comes first for some shapes, unlike what CLIP was trained with.
"""
import pathlib
import zlib

import PIL
from PIL import Image

CASES = [  # width, height -> width, height
    (96, 192, 64, 128), (96, 192, 128, 384), (60, 160, 128, 384), (210, 640, 128, 384), (64, 128, 64, 128),
    (37, 53, 64, 128), (37, 53, 7, 11), (7, 11, 37, 53), (5, 4, 3, 3), (3, 3, 5, 4), (1, 1, 4, 3), (9, 1, 2, 1),
    (1, 9, 1, 2), (2, 2, 1, 1), (300, 200, 1, 1), (33, 40, 33, 21), (33, 40, 12, 40), (501, 13, 224, 224), (8, 8, 3, 5),
]


def picture(width, height):
    """Noise with saturated stripes: overshoot (bicubic) and every rounding direction occur."""
    state, out = (width * 31 + height) % 2**32, bytearray()
    for i in range(width * height * 3):
        state = (state * 1664525 + 1013904223) % 2**32
        value = state >> 24
        stripe = i // 12 % 5
        out.append(0 if stripe == 0 else 255 if stripe == 1 else value)
    return Image.frombytes("RGB", (width, height), bytes(out))


def main():
    version = tuple(map(int, PIL.__version__.split(".")[:2]))
    assert version < (12, 2), f"Pillow {PIL.__version__}: the passes' order differs from 12.2 on"
    folder = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "images"
    lines = []
    for name, method in (("bilinear", Image.Resampling.BILINEAR), ("bicubic", Image.Resampling.BICUBIC)):
        for w, h, ow, oh in CASES:
            out = picture(w, h).resize((ow, oh), method).tobytes()
            shown = out.hex() if len(out) <= 60 else "-"
            lines.append(f"{name} {w} {h} {ow} {oh} {zlib.crc32(out):08x} {shown}\n")
    (folder / "resize_golden.txt").write_text("".join(lines))


if __name__ == "__main__":
    main()
