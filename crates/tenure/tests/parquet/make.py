"""Made the files beside it, which the reader of examples/data-analyst is tested with: python3 make.py, with pyarrow 26.

Each `.parquet` that can be read has a `.csv` with what it holds, written here from the rows and not from the file.
"""

import csv
import datetime
import decimal
import random

import pyarrow
import pyarrow.parquet

ROWS = 260
UTC = datetime.timezone.utc


def rows(chance):
    for number in range(ROWS):
        moment = datetime.datetime(2024, 2, 28, 23, 59, 58) + datetime.timedelta(seconds=number * 7919)
        row = {
            "id": number - 130,
            "city": chance.choice(["Zürich", "東京", "Aarhus, DK", 'the "Hague"', ""]),
            "note": f"note {number} of {chance.randrange(10**12)}",
            "small": chance.randrange(-128, 128),
            "unsigned": chance.randrange(2**64),
            "price": decimal.Decimal(chance.randrange(-10**6, 10**6)).scaleb(-2),
            "exact": decimal.Decimal(chance.randrange(-10**30, 10**30)).scaleb(-3, decimal.Context(prec=40)),
            "ratio": chance.random() * 10 ** chance.randrange(-20, 20),
            "single": chance.randrange(-1000, 1000) / 8,
            "open": chance.random() < 0.5,
            "day": moment.date(),
            "local": moment + datetime.timedelta(milliseconds=chance.choice([0, 0, 1, 250])),
            "at": (moment + datetime.timedelta(microseconds=chance.choice([0, 7]))).replace(tzinfo=UTC),
            "raw": chance.randbytes(chance.randrange(4)),
        }
        # Everything but the first may be null, in runs and alone; and one column is nothing else.
        for name in list(row)[1:]:
            if number // 40 % 3 == 1 or chance.random() < 0.1:
                row[name] = None
        row["nothing"] = None
        yield row


SCHEMA = pyarrow.schema([
    pyarrow.field("id", pyarrow.int64(), nullable=False),
    ("city", pyarrow.string()),
    ("note", pyarrow.string()),
    ("small", pyarrow.int8()),
    ("unsigned", pyarrow.uint64()),
    ("price", pyarrow.decimal128(9, 2)),
    ("exact", pyarrow.decimal128(38, 3)),
    ("ratio", pyarrow.float64()),
    ("single", pyarrow.float32()),
    ("open", pyarrow.bool_()),
    ("day", pyarrow.date32()),
    ("local", pyarrow.timestamp("ms")),
    ("at", pyarrow.timestamp("us", tz="UTC")),
    ("raw", pyarrow.binary()),
    ("nothing", pyarrow.int32()),
])


def shown(name, value):
    if value is None:
        return ""
    if name == "local":
        text = value.isoformat(timespec="milliseconds")
        return text[:-4] if text.endswith(".000") else text
    if name == "at":
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.hex() if isinstance(value, bytes) else value


def main():
    made = list(rows(random.Random(7)))
    with open("types.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(made[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: shown(name, value) for name, value in row.items()} for row in made)
    table = pyarrow.Table.from_pylist(made, schema=SCHEMA)
    for name, options in {
        # What pyarrow and pandas write when nothing is said: snappy, dictionaries.
        "snappy": {},
        "gzip-v2": {"compression": "gzip", "data_page_version": "2.0", "data_page_size": 2048},
        "none-plain": {"compression": "none", "use_dictionary": False},
    }.items():
        pyarrow.parquet.write_table(table, f"{name}.parquet", row_group_size=150, **options)

    few = pyarrow.table({"n": pyarrow.array([1, 2, 3], pyarrow.int64())})
    pyarrow.parquet.write_table(few, "zstd.parquet", compression="zstd")
    delta = {"n": "DELTA_BINARY_PACKED"}
    pyarrow.parquet.write_table(few, "delta.parquet", use_dictionary=False, column_encoding=delta)
    nested = pyarrow.table({"n": pyarrow.array([[1], [2, 3]], pyarrow.list_(pyarrow.int64()))})
    pyarrow.parquet.write_table(nested, "nested.parquet")
    moments = pyarrow.table({"n": pyarrow.array([0], pyarrow.timestamp("ns"))})
    pyarrow.parquet.write_table(moments, "int96.parquet", use_deprecated_int96_timestamps=True)


main()
