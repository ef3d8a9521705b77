//! The files of an environment as the store has them: every chunk is read and held against its digest.

use std::collections::BTreeMap;

use tenure_journal::{ProjectId, WorkspaceRoot};
use tenure_store::Store;
use tenure_workspace::Digest;
use tenure_workspace::manifest::{Content, FileNode, Node, decode_directory, decode_list};

/// What lies at each path: its kind, its mode and its content. Times are left out: a command that is run again
/// is run at another time.
pub(crate) type Contents = BTreeMap<String, String>;

/// The whole tree of `root`.
///
/// # Panics
/// Where a part of it is missing, or is not what its digest says.
pub(crate) async fn contents(store: &dyn Store, project: ProjectId, root: WorkspaceRoot) -> Contents {
    let mut found = Contents::new();
    let mut open = vec![(String::new(), Digest::from_bytes(*root.digest()))];
    while let Some((directory, digest)) = open.pop() {
        for entry in decode_directory(&chunk(store, project, digest).await).expect("a directory") {
            let path = format!("{directory}/{}", String::from_utf8(entry.name).expect("a name in UTF-8"));
            let what = match entry.node {
                Node::Directory { mode, digest } => {
                    open.push((path.clone(), digest));
                    format!("directory {mode:o}")
                }
                Node::Link { target } => format!("link to {}", String::from_utf8_lossy(&target)),
                Node::File(file) => {
                    let bytes = bytes(store, project, &file).await;
                    assert_eq!(bytes.len() as u64, file.size, "{path}");
                    format!("file {:o}, {} bytes, {}", file.mode, file.size, Digest::of(&bytes))
                }
            };
            found.insert(path, what);
        }
    }
    found
}

async fn bytes(store: &dyn Store, project: ProjectId, file: &FileNode) -> Vec<u8> {
    match file.content {
        Content::Empty => Vec::new(),
        Content::Chunk(digest) => chunk(store, project, digest).await,
        Content::List(digest) => {
            let list = chunk(store, project, digest).await;
            let mut bytes = Vec::new();
            for piece in decode_list(&list, file.size).expect("a list") {
                bytes.extend(chunk(store, project, piece.digest).await);
            }
            bytes
        }
    }
}

async fn chunk(store: &dyn Store, project: ProjectId, digest: Digest) -> Vec<u8> {
    let found = store.blob_by_digest(project, *digest.as_bytes()).await.expect("readable");
    let bytes = found.unwrap_or_else(|| panic!("half a snapshot: {digest} is missing"));
    assert_eq!(Digest::of(&bytes), digest, "a chunk that is not what it is called");
    bytes.to_vec()
}
