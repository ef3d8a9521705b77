//! What differs between two snapshots. Directories with one digest are equal and not looked into.

use std::cmp::Ordering;

use crate::limits::Tally;
use crate::manifest::{Content, Entry, Node};
use crate::restore::read_directory;
use crate::{Chunks, Digest, Error, FilePath, Limits};

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub path: FilePath,
    /// What.
    pub kind: ChangeKind,
}

/// How something differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is only in the second.
    Added,
    /// It is only in the first.
    Removed,
    /// A file has other bytes, or a link another target.
    Modified,
    /// Only its permissions differ.
    Mode,
    /// It was a file, a link or a directory and is another of these.
    Replaced,
}

/// The differences, in the order of their paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// Each of them. A directory that is only in one of the two is named, and so is everything in it.
    pub changes: Vec<Change>,
    /// Whether there are more than were asked for.
    pub truncated: bool,
}

/// What must change in the snapshot `from` to make it `to`, up to `most` changes.
///
/// A file whose time alone differs is not a change.
///
/// # Errors
/// `Missing`, `Corrupt` or `Manifest`: one of the two cannot be read; `Limit`: it is too deep.
pub fn diff(
    from: &Digest,
    to: &Digest,
    chunks: &dyn Chunks,
    limits: &Limits,
    most: usize,
) -> Result<Diff, Error> {
    let mut differ =
        Differ { chunks, tally: Tally::new(limits), path: FilePath::root(), most, changes: Vec::new() };
    differ.directories(Some(from), Some(to)).map_err(|error| error.at(&differ.path))?;
    let truncated = differ.changes.len() > most;
    differ.changes.truncate(most);
    Ok(Diff { changes: differ.changes, truncated })
}

struct Differ<'a> {
    chunks: &'a dyn Chunks,
    tally: Tally,
    path: FilePath,
    most: usize,
    changes: Vec<Change>,
}

impl Differ<'_> {
    /// Compares two directories, one of which may be absent.
    fn directories(&mut self, from: Option<&Digest>, to: Option<&Digest>) -> Result<(), Error> {
        if from == to {
            return Ok(());
        }
        self.tally.depth(self.path.depth())?;
        let mut from = self.entries(from)?.into_iter().peekable();
        let mut to = self.entries(to)?.into_iter().peekable();
        while self.changes.len() <= self.most {
            let order = match (from.peek(), to.peek()) {
                (Some(old), Some(new)) => old.name.cmp(&new.name),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            let old = if order.is_le() { from.next() } else { None };
            let new = if order.is_ge() { to.next() } else { None };
            self.entry(old, new)?;
        }
        Ok(())
    }

    fn entry(&mut self, old: Option<Entry>, new: Option<Entry>) -> Result<(), Error> {
        let Some(name) = old.as_ref().or(new.as_ref()).map(|entry| entry.name.clone()) else { return Ok(()) };
        self.path.push(&name)?;
        let (old, new) = (old.map(|entry| entry.node), new.map(|entry| entry.node));
        if let Some(kind) = compare(old.as_ref(), new.as_ref()) {
            self.changes.push(Change { path: self.path.clone(), kind });
        }
        self.directories(directory(old.as_ref()), directory(new.as_ref()))?;
        self.path.pop();
        Ok(())
    }

    fn entries(&self, digest: Option<&Digest>) -> Result<Vec<Entry>, Error> {
        digest.map_or(Ok(Vec::new()), |digest| read_directory(self.chunks, digest))
    }
}

fn directory(node: Option<&Node>) -> Option<&Digest> {
    match node {
        Some(Node::Directory { digest, .. }) => Some(digest),
        Some(Node::File(_) | Node::Link { .. }) | None => None,
    }
}

/// How a name differs, what is in it aside.
fn compare(old: Option<&Node>, new: Option<&Node>) -> Option<ChangeKind> {
    let mode = |old: u16, new: u16| (old != new).then_some(ChangeKind::Mode);
    let Some(old) = old else { return Some(ChangeKind::Added) };
    let Some(new) = new else { return Some(ChangeKind::Removed) };
    match (old, new) {
        (Node::File(old), Node::File(new)) => {
            let same = (old.size, content(&old.content)) == (new.size, content(&new.content));
            if same { mode(old.mode, new.mode) } else { Some(ChangeKind::Modified) }
        }
        (Node::Directory { mode: old, .. }, Node::Directory { mode: new, .. }) => mode(*old, *new),
        (Node::Link { target: old }, Node::Link { target: new }) => {
            (old != new).then_some(ChangeKind::Modified)
        }
        (Node::File(_) | Node::Directory { .. } | Node::Link { .. }, _) => Some(ChangeKind::Replaced),
    }
}

fn content(content: &Content) -> Option<&Digest> {
    match content {
        Content::Empty => None,
        Content::Chunk(digest) | Content::List(digest) => Some(digest),
    }
}
