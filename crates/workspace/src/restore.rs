//! Putting a snapshot in the place of a workspace.
//!
//! First the manifest alone is read and measured, each node once: one that refers to the same directory again
//! and again may stand for more entries than there are atoms, and is refused before anything is created.
//! Then everything is built beside the workspace, every digest verified, and the two change places in one
//! step. Until then the old files are untouched, whatever is wrong with the new ones.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};

use crate::chunks::read_verified;
use crate::host::{self, Dir, Use};
use crate::limits::{NODE_BYTES_MAX, Tally};
use crate::manifest::{self, Content, Entry, FileNode, Node};
use crate::split::{CHUNK_BYTES_MAX, SMALL_BYTES_MAX};
use crate::{Chunks, Digest, Error, ErrorKind, FilePath, Limit, Limits, Place};

/// What was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// Files, links and directories.
    pub entries: u64,
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Makes the workspace in `place` that of `root`, in one step.
///
/// No program may run in the workspace: one that does keeps the files that are replaced. Repeating it, also
/// after it was interrupted anywhere, comes to the same. The caller keeps `root` live meanwhile.
///
/// # Errors
/// `Missing`, `Corrupt`, `Manifest` or `Limit`: the snapshot cannot be trusted or is too large; the workspace
/// is as it was. `Io` and its relatives: the host failed; [`Place::base`] says whether the workspace can be
/// used, and repeating is safe.
pub fn restore(
    root: &Digest,
    chunks: &dyn Chunks,
    place: &Place,
    limits: &Limits,
) -> Result<Restored, Error> {
    Measure { chunks, limits, known: HashMap::new() }.root(root)?;
    let building = place.begin_building()?;
    let mut builder = Builder { chunks, tally: Tally::new(limits), path: FilePath::root() };
    let built = builder.directory(&building, root).map_err(|error| error.at(&builder.path));
    if let Err(error) = built {
        place.discard_building()?;
        return Err(error);
    }
    place.exchange_building(root)?;
    place.discard_building()?;
    let Tally { entries, files, bytes, .. } = builder.tally;
    Ok(Restored { entries, files, bytes })
}

/// Reads the entries of a directory.
pub(crate) fn read_directory(chunks: &dyn Chunks, digest: &Digest) -> Result<Vec<Entry>, Error> {
    manifest::decode_directory(&read_verified(chunks, digest, NODE_BYTES_MAX)?)
}

/// How large a directory is with everything beneath it.
#[derive(Debug, Clone, Copy, Default)]
struct Extent {
    entries: u64,
    bytes: u64,
    depth: usize,
}

struct Measure<'a> {
    chunks: &'a dyn Chunks,
    limits: &'a Limits,
    known: HashMap<Digest, Extent>,
}

impl Measure<'_> {
    fn root(&mut self, root: &Digest) -> Result<(), Error> {
        let mut path = FilePath::root();
        self.directory(root, &mut path).map(drop).map_err(|error| error.at(&path))
    }

    fn directory(&mut self, digest: &Digest, path: &mut FilePath) -> Result<Extent, Error> {
        if let Some(extent) = self.known.get(digest) {
            return Ok(*extent);
        }
        if path.depth() > self.limits.depth_max {
            return Err(Limit::Depth(self.limits.depth_max).into());
        }
        let mut extent = Extent::default();
        for Entry { name, node } in read_directory(self.chunks, digest)? {
            extent.entries = extent.entries.saturating_add(1);
            match node {
                Node::File(file) => {
                    if file.size > self.limits.file_bytes_max {
                        path.push(&name)?;
                        return Err(Limit::FileBytes(self.limits.file_bytes_max).into());
                    }
                    extent.bytes = extent.bytes.saturating_add(file.size);
                }
                Node::Directory { digest, .. } => {
                    path.push(&name)?;
                    let child = self.directory(&digest, path)?;
                    path.pop();
                    extent.entries = extent.entries.saturating_add(child.entries);
                    extent.bytes = extent.bytes.saturating_add(child.bytes);
                    extent.depth = extent.depth.max(child.depth + 1);
                }
                Node::Link { .. } => {}
            }
            self.check(&extent, path)?;
        }
        self.known.insert(*digest, extent);
        Ok(extent)
    }

    fn check(&self, extent: &Extent, path: &FilePath) -> Result<(), Error> {
        if extent.entries > self.limits.entries_max {
            return Err(Limit::Entries(self.limits.entries_max).into());
        }
        if extent.bytes > self.limits.bytes_max {
            return Err(Limit::Bytes(self.limits.bytes_max).into());
        }
        if path.depth() + extent.depth > self.limits.depth_max {
            return Err(Limit::Depth(self.limits.depth_max).into());
        }
        Ok(())
    }
}

