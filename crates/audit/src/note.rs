//! Signed notes: text, an empty line, and signatures (C2SP `signed-note`, with Ed25519).

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{self, SHA256};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

/// The longest note that is read, signatures included.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;
/// How many signatures a note may have: the least that the specification lets a reader accept.
pub const SIGNATURES_MAX: usize = 16;
/// The longest name of a key.
const NAME_BYTES_MAX: usize = 256;

/// Ed25519 in the numbering of the specification.
const ED25519_TYPE: u8 = 1;
pub(crate) const ID_BYTES: usize = 4;
const SEED_BYTES: usize = 32;

/// What signs a log's checkpoints. Prints as its name, never as its secret.
pub struct SigningKey {
    name: String,
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// The key of this name with a secret of 32 random bytes.
    ///
    /// # Errors
    /// The name is empty, longer than 256 bytes, or has a space, a plus or a control character.
    pub fn new(name: &str, secret: &[u8; SEED_BYTES]) -> Result<Self, KeyError> {
        check_name(name)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(secret).map_err(|_| KeyError::Secret)?;
        Ok(Self { name: name.to_owned(), pair })
    }

    /// What checks its signatures.
    #[must_use]
    pub fn verifier(&self) -> VerifierKey {
        let mut public = [0; SEED_BYTES];
        public.copy_from_slice(self.pair.public_key().as_ref());
        VerifierKey { name: self.name.clone(), public }
    }

    /// A note of `text` with its signature.
    ///
    /// # Errors
    /// `Text`: it does not end with a line, has a control character, or is too long.
    pub fn sign(&self, text: &str) -> Result<String, NoteError> {
        let is_plain = text.chars().all(|letter| letter == '\n' || !letter.is_ascii_control());
        if !text.ends_with('\n') || !is_plain || text.len() > NOTE_BYTES_MAX / 2 {
            return Err(NoteError::Text);
        }
        let signature = self.pair.sign(text.as_bytes());
        let mut bytes = self.verifier().id().to_vec();
        bytes.extend_from_slice(signature.as_ref());
        Ok(format!("{text}\n— {} {}\n", self.name, STANDARD.encode(bytes)))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What checks the signatures of one key. Prints as `<name>+<id>+<base64>`, which is safe to hand to anyone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    public: [u8; SEED_BYTES],
}

impl VerifierKey {
    /// The name of the key.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of a note that this key signed, without its signatures.
    ///
    /// # Errors
    /// It is no note, this key has not signed it, or the signature is wrong.
    pub fn open<'a>(&self, note: &'a str) -> Result<Opened<'a>, NoteError> {
        let (text, signatures) = split(note)?;
        let mut others = Vec::new();
        let mut is_signed = false;
        for line in signatures {
            let (name, signature) = parse_signature(line)?;
            if name != self.name || signature[..ID_BYTES] != self.id() {
                others.push(name);
                continue;
            }
            UnparsedPublicKey::new(&ED25519, &self.public)
                .verify(text.as_bytes(), &signature[ID_BYTES..])
                .map_err(|_| NoteError::Signature { name: name.to_owned() })?;
            is_signed = true;
        }
        if !is_signed {
            return Err(NoteError::Unsigned { name: self.name.clone() });
        }
        Ok(Opened { text, others })
    }

    fn id(&self) -> [u8; ID_BYTES] {
        let mut context = digest::Context::new(&SHA256);
        context.update(self.name.as_bytes());
        context.update(&[b'\n', ED25519_TYPE]);
        context.update(&self.public);
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&context.finish().as_ref()[..ID_BYTES]);
        id
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![ED25519_TYPE];
        key.extend_from_slice(&self.public);
        let id = u32::from_be_bytes(self.id());
        write!(f, "{}+{id:08x}+{}", self.name, STANDARD.encode(key))
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Form);
        };
        check_name(name)?;
        let key = STANDARD.decode(key).map_err(|_| KeyError::Form)?;
        let public = match key.split_first() {
            Some((&ED25519_TYPE, public)) => public.try_into().map_err(|_| KeyError::Form)?,
            Some(_) => return Err(KeyError::Algorithm),
            None => return Err(KeyError::Form),
        };
        let found = Self { name: name.to_owned(), public };
        if format!("{:08x}", u32::from_be_bytes(found.id())) != id {
            return Err(KeyError::Id);
        }
        Ok(found)
    }
}

/// A note whose signature was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened<'a> {
    /// What was signed.
    pub text: &'a str,
    /// The names of other keys that are said to have signed it. Their signatures were not checked.
    pub others: Vec<&'a str>,
}

/// Why text is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It does not have the three parts of a key.
    #[error("not a key: `<name>+<id>+<base64>` is expected")]
    Form,
    /// Its name cannot stand in a note.
    #[error("the name of a key has 1 to 256 bytes, without spaces, plus or control characters")]
    Name,
    /// It is for another kind of signature.
    #[error("the key is not for Ed25519, the one kind of signature that is checked here")]
    Algorithm,
    /// Its id is not that of name and key: a part was changed.
    #[error("the id of the key does not belong to its name and bytes; copy the key again")]
    Id,
    /// The secret cannot be used.
    #[error("the secret of the key cannot be used")]
    Secret,
}

