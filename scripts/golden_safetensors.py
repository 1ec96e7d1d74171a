#!/usr/bin/env python3
"""Writes tests/data/io/golden.safetensors with the format's reference implementation (safetensors >= 0.8, numpy).

The values follow formulas that tests/test_io.cpp repeats, so that the file needs no second copy of its numbers.
"""
import pathlib

import numpy as np
from safetensors import TensorSpec, serialize_file

alive = []  # the library keeps addresses, not references


def tensor(dtype, array):
    alive.append(array)
    return TensorSpec(dtype=dtype, shape=array.shape, data_ptr=array.ctypes.data, data_len=array.nbytes)


def main():
    folder = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "io"
    folder.mkdir(parents=True, exist_ok=True)
    n = np.arange(12)
    bf16 = (np.arange(6, dtype=np.float32) / 2 - 1).view(np.uint32) >> 16
    tensors = {
        "f32": tensor("float32", (n * 0.5 - 3).astype("<f4").reshape(3, 4)),
        "f64": tensor("float64", (n[:5] / 8.0).astype("<f8")),
        # One of each kind of half: normal, negative, largest, smallest subnormal, largest subnormal, infinity.
        "f16": tensor("float16", np.array([1.5, -0.25, 65504, 2.0**-24, 1023 * 2.0**-24, np.inf], dtype="<f2")),
        "bf16": tensor("bfloat16", bf16.astype("<u2").reshape(2, 3)),
        "i32": tensor("int32", (n[:3] - 1).astype("<i4")),
        "i64": tensor("int64", (n[:2] * 2**40).astype("<i8")),
        "u8": tensor("uint8", (n[:7] * 40 % 256).astype("u1")),
        "scalar": tensor("float32", np.array(2.5, dtype="<f4")),
        "empty": tensor("float32", np.zeros((0, 4), dtype="<f4")),
    }
    serialize_file(tensors, str(folder / "golden.safetensors"), {"made by": "safetensors", "quote": 'a "b" ä'})


if __name__ == "__main__":
    main()
