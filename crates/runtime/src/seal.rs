//! Sealing secrets: what a client hands over for later use is kept encrypted, outside the journal.
//!
//! ChaCha20-Poly1305 (RFC 8439) under one key of the installation; project and secret id are bound as
//! associated data, so a sealed secret opens nowhere else.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce};
use tenure_journal::{ProjectId, SecretId};

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;

/// Seals and opens secrets with the installation's key.
pub struct Sealer {
    cipher: ChaCha20Poly1305,
    fingerprint: String,
    /// What other secrets of the installation follow from.
    root: [u8; KEY_BYTES],
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer([redacted])")
    }
}

/// Why secrets cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealerError {
    /// The key file cannot be read or made.
    #[error("the key file `{path}` cannot be used")]
    KeyFile {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The key file does not hold a key.
    #[error("the key file `{path}` must hold exactly {KEY_BYTES} bytes")]
    KeyLength {
        /// Its path.
        path: String,
    },
    /// The sealed bytes were changed, moved, or sealed with another key.
    #[error("a sealed secret cannot be opened with this installation's key")]
    Opened,
}

impl Sealer {
    /// Uses the key in `path`; makes it, readable by its owner only, if there is none.
    ///
    /// # Errors
    /// `KeyFile`, `KeyLength`.
    pub fn open(path: &Path) -> Result<Self, SealerError> {
        let failed = |source| SealerError::KeyFile { path: path.display().to_string(), source };
        let key = match std::fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                make_key_file(path).and_then(|()| std::fs::read(path))
            }
            read => read,
        };
        let key = key.map_err(failed)?;
        Self::with_key(&key).ok_or_else(|| SealerError::KeyLength { path: path.display().to_string() })
    }

    /// A sealer whose key is gone with the process: for stores in memory.
    #[must_use]
    pub fn ephemeral() -> Self {
        Self::with_key(&random::<KEY_BYTES>()).expect("the key was made with the right length")
    }

    /// What the key is known by: tells two keys apart and says nothing about either.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn with_key(key: &[u8]) -> Option<Self> {
        let fingerprint = blake3::derive_key("tenure 2026 fingerprint of the sealing key", key);
        let fingerprint = fingerprint[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let root = blake3::derive_key("tenure 2026 further secrets of the sealing key", key);
        ChaCha20Poly1305::new_from_slice(key).ok().map(|cipher| Self { cipher, fingerprint, root })
    }

    /// A secret of the installation for one purpose; it tells nothing about the key or about others.
    pub(crate) fn derived(&self, purpose: &str) -> [u8; KEY_BYTES] {
        *blake3::keyed_hash(&self.root, purpose.as_bytes()).as_bytes()
    }

    pub(crate) fn seal(&self, project: ProjectId, id: SecretId, secret: &str) -> Vec<u8> {
        let nonce = random::<NONCE_BYTES>();
        let bound = bound(project, id);
        let payload = Payload { msg: secret.as_bytes(), aad: bound.as_bytes() };
        let sealed = self.cipher.encrypt(&Nonce::from(nonce), payload);
        let sealed = sealed.expect("encryption fails only for messages of 256 GiB");
        [nonce.as_slice(), &sealed].concat()
    }

    pub(crate) fn unseal(
        &self,
        project: ProjectId,
        id: SecretId,
        sealed: &[u8],
    ) -> Result<String, SealerError> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(SealerError::Opened)?;
        let bound = bound(project, id);
        let payload = Payload { msg: sealed, aad: bound.as_bytes() };
        let opened = self.cipher.decrypt(&Nonce::from(*nonce), payload).map_err(|_| SealerError::Opened)?;
        String::from_utf8(opened).map_err(|_| SealerError::Opened)
    }
}

fn bound(project: ProjectId, id: SecretId) -> String {
    format!("{project}/{id}")
}

/// Makes a key file, whole and durable before anything is sealed with it, wherever the power fails in between. It
/// leaves one alone that another node made meanwhile.
fn make_key_file(path: &Path) -> std::io::Result<()> {
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(&random::<KEY_BYTES>())?;
    file.sync_all()?;
    // A link replaces nothing, unlike a rename.
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    if let Err(error) = linked
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(error);
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    std::fs::File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

/// Random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has a source of randomness from boot on");
    bytes
}

#[cfg(test)]
mod tests {
    use tenure_journal::{Fresh, Timestamp};

    use super::*;

    #[test]
    fn opens_only_what_it_sealed_for_the_same_place() {
        let fresh = Fresh::new(Timestamp::from_millis(1), 1);
        let (project, other) = (ProjectId::fresh(&fresh), ProjectId::fresh(&fresh));
        let id = SecretId::fresh(&fresh);
        let sealer = Sealer::ephemeral();
        let sealed = sealer.seal(project, id, "token-123");
        assert!(!sealed.windows(5).any(|window| window == b"token"));
        assert_eq!(sealer.unseal(project, id, &sealed).expect("opens"), "token-123");
        assert!(sealer.unseal(other, id, &sealed).is_err());
        assert!(Sealer::ephemeral().unseal(project, id, &sealed).is_err());
        let mut changed = sealed;
        changed[NONCE_BYTES] ^= 1;
        assert!(sealer.unseal(project, id, &changed).is_err());
        assert!(sealer.unseal(project, id, &[]).is_err());
    }
}
