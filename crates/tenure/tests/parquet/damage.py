"""Damages files in every way that is tried and reads them: the reader answers or refuses, and does nothing else.

    python3 -B damage.py READER FILE ...
"""

import importlib.util
import io
import os
import random
import sys
import tempfile

TRIES = 150


def damaged(whole, chance):
    data = bytearray(whole)
    for _ in range(chance.choice([1, 1, 2, 8])):
        at = chance.randrange(len(data))
        # The footer is most of what there is to misread.
        if chance.random() < 0.7:
            at = max(len(data) - 1 - chance.randrange(600), 0)
        what = chance.randrange(4)
        if what == 0:
            data[at] ^= 1 << chance.randrange(8)
        elif what == 1:
            data[at] = chance.choice([0, 1, 127, 128, 255])
        elif what == 2:
            del data[at:at + chance.randrange(1, 9)]
        else:
            data[at:at] = chance.randbytes(chance.randrange(1, 5))
    # Its two ends stay, or every file would be refused at once.
    return b"PAR1" + bytes(data[4:-4]) + b"PAR1"


def main():
    spec = importlib.util.spec_from_file_location("reader", sys.argv[1])
    reader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reader)
    chance, outcomes = random.Random(11), {"read": 0, "refused": 0}

    def read(data, path):
        with open(path, "wb") as file:
            file.write(data)
        try:
            reader.to_csv(reader.File(path), [], io.StringIO())
            outcomes["read"] += 1
        except reader.Refused:
            outcomes["refused"] += 1

    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "damaged.parquet")
        for name in sys.argv[2:]:
            with open(name, "rb") as file:
                whole = file.read()
            for _ in range(TRIES):
                read(damaged(whole, chance), path)
            for length in range(0, len(whole), max(len(whole) // 40, 1)):
                read(whole[:length], path)
                read(whole[:length] + whole[-8:], path)
    print(outcomes["read"], "read,", outcomes["refused"], "refused")


main()
