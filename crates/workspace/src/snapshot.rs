//! Taking a snapshot: what changed is read, cut into chunks and written; the rest is only looked at.
//!
//! One directory after another, children before parents, so that a node is written after what it refers to.
//! The manifest of a directory in which nothing changed is neither made nor hashed again.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;

use rustix::io::Errno;

use crate::cache::{Known, KnownEntry, More, Stamp};
use crate::host::{self, Dir, Kind, Meta, Use};
use crate::limits::{LINK_BYTES_MAX, NODE_BYTES_MAX, Tally};
use crate::manifest::{self, Content, Entry, FileNode, Node, Piece};
use crate::split::{self, CHUNK_BYTES_MAX, SMALL_BYTES_MAX};
use crate::{Chunks, Digest, Directory, Error, FilePath, Hold, Limit, Limits, StatCache};

/// New chunks are written when they come to this many bytes, or this many: what a snapshot holds in memory,
/// and how few writes a tree of small files takes.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
const BATCH_CHUNKS_MAX: usize = 1024;

/// Times a file is read that changes while it is read. The last one is kept as it was read.
const READS_MAX: usize = 3;

/// Skipped entries that are named; the others are counted.
const SKIPPED_NAMED_MAX: usize = 1000;

/// Names that fit into a node, however short.
const NAMES_MAX: usize = NODE_BYTES_MAX / 6;

/// A workspace at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its name. Everything it refers to is durable; the root itself becomes so when the caller commits it.
    pub root: Digest,
    /// Whether it differs from the base.
    pub changed: bool,
    /// Files, links and directories in it.
    pub entries: u64,
    /// Files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The chunks and nodes that the store did not have, in the order in which they were written.
    pub new: Vec<Digest>,
    /// Their bytes.
    pub new_bytes: u64,
    /// Files that were read and not only looked at.
    pub read: u64,
    /// What is not in it, or not as it should be: up to a thousand of them.
    pub skipped: Vec<Skipped>,
    /// How many there are.
    pub skipped_count: u64,
}

/// Something that is not in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Where.
    pub path: FilePath,
    /// Why.
    pub why: Why,
}

/// Why something is not in a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// A fifo, a socket or a device: it has no content to keep.
    Special,
    /// It is on another file system.
    OtherFileSystem,
    /// It was there and gone, or changed its kind, each time it was looked at.
    Unsettled,
    /// A file that was being written while it was read. It *is* in the snapshot, as it was read.
    Torn,
}

/// Takes a snapshot of a workspace. Everything it refers to is durable in `chunks` when it returns.
///
/// `hold` is from `chunks` and must live until the root is committed or given up. `base` is a root that is
/// live for as long: the one that the session has now, if it has one. Where `cache` is of that root, files
/// that look unchanged are taken from it, and otherwise every file is read. `cache` is of this snapshot
/// afterwards. Take snapshots between steps: a program that writes meanwhile is reported and not waited for.
///
/// # Errors
/// `Limit`: the workspace is larger than `limits`; nothing was committed and the cache is as before.
/// `Chunks` or `Io`: the store or the host failed; repeat it.
pub fn snapshot(
    directory: &Directory,
    chunks: &dyn Chunks,
    hold: &Hold,
    base: Option<&Digest>,
    cache: &mut StatCache,
    limits: &Limits,
) -> Result<Snapshot, Error> {
    // What the hold's generation protects is decided by the store; here it is only a proof that there is one.
    let _ = hold;
    let known = cache.root.as_ref().filter(|known| base == Some(&known.digest));
    let mut taker = Taker {
        device: directory.device(),
        tally: Tally::new(limits),
        batch: Batch::new(chunks),
        path: FilePath::root(),
        skipped: Vec::new(),
        skipped_count: 0,
        read: 0,
        buffer: Vec::new(),
    };
    let root = taker.directory(&directory.open(&FilePath::root(), Use::Read)?, known)?;
    let Taker { tally, mut batch, skipped, skipped_count, read, .. } = taker;
    batch.flush()?;
    let digest = root.digest;
    cache.root = Some(root);
    Ok(Snapshot {
        root: digest,
        changed: base != Some(&digest),
        entries: tally.entries,
        files: tally.files,
        bytes: tally.bytes,
        new: batch.new,
        new_bytes: batch.new_bytes,
        read,
        skipped,
        skipped_count,
    })
}

