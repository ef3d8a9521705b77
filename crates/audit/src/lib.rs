//! A tamper-evident log: whoever changes, drops, adds, reorders or cuts a record is found out.
//!
//! The log is a Merkle tree of records ([RFC 6962](https://www.rfc-editor.org/rfc/rfc6962), SHA-256). Its root
//! at a size, signed, is a [`Checkpoint`]; a checkpoint that somebody else keeps makes the past unchangeable
//! even for the owner of the key. The forms are those of the [C2SP](https://c2sp.org) specifications, so that
//! tools of others read them: `tlog-tiles` for the tree, `signed-note` and `tlog-checkpoint` for checkpoints,
//! `tlog-proof` for what an auditor is handed.
//!
//! ```text
//!   records ──▶ Tree ──▶ tiles of 256 hashes ──▶ proofs: a record is in, a log only grew
//!                 └────▶ root ──▶ Checkpoint, signed
//! ```
//!
//! A record is bytes here. What is in it, and where tiles lie, is for others to say: nothing here reads a
//! clock or knows a database, and only [`Directory`] reads files, for the verifier of an exported log.

mod answer;
mod bundle;
mod checkpoint;
mod cosign;
mod directory;
mod evidence;
mod hash;
mod note;
mod proof;
mod receipt;
mod tile;
mod tree;
mod verify;

pub use answer::{ANSWER_RECORDS_MAX, Answer, AnswerError, Proven};
pub use bundle::{Bundle, BundleError, RECORD_BYTES_MAX};
pub use checkpoint::{Checkpoint, CheckpointError};
pub use cosign::{WitnessKey, WitnessVerifier};
pub use directory::{Directory, DirectoryError};
pub use evidence::{Evidence, EvidenceError, PROOF_HASHES_MAX};
pub use hash::{Hash, HashError};
pub use note::{KeyError, NOTE_BYTES_MAX, NoteError, Opened, SIGNATURES_MAX, SigningKey, VerifierKey};
pub use proof::{ProofError, Tiles, consistency, inclusion, verify_consistency, verify_inclusion};
pub use receipt::{Receipt, ReceiptError};
pub use tile::{TILE_HEIGHT, TILE_WIDTH, TileError, TileId};
pub use tree::{Tile, Tree, TreeError};
pub use verify::{Fault, Log, Report, verify};
