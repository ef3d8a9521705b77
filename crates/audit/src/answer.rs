//! An answer: the records of a log that match a question, each with its proof, under one checkpoint, in one file.
//!
//! It shows that each record is in the log. That there are no others, it says and does not show: only who has the
//! whole log can tell, and `looked_at` says how much of it was looked at.
//!
//! ```text
//!   tenure audit-answer@v1          a word, and who asked for what
//!   question Who refunded order 7?
//!   filter action=tool.call
//!   looked_at 4096
//!
//!   index 41                        one block for each record
//!   record {"at":...}
//!   <hash>
//!
//!   checkpoint                      the signed note, to the end of the file
//!   ...
//! ```

use std::fmt;
use std::str::FromStr;

use crate::{
    Checkpoint, CheckpointError, Hash, NOTE_BYTES_MAX, PROOF_HASHES_MAX, ProofError, RECORD_BYTES_MAX,
    VerifierKey, verify_inclusion,
};

const HEAD: &str = "tenure audit-answer@v1";
/// Records of one answer.
pub const ANSWER_RECORDS_MAX: usize = 100_000;
/// The longest line of the head.
const LINE_BYTES_MAX: usize = 4_096;

/// Records that match a question, with proofs. Prints as the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What was asked, in the words of who asked. Not part of what is proven.
    pub question: String,
    /// What records were compared with.
    pub filter: String,
    /// How many records were looked at, from the first on.
    pub looked_at: u64,
    /// The records.
    pub proven: Vec<Proven>,
    /// The signed checkpoint that all proofs lead to.
    pub checkpoint: String,
}

/// One record and the way to the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// Its number, from zero.
    pub index: u64,
    /// The record, in one line.
    pub record: String,
    /// The hashes from it to the root.
    pub path: Vec<Hash>,
}

impl Answer {
    /// Checks that every record is in the log whose checkpoints `key` signs, and returns the checkpoint.
    ///
    /// # Errors
    /// The checkpoint cannot be trusted, says that more was looked at than there is, or a record is not where it
    /// is said to be.
    pub fn verify(&self, key: &VerifierKey) -> Result<Checkpoint, AnswerError> {
        let checkpoint = Checkpoint::open(&self.checkpoint, key)?;
        if self.looked_at > checkpoint.size {
            return Err(AnswerError::LookedAt);
        }
        if !self.proven.is_sorted_by(|one, next| one.index < next.index) {
            return Err(AnswerError::Order);
        }
        for Proven { index, record, path } in &self.proven {
            let hash = Hash::of_record(record.as_bytes());
            verify_inclusion(path, hash, *index, checkpoint.size, checkpoint.root)
                .map_err(|error| AnswerError::Proof { index: *index, error })?;
        }
        Ok(checkpoint)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |text: &str| -> String {
            let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
            let mut plain: String = plain.collect();
            plain.truncate(plain.floor_char_boundary(LINE_BYTES_MAX));
            plain
        };
        writeln!(f, "{HEAD}\nquestion {}\nfilter {}", line(&self.question), line(&self.filter))?;
        writeln!(f, "looked_at {}\n", self.looked_at)?;
        for Proven { index, record, path } in &self.proven {
            writeln!(f, "index {index}\nrecord {record}")?;
            for hash in path {
                writeln!(f, "{hash}")?;
            }
            writeln!(f)?;
        }
        write!(f, "checkpoint\n{}", self.checkpoint)
    }
}

impl FromStr for Answer {
    type Err = AnswerError;

    fn from_str(text: &str) -> Result<Self, AnswerError> {
        let (head, mut rest) = text.split_once("\n\n").ok_or(AnswerError::Form)?;
        let mut lines = head.split('\n');
        let mut named = |name: &str| {
            let line = lines.next().filter(|line| line.len() <= LINE_BYTES_MAX + name.len() + 1)?;
            // What is written has none, and shows nothing else on a terminal than it says.
            let line = (!line.chars().any(char::is_control)).then_some(line)?;
            line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned)
        };
        if named("tenure").as_deref() != HEAD.strip_prefix("tenure ") {
            return Err(AnswerError::Form);
        }
        let question = named("question").ok_or(AnswerError::Form)?;
        let filter = named("filter").ok_or(AnswerError::Form)?;
        let looked_at = named("looked_at").and_then(|text| number(&text)).ok_or(AnswerError::Form)?;
        if lines.next().is_some() {
            return Err(AnswerError::Form);
        }
        let mut proven = Vec::new();
        while !rest.starts_with("checkpoint\n") {
            let (block, after) = rest.split_once("\n\n").ok_or(AnswerError::Form)?;
            if proven.len() == ANSWER_RECORDS_MAX {
                return Err(AnswerError::TooMany);
            }
            proven.push(read(block).ok_or(AnswerError::Form)?);
            rest = after;
        }
        let checkpoint = &rest["checkpoint\n".len()..];
        if checkpoint.len() > NOTE_BYTES_MAX {
            return Err(AnswerError::Form);
        }
        Ok(Self { question, filter, looked_at, proven, checkpoint: checkpoint.to_owned() })
    }
}

fn read(block: &str) -> Option<Proven> {
    let mut lines = block.split('\n');
    let index = number(lines.next()?.strip_prefix("index ")?)?;
    let record = lines.next()?.strip_prefix("record ")?.to_owned();
    let path: Option<Vec<Hash>> = lines.take(PROOF_HASHES_MAX + 1).map(|line| line.parse().ok()).collect();
    let path = path.filter(|path| path.len() <= PROOF_HASHES_MAX)?;
    (record.len() <= RECORD_BYTES_MAX).then_some(Proven { index, record, path })
}

/// Digits, in the one way that they are written.
fn number(text: &str) -> Option<u64> {
    let is_decimal =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    is_decimal.then(|| text.parse().ok()).flatten()
}

/// Why an answer shows nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It is not in the form of such a file.
    #[error("not an answer of a log: `{HEAD}`, records with hashes, and a checkpoint are expected")]
    Form,
    /// It has more records than one answer may.
    #[error("it has more than {ANSWER_RECORDS_MAX} records")]
    TooMany,
    /// Its checkpoint cannot be trusted.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// It says that more was looked at than there is.
    #[error("it says that more records were looked at than its checkpoint covers")]
    LookedAt,
    /// A record is there twice, or before an earlier one.
    #[error("its records are not in the order of the log")]
    Order,
    /// A record is not where it is said to be.
    #[error("record {index} is not in the log as it is said to be: {error}")]
    Proof {
        /// Its number.
        index: u64,
        /// Why.
        error: ProofError,
    },
}
