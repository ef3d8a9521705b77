//! Manifests: what a snapshot is made of, as bytes.
//!
//! A directory is a node: its entries in the order of their names, each with the digest of what it holds. A
//! large file is a node as well: the list of its chunks. A snapshot is named by the digest of its root
//! directory's node. The encoding is canonical: one tree has one encoding, decoding accepts nothing else,
//! and so equal trees have equal digests and unequal digests mean unequal trees.
//!
//! ```text
//!   directory  01 'D'  count:u32  entry…
//!   entry      kind:u8  name length:u8  name
//!              file      mode:u16  seconds:i64  nanoseconds:u32  size:u64  [digest]
//!              directory mode:u16  digest
//!              link      length:u16  target
//!   list       01 'L'  count:u32  (digest  length:u32)…
//! ```
//!
//! Numbers are little-endian. What is kept of a mode are the nine permission bits.

use crate::limits::{LINK_BYTES_MAX, NODE_BYTES_MAX};
use crate::path::check_name;
use crate::split::{CHUNK_BYTES_MAX, SMALL_BYTES_MAX};
use crate::{Digest, Error, ErrorKind, Limit};

/// The format. A reader of a later release reads every earlier one.
const VERSION: u8 = 1;
const DIRECTORY: u8 = b'D';
const LIST: u8 = b'L';

/// The permission bits that are kept. Set-user-id, set-group-id and sticky are not: they would be a way to
/// carry a privilege from one host to another.
pub(crate) const MODE_MASK: u16 = 0o777;

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// A name of 1 to 255 bytes; not `.` or `..`, no `/`, no NUL.
    pub name: Vec<u8>,
    /// What it names.
    pub node: Node,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A regular file.
    File(FileNode),
    /// A directory.
    Directory {
        /// Nine permission bits.
        mode: u16,
        /// The node that lists it.
        digest: Digest,
    },
    /// A symbolic link. It is kept and made again, and never followed.
    Link {
        /// 1 to 4095 bytes without NUL.
        target: Vec<u8>,
    },
}

/// A regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileNode {
    /// Nine permission bits.
    pub mode: u16,
    /// When its content was last modified. Build tools compare it, so a restore must bring it back.
    pub modified: Time,
    /// Bytes.
    pub size: u64,
    /// Where they are.
    pub content: Content,
}

/// Where the bytes of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// It has none.
    Empty,
    /// In one chunk: files of up to 64 KiB.
    Chunk(Digest),
    /// In the chunks of a list.
    List(Digest),
}

/// A moment as file systems have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time {
    /// Seconds since 1970, or before it.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

/// One chunk of a large file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// The chunk.
    pub digest: Digest,
    /// Its bytes.
    pub length: u32,
}

/// The node of a directory with these entries, which are sorted by name.
///
/// # Errors
/// `Limit`: it would be too large to be read again.
pub fn encode_directory(entries: &[Entry]) -> Result<Vec<u8>, Error> {
    debug_assert!(entries.is_sorted_by(|a, b| a.name < b.name), "entries are sorted and their names differ");
    let mut bytes = head(DIRECTORY, entries.len())?;
    for Entry { name, node } in entries {
        let length = u8::try_from(name.len()).map_err(|_| ErrorKind::Manifest("a name is too long"))?;
        let named = |kind: u8, bytes: &mut Vec<u8>| {
            bytes.extend([kind, length]);
            bytes.extend(name);
        };
        match node {
            Node::File(file) => {
                let (kind, digest) = match &file.content {
                    Content::Empty => (b'e', None),
                    Content::Chunk(digest) => (b'c', Some(digest)),
                    Content::List(digest) => (b'l', Some(digest)),
                };
                named(kind, &mut bytes);
                bytes.extend(file.mode.to_le_bytes());
                bytes.extend(file.modified.seconds.to_le_bytes());
                bytes.extend(file.modified.nanoseconds.to_le_bytes());
                bytes.extend(file.size.to_le_bytes());
                bytes.extend(digest.into_iter().flat_map(Digest::as_bytes));
            }
            Node::Directory { mode, digest } => {
                named(b'd', &mut bytes);
                bytes.extend(mode.to_le_bytes());
                bytes.extend(digest.as_bytes());
            }
            Node::Link { target } => {
                named(b's', &mut bytes);
                let length =
                    u16::try_from(target.len()).map_err(|_| ErrorKind::Manifest("a link is too long"))?;
                bytes.extend(length.to_le_bytes());
                bytes.extend(target);
            }
        }
    }
    if bytes.len() > NODE_BYTES_MAX {
        return Err(Limit::NodeBytes(NODE_BYTES_MAX).into());
    }
    Ok(bytes)
}

/// The entries of a directory's node.
///
/// # Errors
/// `Manifest`: anything that [`encode_directory`] would not have written.
pub fn decode_directory(bytes: &[u8]) -> Result<Vec<Entry>, Error> {
    let (mut reader, count) = Reader::open(bytes, DIRECTORY)?;
    // The shortest entry takes more bytes than this, so a count alone cannot make us reserve memory.
    let mut entries: Vec<Entry> = Vec::with_capacity(count.min(bytes.len() / ENTRY_BYTES_MIN));
    for _ in 0..count {
        let entry = reader.entry()?;
        if entries.last().is_some_and(|last| last.name >= entry.name) {
            return Err(ErrorKind::Manifest("names are not in order, or one is there twice").into());
        }
        entries.push(entry);
    }
    reader.end()?;
    Ok(entries)
}

