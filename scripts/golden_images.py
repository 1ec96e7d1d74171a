#!/usr/bin/env python3
"""Writes tests/data/images/*.{png,jpg,bmp,webp}: one small picture in many encodings (needs Pillow and numpy).

Lossless files hold pixel(x, y, channel) as tests/test_dataset.cpp computes it; beside each JPEG lies what Pillow (libjpeg)
makes of it, as PNG.
"""
import io
import pathlib

import numpy as np
from PIL import Image, ImageOps

W, H = 24, 16
FOLDER = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "images"


def pixels():
    y, x, c = np.mgrid[0:H, 0:W, 0:3]
    return ((x * 9 + y * 5 + c * 40) % 256).astype(np.uint8)


def save(image, name, **options):
    image.save(FOLDER / name, **options)


def save_jpeg(image, name, **options):
    save(image, name + ".jpg", quality=92, **options)
    save(Image.open(FOLDER / (name + ".jpg")).convert("RGB"), name + "_decoded.png")


def save_bytes(image, exif):
    out = io.BytesIO()
    image.save(out, "JPEG", exif=exif)
    return out


def main():
    rgb = pixels()
    picture = Image.fromarray(rgb)
    save(picture, "rgb.png")
    save(picture, "rgb.bmp")
    save(Image.fromarray(rgb[..., 0]), "grey.png")
    save(Image.fromarray(rgb[..., 0].astype(np.uint16) * 256 + 77), "grey16.png")
    alpha = np.concatenate([rgb, (rgb[..., :1] // 2)], axis=2)
    save(Image.fromarray(alpha), "alpha.png")
    indices = (rgb[..., 0] // 32).astype(np.uint8)
    palette = Image.fromarray(indices)
    palette.putpalette([v for i in range(8) for v in (i * 30, 255 - i * 30, i * 7)])
    save(palette, "palette.png")
    smooth = np.stack([np.linspace(20, 235, W)[None].repeat(H, 0), np.linspace(230, 30, H)[:, None].repeat(W, 1),
                       np.full((H, W), 90.0)], axis=2).astype(np.uint8)
    smooth = Image.fromarray(smooth)
    save_jpeg(smooth, "baseline", subsampling=0)
    save_jpeg(smooth, "progressive", subsampling=0, progressive=True)
    save_jpeg(smooth.convert("L"), "grey")
    save_jpeg(smooth.convert("CMYK"), "cmyk")
    # A thumbnail inside APP1: its own end marker must not pass for the picture's.
    thumbnail = (FOLDER / "grey.jpg").read_bytes()
    save_jpeg(smooth, "thumbnail", subsampling=0, exif=b"Exif\0\0" + thumbnail)
    save(picture, "picture.webp", lossless=True)
    # One scene held in eight ways: all must come out as the first.
    for orientation in range(1, 9):
        turn = {1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
                5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270}[orientation]
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = smooth if turn is None else smooth.transpose(turn)
        assert ImageOps.exif_transpose(Image.open(save_bytes(stored, exif))).size == smooth.size
        save(stored, f"turned{orientation}.jpg", quality=92, subsampling=0, exif=exif)


if __name__ == "__main__":
    main()