/// Why a note cannot be trusted, or not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It is not text, an empty line and signatures, or it is too long.
    #[error("not a signed note: text, an empty line and up to 16 signatures are expected")]
    Form,
    /// The text cannot be signed.
    #[error("the text of a note ends with a line end and has no other control characters")]
    Text,
    /// The key has not signed it.
    #[error("the key `{name}` has not signed this")]
    Unsigned {
        /// The name of the key.
        name: String,
    },
    /// The text is not what the key signed.
    #[error("the signature of `{name}` is wrong: the text was changed, or it was signed by another")]
    Signature {
        /// The name of the key.
        name: String,
    },
}

pub(crate) fn check_name(name: &str) -> Result<(), KeyError> {
    let is_fit = |letter: char| !letter.is_whitespace() && !letter.is_control() && letter != '+';
    let fits = !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(is_fit);
    if fits { Ok(()) } else { Err(KeyError::Name) }
}

/// The text of a note, its last line end included, and its lines of signatures.
pub(crate) fn split(note: &str) -> Result<(&str, Vec<&str>), NoteError> {
    let is_plain = note.chars().all(|letter| letter == '\n' || !letter.is_ascii_control());
    if !is_plain || note.len() > NOTE_BYTES_MAX {
        return Err(NoteError::Form);
    }
    let middle = note.rfind("\n\n").ok_or(NoteError::Form)?;
    let (text, rest) = note.split_at(middle + 1);
    let signatures =
        rest.strip_prefix('\n').and_then(|rest| rest.strip_suffix('\n')).ok_or(NoteError::Form)?;
    let signatures: Vec<_> = signatures.split('\n').collect();
    if signatures.len() > SIGNATURES_MAX {
        return Err(NoteError::Form);
    }
    Ok((text, signatures))
}

pub(crate) fn parse_signature(line: &str) -> Result<(&str, Vec<u8>), NoteError> {
    let (name, signature) =
        line.strip_prefix("— ").and_then(|rest| rest.split_once(' ')).ok_or(NoteError::Form)?;
    check_name(name).map_err(|_| NoteError::Form)?;
    let signature = STANDARD.decode(signature).map_err(|_| NoteError::Form)?;
    if signature.len() <= ID_BYTES {
        return Err(NoteError::Form);
    }
    Ok((name, signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    #[test]
    fn a_note_of_others_is_read() {
        let key = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
        let note = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2\
                    ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
        let parsed: VerifierKey = key.parse().expect("a key");
        assert_eq!(parsed.to_string(), key);
        assert_eq!(parsed.open(note).expect("signed").text, "This is an example message.\n");
    }

    #[test]
    fn a_changed_note_is_refused() {
        let key = SigningKey::new("log.example", &[7; 32]).expect("a key");
        let other = SigningKey::new("log.example", &[8; 32]).expect("a key");
        let note = key.sign("one\n\ntwo\n").expect("signs");
        let verifier = key.verifier();
        let check = |note: &str, expected: &str| {
            let found = match verifier.open(note) {
                Ok(opened) => format!("{:?} {:?}", opened.text, opened.others),
                Err(error) => error.to_string(),
            };
            assert_eq!(found, expected);
        };
        check(&note, r#""one\n\ntwo\n" []"#);
        let wrong =
            "the signature of `log.example` is wrong: the text was changed, or it was signed by another";
        check(&note.replace("two", "six"), wrong);
        check(&other.sign("one\n\ntwo\n").expect("signs"), "the key `log.example` has not signed this");
        let form = "not a signed note: text, an empty line and up to 16 signatures are expected";
        check(&note.replace("— ", "- "), form);
        check(note.trim_end(), form);
        check("", form);
        let by_both = format!("{note}— other.example {}\n", STANDARD.encode([0; 68]));
        check(&by_both, r#""one\n\ntwo\n" ["other.example"]"#);
        assert_eq!(key.sign("no line end"), Err(NoteError::Text));
        assert_eq!(key.sign("a\ttab\n"), Err(NoteError::Text));
    }

    #[test]
    fn keys_are_read_as_they_were_written_or_not_at_all() {
        let key = SigningKey::new("log.example", &[7; 32]).expect("a key").verifier().to_string();
        assert_eq!(key.parse::<VerifierKey>().expect("a key").to_string(), key);
        let check = |text: &str, expected: KeyError| assert_eq!(text.parse::<VerifierKey>(), Err(expected));
        check(&key.replace("log", "dog"), KeyError::Id);
        check("log.example", KeyError::Form);
        check("+00000000+AQ==", KeyError::Name);
        check(&format!("log+00000000+{}", STANDARD.encode([2; 33])), KeyError::Algorithm);
        assert!(SigningKey::new("two words", &[7; 32]).is_err());
        assert!(!format!("{:?}", SigningKey::new("log", &[7; 32])).contains('7'));
    }
}
