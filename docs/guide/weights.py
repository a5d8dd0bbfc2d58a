#!/usr/bin/env python3
"""Draws the weights of a model's first dense layer, a picture for each of its outputs.

    python3 weights.py model.safetensors weights.png [columns] [how many]

Blue is a weight above zero, orange one below, white zero. Each picture has its own scale: its strongest weight has the
full colour. Needs nothing but Python's own library.
"""
import json
import math
import struct
import sys
import zlib

SCALE, GAP = 4, 8
BLUE, ORANGE = (0, 90, 160), (208, 80, 0)


def first_dense(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        tensor = header["dense1.weight"]
        begin, end = tensor["data_offsets"]
        file.seek(8 + length + begin)
        values = struct.unpack(f"<{(end - begin) // 4}f", file.read(end - begin))
    inputs, outputs = tensor["shape"]
    return [values[output::outputs] for output in range(outputs)], math.isqrt(inputs)


def colour(weight, strongest):
    share = min(abs(weight) / strongest, 1)
    full = BLUE if weight > 0 else ORANGE
    return bytes(round(255 + (channel - 255) * share) for channel in full)


def png(rows, width):
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, len(rows), 8, 2, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def main(model, out, columns="5", most="10"):
    columns = int(columns)
    pictures, side = first_dense(model)
    pictures = pictures[: int(most)]
    blank = b"\xff\xff\xff"
    width = columns * (side * SCALE + GAP) + GAP
    rows = [blank * width] * GAP
    for first in range(0, len(pictures), columns):
        group = pictures[first : first + columns]
        # The outermost pixels are never inked, so that their weights stay as chance began them: they set no scale.
        strongest = [max(abs(w) for w in picture) or 1 for picture in group]
        for y in range(side):
            row = blank * GAP
            for picture, most_of_it in zip(group, strongest):
                for weight in picture[y * side : (y + 1) * side]:
                    row += colour(weight, most_of_it) * SCALE
                row += blank * GAP
            rows += [row + blank * (width - len(row) // 3)] * SCALE
        rows += [blank * width] * GAP
    with open(out, "wb") as file:
        file.write(png(rows, width))


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
