//! Checkpoints: what a log was at one size, signed (C2SP `tlog-checkpoint`).

use std::fmt;
use std::str::FromStr;

use crate::{Hash, NoteError, SigningKey, VerifierKey};

/// A log's name, size and root. Prints as the text that is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The name of the log.
    pub origin: String,
    /// How many records it had.
    pub size: u64,
    /// The hash of its tree then.
    pub root: Hash,
}

impl Checkpoint {
    /// It, signed by the log's key.
    ///
    /// # Errors
    /// The origin cannot stand in a note.
    pub fn sign(&self, key: &SigningKey) -> Result<String, NoteError> {
        if self.origin.is_empty() || self.origin.contains('\n') {
            return Err(NoteError::Text);
        }
        key.sign(&self.to_string())
    }

    /// The checkpoint of a note that the log's key signed. The key has the log's name.
    ///
    /// # Errors
    /// The note cannot be trusted, is no checkpoint, or is that of another log.
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, CheckpointError> {
        let checkpoint: Self = key.open(note)?.text.parse()?;
        if checkpoint.origin != key.name() {
            return Err(CheckpointError::Origin {
                found: checkpoint.origin,
                expected: key.name().to_owned(),
            });
        }
        Ok(checkpoint)
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, self.root)
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::Form)?.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(CheckpointError::Form);
        };
        let is_decimal =
            size.bytes().all(|byte| byte.is_ascii_digit()) && (size == "0" || !size.starts_with('0'));
        let size = is_decimal.then(|| size.parse().ok()).flatten().ok_or(CheckpointError::Form)?;
        let root = root.parse().map_err(|_| CheckpointError::Form)?;
        // Extension lines may follow; nothing of ours is in them.
        if origin.is_empty() || lines.any(str::is_empty) {
            return Err(CheckpointError::Form);
        }
        Ok(Self { origin: origin.to_owned(), size, root })
    }
}

/// Why a checkpoint cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note cannot be trusted.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Its text is none of a checkpoint.
    #[error("not a checkpoint: a line each with origin, number of records and root is expected")]
    Form,
    /// It is that of another log.
    #[error("the checkpoint is that of the log `{found}`, not of `{expected}`")]
    Origin {
        /// The log it is of.
        found: String,
        /// The log it should be of.
        expected: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_text_of_the_specification() {
        let text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        let checkpoint: Checkpoint = text.parse().expect("a checkpoint");
        assert_eq!(
            (checkpoint.origin.as_str(), checkpoint.size),
            ("example.com/behind-the-sofa", 20_852_163)
        );
        assert_eq!(checkpoint.to_string(), text);
        for wrong in [
            "",
            "origin\n",
            "origin\n1\n",
            "origin\n01\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "origin\n-1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "origin\n1\nshort=\n",
            "origin\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=",
            "origin\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\nmore\n",
        ] {
            assert_eq!(wrong.parse::<Checkpoint>(), Err(CheckpointError::Form), "{wrong:?}");
        }
    }

    #[test]
    fn it_counts_for_its_own_log_only() {
        let key = SigningKey::new("tenure.example/a", &[1; 32]).expect("a key");
        let of = |origin: &str| Checkpoint { origin: origin.into(), size: 3, root: Hash::of_nothing() };
        let note = of("tenure.example/a").sign(&key).expect("signs");
        assert_eq!(Checkpoint::open(&note, &key.verifier()), Ok(of("tenure.example/a")));
        let foreign = of("tenure.example/b").sign(&key).expect("signs");
        let error = Checkpoint::open(&foreign, &key.verifier());
        assert!(matches!(error, Err(CheckpointError::Origin { .. })), "{error:?}");
    }
}
