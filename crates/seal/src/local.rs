//! Master keys whose bytes this process holds: of a file or of a variable.

use std::fmt;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce};
use zeroize::Zeroizing;

use crate::error::{SealError, SealErrorKind};
use crate::{DataKey, aead, random};

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Keys of one file or variable: the current one, those before it, and one that is not in use yet.
pub const KEYS_MAX: usize = 8;
/// Bytes of the nonces of earlier releases.
const OLD_NONCE_BYTES: usize = 12;

/// One master key.
#[derive(Clone)]
pub struct LocalKey {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    fingerprint: String,
}

impl fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

impl LocalKey {
    /// A new one.
    #[must_use]
    pub fn generate() -> Self {
        Self::new(random())
    }

    /// The key with these bytes.
    #[must_use]
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        let print = blake3::derive_key("tenure 2026 fingerprint of the sealing key", &bytes);
        let fingerprint = print[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Self { bytes: Zeroizing::new(bytes), fingerprint }
    }

    /// What it is known by: tells two keys apart and says nothing about either.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// What other secrets of an installation followed from, before they had a key of their own.
    #[must_use]
    pub fn old_root(&self) -> DataKey {
        DataKey::from_bytes(blake3::derive_key(
            "tenure 2026 further secrets of the sealing key",
            self.bytes.as_slice(),
        ))
    }

    pub(crate) fn wrap(&self, aad: &[u8], key: &DataKey) -> Vec<u8> {
        aead::seal(&self.bytes, aad, key.as_bytes())
    }

    pub(crate) fn unwrap(&self, aad: &[u8], wrapped: &[u8]) -> Result<DataKey, SealError> {
        DataKey::from_slice(&aead::open(&self.bytes, aad, wrapped)?)
    }

    /// Opens what an earlier release sealed with the master key itself: ChaCha20-Poly1305 with `bound` as
    /// associated data.
    ///
    /// # Errors
    /// `Refused`.
    pub fn open_old(&self, bound: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (nonce, sealed) = sealed.split_first_chunk::<OLD_NONCE_BYTES>().ok_or(SealErrorKind::Refused)?;
        let payload = Payload { msg: sealed, aad: bound.as_bytes() };
        let cipher = ChaCha20Poly1305::new((&*self.bytes).into());
        let opened = cipher.decrypt(&Nonce::from(*nonce), payload).map_err(|_| SealErrorKind::Refused)?;
        Ok(Zeroizing::new(opened))
    }

    /// Seals as an earlier release did, to test that it opens.
    #[doc(hidden)]
    #[must_use]
    pub fn seal_old(&self, bound: &str, plain: &[u8]) -> Vec<u8> {
        let nonce = random::<OLD_NONCE_BYTES>();
        let payload = Payload { msg: plain, aad: bound.as_bytes() };
        let sealed = ChaCha20Poly1305::new((&*self.bytes).into()).encrypt(&Nonce::from(nonce), payload);
        [nonce.as_slice(), &sealed.expect("encryption fails only for messages of 256 GiB")].concat()
    }
}

/// Keys written as text: base64, apart by commas or spaces, the current one first. `place` names it in errors.
///
/// # Errors
/// `Malformed`.
pub(crate) fn parse(text: &str, place: &str) -> Result<Vec<LocalKey>, SealError> {
    let malformed = || SealErrorKind::Malformed { place: place.to_owned() };
    let words = text.split([',', ' ', '\n', '\t']).filter(|word| !word.is_empty());
    let mut keys = Vec::new();
    for word in words {
        let bytes = Zeroizing::new(STANDARD.decode(word).map_err(|_| malformed())?);
        keys.push(LocalKey::new(bytes.as_slice().try_into().map_err(|_| malformed())?));
    }
    if (1..=KEYS_MAX).contains(&keys.len()) { Ok(keys) } else { Err(malformed().into()) }
}

/// A file of keys one after the other, the current one first; made readable by its owner only. One that a group may
/// read is accepted, for it is how some orchestrators hand over secrets.
#[derive(Debug, Clone)]
pub struct KeyFile {
    path: PathBuf,
}

impl KeyFile {
    /// The file at `path`, which is made with a new key if there is none.
    ///
    /// # Errors
    /// `File`, `Exposed`, `Malformed`.
    pub fn open(path: &Path) -> Result<Self, SealError> {
        let file = Self { path: path.to_owned() };
        match std::fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                file.make(&[LocalKey::generate()]).map_err(|error| file.failed(error))?;
            }
            Ok(_) | Err(_) => {}
        }
        file.read()?;
        Ok(file)
    }

    /// The file at `path`, which must exist.
    ///
    /// # Errors
    /// `File`, `Exposed`, `Malformed`.
    pub fn existing(path: &Path) -> Result<Self, SealError> {
        let file = Self { path: path.to_owned() };
        file.read()?;
        Ok(file)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The keys as they are in the file now.
    ///
    /// # Errors
    /// `File`, `Exposed`, `Malformed`.
    pub fn read(&self) -> Result<Vec<LocalKey>, SealError> {
        let mode = std::fs::metadata(&self.path).map_err(|error| self.failed(error))?.permissions().mode();
        if mode & 0o007 != 0 {
            return Err(SealErrorKind::Exposed { path: self.shown() }.into());
        }
        let bytes = Zeroizing::new(std::fs::read(&self.path).map_err(|error| self.failed(error))?);
        let (keys, rest) = bytes.as_chunks::<KEY_BYTES>();
        if !rest.is_empty() || !(1..=KEYS_MAX).contains(&keys.len()) {
            return Err(SealErrorKind::Malformed { place: self.shown() }.into());
        }
        Ok(keys.iter().copied().map(LocalKey::new).collect())
    }

    /// Replaces the keys, all or nothing.
    ///
    /// # Errors
    /// `File`; `Malformed` for none or too many.
    pub fn write(&self, keys: &[LocalKey]) -> Result<(), SealError> {
        if !(1..=KEYS_MAX).contains(&keys.len()) {
            return Err(SealErrorKind::Malformed { place: self.shown() }.into());
        }
        let replaced = || {
            let draft = self.draft(keys)?;
            std::fs::rename(&draft, &self.path)?;
            self.sync_directory()
        };
        replaced().map_err(|error| self.failed(error))
    }

    /// Makes the file, whole and durable before anything is sealed with it, wherever the power fails in
    /// between. It leaves one alone that another node made meanwhile.
    fn make(&self, keys: &[LocalKey]) -> std::io::Result<()> {
        let draft = self.draft(keys)?;
        // A link replaces nothing, unlike a rename.
        let linked = std::fs::hard_link(&draft, &self.path);
        std::fs::remove_file(&draft)?;
        if let Err(error) = linked
            && error.kind() != ErrorKind::AlreadyExists
        {
            return Err(error);
        }
        self.sync_directory()
    }

    fn draft(&self, keys: &[LocalKey]) -> std::io::Result<PathBuf> {
        let draft = self.path.with_extension(format!("{}.new", std::process::id()));
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        for key in keys {
            file.write_all(key.bytes.as_slice())?;
        }
        file.sync_all()?;
        Ok(draft)
    }

    fn sync_directory(&self) -> std::io::Result<()> {
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        std::fs::File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn shown(&self) -> String {
        self.path.display().to_string()
    }

    fn failed(&self, source: std::io::Error) -> SealError {
        SealError::with(SealErrorKind::File { path: self.shown() }, source)
    }
}
