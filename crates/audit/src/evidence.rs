//! Evidence: one record's place in a log, in a file that an auditor checks alone (C2SP `tlog-proof`).

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::{Checkpoint, CheckpointError, Hash, NOTE_BYTES_MAX, ProofError, VerifierKey, verify_inclusion};

/// How many hashes a proof in a tree of less than 2^64 records can have.
pub const PROOF_HASHES_MAX: usize = 64;
const HEAD: &str = "c2sp.org/tlog-proof@v1";

/// A record's place in a log: its number, the hashes up to the root, and the signed checkpoint with that root.
///
/// The record itself is not part of it. Prints as the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The number of the record, from zero.
    pub index: u64,
    /// The hashes that lead from it to the root.
    pub path: Vec<Hash>,
    /// The signed checkpoint, as the log published it.
    pub checkpoint: String,
}

impl Evidence {
    /// Checks that `record` is in the log whose checkpoints `key` signs, and returns the checkpoint.
    ///
    /// # Errors
    /// The checkpoint cannot be trusted, or the record is not where it is said to be.
    pub fn verify(&self, record: &[u8], key: &VerifierKey) -> Result<Checkpoint, EvidenceError> {
        let checkpoint = Checkpoint::open(&self.checkpoint, key)?;
        verify_inclusion(&self.path, Hash::of_record(record), self.index, checkpoint.size, checkpoint.root)?;
        Ok(checkpoint)
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}\nindex {}", self.index)?;
        for hash in &self.path {
            writeln!(f, "{hash}")?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for Evidence {
    type Err = EvidenceError;

    fn from_str(text: &str) -> Result<Self, EvidenceError> {
        let (head, checkpoint) = text.split_once("\n\n").ok_or(EvidenceError::Form)?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEAD) || checkpoint.len() > NOTE_BYTES_MAX {
            return Err(EvidenceError::Form);
        }
        // What others put there says nothing that is signed.
        if let Some(extra) = lines.next_if(|line| line.starts_with("extra ")) {
            STANDARD.decode(&extra["extra ".len()..]).map_err(|_| EvidenceError::Form)?;
        }
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).ok_or(EvidenceError::Form)?;
        let is_decimal =
            index.bytes().all(|byte| byte.is_ascii_digit()) && (index == "0" || !index.starts_with('0'));
        let index = is_decimal.then(|| index.parse().ok()).flatten().ok_or(EvidenceError::Form)?;
        let hashes = lines.map(|line| line.parse().map_err(|_| EvidenceError::Form));
        let path = hashes.take(PROOF_HASHES_MAX + 1).collect::<Result<Vec<_>, _>>()?;
        if path.len() > PROOF_HASHES_MAX {
            return Err(EvidenceError::Form);
        }
        Ok(Self { index, path, checkpoint: checkpoint.to_owned() })
    }
}

/// Why evidence shows nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// It is not in the form of such a file.
    #[error("not evidence of a log: `{HEAD}`, an index, hashes and a checkpoint are expected")]
    Form,
    /// Its checkpoint cannot be trusted.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The record is not where it is said to be.
    #[error("the record is not in the log as it is said to be: {0}")]
    Proof(#[from] ProofError),
}
