//! Master keys: the current one wraps, all of them unwrap.
//!
//! A change of the master key, on any number of nodes, none of which stops:
//!
//! ```text
//!   keys of the file   what nodes do
//!   old                wrap and unwrap with old
//!   old, new           the same; new is known everywhere before it is used anywhere
//!   new, old           wrap with new, unwrap with both; data keys are wrapped anew
//!   new                old is not needed any more
//! ```
//!
//! A file is read again whenever a key is wrapped, and when one is met that is not known, so a node notices each
//! step by itself.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::command::KeyCommand;
use crate::error::{SealError, SealErrorKind};
use crate::local::{self, KeyFile, LocalKey};
use crate::{DataKey, aead};

/// A data key, wrapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wrapped {
    /// What the master key is known by that wrapped it.
    pub by: String,
    /// The wrapped key.
    pub key: Vec<u8>,
}

/// The master keys of an installation.
#[derive(Debug)]
pub struct MasterKeys {
    /// What wraps, where a key service does.
    command: Option<KeyCommand>,
    file: Option<KeyFile>,
    /// The keys of the file as they were read last, or those that were given.
    local: Mutex<Vec<LocalKey>>,
}

impl MasterKeys {
    /// Keys that are gone with the process.
    #[must_use]
    pub fn ephemeral() -> Self {
        Self { command: None, file: None, local: Mutex::new(vec![LocalKey::generate()]) }
    }

    /// The keys of a file.
    ///
    /// # Errors
    /// `File`, `Exposed`, `Malformed`.
    pub fn of_file(file: KeyFile) -> Result<Self, SealError> {
        let local = Mutex::new(file.read()?);
        Ok(Self { command: None, file: Some(file), local })
    }

    /// The keys of a text, base64 apart by commas, the current one first. `place` names it in errors.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn of_text(text: &str, place: &str) -> Result<Self, SealError> {
        Ok(Self { command: None, file: None, local: Mutex::new(local::parse(text, place)?) })
    }

    /// A key service; what local keys wrapped before is unwrapped with those of `file`, if there is one.
    ///
    /// # Errors
    /// `File`, `Exposed`, `Malformed`.
    pub fn of_command(command: KeyCommand, file: Option<KeyFile>) -> Result<Self, SealError> {
        let local = file.as_ref().map(KeyFile::read).transpose()?.unwrap_or_default();
        Ok(Self { command: Some(command), file, local: Mutex::new(local) })
    }

    /// What the key is known by that wraps now.
    ///
    /// # Errors
    /// `File`, `Exposed`, `Malformed`.
    pub fn current(&self) -> Result<String, SealError> {
        if let Some(command) = &self.command {
            return Ok(command.fingerprint());
        }
        Ok(self.first()?.fingerprint().to_owned())
    }

    /// Whether one of these keys is known by this fingerprint.
    ///
    /// # Errors
    /// `File`, `Exposed`, `Malformed`.
    pub fn knows(&self, fingerprint: &str) -> Result<bool, SealError> {
        let is_service = self.command.as_ref().is_some_and(|command| command.fingerprint() == fingerprint);
        Ok(is_service || self.reread()?.iter().any(|key| key.fingerprint() == fingerprint))
    }

    /// Wraps the key of `owner`, which is bound to it.
    ///
    /// # Errors
    /// `File`, `Exposed`, `Malformed`, `Command`.
    pub async fn wrap(&self, owner: &str, key: &DataKey) -> Result<Wrapped, SealError> {
        if let Some(command) = &self.command {
            return Ok(Wrapped { by: command.fingerprint(), key: command.wrap(owner, key).await? });
        }
        let master = self.first()?;
        Ok(Wrapped { by: master.fingerprint().to_owned(), key: master.wrap(&bound(owner), key) })
    }

    /// Unwraps the key of `owner`.
    ///
    /// # Errors
    /// `UnknownKey`, `Refused`, `Command`; what reading the file again may give.
    pub async fn unwrap(&self, owner: &str, wrapped: &Wrapped) -> Result<DataKey, SealError> {
        if let Some(command) = self.command.as_ref().filter(|command| command.fingerprint() == wrapped.by) {
            return command.unwrap(owner, &wrapped.key).await;
        }
        let known = self.find(&wrapped.by);
        let known = match known {
            Some(known) => Some(known),
            None => self.reread()?.into_iter().find(|key| key.fingerprint() == wrapped.by),
        };
        let master = known.ok_or_else(|| SealErrorKind::UnknownKey { fingerprint: wrapped.by.clone() })?;
        master.unwrap(&bound(owner), &wrapped.key)
    }

    /// The local keys, the current one first; none where a key service is all there is.
    #[must_use]
    pub fn local(&self) -> Vec<LocalKey> {
        self.lock().clone()
    }

    /// Opens what an earlier release sealed with a master key itself.
    ///
    /// # Errors
    /// `Refused`.
    pub fn open_old(&self, bound: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let opened = self.local().iter().find_map(|key| key.open_old(bound, sealed).ok());
        opened.ok_or_else(|| SealErrorKind::Refused.into())
    }

    fn find(&self, fingerprint: &str) -> Option<LocalKey> {
        self.lock().iter().find(|key| key.fingerprint() == fingerprint).cloned()
    }

    fn first(&self) -> Result<LocalKey, SealError> {
        let malformed = || SealErrorKind::Malformed { place: "the master key".to_owned() };
        Ok(self.reread()?.into_iter().next().ok_or_else(malformed)?)
    }

    /// The keys as they are now.
    fn reread(&self) -> Result<Vec<LocalKey>, SealError> {
        if let Some(file) = &self.file {
            let keys = file.read()?;
            self.lock().clone_from(&keys);
            return Ok(keys);
        }
        Ok(self.local())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<LocalKey>> {
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bound(owner: &str) -> Vec<u8> {
    aead::bound(&[b"tenure data key", owner.as_bytes()])
}
