//! Collecting chunks that no live root reaches. The rule and why it is safe are in `chunks.rs`.

use std::collections::HashSet;

use crate::chunks::read_verified;
use crate::limits::NODE_BYTES_MAX;
use crate::manifest::{self, Content, Node};
use crate::restore::read_directory;
use crate::{Chunks, Collect, Digest, Error, Swept};

/// Deletes every chunk that no live root reaches and no open hold protects.
///
/// `roots` is called after the store began a new generation, and must return every live root as one
/// consistent read: in one transaction, so that a fork and the end of what it was forked from are seen both
/// or neither. A fork names its root in the transaction in which it reads it.
///
/// # Errors
/// `Missing`, `Corrupt` or `Manifest`: a live root is damaged, and nothing was deleted, because what it
/// reaches is unknown. `Chunks`: the store failed.
pub fn collect(
    chunks: &dyn Collect,
    roots: impl FnOnce() -> Result<Vec<Digest>, Error>,
) -> Result<Swept, Error> {
    let before = chunks.advance()?;
    let mut mark = Mark { chunks, live: HashSet::new(), nodes: HashSet::new() };
    for root in roots()? {
        mark.directory(&root)?;
    }
    chunks.sweep(&mark.live, before)
}

/// Everything that `root` reaches, itself included: nodes, lists and chunks.
///
/// # Errors
/// `Missing`, `Corrupt` or `Manifest`: a node is damaged. Chunks of files are not read.
pub fn reachable(root: &Digest, chunks: &dyn Chunks) -> Result<HashSet<Digest>, Error> {
    let mut mark = Mark { chunks, live: HashSet::new(), nodes: HashSet::new() };
    mark.directory(root)?;
    Ok(mark.live)
}

/// What several roots reach together; what they share is looked into once.
pub struct Reach<'a>(Mark<'a>);

impl<'a> Reach<'a> {
    /// Nothing yet.
    #[must_use]
    pub fn of(chunks: &'a dyn Chunks) -> Self {
        Self(Mark { chunks, live: HashSet::new(), nodes: HashSet::new() })
    }

    /// Adds what `root` reaches, itself included.
    ///
    /// # Errors
    /// As [`reachable`]; what was reached until then is added.
    pub fn add(&mut self, root: &Digest) -> Result<(), Error> {
        self.0.directory(root)
    }

    /// Everything that was reached.
    #[must_use]
    pub fn into_digests(self) -> HashSet<Digest> {
        self.0.live
    }
}

/// A node that was looked into. A program can make a file whose bytes are those of a manifest, so that one
/// digest is a chunk here and a directory there: having met it as one says nothing about the other.
#[derive(PartialEq, Eq, Hash)]
enum Visited {
    Directory(Digest),
    List(Digest, u64),
}

struct Mark<'a> {
    chunks: &'a dyn Chunks,
    live: HashSet<Digest>,
    nodes: HashSet<Visited>,
}

impl Mark<'_> {
    /// Marks a directory and what it reaches. Not recursive: the depth of a manifest is not yet trusted.
    fn directory(&mut self, root: &Digest) -> Result<(), Error> {
        let mut waiting = vec![*root];
        while let Some(digest) = waiting.pop() {
            self.live.insert(digest);
            if !self.nodes.insert(Visited::Directory(digest)) {
                continue;
            }
            for entry in read_directory(self.chunks, &digest)? {
                match entry.node {
                    Node::Directory { digest, .. } => waiting.push(digest),
                    Node::File(file) => match file.content {
                        Content::Empty => {}
                        Content::Chunk(digest) => _ = self.live.insert(digest),
                        Content::List(digest) => self.list(&digest, file.size)?,
                    },
                    Node::Link { .. } => {}
                }
            }
        }
        Ok(())
    }

    fn list(&mut self, digest: &Digest, size: u64) -> Result<(), Error> {
        self.live.insert(*digest);
        if self.nodes.insert(Visited::List(*digest, size)) {
            let list = read_verified(self.chunks, digest, NODE_BYTES_MAX)?;
            self.live.extend(manifest::decode_list(&list, size)?.iter().map(|piece| piece.digest));
        }
        Ok(())
    }
}