struct Taker<'a> {
    device: u64,
    tally: Tally,
    batch: Batch<'a>,
    path: FilePath,
    skipped: Vec<Skipped>,
    skipped_count: u64,
    read: u64,
    buffer: Vec<u8>,
}

/// What became of a look at one name.
enum Look {
    Kept(KnownEntry),
    Skipped(Why),
    /// It is not what it was a moment ago.
    Again,
}

impl Taker<'_> {
    fn directory(&mut self, directory: &Dir, known: Option<&Known>) -> Result<Known, Error> {
        let (mut names, more) = host::names(directory, NAMES_MAX)?;
        if more {
            return Err(self.limit(Limit::NodeBytes(NODE_BYTES_MAX)));
        }
        names.sort_unstable();
        let mut before = known.map_or(&[][..], |known| &known.entries).iter().peekable();
        let mut same = known.is_some_and(|known| known.entries.len() == names.len());
        let mut entries = Vec::with_capacity(names.len());
        for name in names {
            while before.next_if(|known| known.entry.name < name).is_some() {}
            let known = before.next_if(|known| known.entry.name == name);
            self.path.push(&name)?;
            let kept = self.entry(directory, &name, known)?;
            self.path.pop();
            same &= kept.as_ref().zip(known).is_some_and(|(kept, known)| kept.entry == known.entry);
            entries.extend(kept);
        }
        let digest = match known {
            Some(known) if same => known.digest,
            Some(_) | None => {
                let entries: Vec<Entry> = entries.iter().map(|known| known.entry.clone()).collect();
                let node = manifest::encode_directory(&entries).map_err(|error| error.at(&self.path))?;
                self.batch.add(node)?
            }
        };
        Ok(Known { digest, entries })
    }

    fn entry(
        &mut self,
        directory: &Dir,
        name: &[u8],
        known: Option<&KnownEntry>,
    ) -> Result<Option<KnownEntry>, Error> {
        self.tally.entry().map_err(|limit| self.limit(limit))?;
        let mut why = Why::Unsettled;
        for _ in 0..READS_MAX {
            match self.look(directory, name, known) {
                Ok(Look::Kept(entry)) => return Ok(Some(entry)),
                Ok(Look::Skipped(reason)) => {
                    why = reason;
                    break;
                }
                Ok(Look::Again) => {}
                Err(error) => return Err(error.at(&self.path)),
            }
        }
        self.tally.entries -= 1;
        self.skip(why);
        Ok(None)
    }

    fn look(&mut self, directory: &Dir, name: &[u8], known: Option<&KnownEntry>) -> Result<Look, Error> {
        let meta = match host::meta(directory, name) {
            Ok(meta) => meta,
            Err(Errno::NOENT) => return Ok(Look::Again),
            Err(errno) => return Err(errno.into()),
        };
        match meta.kind {
            Kind::File => self.file(directory, name, &meta, known),
            Kind::Directory if meta.device != self.device => Ok(Look::Skipped(Why::OtherFileSystem)),
            Kind::Directory => {
                self.tally.depth(self.path.depth())?;
                let child = match host::open_directory(directory, name, Use::Read) {
                    Ok(child) => child,
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Look::Again),
                    Err(errno) => return Err(errno.into()),
                };
                let known = known.and_then(|known| match &known.more {
                    More::Directory(known) => Some(known),
                    More::Nothing | More::File(_) => None,
                });
                let child = self.directory(&child, known)?;
                let node = Node::Directory { mode: meta.mode, digest: child.digest };
                Ok(kept(name, node, More::Directory(child)))
            }
            Kind::Link => match host::read_link(directory, name) {
                Ok(target) if target.is_empty() || target.len() > LINK_BYTES_MAX => Ok(Look::Again),
                Ok(target) => Ok(kept(name, Node::Link { target }, More::Nothing)),
                Err(Errno::NOENT | Errno::INVAL) => Ok(Look::Again),
                Err(errno) => Err(errno.into()),
            },
            Kind::Special => Ok(Look::Skipped(Why::Special)),
        }
    }

    fn file(
        &mut self,
        directory: &Dir,
        name: &[u8],
        meta: &Meta,
        known: Option<&KnownEntry>,
    ) -> Result<Look, Error> {
        if let Some(KnownEntry { entry: Entry { node: Node::File(file), .. }, more: More::File(stamp) }) =
            known
            && stamp.fits(file, meta)
        {
            self.tally.file(file.size)?;
            return Ok(kept(name, Node::File(*file), More::File(*stamp)));
        }
        let mut reads = 0;
        loop {
            let (mut file, before) = match host::open_file(directory, name) {
                Ok(opened) => opened,
                Err(Errno::NOENT | Errno::LOOP | Errno::ISDIR) => return Ok(Look::Again),
                Err(errno) => return Err(errno.into()),
            };
            self.read += 1;
            reads += 1;
            let (size, content) = self.content(&mut file)?;
            let now = host::now();
            let after = host::meta_of(&file)?;
            let settled = before == after && size == after.size;
            if !settled && reads < READS_MAX {
                continue;
            }
            self.tally.file(size)?;
            let node = FileNode { mode: after.mode, modified: after.modified, size, content };
            if settled {
                let more = Stamp::of(&after, now).map_or(More::Nothing, More::File);
                return Ok(kept(name, Node::File(node), more));
            }
            self.skip(Why::Torn);
            return Ok(kept(name, Node::File(node), More::Nothing));
        }
    }

    /// Reads a file to its end and adds its chunks.
    fn content(&mut self, file: &mut File) -> Result<(u64, Content), Error> {
        let mut size = 0u64;
        let mut pieces = Vec::new();
        self.buffer.clear();
        loop {
            let wanted = (CHUNK_BYTES_MAX - self.buffer.len()) as u64;
            let read = file.by_ref().take(wanted).read_to_end(&mut self.buffer)? as u64;
            size += read;
            if size > self.tally.file_bytes_max() {
                return Err(Limit::FileBytes(self.tally.file_bytes_max()).into());
            }
            let ended = read < wanted;
            if ended && pieces.is_empty() && self.buffer.len() <= SMALL_BYTES_MAX {
                if self.buffer.is_empty() {
                    return Ok((0, Content::Empty));
                }
                return Ok((size, Content::Chunk(self.batch.add(self.buffer.clone())?)));
            }
            while !self.buffer.is_empty() {
                let length = split::cut(&self.buffer);
                let digest = self.batch.add(self.buffer[..length].to_vec())?;
                pieces.push(Piece { digest, length: length as u32 });
                self.buffer.drain(..length);
                // What remains may go on in what was not read yet.
                if !ended {
                    break;
                }
            }
            if ended {
                let list = manifest::encode_list(&pieces)?;
                return Ok((size, Content::List(self.batch.add(list)?)));
            }
        }
    }

    fn skip(&mut self, why: Why) {
        self.skipped_count += 1;
        if self.skipped.len() < SKIPPED_NAMED_MAX {
            self.skipped.push(Skipped { path: self.path.clone(), why });
        }
    }

    fn limit(&self, limit: Limit) -> Error {
        Error::from(limit).at(&self.path)
    }
}

