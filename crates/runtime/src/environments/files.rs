//! Files of a workspace as its chunks have them: read without a copy on this machine's disk.

use tenure_journal::{Artifact, ArtifactId, EffectId, Timestamp, TurnId, WorkspaceRoot};
use tenure_workspace::manifest::{self, Content, FileNode, Node};
use tenure_workspace::{Chunks, Digest, Error, ErrorKind, FilePath, Limit, NODE_BYTES_MAX};

use super::host::digest;

/// Where the workspace is inside.
pub(super) const WORKSPACE: &str = "/workspace";
/// The directory whose files are published.
const OUTPUTS: &str = "outputs";
/// Bytes of one published file.
const ARTIFACT_BYTES_MAX: u64 = 200 * 1024 * 1024;
/// Bytes of one publication.
const PUBLICATION_BYTES_MAX: u64 = 500 * 1024 * 1024;
/// Files that one list holds before it is cut.
pub(super) const LISTED_MAX: usize = 10_000;
/// How deep a list goes.
pub(super) const DEPTH_MAX: usize = 64;

/// A file of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    /// Where it is, absolute.
    pub path: String,
    /// How long it is.
    pub size_bytes: u64,
}

/// Why files cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentFileError {
    /// No such file.
    #[error("no such file")]
    NotFound,
    /// It is longer than may be read at once.
    #[error("the file is longer than {0} bytes")]
    TooLong(u64),
    /// The store cannot be reached, or what it has is damaged.
    #[error("the files cannot be read now")]
    Unreadable(#[source] Error),
}

/// A regular file and where it is.
struct Found {
    path: String,
    node: FileNode,
}

/// Regular files below `directory`, an absolute path, in the order of their paths. A directory that does not
/// exist has none.
pub(super) fn list(
    chunks: &dyn Chunks,
    root: WorkspaceRoot,
    directory: &str,
) -> Result<Vec<ListedFile>, EnvironmentFileError> {
    let mut found = Vec::new();
    if let Some(at) = directory_at(chunks, root, directory)? {
        walk(chunks, &at, directory.trim_end_matches('/'), 0, &mut found)?;
    }
    let listed = |found: Found| ListedFile { path: found.path, size_bytes: found.node.size };
    Ok(found.into_iter().map(listed).collect())
}

/// The bytes of a regular file.
pub(super) fn read(
    chunks: &dyn Chunks,
    root: WorkspaceRoot,
    path: &str,
    bytes_max: u64,
) -> Result<Vec<u8>, EnvironmentFileError> {
    let (parent, name) = path.rsplit_once('/').ok_or(EnvironmentFileError::NotFound)?;
    let at = directory_at(chunks, root, parent)?.ok_or(EnvironmentFileError::NotFound)?;
    let entries = entries(chunks, &at).map_err(EnvironmentFileError::Unreadable)?;
    let entry = entries.into_iter().find(|entry| entry.name == name.as_bytes());
    let Some(Node::File(node)) = entry.map(|entry| entry.node) else {
        return Err(EnvironmentFileError::NotFound);
    };
    if node.size > bytes_max {
        return Err(EnvironmentFileError::TooLong(bytes_max));
    }
    content(chunks, &node).map_err(EnvironmentFileError::Unreadable)
}

/// What a turn has to publish: files below `/workspace/outputs` that `before` does not hold unchanged.
/// Links are left out, and what is too large.
pub(super) fn outputs(
    chunks: &dyn Chunks,
    root: WorkspaceRoot,
    before: &[Artifact],
    (effect, turn_id, now): (EffectId, TurnId, Timestamp),
) -> Result<Vec<Artifact>, EnvironmentFileError> {
    let directory = format!("{WORKSPACE}/{OUTPUTS}");
    let mut found = Vec::new();
    if let Some(at) = directory_at(chunks, root, &directory)? {
        walk(chunks, &at, &directory, 0, &mut found)?;
    }
    let mut total = 0_u64;
    let mut artifacts = Vec::new();
    for Found { path, node } in found {
        let same = identity(&node);
        let is_known = before.iter().rev().find(|artifact| artifact.path == path);
        if is_known.is_some_and(|artifact| artifact.digest == same) || node.size > ARTIFACT_BYTES_MAX {
            continue;
        }
        total = total.saturating_add(node.size);
        if total > PUBLICATION_BYTES_MAX {
            break;
        }
        let index = u32::try_from(artifacts.len()).unwrap_or(u32::MAX);
        artifacts.push(Artifact {
            id: ArtifactId::of_output(effect, index),
            turn_id,
            created_at: now,
            path,
            size_bytes: node.size,
            root,
            digest: same,
        });
    }
    Ok(artifacts)
}

