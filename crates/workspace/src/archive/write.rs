//! A snapshot as a tar archive, for download. From a snapshot and not from the files, so that it is of one
//! moment and every byte of it was verified.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::tar::{padding, sum};
use crate::limits::Tally;
use crate::manifest::{Entry, Node, Time};
use crate::restore::{read_directory, write_content};
use crate::{Chunks, Digest, Error, FilePath, Limits};

/// Writes the snapshot `root` as a tar archive; equal snapshots make equal archives.
///
/// # Errors
/// `Missing`, `Corrupt`, `Manifest` or `Limit`: the snapshot cannot be read; `Io`: `out` failed. The archive
/// is then not complete and ends without its mark of the end.
pub fn write_tar(
    root: &Digest,
    chunks: &dyn Chunks,
    limits: &Limits,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let mut writer = Writer { chunks, tally: Tally::new(limits), path: FilePath::root(), out };
    writer.directory(root).map_err(|error| error.at(&writer.path))?;
    Ok(out.write_all(&[0; 1024])?)
}

/// The same in gzip.
///
/// # Errors
/// Those of [`write_tar`].
pub fn write_tar_gz(
    root: &Digest,
    chunks: &dyn Chunks,
    limits: &Limits,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let mut gzip = GzEncoder::new(out, Compression::fast());
    write_tar(root, chunks, limits, &mut gzip)?;
    gzip.finish()?;
    Ok(())
}

struct Writer<'a> {
    chunks: &'a dyn Chunks,
    tally: Tally,
    path: FilePath,
    out: &'a mut dyn Write,
}

impl Writer<'_> {
    fn directory(&mut self, digest: &Digest) -> Result<(), Error> {
        self.tally.depth(self.path.depth())?;
        for Entry { name, node } in read_directory(self.chunks, digest)? {
            self.path.push(&name)?;
            self.tally.entry()?;
            match node {
                Node::File(file) => {
                    self.tally.file(file.size)?;
                    self.header(b'0', file.mode, file.modified, file.size, b"")?;
                    write_content(self.chunks, &file, self.out)?;
                    self.out.write_all(&vec![0; padding(file.size) as usize])?;
                }
                Node::Directory { mode, digest } => {
                    self.header(b'5', mode, Time::default(), 0, b"")?;
                    self.directory(&digest)?;
                }
                Node::Link { target } => self.header(b'2', 0o777, Time::default(), 0, &target)?,
            }
            self.path.pop();
        }
        Ok(())
    }

    /// A header, with an extended one before it for what does not fit.
    fn header(&mut self, kind: u8, mode: u16, modified: Time, size: u64, target: &[u8]) -> Result<(), Error> {
        const OCTAL_MAX: u64 = 0o77_777_777_777;
        let path = self.path.as_bytes();
        let mut records = Vec::new();
        let mut record = |key: &str, value: &[u8]| {
            let rest = key.len() + value.len() + 3;
            // The length counts its own digits.
            let mut length = rest + 1;
            while rest + length.to_string().len() != length {
                length = rest + length.to_string().len();
            }
            records.extend(format!("{length} {key}=").as_bytes());
            records.extend(value);
            records.push(b'\n');
        };
        if path.len() > 100 {
            record("path", path);
        }
        if target.len() > 100 {
            record("linkpath", target);
        }
        if size > OCTAL_MAX {
            record("size", size.to_string().as_bytes());
        }
        if kind == b'0' && (modified.nanoseconds != 0 || modified.seconds < 0) {
            record("mtime", decimal(modified).as_bytes());
        }
        if !records.is_empty() {
            self.out.write_all(&block(b'x', 0o644, 0, records.len() as u64, b"pax", b""))?;
            self.out.write_all(&records)?;
            self.out.write_all(&vec![0; padding(records.len() as u64) as usize])?;
        }
        let seconds = u64::try_from(modified.seconds).unwrap_or(0).min(OCTAL_MAX);
        Ok(self.out.write_all(&block(kind, mode, seconds, size.min(OCTAL_MAX), path, target))?)
    }
}

/// A moment in decimal, with a sign before all of it.
fn decimal(time: Time) -> String {
    match (time.seconds, time.nanoseconds) {
        (seconds, 0) => seconds.to_string(),
        (seconds, nanoseconds) if seconds < 0 => {
            format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanoseconds)
        }
        (seconds, nanoseconds) => format!("{seconds}.{nanoseconds:09}"),
    }
}

fn block(kind: u8, mode: u16, seconds: u64, size: u64, path: &[u8], target: &[u8]) -> [u8; 512] {
    let mut header = [0; 512];
    let mut put = |at: usize, bytes: &[u8], most: usize| {
        let length = bytes.len().min(most);
        header[at..at + length].copy_from_slice(&bytes[..length]);
    };
    put(0, path, 100);
    put(100, format!("{mode:07o}").as_bytes(), 7);
    put(108, b"0000000", 7);
    put(116, b"0000000", 7);
    put(124, format!("{size:011o}").as_bytes(), 11);
    put(136, format!("{seconds:011o}").as_bytes(), 11);
    put(156, &[kind], 1);
    put(157, target, 100);
    put(257, b"ustar\x0000", 8);
    let sum = format!("{:06o}\0 ", sum(&header));
    header[148..156].copy_from_slice(sum.as_bytes());
    header
}
