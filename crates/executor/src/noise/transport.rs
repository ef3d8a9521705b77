//! AES-256-GCM with a counter as nonce, and the two directions that a finished handshake gives.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::{NOISE_BYTES_MAX, NoiseError};

pub(super) const TAG_BYTES: usize = 16;
/// Records in one direction. Sequence numbers of the relay have 32 bits and never wrap.
const RECORDS_MAX: u64 = u32::MAX as u64;

pub(super) type Key = [u8; 32];

/// A key and the number of its next nonce.
pub(super) struct Cipher {
    key: LessSafeKey,
    nonce: u64,
}

impl Cipher {
    pub(super) fn new(key: &Key) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("AES-256 keys have 32 bytes");
        Self { key: LessSafeKey::new(key), nonce: 0 }
    }

    pub(super) fn seal(&mut self, data: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, NoiseError> {
        if plaintext.len() + TAG_BYTES > NOISE_BYTES_MAX {
            return Err(NoiseError::Length);
        }
        let nonce = self.next_nonce()?;
        let mut out = Vec::with_capacity(plaintext.len() + TAG_BYTES);
        out.extend_from_slice(plaintext);
        self.key
            .seal_in_place_append_tag(nonce, Aad::from(data), &mut out)
            .map_err(|_| NoiseError::Length)?;
        Ok(out)
    }

    pub(super) fn open(&mut self, data: &[u8], ciphertext: &[u8]) -> Result<Vec<u8>, NoiseError> {
        if !(TAG_BYTES..=NOISE_BYTES_MAX).contains(&ciphertext.len()) {
            return Err(NoiseError::Length);
        }
        let nonce = self.next_nonce()?;
        let mut out = ciphertext.to_vec();
        let plaintext = self.key.open_in_place(nonce, Aad::from(data), &mut out);
        let length = plaintext.map_err(|_| NoiseError::NotAuthentic)?.len();
        out.truncate(length);
        Ok(out)
    }

    /// Four zero bytes and the counter, big-endian, as Noise has it for AES-GCM.
    fn next_nonce(&mut self) -> Result<Nonce, NoiseError> {
        if self.nonce >= RECORDS_MAX {
            return Err(NoiseError::Exhausted);
        }
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - size_of::<u64>()..].copy_from_slice(&self.nonce.to_be_bytes());
        self.nonce += 1;
        Ok(Nonce::assume_unique_for_key(nonce))
    }
}

/// Encrypts what one side sends, one record at a time.
pub struct Sealer(pub(super) Cipher);

/// Decrypts what one side receives, one record at a time and in order.
pub struct Opener(pub(super) Cipher);

impl Sealer {
    /// The next record. Send it once: a record that was not sent leaves the other side unable to read on.
    ///
    /// # Errors
    /// `Length` past 65,519 bytes, `Exhausted`.
    pub fn seal(&mut self, plaintext: &[u8]) -> Result<Vec<u8>, NoiseError> {
        self.0.seal(&[], plaintext)
    }
}

impl Opener {
    /// The plaintext of the next record. After an error nothing more can be read.
    ///
    /// # Errors
    /// `Length`, `NotAuthentic`, `Exhausted`.
    pub fn open(&mut self, ciphertext: &[u8]) -> Result<Vec<u8>, NoiseError> {
        self.0.open(&[], ciphertext)
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealer(next {})", self.0.nonce)
    }
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opener(next {})", self.0.nonce)
    }
}
