//! Zip, after PKWARE's APPNOTE 6.3.10. The central directory says what there is; local headers must agree.

use std::io::Read;

use flate2::Crc;
use flate2::bufread::DeflateDecoder;

use super::guard::Guard;
use super::{Entry, EntryKind, unreadable};
use crate::limits::LINK_BYTES_MAX;
use crate::{Error, ErrorKind};

const END: &[u8] = b"PK\x05\x06";
const END_64: &[u8] = b"PK\x06\x06";
const LOCATOR_64: &[u8] = b"PK\x06\x07";
const CENTRAL: &[u8] = b"PK\x01\x02";
const LOCAL: &[u8] = b"PK\x03\x04";

const END_BYTES: usize = 22;
const CENTRAL_BYTES: usize = 46;
const LOCAL_BYTES: usize = 30;

/// The comment at the end may be this long, so the end may be this far from the end.
const COMMENT_BYTES_MAX: usize = 65_535;

/// An entry as the central directory has it.
struct Central<'a> {
    name: &'a [u8],
    /// The upper half of the external attributes, where a Unix made the archive.
    unix_mode: Option<u32>,
    deflated: bool,
    crc: u32,
    packed: u64,
    size: u64,
    /// Where its bytes are in the archive.
    start: usize,
}

pub(super) fn read(
    archive: &[u8],
    guard: &mut Guard,
    visit: &mut dyn FnMut(&Entry, &mut dyn Read) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut ends = Vec::new();
    let (mut rest, count) = central_directory(archive)?;
    for _ in 0..count {
        let (central, after) = Central::read(archive, rest)?;
        rest = after;
        let path = Guard::path(central.name)?;
        let refuse = |why| Error::from(ErrorKind::Archive(why)).at(&path);
        let packed =
            usize::try_from(central.packed).ok().and_then(|length| central.start.checked_add(length));
        let end = packed.filter(|end| *end <= archive.len()).ok_or_else(|| refuse("it ends too early"))?;
        ends.push((central.start, end));
        let mut bytes = Checked {
            inner: reader(&central, &archive[central.start..end]),
            crc: Crc::new(),
            left: central.size,
            expected: central.crc,
        };
        let kind = central.kind(&mut bytes).map_err(|error| error.at(&path))?;
        if path.is_root() {
            if kind == EntryKind::Directory {
                continue;
            }
            return Err(refuse("it has a file without a name"));
        }
        let mode = central.unix_mode.map_or(0o644, |mode| (mode & 0o777) as u16) | 0o600;
        let entry = Entry { path, kind, mode, modified: None };
        guard.admit(&entry)?;
        let mut nothing = std::io::empty();
        let reader: &mut dyn Read =
            if matches!(entry.kind, EntryKind::File { .. }) { &mut bytes } else { &mut nothing };
        visit(&entry, reader).map_err(|error| error.at(&entry.path))?;
    }
    // Overlapping entries make an archive of kilobytes unpack to petabytes.
    ends.sort_unstable();
    if ends.array_windows().any(|[(_, end), (start, _)]| end > start) {
        return Err(ErrorKind::Archive("it has entries that overlap").into());
    }
    Ok(())
}

/// The central directory, and how many entries it has.
fn central_directory(archive: &[u8]) -> Result<(&[u8], u64), Error> {
    let bad = || Error::from(ErrorKind::Archive("it has no end, so it was cut off or is no zip"));
    let last = archive.len().checked_sub(END_BYTES).ok_or_else(bad)?;
    let first = last.saturating_sub(COMMENT_BYTES_MAX);
    let at = (first..=last).rev().find(|at| archive[*at..].starts_with(END)).ok_or_else(bad)?;
    let end = &archive[at..];
    let (mut count, mut start) = (u64::from(u16(end, 10)?), u64::from(u32(end, 16)?));
    if let Some(locator) = at.checked_sub(20).filter(|at| archive[*at..].starts_with(LOCATOR_64)) {
        let at = usize::try_from(u64(archive, locator + 8)?).map_err(|_| bad())?;
        let end = archive.get(at..).filter(|end| end.starts_with(END_64)).ok_or_else(bad)?;
        (count, start) = (u64(end, 32)?, u64(end, 48)?);
    }
    let start = usize::try_from(start).map_err(|_| bad())?;
    Ok((archive.get(start..at).ok_or_else(bad)?, count))
}

