//! A project's audit log, as a store keeps it.
//!
//! ```text
//!   append, with its records ──▶ unsealed ── seal: into the log, with tiles and a signed checkpoint ──▶ sealed
//! ```
//!
//! A record is durable with the events it tells of, so none is missing from the log for good. It cannot be
//! changed unnoticed from the checkpoint on that covers it.

use bytes::Bytes;
use tenure_journal::ProjectId;

/// A record for the log of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// The project.
    pub project: ProjectId,
    /// Canonical JSON: what the log will keep.
    pub record: Bytes,
}

/// A record that is durable and not part of its project's log yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsealed {
    /// The project.
    pub project: ProjectId,
    /// Names the record in the store. Later ones are greater within one session.
    pub position: u64,
    /// What the log will keep.
    pub record: Bytes,
}

/// One step by which a log grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// The project.
    pub project: ProjectId,
    /// How many records the log had when this was prepared.
    pub expected: u64,
    /// The records that are sealed, in the order of the log, each with its position among the unsealed.
    pub records: Vec<(u64, Bytes)>,
    /// Tiles that are new or wider than they were: level, index, and hashes.
    pub tiles: Vec<(u32, u64, Bytes)>,
    /// The signed checkpoint of the log after it.
    pub checkpoint: String,
}

/// A checkpoint of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// How many records it covers.
    pub size: u64,
    /// The signed note.
    pub checkpoint: String,
}
