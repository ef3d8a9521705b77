//! Why something is no skill and no plugin.

/// A mistake in what was uploaded. Its text says what is wrong and, where that is not plain, what to do; it ends
/// without a stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// Kinds of mistake, after what whoever uploaded it can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Send less: a limit was passed.
    TooLarge,
    /// Pack it anew: the archive is damaged or hostile, or the paths of its files make no folder.
    Archive,
    /// Correct what it says about itself.
    Manifest,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(crate) fn manifest(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Manifest, message)
    }

    /// What can be done about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}
