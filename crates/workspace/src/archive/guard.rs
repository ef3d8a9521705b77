//! What every entry of an archive must be, whatever its format.

use std::collections::HashMap;

use super::{ARCHIVE_PATH_BYTES_MAX, Entry, EntryKind, RATIO_MAX};
use crate::limits::{LINK_BYTES_MAX, Tally};
use crate::{Error, ErrorKind, FilePath, Limit, Limits};

/// Remembers what an archive holds so far.
pub(super) struct Guard {
    tally: Tally,
    /// What it may unpack to.
    bytes_max: u64,
    /// Names by the number of the directory they are in. Full paths would cost the square of the depth.
    known: HashMap<(u32, Box<[u8]>), Known>,
    next: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// A directory with its number; the root is number 0.
    Directory(u32),
    /// A file or a link: nothing may be beneath it.
    Leaf,
}

impl Guard {
    pub(super) fn new(limits: &Limits, bytes_max: u64) -> Self {
        Self { tally: Tally::new(limits), bytes_max, known: HashMap::new(), next: 1 }
    }

    /// A path as an archive has it.
    pub(super) fn path(bytes: &[u8]) -> Result<FilePath, Error> {
        if bytes.len() > ARCHIVE_PATH_BYTES_MAX {
            return Err(ErrorKind::Archive("a path of more than 4096 bytes").into());
        }
        Ok(FilePath::parse(bytes)?)
    }

    /// Admits an entry, which must be asked before it is believed.
    pub(super) fn admit(&mut self, entry: &Entry) -> Result<(), Error> {
        self.try_admit(entry).map_err(|error| error.at(&entry.path))
    }

    fn try_admit(&mut self, entry: &Entry) -> Result<(), Error> {
        let depth = entry.path.depth();
        self.tally.depth(depth)?;
        match &entry.kind {
            EntryKind::File { size } => {
                self.tally.file(*size)?;
                if self.tally.bytes > self.bytes_max {
                    return Err(Limit::Ratio(RATIO_MAX).into());
                }
            }
            EntryKind::Link { target } => check_target(target, depth.saturating_sub(1))?,
            EntryKind::Directory => {}
        }
        let mut at = 0;
        for (index, name) in entry.path.names().enumerate() {
            let is_last = index + 1 == depth;
            let key = (at, Box::from(name));
            match self.known.get(&key) {
                Some(Known::Directory(number)) if !is_last || entry.kind == EntryKind::Directory => {
                    at = *number;
                }
                Some(_) if is_last => {
                    return Err(ErrorKind::Archive("it has two entries of this name").into());
                }
                Some(_) => {
                    return Err(ErrorKind::Archive("it has this entry beneath a file or a link").into());
                }
                None => {
                    self.tally.entry()?;
                    if is_last && entry.kind != EntryKind::Directory {
                        self.known.insert(key, Known::Leaf);
                    } else {
                        at = self.next;
                        self.next += 1;
                        self.known.insert(key, Known::Directory(at));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether a link that is `depth` directories deep stays within the archive.
///
/// Its own directory is a real one, so `..` at the beginning leads where it seems to; after a name it need
/// not, because the name may be a link.
fn check_target(target: &[u8], depth: usize) -> Result<(), Error> {
    if target.is_empty() || target.len() > LINK_BYTES_MAX || target.contains(&0) {
        return Err(ErrorKind::Archive("a link without a possible target").into());
    }
    let names: Vec<&[u8]> =
        target.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")).collect();
    let up = names.iter().take_while(|name| **name == b"..").count();
    if target[0] == b'/' || up > depth || names[up..].contains(&&b".."[..]) {
        return Err(ErrorKind::Archive("a link that leads out of it").into());
    }
    Ok(())
}