impl<'a> Central<'a> {
    fn read(archive: &'a [u8], bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
        if !bytes.starts_with(CENTRAL) {
            return Err(damaged());
        }
        let (name_length, extra_length) = (usize::from(u16(bytes, 28)?), usize::from(u16(bytes, 30)?));
        let name = slice(bytes, CENTRAL_BYTES, name_length)?;
        let extra = slice(bytes, CENTRAL_BYTES + name_length, extra_length)?;
        let length = CENTRAL_BYTES + name_length + extra_length + usize::from(u16(bytes, 32)?);
        let rest = bytes.get(length..).ok_or_else(damaged)?;
        if u16(bytes, 8)? & 1 != 0 {
            return Err(ErrorKind::Archive("it is encrypted").into());
        }
        let deflated = match u16(bytes, 10)? {
            0 => false,
            8 => true,
            _ => return Err(ErrorKind::Archive("it is packed by a method that is not supported").into()),
        };
        let mut wide = Wide::of(extra)?;
        let size = wide.or(u32(bytes, 24)?)?;
        let packed = wide.or(u32(bytes, 20)?)?;
        let offset = usize::try_from(wide.or(u32(bytes, 42)?)?).map_err(|_| damaged())?;
        let local = archive.get(offset..).filter(|local| local.starts_with(LOCAL)).ok_or_else(damaged)?;
        let local_name_length = usize::from(u16(local, 26)?);
        if slice(local, LOCAL_BYTES, local_name_length)? != name {
            return Err(ErrorKind::Archive("it names an entry in two ways").into());
        }
        let start = offset + LOCAL_BYTES + local_name_length + usize::from(u16(local, 28)?);
        if start > archive.len() {
            return Err(damaged());
        }
        let unix_mode = (bytes[5] == 3).then_some(u32(bytes, 38)? >> 16).filter(|mode| *mode != 0);
        Ok((Self { name, unix_mode, deflated, crc: u32(bytes, 16)?, packed, size, start }, rest))
    }

    fn kind(&self, bytes: &mut dyn Read) -> Result<EntryKind, Error> {
        let format = self.unix_mode.unwrap_or(0) & 0o170_000;
        match format {
            0o040_000 => Ok(EntryKind::Directory),
            _ if self.name.ends_with(b"/") => Ok(EntryKind::Directory),
            0 | 0o100_000 => Ok(EntryKind::File { size: self.size }),
            0o120_000 if self.size <= LINK_BYTES_MAX as u64 => {
                let mut target = Vec::new();
                bytes.read_to_end(&mut target).map_err(|error| unreadable(&error))?;
                Ok(EntryKind::Link { target })
            }
            0o120_000 => Err(ErrorKind::Archive("a link without a possible target").into()),
            _ => Err(ErrorKind::Archive("it has a device, a fifo or a socket").into()),
        }
    }
}

/// The 64-bit values of an entry, in the order in which the 32-bit ones are too small.
struct Wide<'a>(&'a [u8]);

impl<'a> Wide<'a> {
    fn of(mut extra: &'a [u8]) -> Result<Self, Error> {
        while extra.len() >= 4 {
            let length = usize::from(u16(extra, 2)?);
            if u16(extra, 0)? == 1 {
                return Ok(Self(slice(extra, 4, length)?));
            }
            extra = extra.get(4 + length..).ok_or_else(damaged)?;
        }
        Ok(Self(&[]))
    }

    fn or(&mut self, narrow: u32) -> Result<u64, Error> {
        if narrow != u32::MAX {
            return Ok(narrow.into());
        }
        let value = u64(self.0, 0)?;
        self.0 = &self.0[8..];
        Ok(value)
    }
}

fn reader<'a>(central: &Central<'_>, packed: &'a [u8]) -> Box<dyn Read + 'a> {
    if central.deflated { Box::new(DeflateDecoder::new(packed)) } else { Box::new(packed) }
}

/// The bytes of an entry: as many as announced, with the sum that was announced, or an error.
struct Checked<'a> {
    inner: Box<dyn Read + 'a>,
    crc: Crc,
    left: u64,
    expected: u32,
}

impl Read for Checked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let damaged = || std::io::Error::from(std::io::ErrorKind::InvalidData);
        let read = self.inner.read(buffer)?;
        self.crc.update(&buffer[..read]);
        self.left = self.left.checked_sub(read as u64).ok_or_else(damaged)?;
        let ended = read == 0 && !buffer.is_empty();
        if ended && (self.left > 0 || self.crc.sum() != self.expected) {
            return Err(damaged());
        }
        Ok(read)
    }
}

fn damaged() -> Error {
    ErrorKind::Archive("it is damaged").into()
}

fn slice(bytes: &[u8], at: usize, length: usize) -> Result<&[u8], Error> {
    bytes.get(at..).and_then(|bytes| bytes.get(..length)).ok_or_else(damaged)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Error> {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk()).copied().ok_or_else(damaged)
}

fn u16(bytes: &[u8], at: usize) -> Result<u16, Error> {
    array(bytes, at).map(u16::from_le_bytes)
}

fn u32(bytes: &[u8], at: usize) -> Result<u32, Error> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn u64(bytes: &[u8], at: usize) -> Result<u64, Error> {
    array(bytes, at).map(u64::from_le_bytes)
}
