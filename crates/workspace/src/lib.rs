//! The durable files of an agent's environment: content-addressed snapshots and safe access from the host.
//!
//! ```text
//!   Place ── files/   what the sandboxed program sees and changes
//!     │        │ snapshot: stat, read what changed, write new chunks ──▶ Chunks (database, directory, …)
//!     │        ▼                                                            │
//!     │      root: Digest ── committed by the caller with its event          │
//!     │                                                                     ▼
//!     └─ restore: build beside, verify every digest, exchange ◀──────────── nodes and chunks
//! ```
//!
//! A snapshot is one digest, the root of a Merkle tree of directories ([`manifest`]). So a fork is a second
//! name for a root and costs nothing; rewinding and moving to another host are a [`restore`]; [`diff`] looks
//! only into directories that differ; and a damaged or forged chunk cannot go unnoticed.
//!
//! Programs in a sandbox may change the files at any moment, and are taken to be hostile. Every access of the
//! host goes through [`Directory`], which never follows a link, opens nothing but files and directories, and
//! cannot be led out of the workspace by anything that is renamed under it.
//!
//! What this crate deliberately has not: an async runtime (call it from a thread that may block), a database
//! (write [`Chunks`] for it), a clock of its own except to judge its cache, and sandboxes.

pub mod archive;
mod cache;
mod chunks;
mod collect;
mod diff;
mod digest;
mod directory;
mod error;
mod host;
mod limits;
pub mod manifest;
pub mod patch;
mod path;
mod place;
mod restore;
mod snapshot;
mod split;

pub use cache::{CacheError, StatCache};
pub use chunks::{Chunks, Collect, DirectoryChunks, Generation, Generations, Hold, MemoryChunks, Swept};
pub use collect::{Reach, collect, reachable};
pub use diff::{Change, ChangeKind, Diff, diff};
pub use digest::{Digest, DigestError};
pub use directory::{Directory, Found, FoundKind, Page};
pub use error::{Error, ErrorKind};
pub use limits::{LINK_BYTES_MAX, Limit, Limits, NODE_BYTES_MAX};
pub use path::{FilePath, NAME_BYTES_MAX, PATH_BYTES_MAX, PathError};
pub use place::Place;
pub use restore::{Restored, restore};
pub use snapshot::{Skipped, Snapshot, Why, snapshot};
pub use split::CHUNK_BYTES_MAX;
