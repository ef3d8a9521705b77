//! A zip of a bundle, after PKWARE's APPNOTE 6.3.10; equal bundles make equal bytes.

use std::collections::BTreeMap;
use std::io::Write;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use tenure_workspace::FilePath;

use crate::bundle::BundleFile;

/// The version of the format that is needed to read it: deflate and directories.
const VERSION: u16 = 20;
/// Made on a Unix, so that the modes in it are meant.
const MADE_BY: u16 = 3 << 8 | VERSION;
/// Names are UTF-8.
const FLAGS: u16 = 1 << 11;
/// The first day that the format knows.
const DATE: u16 = 1 << 5 | 1;

/// The archive of `files`, in a folder named `folder`. The limits of this crate keep it far below what the format's
/// 16 and 32 bits can count.
pub(crate) fn write(folder: &str, files: &BTreeMap<FilePath, BundleFile>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut central = Vec::new();
    for (path, file) in files {
        let offset = length(&out);
        let name = [folder.as_bytes(), b"/", path.as_bytes()].concat();
        let mut crc = Crc::new();
        crc.update(&file.bytes);
        let deflated = deflate(&file.bytes);
        let (method, packed) =
            if deflated.len() < file.bytes.len() { (8, &deflated) } else { (0, &file.bytes) };
        let mut common = Vec::new();
        for value in [VERSION, FLAGS, method, 0, DATE] {
            common.extend(value.to_le_bytes());
        }
        for value in [crc.sum(), length(packed), length(&file.bytes)] {
            common.extend(value.to_le_bytes());
        }
        common.extend(u16_of(&name).to_le_bytes());
        common.extend(0_u16.to_le_bytes());

        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(&name);
        out.extend(packed);

        let mode: u32 = if file.executable { 0o100_755 } else { 0o100_644 };
        central.extend(b"PK\x01\x02");
        central.extend(MADE_BY.to_le_bytes());
        central.extend(&common);
        // No comment, the first disk, no internal attributes.
        central.extend([0; 6]);
        central.extend((mode << 16).to_le_bytes());
        central.extend(offset.to_le_bytes());
        central.extend(&name);
    }
    let (start, count) = (length(&out), u16::try_from(files.len()).unwrap_or(u16::MAX));
    out.extend(&central);
    out.extend(b"PK\x05\x06");
    out.extend([0; 4]);
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(length(&central).to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0; 2]);
    out
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    let packed = encoder.write_all(bytes).and_then(|()| encoder.finish());
    packed.expect("a vector takes what is written to it")
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn u16_of(bytes: &[u8]) -> u16 {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX)
}
