//! Why a secret cannot be sealed or opened. Nothing here holds one.

use std::fmt;

/// A secret cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct SealError {
    kind: SealErrorKind,
    source: Option<std::io::Error>,
}

/// What can be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SealErrorKind {
    /// The key file cannot be read or written.
    File {
        /// Its path.
        path: String,
    },
    /// The key file may be read by everyone on its machine.
    Exposed {
        /// Its path.
        path: String,
    },
    /// What should be keys are none. Holds where they stood.
    Malformed {
        /// The file, or the name of the variable.
        place: String,
    },
    /// What was to be opened was changed, moved, or sealed with another key.
    Refused,
    /// No master key here has this fingerprint.
    UnknownKey {
        /// The fingerprint.
        fingerprint: String,
    },
    /// The key service's command could not be run, failed, took too long, or answered with something else.
    Command {
        /// What happened.
        what: &'static str,
    },
}

impl SealError {
    /// What can be done about it.
    #[must_use]
    pub fn kind(&self) -> &SealErrorKind {
        &self.kind
    }

    pub(crate) fn with(kind: SealErrorKind, source: std::io::Error) -> Self {
        Self { kind, source: Some(source) }
    }
}

impl From<SealErrorKind> for SealError {
    fn from(kind: SealErrorKind) -> Self {
        Self { kind, source: None }
    }
}

impl fmt::Display for SealErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path } => write!(f, "the key file `{path}` cannot be used"),
            Self::Exposed { path } => {
                write!(f, "the key file `{path}` can be read by everyone on this machine; make its mode 0600")
            }
            Self::Malformed { place } => {
                write!(f, "`{place}` must hold 1 to {} keys of {} bytes", crate::KEYS_MAX, crate::KEY_BYTES)
            }
            Self::Refused => f.write_str("a sealed secret was changed, moved, or sealed with another key"),
            Self::UnknownKey { fingerprint } => {
                write!(f, "a key is wrapped with the master key `{fingerprint}`, which is not here")
            }
            Self::Command { what } => write!(f, "the key service's command {what}"),
        }
    }
}