/// What is the same for two files exactly when their bytes are.
fn identity(node: &FileNode) -> WorkspaceRoot {
    match node.content {
        Content::Empty => WorkspaceRoot::new([0; 32]),
        Content::Chunk(digest) | Content::List(digest) => WorkspaceRoot::new(*digest.as_bytes()),
    }
}

/// The digest of the directory at an absolute path; nothing if there is none.
fn directory_at(
    chunks: &dyn Chunks,
    root: WorkspaceRoot,
    path: &str,
) -> Result<Option<Digest>, EnvironmentFileError> {
    let Some(path) = path.strip_prefix(WORKSPACE) else { return Ok(None) };
    let Ok(path) = FilePath::parse(path.trim_matches('/').as_bytes()) else { return Ok(None) };
    let mut at = digest(root);
    for name in path.names() {
        let entries = entries(chunks, &at).map_err(EnvironmentFileError::Unreadable)?;
        match entries.into_iter().find(|entry| entry.name == name).map(|entry| entry.node) {
            Some(Node::Directory { digest, .. }) => at = digest,
            Some(Node::File(_) | Node::Link { .. }) | None => return Ok(None),
        }
    }
    Ok(Some(at))
}

fn walk(
    chunks: &dyn Chunks,
    at: &Digest,
    path: &str,
    depth: usize,
    found: &mut Vec<Found>,
) -> Result<(), EnvironmentFileError> {
    if depth > DEPTH_MAX {
        return Ok(());
    }
    for entry in entries(chunks, at).map_err(EnvironmentFileError::Unreadable)? {
        if found.len() >= LISTED_MAX {
            return Ok(());
        }
        // A name that is no text can be used by commands, but not be told to a client.
        let Ok(name) = std::str::from_utf8(&entry.name) else { continue };
        let path = format!("{path}/{name}");
        match entry.node {
            Node::File(node) => found.push(Found { path, node }),
            Node::Directory { digest, .. } => walk(chunks, &digest, &path, depth + 1, found)?,
            Node::Link { .. } => {}
        }
    }
    Ok(())
}

fn entries(chunks: &dyn Chunks, at: &Digest) -> Result<Vec<manifest::Entry>, Error> {
    manifest::decode_directory(&verified(chunks, at, NODE_BYTES_MAX)?)
}

fn content(chunks: &dyn Chunks, node: &FileNode) -> Result<Vec<u8>, Error> {
    let whole = match node.content {
        Content::Empty => Vec::new(),
        Content::Chunk(digest) => verified(chunks, &digest, tenure_workspace::CHUNK_BYTES_MAX)?,
        Content::List(digest) => {
            let mut whole = Vec::new();
            let list = verified(chunks, &digest, NODE_BYTES_MAX)?;
            for piece in manifest::decode_list(&list, node.size)? {
                whole.extend(verified(chunks, &piece.digest, tenure_workspace::CHUNK_BYTES_MAX)?);
            }
            whole
        }
    };
    if whole.len() as u64 == node.size { Ok(whole) } else { Err(Error::from(Limit::Bytes(node.size))) }
}

fn verified(chunks: &dyn Chunks, digest: &Digest, bytes_max: usize) -> Result<Vec<u8>, Error> {
    let bytes = chunks.read(digest, bytes_max)?;
    if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err(ErrorKind::Corrupt(*digest).into()) }
}