/// The node that lists the chunks of a large file.
///
/// # Errors
/// `Limit`: it would be too large to be read again.
pub fn encode_list(pieces: &[Piece]) -> Result<Vec<u8>, Error> {
    let mut bytes = head(LIST, pieces.len())?;
    for piece in pieces {
        bytes.extend(piece.digest.as_bytes());
        bytes.extend(piece.length.to_le_bytes());
    }
    if bytes.len() > NODE_BYTES_MAX {
        return Err(Limit::NodeBytes(NODE_BYTES_MAX).into());
    }
    Ok(bytes)
}

/// The chunks of a large file, which together have `size` bytes.
///
/// # Errors
/// `Manifest`: anything that [`encode_list`] would not have written for a file of that size.
pub fn decode_list(bytes: &[u8], size: u64) -> Result<Vec<Piece>, Error> {
    let (mut reader, count) = Reader::open(bytes, LIST)?;
    let mut pieces = Vec::with_capacity(count.min(bytes.len() / PIECE_BYTES));
    let mut total = 0u64;
    for _ in 0..count {
        let piece = Piece { digest: reader.digest()?, length: reader.u32()? };
        if piece.length == 0 || piece.length as usize > CHUNK_BYTES_MAX {
            return Err(ErrorKind::Manifest("a chunk is empty or too large").into());
        }
        total += u64::from(piece.length);
        pieces.push(piece);
    }
    reader.end()?;
    if total != size {
        return Err(ErrorKind::Manifest("the chunks of a file do not have its size").into());
    }
    Ok(pieces)
}

const ENTRY_BYTES_MIN: usize = 1 + 1 + 1 + 2 + 1;
const PIECE_BYTES: usize = 32 + 4;

fn head(kind: u8, count: usize) -> Result<Vec<u8>, Error> {
    let count = u32::try_from(count).map_err(|_| Limit::NodeBytes(NODE_BYTES_MAX))?;
    let mut bytes = vec![VERSION, kind];
    bytes.extend(count.to_le_bytes());
    Ok(bytes)
}

/// What remains to be read of a node.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn open(bytes: &'a [u8], kind: u8) -> Result<(Self, usize), Error> {
        if bytes.len() > NODE_BYTES_MAX {
            return Err(Limit::NodeBytes(NODE_BYTES_MAX).into());
        }
        let mut reader = Self(bytes);
        if reader.u8()? != VERSION {
            return Err(ErrorKind::Manifest("a version that this release does not know").into());
        }
        if reader.u8()? != kind {
            return Err(ErrorKind::Manifest("a node of another kind").into());
        }
        let count = reader.u32()?;
        Ok((reader, count as usize))
    }

    fn entry(&mut self) -> Result<Entry, Error> {
        let kind = self.u8()?;
        let length = usize::from(self.u8()?);
        let name = self.take(length)?.to_vec();
        check_name(&name).map_err(|_| ErrorKind::Manifest("a name that is no name"))?;
        let node = match kind {
            b'e' | b'c' | b'l' => Node::File(self.file(kind)?),
            b'd' => Node::Directory { mode: self.mode()?, digest: self.digest()? },
            b's' => {
                let length = usize::from(u16::from_le_bytes(self.array()?));
                let target = self.take(length)?.to_vec();
                if target.is_empty() || target.len() > LINK_BYTES_MAX || target.contains(&0) {
                    return Err(ErrorKind::Manifest("a link without a possible target").into());
                }
                Node::Link { target }
            }
            _ => return Err(ErrorKind::Manifest("an entry of unknown kind").into()),
        };
        Ok(Entry { name, node })
    }

    fn file(&mut self, kind: u8) -> Result<FileNode, Error> {
        let mode = self.mode()?;
        let seconds = i64::from_le_bytes(self.array()?);
        let nanoseconds = self.u32()?;
        if nanoseconds >= 1_000_000_000 {
            return Err(ErrorKind::Manifest("a time that is none").into());
        }
        let size = u64::from_le_bytes(self.array()?);
        let (content, fits) = match kind {
            b'e' => (Content::Empty, size == 0),
            b'c' => (Content::Chunk(self.digest()?), (1..=SMALL_BYTES_MAX as u64).contains(&size)),
            _ => (Content::List(self.digest()?), size > SMALL_BYTES_MAX as u64),
        };
        if !fits {
            return Err(ErrorKind::Manifest("a file whose size does not fit how it is kept").into());
        }
        Ok(FileNode { mode, modified: Time { seconds, nanoseconds }, size, content })
    }

    fn mode(&mut self) -> Result<u16, Error> {
        let mode = u16::from_le_bytes(self.array()?);
        if mode & !MODE_MASK != 0 {
            return Err(ErrorKind::Manifest("a mode with more than permissions").into());
        }
        Ok(mode)
    }

    fn digest(&mut self) -> Result<Digest, Error> {
        self.array().map(Digest::from_bytes)
    }

    fn u8(&mut self) -> Result<u8, Error> {
        self.array().map(u8::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (array, rest) = self.0.split_first_chunk().ok_or(ErrorKind::Manifest("it ends too early"))?;
        self.0 = rest;
        Ok(*array)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or(ErrorKind::Manifest("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn end(&self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(ErrorKind::Manifest("it goes on after its end").into()) }
    }
}
