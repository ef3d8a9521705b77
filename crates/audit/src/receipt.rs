//! Receipts: what was erased, by whose word, and how that was verified, signed with the key of the log.
//!
//! A receipt is a signed note (C2SP `signed-note`) of two lines: what it is, with the name of the log, and what it
//! says, as JSON. Its first line is never that of a checkpoint, so no signature of one can pass for the other.

use std::fmt;

use crate::{NoteError, SigningKey, VerifierKey};

const HEAD: &str = "tenure erasure receipt v1 ";

/// A receipt that was opened with the key of its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// What it says: one line of JSON.
    pub body: String,
}

impl Receipt {
    /// It, signed by the log's key.
    ///
    /// # Errors
    /// The body is not one line of printable text, or too long for a note.
    pub fn sign(&self, key: &SigningKey) -> Result<String, NoteError> {
        if self.body.is_empty() || self.body.contains('\n') {
            return Err(NoteError::Text);
        }
        key.sign(&format!("{HEAD}{}\n{}\n", key.verifier().name(), self.body))
    }

    /// The receipt of a note that the log's key signed.
    ///
    /// # Errors
    /// The note cannot be trusted, is no receipt, or is that of another log.
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, ReceiptError> {
        let text = key.open(note)?.text;
        let mut lines = text.lines();
        let origin = lines.next().and_then(|head| head.strip_prefix(HEAD)).ok_or(ReceiptError::Form)?;
        if origin != key.name() {
            return Err(ReceiptError::Origin { found: origin.to_owned(), expected: key.name().to_owned() });
        }
        match (lines.next(), lines.next()) {
            (Some(body), None) if !body.is_empty() => Ok(Self { body: body.to_owned() }),
            (Some(_) | None, _) => Err(ReceiptError::Form),
        }
    }

    /// Whether a text looks as if it were the note of a receipt.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        text.starts_with(HEAD)
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.body)
    }
}

/// Why a note shows nothing about an erasure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// It cannot be trusted.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// It says something else.
    #[error("the note is signed and is no receipt of an erasure")]
    Form,
    /// It is that of another log.
    #[error("the receipt is of the log `{found}` and not of `{expected}`")]
    Origin {
        /// The log it names.
        found: String,
        /// The log of the key.
        expected: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Checkpoint, Hash};

    #[test]
    fn a_receipt_is_read_as_it_was_signed_or_not_at_all() {
        let key = SigningKey::new("tenure/one", &[7; 32]).expect("a key");
        let receipt = Receipt { body: r#"{"events":3,"né":"\n"}"#.to_owned() };
        let note = receipt.sign(&key).expect("signs");
        assert!(Receipt::is_one(&note));
        assert_eq!(Receipt::open(&note, &key.verifier()), Ok(receipt));
        let check = |note: &str, key: &SigningKey, expected: &str| {
            let error = Receipt::open(note, &key.verifier()).expect_err("not to be trusted");
            assert_eq!(error.to_string(), expected);
        };
        check(
            &note.replace('3', "2"),
            &key,
            "the signature of `tenure/one` is wrong: the text was changed, or it was signed by another",
        );
        let other = SigningKey::new("tenure/two", &[7; 32]).expect("a key");
        check(&note, &other, "the key `tenure/two` has not signed this");
        let by_other = other.sign("tenure erasure receipt v1 tenure/one\n{}\n").expect("signs");
        check(&by_other, &other, "the receipt is of the log `tenure/one` and not of `tenure/two`");
        for text in [
            "tenure erasure receipt v1 tenure/one\n",
            "tenure erasure receipt v1 tenure/one\n{}\n{}\n",
            "another thing\n{}\n",
        ] {
            let note = key.sign(text).expect("signs");
            check(&note, &key, "the note is signed and is no receipt of an erasure");
        }
    }

    #[test]
    fn a_checkpoint_is_no_receipt_and_the_other_way_round() {
        let key = SigningKey::new("tenure/one", &[7; 32]).expect("a key");
        let checkpoint = Checkpoint { origin: "tenure/one".to_owned(), size: 0, root: Hash::of_nothing() };
        let signed = checkpoint.sign(&key).expect("signs");
        assert_eq!(Receipt::open(&signed, &key.verifier()), Err(ReceiptError::Form));
        let receipt = Receipt { body: "{}".to_owned() }.sign(&key).expect("signs");
        assert!(Checkpoint::open(&receipt, &key.verifier()).is_err());
    }

    #[test]
    fn a_body_is_one_line() {
        let key = SigningKey::new("tenure/one", &[7; 32]).expect("a key");
        for body in ["", "{}\n", "a\nb"] {
            assert_eq!(Receipt { body: body.to_owned() }.sign(&key), Err(NoteError::Text), "{body:?}");
        }
    }
}
