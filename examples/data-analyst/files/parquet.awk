# Makes a Parquet file of CSV without quotes, whose first line names the columns:
#
#   printf "$(LC_ALL=C awk -v types=utf8,date,int32,int64,double -v rows=24 -f parquet.awk < a.csv)" > a.parquet
#
# What it prints are octal escapes, because not every awk can print a byte of zero; `printf` makes bytes of them.
# `rows` is how many go into one row group. The file is the plainest there is: one page a column and row group,
# values as they are, neither compressed nor null. It is written after the description of the format,
# https://github.com/apache/parquet-format, whose footer is Thrift's compact protocol.
#
# A string of escapes has four characters a byte; `size` counts the bytes.

function byte(value) { return escapes[value] }
function size(escaped) { return length(escaped) / 4 }

function text(value, i, escaped) {
    for (i = 1; i <= length(value); i++)
        escaped = escaped byte(ordinals[substr(value, i, 1)])
    return escaped
}

# The lowest `count` bytes of a whole number, the lowest first; exact up to 2^53.
function little(value, count, escaped, low) {
    while (count-- > 0) {
        low = ((value % 256) + 256) % 256
        escaped = escaped byte(low)
        value = (value - low) / 256
    }
    return escaped
}

# The eight bytes of an IEEE 754 double.
function double(value, sign, exponent, fraction) {
    if (value == 0) return little(0, 8)
    sign = value < 0
    if (sign) value = -value
    for (exponent = 1023; value >= 2; exponent++) value /= 2
    for (; value < 1; exponent--) value *= 2
    # 52 bits of fraction, of which the highest four share a byte with the exponent.
    fraction = (value - 1) * 4503599627370496
    return little(fraction % 281474976710656, 6) \
        little(int(fraction / 281474976710656) + exponent * 16 + sign * 32768, 2)
}

# Days from 1970-01-01 to a date yyyy-mm-dd: years begin in March, so that a leap day is a year's last.
function days(date, parts, year, month) {
    split(date, parts, "-")
    year = parts[1] - (parts[2] <= 2)
    month = (parts[2] + 9) % 12
    return year * 365 + int(year / 4) - int(year / 100) + int(year / 400) \
        + int((153 * month + 2) / 5) + parts[3] - 1 - 719468
}

function value_of(type, value) {
    if (type == "utf8") return little(length(value), 4) text(value)
    if (type == "date") return little(days(value), 4)
    if (type == "int32") return little(value, 4)
    if (type == "int64") return little(value, 8)
    return double(value)
}

# Thrift. A field is a byte, its distance from the field before in the upper half and its type in the lower one,
# and its value; numbers are zigzag varints. Types: 5 is an i32, 6 an i64, 8 a binary, 9 a list, 12 a struct.

function varint(value, escaped) {
    for (; value >= 128; value = int(value / 128))
        escaped = escaped byte(128 + value % 128)
    return escaped byte(value)
}
function field(distance, type, value) { return byte(distance * 16 + type) value }
function i32(distance, value) { return field(distance, 5, varint(2 * value)) }
function i64(distance, value) { return field(distance, 6, varint(2 * value)) }
function binary(value) { return varint(length(value)) text(value) }
function list(type, count, members) { return (count < 15 ? byte(count * 16 + type) : byte(240 + type) varint(count)) members }
function struct(fields) { return fields byte(0) }

# Parquet's numbers. Physical types: 1 is INT32, 2 is INT64, 5 is DOUBLE, 6 is BYTE_ARRAY. Converted types: 0 is UTF8,
# 6 is DATE; logical types: a union whose field 1 is STRING and whose field 6 is DATE.

function element(name, type) {
    return struct(i32(1, physical[type]) i32(2, 0) field(1, 8, binary(name)) \
        (type == "utf8" ? i32(2, 0) field(4, 12, struct(field(1, 12, struct("")))) : \
         type == "date" ? i32(2, 6) field(4, 12, struct(field(6, 12, struct("")))) : ""))
}

# A data page: page type 0, sizes, then how many values, in encoding 0 (PLAIN), levels in encoding 3 (RLE).
function page(values, count) {
    return struct(i32(1, 0) i32(1, size(values)) i32(1, size(values)) \
        field(2, 12, struct(i32(1, count) i32(1, 0) i32(1, 3) i32(1, 3)))) values
}

# A column of a row group: codec 0 is UNCOMPRESSED.
function chunk(name, type, count, bytes, offset) {
    return struct(i64(2, 0) field(1, 12, struct(i32(1, physical[type]) field(1, 9, list(5, 1, varint(0))) \
        field(1, 9, list(8, 1, binary(name))) i32(1, 0) i64(1, count) i64(1, bytes) i64(1, bytes) i64(2, offset))))
}

# Writes the rows that are waiting as a row group, and keeps what the footer says of it.
function flush(column, written, chunks, bytes) {
    for (column = 1; column <= width; column++) {
        written = page(waiting[column], waiting_rows)
        chunks = chunks chunk(names[column], kinds[column], waiting_rows, size(written), position)
        bytes += size(written)
        position += size(written)
        waiting[column] = ""
        printf "%s", written
    }
    groups = groups struct(field(1, 9, list(12, width, chunks)) i64(1, bytes) i64(1, waiting_rows))
    groups_count++
    total += waiting_rows
    waiting_rows = 0
}

BEGIN {
    FS = ","
    for (i = 0; i < 256; i++) {
        escapes[i] = sprintf("\\%03o", i)
        if (i > 0) ordinals[sprintf("%c", i)] = i
    }
    physical["int32"] = physical["date"] = 1
    physical["int64"] = 2
    physical["double"] = 5
    physical["utf8"] = 6
    width = split(types, kinds, ",")
    if (rows < 1) rows = 1000
    printf "%s", text("PAR1")
    position = 4
}

NR == 1 {
    for (column = 1; column <= width; column++) {
        names[column] = $column
        elements = elements element($column, kinds[column])
    }
    next
}

{
    for (column = 1; column <= width; column++)
        waiting[column] = waiting[column] value_of(kinds[column], $column)
    if (++waiting_rows == rows) flush()
}

END {
    if (waiting_rows > 0) flush()
    root = struct(field(4, 8, binary("schema")) i32(1, width))
    footer = struct(i32(1, 1) field(1, 9, list(12, width + 1, root elements)) i64(1, total) \
        field(1, 9, list(12, groups_count, groups)) field(2, 8, binary("data-analyst example")))
    printf "%s%s%s", footer, little(size(footer), 4), text("PAR1")
}
