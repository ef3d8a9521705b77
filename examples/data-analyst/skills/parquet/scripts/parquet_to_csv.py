#!/usr/bin/env python3
"""Prints a Parquet file as CSV, with nothing but Python's standard library.

    parquet_to_csv.py FILE              all rows, in the file's order
    parquet_to_csv.py FILE NAME ...     these columns alone
    parquet_to_csv.py --schema FILE     what the columns hold, and how many rows there are

A null is an empty field; dates and times are written as ISO 8601; bytes that are no text as hexadecimal. What it cannot
read (nested columns, other compression than snappy and gzip, the delta encodings) it says on standard error and exits
with 1, as for a file that is damaged: it never prints a value that it had to guess.

The format is described at https://github.com/apache/parquet-format; names below are those of its `parquet.thrift`.
"""

import csv
import datetime
import os
import struct
import sys
import zlib

MAGIC = b"PAR1"
# What a file may ask for: a page that claims more is damaged, or no work for this program.
PAGE_BYTES_MAX = 256 * 1024 * 1024
VALUES_MAX = 50_000_000
NESTING_MAX = 16
# 256 bits, which is the widest decimal that is written; it has 76 digits.
DECIMAL_BYTES_MAX = 32
DECIMAL_DIGITS_MAX = 76

BOOLEAN, INT32, INT64, INT96, FLOAT, DOUBLE, BYTE_ARRAY, FIXED_LEN_BYTE_ARRAY = range(8)
PHYSICAL = ["BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"]
CODECS = ["UNCOMPRESSED", "SNAPPY", "GZIP", "LZO", "BROTLI", "LZ4", "ZSTD", "LZ4_RAW"]
ENCODINGS = {
    0: "PLAIN", 2: "PLAIN_DICTIONARY", 3: "RLE", 4: "BIT_PACKED", 5: "DELTA_BINARY_PACKED",
    6: "DELTA_LENGTH_BYTE_ARRAY", 7: "DELTA_BYTE_ARRAY", 8: "RLE_DICTIONARY", 9: "BYTE_STREAM_SPLIT",
}
PLAIN, PLAIN_DICTIONARY, RLE, RLE_DICTIONARY = 0, 2, 3, 8
DATA_PAGE, INDEX_PAGE, DICTIONARY_PAGE, DATA_PAGE_V2 = range(4)
REQUIRED, OPTIONAL, REPEATED = range(3)
EPOCH = datetime.datetime(1970, 1, 1)


class Refused(Exception):
    """Why a file is not read: it is damaged, or it holds what this program does not know."""


def damaged(what):
    return Refused(f"the file is damaged: {what}")


def main(arguments):
    try:
        if arguments[:1] == ["--schema"] and len(arguments) == 2:
            describe(File(arguments[1]), sys.stdout)
        elif arguments and not arguments[0].startswith("-"):
            to_csv(File(arguments[0]), arguments[1:], sys.stdout)
        else:
            sys.exit(__doc__)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads has read enough, as `head` does; nothing is left to be written when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (Refused, OSError) as error:
        sys.exit(f"parquet_to_csv: {error}")


def describe(file, out):
    for column in file.columns:
        print(f"{column.name}: {column.kind()}", file=out)
    print(f"{file.rows} rows", file=out)


def to_csv(file, names, out):
    known = {column.name: column for column in file.columns}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise Refused(f"there is no column `{unknown[0]}`; the columns are {', '.join(known)}")
    columns = [known[name] for name in names] or file.columns
    groups = (zip(*[file.values(group, column) for column in columns]) for group in file.row_groups())
    # Before anything is printed: what is not supported shows in the first group.
    first = next(groups, ())
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([column.name for column in columns])
    writer.writerows(first)
    for rows in groups:
        writer.writerows(rows)


