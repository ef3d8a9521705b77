//! Cosignatures: what a witness adds to a checkpoint that it saw to go on from the last one (C2SP `tlog-cosignature`,
//! version 1).
//!
//! A witness says one thing: at this time, this was the newest state of this log that I know of, and it contains
//! every state I signed before. Two pasts of one log would need two witnesses.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{self, SHA256};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::note::{ID_BYTES, check_name, parse_signature, split};
use crate::{KeyError, NoteError};

/// Timestamped Ed25519 cosignatures in the numbering of the specification.
const COSIGNATURE_TYPE: u8 = 4;
const TIME_BYTES: usize = 8;
const SEED_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;

/// What a witness signs with. Prints as its name, never as its secret.
pub struct WitnessKey {
    name: String,
    pair: Ed25519KeyPair,
}

impl fmt::Debug for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WitnessKey").field("name", &self.name).finish_non_exhaustive()
    }
}

impl WitnessKey {
    /// The key of this name with a secret of 32 random bytes.
    ///
    /// # Errors
    /// As [`crate::SigningKey::new`].
    pub fn new(name: &str, secret: &[u8; SEED_BYTES]) -> Result<Self, KeyError> {
        check_name(name)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(secret).map_err(|_| KeyError::Secret)?;
        Ok(Self { name: name.to_owned(), pair })
    }

    /// What checks its cosignatures.
    #[must_use]
    pub fn verifier(&self) -> WitnessVerifier {
        let mut public = [0; SEED_BYTES];
        public.copy_from_slice(self.pair.public_key().as_ref());
        WitnessVerifier { name: self.name.clone(), public }
    }

    /// The note with one more line: that it was seen at `time`, in seconds since 1970.
    ///
    /// # Errors
    /// It is no note.
    pub fn cosign(&self, note: &str, time: u64) -> Result<String, NoteError> {
        let (text, _) = split(note)?;
        let signature = self.pair.sign(&signed(text, time));
        let mut bytes = self.verifier().id().to_vec();
        bytes.extend_from_slice(&time.to_be_bytes());
        bytes.extend_from_slice(signature.as_ref());
        Ok(format!("{note}— {} {}\n", self.name, STANDARD.encode(bytes)))
    }
}

/// What checks the cosignatures of one witness. Prints as a verifier's key does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessVerifier {
    name: String,
    public: [u8; SEED_BYTES],
}

impl WitnessVerifier {
    /// When the witness saw the note, in seconds since 1970.
    ///
    /// # Errors
    /// It is no note, this witness has not signed it, or the signature is wrong.
    pub fn seen(&self, note: &str) -> Result<u64, NoteError> {
        let (text, signatures) = split(note)?;
        for line in signatures {
            let (name, bytes) = parse_signature(line)?;
            if name != self.name || bytes[..ID_BYTES] != self.id() {
                continue;
            }
            let wrong = || NoteError::Signature { name: name.to_owned() };
            if bytes.len() != ID_BYTES + TIME_BYTES + SIGNATURE_BYTES {
                return Err(wrong());
            }
            let (time, signature) = bytes[ID_BYTES..].split_at(TIME_BYTES);
            let time = u64::from_be_bytes(time.try_into().map_err(|_| wrong())?);
            let key = UnparsedPublicKey::new(&ED25519, &self.public);
            return key.verify(&signed(text, time), signature).map(|()| time).map_err(|_| wrong());
        }
        Err(NoteError::Unsigned { name: self.name.clone() })
    }

    fn id(&self) -> [u8; ID_BYTES] {
        let mut context = digest::Context::new(&SHA256);
        context.update(self.name.as_bytes());
        context.update(&[b'\n', COSIGNATURE_TYPE]);
        context.update(&self.public);
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&context.finish().as_ref()[..ID_BYTES]);
        id
    }
}

impl fmt::Display for WitnessVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![COSIGNATURE_TYPE];
        key.extend_from_slice(&self.public);
        write!(f, "{}+{:08x}+{}", self.name, u32::from_be_bytes(self.id()), STANDARD.encode(key))
    }
}

impl FromStr for WitnessVerifier {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Form);
        };
        check_name(name)?;
        let key = STANDARD.decode(key).map_err(|_| KeyError::Form)?;
        let public = match key.split_first() {
            Some((&COSIGNATURE_TYPE, public)) => public.try_into().map_err(|_| KeyError::Form)?,
            Some(_) => return Err(KeyError::Algorithm),
            None => return Err(KeyError::Form),
        };
        let found = Self { name: name.to_owned(), public };
        if format!("{:08x}", u32::from_be_bytes(found.id())) == id { Ok(found) } else { Err(KeyError::Id) }
    }
}

/// What is signed: a head with the time, and the text of the note.
fn signed(text: &str, time: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{text}").into_bytes()
}
