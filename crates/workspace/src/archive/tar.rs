//! Tar, after POSIX.1-2017 (`pax`, "ustar Interchange Format") and the GNU manual ("Basic Tar Format").

use std::io::Read;

use super::guard::Guard;
use super::{Entry, EntryKind, unreadable};
use crate::manifest::Time;
use crate::{Error, ErrorKind};

const BLOCK: usize = 512;

/// Bytes of an extended header or a long name: paths are shorter, and other records are ignored.
const EXTENDED_BYTES_MAX: u64 = 64 * 1024;

/// What an extended header says of the entry that follows.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    modified: Option<Time>,
}

pub(super) fn read(
    mut archive: impl Read,
    guard: &mut Guard,
    visit: &mut dyn FnMut(&Entry, &mut dyn Read) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut extended = Extended::default();
    loop {
        let mut header = [0; BLOCK];
        archive.read_exact(&mut header).map_err(|error| unreadable(&error))?;
        if header == [0; BLOCK] {
            return Ok(());
        }
        check_sum(&header)?;
        let size = match extended.size {
            Some(size) => size,
            None => number(&header[124..136])?,
        };
        match header[156] {
            b'x' => pax(&body(&mut archive, size)?, &mut extended)?,
            b'L' => extended.path = Some(text(&body(&mut archive, size)?).to_vec()),
            b'K' => extended.link = Some(text(&body(&mut archive, size)?).to_vec()),
            // Comments for all entries, as git writes them.
            b'g' => _ = body(&mut archive, size)?,
            kind => {
                let Some(entry) = entry(&header, kind, size, std::mem::take(&mut extended))? else {
                    continue;
                };
                guard.admit(&entry)?;
                let size = if matches!(entry.kind, EntryKind::File { .. }) { size } else { 0 };
                file(&mut archive, size, |reader| visit(&entry, reader))
                    .map_err(|error| error.at(&entry.path))?;
            }
        }
    }
}

/// The entry of a header; none for the root.
fn entry(header: &[u8; BLOCK], kind: u8, size: u64, extended: Extended) -> Result<Option<Entry>, Error> {
    let name = extended.path.unwrap_or_else(|| {
        let (name, prefix) = (text(&header[..100]), text(&header[345..500]));
        // The last field is something else in GNU's format.
        if &header[257..263] == b"ustar\0" && !prefix.is_empty() {
            [prefix, b"/", name].concat()
        } else {
            name.to_vec()
        }
    });
    let path = Guard::path(&name)?;
    let refuse = |why| Err(Error::from(ErrorKind::Archive(why)).at(&path));
    let kind = match kind {
        // Before POSIX a directory was a file whose name ends so.
        b'0' | b'\0' | b'7' if name.ends_with(b"/") => EntryKind::Directory,
        b'0' | b'\0' | b'7' => EntryKind::File { size },
        b'5' => EntryKind::Directory,
        b'2' => EntryKind::Link { target: extended.link.unwrap_or_else(|| text(&header[157..257]).to_vec()) },
        b'1' => return refuse("it has a hard link"),
        b'3' | b'4' => return refuse("it has a device"),
        b'6' => return refuse("it has a fifo"),
        _ => return refuse("it has an entry of a kind that is not supported"),
    };
    if path.is_root() {
        return if kind == EntryKind::Directory { Ok(None) } else { refuse("it has a file without a name") };
    }
    if size != 0 && !matches!(kind, EntryKind::File { .. }) {
        return refuse("it has bytes where there can be none");
    }
    let modified = match extended.modified {
        Some(modified) => modified,
        None => Time { seconds: number(&header[136..148])?.min(i64::MAX as u64) as i64, nanoseconds: 0 },
    };
    let mode = (number(&header[100..108])? & 0o777) as u16;
    Ok(Some(Entry { path, kind, mode: mode | 0o600, modified: Some(modified) }))
}

/// Lets `visit` read a file of `size` bytes, and reads on to the end of its last block.
fn file(
    archive: &mut impl Read,
    size: u64,
    visit: impl FnOnce(&mut dyn Read) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut bytes = archive.by_ref().take(size);
    visit(&mut bytes)?;
    let left = bytes.limit() + padding(size);
    let skipped =
        std::io::copy(&mut archive.take(left), &mut std::io::sink()).map_err(|error| unreadable(&error))?;
    if skipped < left {
        return Err(ErrorKind::Archive("it ends too early").into());
    }
    Ok(())
}

