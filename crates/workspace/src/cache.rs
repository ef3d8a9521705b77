//! What a snapshot remembers of the files it read, so that the next one need not read them again.
//!
//! A file is believed to be unchanged if its inode, size, mode and both of its times are those of the moment
//! it was read. That is not enough for a file that changes twice within one tick of the file system's clock,
//! the second time after it was read. So, as git does with what it calls racily clean files, a file whose
//! times are younger than [`TICK`] at the moment it is read is not believed next time but read again.
//!
//! Two things it cannot see: a program that writes through a shared mapping and does not unmap it changes no
//! time until the kernel writes the page back, and a clock that is set back may repeat a time. An empty cache
//! is always right: whoever doubts drops it.

use crate::host::Meta;
use crate::manifest::{Entry, FileNode, Node, Time};
use crate::{Digest, Error, ErrorKind, manifest};

/// Longer than the tick of any file system's clock that we know of, but for FAT. Linux stamps files with a
/// clock that moves every 1 to 10 milliseconds.
const TICK: std::time::Duration = std::time::Duration::from_millis(50);

const VERSION: u8 = 1;

/// Levels of directories that a saved cache may have: a bound on recursion, above every limit on depth.
const DEPTH_MAX: usize = 1024;

/// What the last snapshot of a workspace found. Only a cache: an empty one costs time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatCache {
    pub(crate) root: Option<Known>,
}

/// A directory as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) digest: Digest,
    /// In the order of their names.
    pub(crate) entries: Vec<KnownEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownEntry {
    pub(crate) entry: Entry,
    pub(crate) more: More,
}

/// What is remembered of an entry beyond what the manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum More {
    /// A link, or a file that must be read again.
    Nothing,
    /// A file that is unchanged if it still looks like this.
    File(Stamp),
    Directory(Known),
}

/// How a file looks from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    changed: Time,
}

/// Bytes that are no cache of this release; drop them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheError;

impl std::fmt::Display for CacheError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not a stat cache of this release")
    }
}

impl std::error::Error for CacheError {}

impl Stamp {
    /// The stamp of a file that looked like `meta` before and after it was read, the last time `now` or later; if
    /// it may be believed.
    pub(crate) fn of(meta: &Meta, now: Time) -> Option<Self> {
        let age = nanoseconds(now) - nanoseconds(meta.changed.max(meta.modified));
        (age > TICK.as_nanos() as i128).then_some(Self::unchecked(meta))
    }

    fn unchecked(meta: &Meta) -> Self {
        Self { device: meta.device, inode: meta.inode, changed: meta.changed }
    }

    /// Whether a file that looks like `meta` is the one that was read as `file`.
    pub(crate) fn fits(&self, file: &FileNode, meta: &Meta) -> bool {
        *self == Self::unchecked(meta)
            && file.size == meta.size
            && file.mode == meta.mode
            && file.modified == meta.modified
    }
}

fn nanoseconds(time: Time) -> i128 {
    i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds)
}

impl StatCache {
    /// The root of the snapshot it is of.
    #[must_use]
    pub fn root(&self) -> Option<Digest> {
        self.root.as_ref().map(|known| known.digest)
    }

    /// For saving beside the workspace, where the sandbox cannot reach it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        if let Some(root) = &self.root {
            // A directory that was encoded once can be encoded again.
            let _ = write(root, &mut body);
        }
        let mut bytes = vec![VERSION];
        bytes.extend(Digest::of(&body).as_bytes());
        bytes.extend(body);
        bytes
    }

    /// Reads what [`StatCache::to_bytes`] wrote.
    ///
    /// # Errors
    /// Another version, or damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CacheError> {
        let (version, rest) = bytes.split_first().ok_or(CacheError)?;
        let (digest, body) = rest.split_first_chunk::<32>().ok_or(CacheError)?;
        if *version != VERSION || Digest::of(body).as_bytes() != digest {
            return Err(CacheError);
        }
        if body.is_empty() {
            return Ok(Self::default());
        }
        let mut rest = body;
        let root = read(&mut rest, 0).map_err(|_| CacheError)?;
        if rest.is_empty() { Ok(Self { root: Some(root) }) } else { Err(CacheError) }
    }
}

