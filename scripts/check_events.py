#!/usr/bin/env python3
"""Reads event files with the real tensorboard package and prints what it finds (pip install tensorboard).

    check_events.py RUN_FOLDER    exit 1 when there is nothing to show or a record does not parse
"""
import struct
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New


def records(path: Path) -> int:
    """Counts the records; the reader raises on a wrong checksum or a torn record."""
    reader, count = PyRecordReader_New(str(path)), 0
    while True:
        try:
            reader.GetNext()
        except StopIteration:  # OutOfRangeError: the end of the file
            return count
        except Exception as error:
            if type(error).__name__ == "OutOfRangeError":
                return count
            raise
        count += 1


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    files = sorted(folder.glob("*tfevents*"))
    for path in files:
        print(f"{path.name}: {records(path)} records, {path.stat().st_size} bytes")
    # 0: keep every value; the default keeps a sample
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    for tag in tags["scalars"]:
        values = events.Scalars(tag)
        first, last = values[0], values[-1]
        print(f"scalar {tag}: {len(values)} values, steps {first.step}..{last.step}, last {last.value:g}")
    for tag in tags["images"]:
        for image in events.Images(tag):
            width, height = struct.unpack(">II", image.encoded_image_string[16:24])  # the PNG's own header
            print(f"image {tag}: step {image.step}, {image.width}x{image.height}, PNG says {width}x{height}")
            if (width, height) != (image.width, image.height):
                return 1
    return 0 if tags["scalars"] or tags["images"] else 1


if __name__ == "__main__":
    sys.exit(main())