class File:
    """A file's footer, and from there the values of each column in each row group."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.bytes = file.read()
        if self.bytes[:4] != MAGIC or self.bytes[-4:] != MAGIC or len(self.bytes) < 12:
            if self.bytes[-4:] == b"PARE":
                raise Refused("the file is encrypted, which is not supported")
            raise Refused("this is no Parquet file, or its end is missing")
        length = int.from_bytes(self.bytes[-8:-4], "little")
        if length > len(self.bytes) - 12:
            raise damaged("its footer is longer than the file")
        footer = Cursor(self.bytes, len(self.bytes) - 8 - length, len(self.bytes) - 8).struct()
        self.rows = whole(footer, 3)
        self.groups = member(footer, 4, list)
        self.columns = columns_of(member(footer, 2, list))

    def row_groups(self):
        seen = 0
        for group in self.groups:
            if not isinstance(group, dict) or len(member(group, 1, list)) != len(self.columns):
                raise damaged("a row group does not have every column")
            seen += whole(group, 3)
            yield group
        if seen != self.rows:
            raise damaged("its row groups do not hold as many rows as it says")

    def values(self, group, column):
        """The values of a column in a row group, a null as None, as they go into CSV."""
        rows = whole(group, 3)
        if not 0 <= rows <= VALUES_MAX:
            raise Refused(f"a row group has {rows} rows; {VALUES_MAX} are the most")
        chunk = member(group, 1, list)[column.index]
        about = member(chunk, 3, dict) if isinstance(chunk, dict) else {}
        if whole(about, 1) != column.physical:
            raise damaged(f"`{column.name}` has another type in a row group")
        codec, left = whole(about, 4), whole(about, 5)
        if left != rows:
            raise damaged(f"`{column.name}` has more or fewer values than the rows of its group")
        # Some writers leave the dictionary's offset out, or write 0.
        at = whole(about, 11) if about.get(11) else whole(about, 9)
        end = at + whole(about, 7)
        if not 0 < at <= end <= len(self.bytes):
            raise damaged(f"`{column.name}` lies outside of the file")
        pages, dictionary, values = Cursor(self.bytes, at, end), None, []
        while len(values) < rows:
            header = pages.struct()
            body, packed = whole(header, 2), whole(header, 3)
            if not 0 <= body <= PAGE_BYTES_MAX:
                raise damaged(f"a page of `{column.name}` has {body} bytes")
            page, kind = pages.take(packed), whole(header, 1)
            if kind == DICTIONARY_PAGE:
                about_page = member(header, 7, dict)
                cursor = Cursor(unpacked(codec, page, body))
                dictionary = column.plain(cursor, counted(about_page, VALUES_MAX))
            elif kind == DATA_PAGE:
                about_page = member(header, 5, dict)
                count = counted(about_page, rows - len(values))
                cursor, present = Cursor(unpacked(codec, page, body)), None
                if column.optional:
                    if whole(about_page, 3) != RLE:
                        raise unsupported_encoding(column, whole(about_page, 3))
                    present = hybrid(Cursor(cursor.take(cursor.little(4))), 1, count)
                values += column.page(cursor, whole(about_page, 2), count, present, dictionary)
            elif kind == DATA_PAGE_V2:
                about_page = member(header, 8, dict)
                count = counted(about_page, rows - len(values))
                # Levels lie in front of the values, without a length and never compressed.
                cursor = Cursor(page)
                cursor.take(whole(about_page, 6))
                levels = cursor.take(whole(about_page, 5))
                present = hybrid(Cursor(levels), 1, count) if column.optional else None
                length = body - cursor.at
                rest = cursor.take(cursor.left())
                if about_page.get(7, True):
                    rest = unpacked(codec, rest, length)
                values += column.page(Cursor(rest), whole(about_page, 4), count, present, dictionary)
            elif kind != INDEX_PAGE:
                raise damaged(f"`{column.name}` has a page of an unknown kind")
        if len(values) != rows:
            raise damaged(f"the pages of `{column.name}` hold more values than its group has rows")
        return values


def columns_of(elements):
    """The columns of a schema, which is a tree in depth-first order; here a root and its leaves alone."""
    if not elements or not all(isinstance(element, dict) for element in elements):
        raise damaged("it has no schema")
    root, leaves = elements[0], elements[1:]
    columns = []
    for element in leaves:
        name = member(element, 4, bytes).decode("utf-8", "replace")
        if element.get(5) or element.get(3) == REPEATED or 1 not in element:
            raise Refused(f"the column `{name}` is nested, which is not supported")
        columns.append(Column(name, len(columns), element))
    if whole(root, 5) != len(columns):
        raise damaged("its schema is cut off")
    return columns


class Column:
    """A column: how its values are written, and what they mean."""

    def __init__(self, name, index, element):
        self.name, self.index = name, index
        self.physical = whole(element, 1)
        if not 0 <= self.physical < len(PHYSICAL):
            raise damaged(f"`{name}` has an unknown type")
        self.width = whole(element, 2) if self.physical == FIXED_LEN_BYTE_ARRAY else 0
        if not 0 <= self.width <= PAGE_BYTES_MAX:
            raise damaged(f"`{name}` has values of {self.width} bytes")
        self.optional = element.get(3) == OPTIONAL
        self.meaning, self.detail = meaning(name, self.physical, element)

    def kind(self):
        null = ", may be null" if self.optional else ""
        return f"{self.meaning} ({PHYSICAL[self.physical]}){null}"

    def page(self, cursor, encoding, count, present, dictionary):
        """`count` values of a data page, of which only those that are `present` are written."""
        written = count if present is None else sum(present)
        if encoding == PLAIN:
            values = self.plain(cursor, written)
        elif encoding in (PLAIN_DICTIONARY, RLE_DICTIONARY):
            if dictionary is None:
                raise damaged(f"`{self.name}` has a page without its dictionary")
            indices = hybrid(cursor, cursor.little(1), written) if written else []
            if indices and max(indices) >= len(dictionary):
                raise damaged(f"`{self.name}` names a value that its dictionary does not have")
            values = [dictionary[index] for index in indices]
        elif encoding == RLE and self.physical == BOOLEAN:
            bits = hybrid(Cursor(cursor.take(cursor.little(4))), 1, written)
            values = [self.shown(bool(bit)) for bit in bits]
        else:
            raise unsupported_encoding(self, encoding)
        if present is None:
            return values
        following = iter(values)
        return [next(following) if level else None for level in present]

    def plain(self, cursor, count):
        """`count` values in the encoding PLAIN."""
        if self.physical == BOOLEAN:
            bits = int.from_bytes(cursor.take((count + 7) // 8), "little")
            values = [bool(bits >> index & 1) for index in range(count)]
        elif self.physical == BYTE_ARRAY:
            values = [cursor.take(cursor.little(4)) for _ in range(count)]
        elif self.physical == FIXED_LEN_BYTE_ARRAY:
            values = [cursor.take(self.width) for _ in range(count)]
        else:
            form = {INT32: "i", INT64: "q", FLOAT: "f", DOUBLE: "d"}[self.physical]
            values = struct.unpack(f"<{count}{form}", cursor.take(count * struct.calcsize(f"<{form}")))
        return [self.shown(value) for value in values]

    def shown(self, value):
        """A value as it goes into CSV."""
        if self.meaning == "text":
            try:
                return value.decode("utf-8")
            except UnicodeDecodeError:
                raise damaged(f"a text of `{self.name}` is not UTF-8") from None
        if self.meaning == "boolean":
            return "true" if value else "false"
        if self.meaning == "unsigned":
            return value % (1 << (32 if self.physical == INT32 else 64))
        if self.meaning == "decimal":
            if isinstance(value, bytes):
                if len(value) > DECIMAL_BYTES_MAX:
                    raise damaged(f"a decimal of `{self.name}` has {len(value)} bytes")
                value = int.from_bytes(value, "big", signed=True)
            digits = str(abs(value)).rjust(self.detail + 1, "0")
            point = len(digits) - self.detail
            fraction = f".{digits[point:]}" if self.detail else ""
            return f"{'-' if value < 0 else ''}{digits[:point]}{fraction}"
        if self.meaning == "date":
            return moment(self.name, value, 86_400)[:10]
        if self.meaning in ("moment", "local time"):
            digits, zone = self.detail
            seconds, fraction = divmod(value, 10**digits)
            text = moment(self.name, seconds, 1)
            return f"{text}.{fraction:0{digits}d}{zone}" if fraction else text + zone
        if self.meaning == "single":
            return shortest(value)
        return value.hex() if isinstance(value, bytes) else value


def meaning(name, physical, element):
    """What the values of a column mean, and a detail of it. What is not known is refused: a number without its
    meaning would be a wrong number."""
    logical, converted = element.get(10) or {}, element.get(6)
    if not isinstance(logical, dict):
        raise damaged(f"the type of `{name}`")
    kind = next(iter(logical), None)
    texts, numbers = (BYTE_ARRAY,), (INT32, INT64)
    if kind in (1, 4, 12) or kind is None and converted in (0, 4, 19):
        found = "text", None, texts
    elif kind == 6 or kind is None and converted == 6:
        found = "date", None, (INT32,)
    elif kind == 8:
        about = member(logical, 8, dict)
        digits = {1: 3, 2: 6, 3: 9}.get(next(iter(member(about, 2, dict)), None))
        if digits is None:
            raise Refused(f"the unit of the times in `{name}` is not known")
        zone = "Z" if about.get(1) else ""
        found = "moment" if zone else "local time", (digits, zone), (INT64,)
    elif kind is None and converted in (9, 10):
        found = "moment", (3 if converted == 9 else 6, "Z"), (INT64,)
    elif kind == 5 or kind is None and converted == 5:
        scale = whole(member(logical, 5, dict), 1) if kind == 5 else whole({7: 0, **element}, 7)
        if not 0 <= scale <= DECIMAL_DIGITS_MAX:
            raise damaged(f"`{name}` has decimals with {scale} digits")
        found = "decimal", scale, (INT32, INT64, BYTE_ARRAY, FIXED_LEN_BYTE_ARRAY)
    elif kind == 10:
        signed = member(logical, 10, dict).get(2)
        found = "integer" if signed else "unsigned", None, numbers
    elif kind is None and converted in (11, 12, 13, 14):
        found = "unsigned", None, numbers
    elif kind in (None, 11) and converted in (None, 15, 16, 17, 18) and physical != INT96:
        plain = {BOOLEAN: "boolean", INT32: "integer", INT64: "integer", FLOAT: "single", DOUBLE: "number"}
        return plain.get(physical, "bytes"), None
    elif kind == 14:
        found = "bytes", None, (FIXED_LEN_BYTE_ARRAY,)
    else:
        raise Refused(f"the type of `{name}` is not supported ({PHYSICAL[physical]}, logical type {kind}, {converted})")
    if physical not in found[2]:
        raise damaged(f"`{name}` cannot be {found[0]} in {PHYSICAL[physical]}")
    return found[:2]


def moment(name, value, unit_seconds):
    try:
        return (EPOCH + datetime.timedelta(seconds=value * unit_seconds)).isoformat()
    except OverflowError:
        raise Refused(f"a date of `{name}` is beyond the years 1 to 9999") from None


def shortest(value):
    """The shortest decimal that is this single: as a double it would show digits that nobody wrote."""
    for digits in range(1, 10):
        text = f"{value:.{digits}g}"
        try:
            if struct.pack("<f", float(text)) == struct.pack("<f", value):
                return float(text)
        except OverflowError:
            continue
    return value


def unpacked(codec, data, length):
    """The bytes of a page before they were compressed, `length` of them."""
    if codec == 0:
        plain = data
    elif codec == 1:
        plain = snappy(data, length)
    elif codec == 2:
        try:
            # 47: the header says whether it is gzip or zlib.
            plain = zlib.decompressobj(47).decompress(data, length + 1) if length >= 0 else b""
        except zlib.error as error:
            raise damaged(f"a page ({error})") from None
    else:
        name = CODECS[codec] if 0 <= codec < len(CODECS) else codec
        raise Refused(
            f"the compression {name} is not supported; snappy, gzip and none are. Write the file anew, for example "
            "with compression='snappy'"
        )
    if len(plain) != length:
        raise damaged("a page has another length than it says")
    return plain


def snappy(data, length):
    """Snappy's raw format: the length, then literals and copies of what was written before."""
    cursor, out = Cursor(data), bytearray()
    if cursor.varint() != length:
        raise damaged("a page has another length than it says")
    while len(out) < length:
        tag = cursor.little(1)
        if tag & 3 == 0:
            size = tag >> 2
            if size >= 60:
                size = cursor.little(size - 59)
            out += cursor.take(size + 1)
            continue
        if tag & 3 == 1:
            size, back = (tag >> 2 & 7) + 4, (tag >> 5) << 8 | cursor.little(1)
        else:
            size, back = (tag >> 2) + 1, cursor.little(2 if tag & 3 == 2 else 4)
        if not 0 < back <= len(out):
            raise damaged("a page copies what is not there")
        start = len(out) - back
        # A copy may reach into itself, which repeats what is between.
        pattern = out[start:start + size]
        out += (pattern * (size // len(pattern) + 1))[:size]
    return bytes(out)


def hybrid(cursor, width, count):
    """`count` numbers of `width` bits: runs of one value, and groups of eight that are packed."""
    if width > 32:
        raise damaged(f"numbers of {width} bits")
    numbers, mask = [], (1 << width) - 1
    while len(numbers) < count:
        header = cursor.varint()
        if header & 1:
            packed = cursor.take(min((header >> 1) * width, cursor.left()))
            most = len(packed) * 8 // width if width else (header >> 1) * 8
            some = min(most, count - len(numbers))
            if not some:
                raise damaged("a page ends too early")
            numbers += unpack(packed, width, some) if width else [0] * some
        else:
            value = cursor.little((width + 7) // 8) & mask
            some = min(header >> 1, count - len(numbers))
            if not some:
                raise damaged("an empty run")
            numbers += [value] * some
    return numbers


def unpack(packed, width, count):
    """`count` numbers of `width` bits, eight after the other in as many bytes as they have bits."""
    numbers, mask = [], (1 << width) - 1
    for start in range(0, len(packed), width):
        bits = int.from_bytes(packed[start:start + width], "little")
        numbers += [bits >> shift & mask for shift in range(0, 8 * width, width)]
    return numbers[:count]


def counted(about_page, most):
    """How many values a page has."""
    count = whole(about_page, 1)
    if not 0 <= count <= most:
        raise damaged(f"a page has {count} values, which is more than there is room for")
    return count


def unsupported_encoding(column, encoding):
    name = ENCODINGS.get(encoding, encoding)
    return Refused(f"the encoding {name} of `{column.name}` is not supported; PLAIN and dictionaries are")


def member(fields, number, kind):
    value = fields.get(number)
    if not isinstance(value, kind) or kind is int and isinstance(value, bool):
        raise damaged(f"a field {number} is missing or of another type")
    return value


def whole(fields, number):
    return member(fields, number, int)


class Cursor:
    """Reads forward in bytes and not beyond their end."""

    def __init__(self, data, at=0, end=None):
        self.data, self.at, self.end = data, at, len(data) if end is None else end

    def left(self):
        return self.end - self.at

    def take(self, count):
        if not 0 <= count <= self.left():
            raise damaged("something ends too early")
        self.at += count
        return self.data[self.at - count:self.at]

    def little(self, count):
        return int.from_bytes(self.take(count), "little")

    def varint(self):
        value = 0
        for shift in range(0, 70, 7):
            byte = self.little(1)
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise damaged("a number is too long")

    def zigzag(self):
        value = self.varint()
        return value >> 1 ^ -(value & 1)

    def struct(self, depth=0):
        """A struct of Thrift's compact protocol: its values by the numbers of their fields."""
        fields, number = {}, 0
        while True:
            head = self.little(1)
            if head == 0:
                return fields
            number = number + (head >> 4) if head >> 4 else self.zigzag()
            kind = head & 15
            # A field that is true or false has its value in its type.
            fields[number] = kind == 1 if kind in (1, 2) else self.value(kind, depth + 1)

    def value(self, kind, depth):
        if depth > NESTING_MAX:
            raise damaged("its footer is too deep")
        if kind in (1, 2):
            return self.little(1) == 1
        if kind == 3:
            return int.from_bytes(self.take(1), "little", signed=True)
        if kind in (4, 5, 6):
            return self.zigzag()
        if kind == 7:
            return struct.unpack("<d", self.take(8))[0]
        if kind == 8:
            return self.take(self.varint())
        if kind in (9, 10):
            head = self.little(1)
            count = head >> 4 if head >> 4 < 15 else self.varint()
            # Whatever it holds takes a byte at least.
            if count > self.left():
                raise damaged("a list is longer than the file")
            return [self.value(head & 15, depth + 1) for _ in range(count)]
        if kind == 12:
            return self.struct(depth)
        raise damaged("its footer has an unknown type")


if __name__ == "__main__":
    main(sys.argv[1:])