/// The node of a directory with its length, then what is remembered of each entry.
fn write(known: &Known, bytes: &mut Vec<u8>) -> Result<(), Error> {
    let entries: Vec<Entry> = known.entries.iter().map(|known| known.entry.clone()).collect();
    let node = manifest::encode_directory(&entries)?;
    bytes.extend((node.len() as u32).to_le_bytes());
    bytes.extend(node);
    for entry in &known.entries {
        match &entry.more {
            More::Nothing => bytes.push(0),
            More::File(stamp) => {
                bytes.push(1);
                bytes.extend(stamp.device.to_le_bytes());
                bytes.extend(stamp.inode.to_le_bytes());
                bytes.extend(stamp.changed.seconds.to_le_bytes());
                bytes.extend(stamp.changed.nanoseconds.to_le_bytes());
            }
            More::Directory(known) => {
                bytes.push(2);
                write(known, bytes)?;
            }
        }
    }
    Ok(())
}

fn read(rest: &mut &[u8], depth: usize) -> Result<Known, Error> {
    let bad = || Error::from(ErrorKind::Manifest("not a cache"));
    if depth > DEPTH_MAX {
        return Err(bad());
    }
    let length = u32::from_le_bytes(array(rest)?) as usize;
    let (node, after) = rest.split_at_checked(length).ok_or_else(bad)?;
    *rest = after;
    let digest = Digest::of(node);
    let mut entries = Vec::new();
    for entry in manifest::decode_directory(node)? {
        let more = match (array::<1>(rest)?, &entry.node) {
            ([0], Node::File(_) | Node::Link { .. }) => More::Nothing,
            ([1], Node::File(_)) => More::File(Stamp {
                device: u64::from_le_bytes(array(rest)?),
                inode: u64::from_le_bytes(array(rest)?),
                changed: Time {
                    seconds: i64::from_le_bytes(array(rest)?),
                    nanoseconds: u32::from_le_bytes(array(rest)?),
                },
            }),
            ([2], Node::Directory { digest, .. }) => {
                let known = read(rest, depth + 1)?;
                if known.digest != *digest {
                    return Err(bad());
                }
                More::Directory(known)
            }
            _ => return Err(bad()),
        };
        entries.push(KnownEntry { entry, more });
    }
    Ok(Known { digest, entries })
}

fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Error> {
    let (array, after) = rest.split_first_chunk().ok_or(ErrorKind::Manifest("not a cache"))?;
    *rest = after;
    Ok(*array)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Kind;

    /// Modern kernels stamp files finely enough to hide that this rule is needed, so it is tested by itself.
    #[test]
    fn a_file_is_believed_when_its_times_are_older_than_a_tick() {
        let at = |milliseconds: i64| Time {
            seconds: milliseconds.div_euclid(1000),
            nanoseconds: (milliseconds.rem_euclid(1000) * 1_000_000) as u32,
        };
        let cases = [
            ("just written", 1000, 1000, 1000, false),
            ("within the tick", 1000, 1000, 1050, false),
            ("after it", 1000, 1000, 1051, true),
            ("old content, just renamed", 0, 1000, 1010, false),
            ("dated into the future", 5000, 1000, 2000, false),
            ("the clock was set back", 1000, 1000, 500, false),
            ("before 1970", -5000, 1000, 2000, true),
        ];
        for (case, modified, changed, now, believed) in cases {
            let meta = Meta {
                kind: Kind::File,
                mode: 0o644,
                size: 1,
                device: 1,
                inode: 1,
                modified: at(modified),
                changed: at(changed),
            };
            assert_eq!(Stamp::of(&meta, at(now)).is_some(), believed, "{case}");
        }
    }
}
