//! Noise's symmetric state: the hash of everything said, the chaining key, and the cipher in between.

use ring::digest::{self, SHA256};
use ring::hmac;

use super::transport::{Cipher, Key, TAG_BYTES};
use super::{NoiseError, PROTOCOL_NAME};

const HASH_BYTES: usize = 32;

type Hash = [u8; HASH_BYTES];

pub(super) struct Symmetric {
    hash: Hash,
    chaining_key: Hash,
    cipher: Option<Cipher>,
}

impl Symmetric {
    /// The state after the protocol's name, which is longer than a hash and therefore hashed.
    pub(super) fn new() -> Self {
        const { assert!(PROTOCOL_NAME.len() > HASH_BYTES) };
        let hash = sha256(&[PROTOCOL_NAME]);
        Self { hash, chaining_key: hash, cipher: None }
    }

    pub(super) fn mix_hash(&mut self, data: &[u8]) {
        self.hash = sha256(&[&self.hash, data]);
    }

    pub(super) fn mix_key(&mut self, material: &[u8]) {
        let [chaining_key, key] = expand(&self.chaining_key, material);
        self.chaining_key = chaining_key;
        self.cipher = Some(Cipher::new(&key));
    }

    pub(super) fn mix_key_and_hash(&mut self, material: &[u8]) {
        let [chaining_key, hash, key] = expand(&self.chaining_key, material);
        self.chaining_key = chaining_key;
        self.mix_hash(&hash);
        self.cipher = Some(Cipher::new(&key));
    }

    /// Appends `data` to `out`, encrypted once there is a key, and hashes what was appended.
    pub(super) fn encrypt_and_hash(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), NoiseError> {
        let from = out.len();
        match &mut self.cipher {
            Some(cipher) => out.extend_from_slice(&cipher.seal(&self.hash, data)?),
            None => out.extend_from_slice(data),
        }
        let appended = out[from..].to_vec();
        self.mix_hash(&appended);
        Ok(())
    }

    /// Takes the piece that holds `length` bytes off `message` and returns those bytes.
    pub(super) fn decrypt_and_hash(
        &mut self,
        message: &mut &[u8],
        length: usize,
    ) -> Result<Vec<u8>, NoiseError> {
        let tag = if self.cipher.is_some() { TAG_BYTES } else { 0 };
        let piece = take(message, length + tag)?;
        let data = match &mut self.cipher {
            Some(cipher) => cipher.open(&self.hash, piece)?,
            None => piece.to_vec(),
        };
        self.mix_hash(piece);
        Ok(data)
    }

    /// The keys of what follows: from the initiator, and from the responder.
    pub(super) fn split(self) -> (Cipher, Cipher) {
        let [ours, theirs] = expand(&self.chaining_key, &[]);
        (Cipher::new(&ours), Cipher::new(&theirs))
    }
}

/// Takes `length` bytes off a message.
pub(super) fn take<'a>(message: &mut &'a [u8], length: usize) -> Result<&'a [u8], NoiseError> {
    let (piece, rest) = message.split_at_checked(length).ok_or(NoiseError::Length)?;
    *message = rest;
    Ok(piece)
}

fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = digest::Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    fixed(context.finish().as_ref())
}

/// HKDF (RFC 5869) with the chaining key as salt and no info, `N` outputs.
fn expand<const N: usize>(chaining_key: &Hash, material: &[u8]) -> [Key; N] {
    let temporary = fixed(&hmac256(chaining_key, &[material]));
    let mut outputs = [[0; HASH_BYTES]; N];
    let mut previous: Vec<u8> = Vec::new();
    for (output, counter) in outputs.iter_mut().zip(1_u8..) {
        *output = fixed(&hmac256(&temporary, &[&previous, &[counter]]));
        previous = output.to_vec();
    }
    outputs
}

fn hmac256(key: &Hash, parts: &[&[u8]]) -> Vec<u8> {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    parts.iter().for_each(|part| context.update(part));
    context.sign().as_ref().to_vec()
}

fn fixed(bytes: &[u8]) -> Hash {
    bytes.try_into().expect("SHA-256 gives 32 bytes")
}