struct Builder<'a> {
    chunks: &'a dyn Chunks,
    tally: Tally,
    path: FilePath,
}

impl Builder<'_> {
    /// Fills an empty directory. On an error `path` says where it happened.
    fn directory(&mut self, into: &Dir, digest: &Digest) -> Result<(), Error> {
        for Entry { name, node } in read_directory(self.chunks, digest)? {
            self.path.push(&name)?;
            self.tally.entry()?;
            match node {
                Node::File(file) => self.file(into, &name, &file)?,
                Node::Link { target } => host::make_link(&target, into, &name)?,
                Node::Directory { mode, digest } => {
                    host::make_directory(into, &name, 0o700)?;
                    let mut child = host::open_directory(into, &name, Use::Change)?;
                    self.directory(&child, &digest)?;
                    // Last, because it may forbid what was just done.
                    child.set_mode(mode)?;
                }
            }
            self.path.pop();
        }
        Ok(())
    }

    fn file(&mut self, into: &Dir, name: &[u8], node: &FileNode) -> Result<(), Error> {
        self.tally.file(node.size)?;
        let mut file = host::create_file(into, name)?;
        let mut sparse = Sparse { file: &mut file, ends_in_hole: false };
        write_content(self.chunks, node, &mut sparse)?;
        if sparse.ends_in_hole {
            rustix::fs::ftruncate(&file, node.size)?;
        }
        host::set_mode(&file, node.mode)?;
        Ok(host::set_modified(&file, node.modified)?)
    }
}

/// Writes the bytes of a file, verified, chunk by chunk.
pub(crate) fn write_content(chunks: &dyn Chunks, file: &FileNode, out: &mut dyn Write) -> Result<(), Error> {
    match file.content {
        Content::Empty => Ok(()),
        Content::Chunk(digest) => {
            let bytes = read_verified(chunks, &digest, SMALL_BYTES_MAX)?;
            if bytes.len() as u64 != file.size {
                return Err(ErrorKind::Manifest("a chunk does not have the size of its file").into());
            }
            Ok(out.write_all(&bytes)?)
        }
        Content::List(digest) => {
            let list = read_verified(chunks, &digest, NODE_BYTES_MAX)?;
            for piece in manifest::decode_list(&list, file.size)? {
                let bytes = read_verified(chunks, &piece.digest, CHUNK_BYTES_MAX)?;
                if bytes.len() != piece.length as usize {
                    return Err(ErrorKind::Manifest("a chunk does not have the length of its entry").into());
                }
                out.write_all(&bytes)?;
            }
            Ok(())
        }
    }
}

/// A file in which chunks of zeros become holes. If it ends in one, its length is yet to be set.
struct Sparse<'a> {
    file: &'a mut File,
    ends_in_hole: bool,
}

/// Zeros that are worth a hole: a block of the file system.
const HOLE_BYTES_MIN: usize = 4096;

impl Write for Sparse<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.ends_in_hole = bytes.len() >= HOLE_BYTES_MIN && bytes.iter().all(|byte| *byte == 0);
        if self.ends_in_hole {
            self.file.seek(SeekFrom::Current(bytes.len() as i64))?;
            return Ok(bytes.len());
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}
