//! One cipher in one format: `TS` and the format's number, a nonce, what was encrypted with its tag.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::error::{SealError, SealErrorKind};
use crate::{KEY_BYTES, random};

/// How everything sealed here begins. An earlier release began with a random nonce.
pub(crate) const MAGIC: &[u8; 4] = b"TS\0\x01";
const NONCE_BYTES: usize = 24;

pub(crate) fn seal(key: &[u8; KEY_BYTES], aad: &[u8], plain: &[u8]) -> Vec<u8> {
    let nonce = random::<NONCE_BYTES>();
    let payload = Payload { msg: plain, aad };
    let sealed = XChaCha20Poly1305::new(key.into()).encrypt(&XNonce::from(nonce), payload);
    let sealed = sealed.expect("encryption fails only for messages of 256 GiB");
    [MAGIC.as_slice(), &nonce, &sealed].concat()
}

pub(crate) fn open(
    key: &[u8; KEY_BYTES],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let rest = sealed.strip_prefix(MAGIC.as_slice()).ok_or(SealErrorKind::Refused)?;
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(SealErrorKind::Refused)?;
    let payload = Payload { msg: sealed, aad };
    let opened = XChaCha20Poly1305::new(key.into()).decrypt(&XNonce::from(*nonce), payload);
    Ok(Zeroizing::new(opened.map_err(|_| SealErrorKind::Refused)?))
}

/// Parts with their lengths before them: no two lists of parts are written alike.
pub(crate) fn bound(parts: &[&[u8]]) -> Vec<u8> {
    let mut bound = Vec::new();
    for part in parts {
        bound.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bound.extend_from_slice(part);
    }
    bound
}