fn kept(name: &[u8], node: Node, more: More) -> Look {
    Look::Kept(KnownEntry { entry: Entry { name: name.to_vec(), node }, more })
}

/// Chunks on their way to the store.
struct Batch<'a> {
    chunks: &'a dyn Chunks,
    /// Everything that was added, so that the same content is asked about once.
    seen: HashSet<Digest>,
    waiting: Vec<(Digest, Vec<u8>)>,
    waiting_bytes: usize,
    new: Vec<Digest>,
    new_bytes: u64,
}

impl<'a> Batch<'a> {
    fn new(chunks: &'a dyn Chunks) -> Self {
        Self {
            chunks,
            seen: HashSet::new(),
            waiting: Vec::new(),
            waiting_bytes: 0,
            new: Vec::new(),
            new_bytes: 0,
        }
    }

    fn add(&mut self, bytes: Vec<u8>) -> Result<Digest, Error> {
        let digest = Digest::of(&bytes);
        if self.seen.insert(digest) {
            self.waiting_bytes += bytes.len();
            self.waiting.push((digest, bytes));
            if self.waiting_bytes >= BATCH_BYTES_MAX || self.waiting.len() >= BATCH_CHUNKS_MAX {
                self.flush()?;
            }
        }
        Ok(digest)
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let digests: Vec<Digest> = self.waiting.iter().map(|(digest, _)| *digest).collect();
        let missing: HashSet<Digest> = self.chunks.missing(&digests)?.into_iter().collect();
        self.waiting.retain(|(digest, _)| missing.contains(digest));
        if !self.waiting.is_empty() {
            self.chunks.write(&self.waiting)?;
        }
        for (digest, bytes) in self.waiting.drain(..) {
            self.new.push(digest);
            self.new_bytes += bytes.len() as u64;
        }
        self.waiting_bytes = 0;
        Ok(())
    }
}