/// The bytes of an extended header.
fn body(archive: &mut impl Read, size: u64) -> Result<Vec<u8>, Error> {
    if size > EXTENDED_BYTES_MAX {
        return Err(ErrorKind::Archive("an extended header of more than 64 KiB").into());
    }
    let mut bytes = Vec::new();
    file(archive, size, |reader| {
        reader.read_to_end(&mut bytes).map(drop).map_err(|error| unreadable(&error))
    })?;
    if (bytes.len() as u64) < size {
        return Err(ErrorKind::Archive("it ends too early").into());
    }
    Ok(bytes)
}

/// Records of the form `<length> <key>=<value>\n`.
fn pax(mut rest: &[u8], extended: &mut Extended) -> Result<(), Error> {
    let bad = || Error::from(ErrorKind::Archive("an extended header that is damaged"));
    while !rest.is_empty() {
        let space = rest.iter().position(|byte| *byte == b' ').ok_or_else(bad)?;
        let length: usize =
            decimal(&rest[..space]).and_then(|length| length.try_into().ok()).ok_or_else(bad)?;
        let (record, after) = rest.split_at_checked(length).ok_or_else(bad)?;
        let record = record.get(space + 1..).and_then(|record| record.strip_suffix(b"\n")).ok_or_else(bad)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(bad)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        match key {
            b"path" => extended.path = Some(value.to_vec()),
            b"linkpath" => extended.link = Some(value.to_vec()),
            b"size" => extended.size = Some(decimal(value).ok_or_else(bad)?),
            b"mtime" => extended.modified = Some(moment(value).ok_or_else(bad)?),
            _ => {}
        }
        rest = after;
    }
    Ok(())
}

/// Seconds with or without a fraction, and a sign if they are before 1970.
fn moment(value: &[u8]) -> Option<Time> {
    let (whole, fraction) = match value.iter().position(|byte| *byte == b'.') {
        Some(point) => (&value[..point], &value[point + 1..]),
        None => (value, &b""[..]),
    };
    let (negative, whole) = whole.strip_prefix(b"-").map_or((false, whole), |whole| (true, whole));
    let seconds = i64::try_from(decimal(whole)?).ok()?;
    let mut digits = [b'0'; 9];
    for (digit, from) in digits.iter_mut().zip(fraction) {
        *digit = *from;
    }
    let nanoseconds = decimal(&digits)? as u32;
    Some(match (negative, nanoseconds) {
        (false, _) => Time { seconds, nanoseconds },
        (true, 0) => Time { seconds: -seconds, nanoseconds },
        (true, _) => Time { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// A number in octal digits, or in GNU's base 256.
fn number(field: &[u8]) -> Result<u64, Error> {
    let bad = || Error::from(ErrorKind::Archive("a header that is damaged"));
    if let Some((0x80, rest)) = field.split_first() {
        let (high, low) = rest.split_last_chunk::<8>().map_or((rest, [0; 8]), |(high, low)| (high, *low));
        return if high.iter().all(|byte| *byte == 0) { Ok(u64::from_be_bytes(low)) } else { Err(bad()) };
    }
    let digits = field.iter().skip_while(|byte| **byte == b' ').take_while(|byte| !matches!(byte, b' ' | 0));
    let mut sum = 0u64;
    for digit in digits {
        if !(b'0'..=b'7').contains(digit) || sum >> 60 != 0 {
            return Err(bad());
        }
        sum = sum << 3 | u64::from(digit - b'0');
    }
    Ok(sum)
}

/// The sum of a header's bytes, its own field counted as spaces.
pub(super) fn sum(header: &[u8; BLOCK]) -> u64 {
    let own = 148..156;
    header.iter().enumerate().map(|(at, byte)| if own.contains(&at) { 32 } else { u64::from(*byte) }).sum()
}

fn check_sum(header: &[u8; BLOCK]) -> Result<(), Error> {
    if number(&header[148..156])? == sum(header) {
        return Ok(());
    }
    Err(ErrorKind::Archive("a header that is damaged").into())
}

/// A field up to its first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Bytes from the end of a file to the end of its last block.
pub(super) fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}
