//! Why a directory is no model that can be run here.

use std::path::{Path, PathBuf};

/// A file of a model's directory that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("`{}`: {what}", file.display())]
pub struct ModelError {
    kind: ModelErrorKind,
    file: PathBuf,
    what: String,
    source: Option<std::io::Error>,
}

/// What can be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelErrorKind {
    /// The file is missing or cannot be read: name another directory, or put it there.
    Unreadable,
    /// The file is not in its format: it is damaged, or something else.
    Malformed,
    /// The model is of a kind that is not run here: use another.
    Unsupported,
}

impl ModelError {
    /// What can be done about it.
    #[must_use]
    pub fn kind(&self) -> ModelErrorKind {
        self.kind
    }

    /// Which file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    pub(crate) fn unreadable(file: &Path, source: std::io::Error) -> Self {
        let what = format!("cannot be read: {source}");
        Self { kind: ModelErrorKind::Unreadable, file: file.to_owned(), what, source: Some(source) }
    }

    pub(crate) fn missing(file: &Path, what: impl Into<String>) -> Self {
        Self { kind: ModelErrorKind::Unreadable, file: file.to_owned(), what: what.into(), source: None }
    }
}

/// What is wrong with the content of a file, before it is known which file that is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Flaw {
    kind: ModelErrorKind,
    what: String,
}

impl Flaw {
    pub(crate) fn malformed(what: impl Into<String>) -> Self {
        Self { kind: ModelErrorKind::Malformed, what: what.into() }
    }

    pub(crate) fn unsupported(what: impl Into<String>) -> Self {
        Self { kind: ModelErrorKind::Unsupported, what: what.into() }
    }

    pub(crate) fn of(self, file: &Path) -> ModelError {
        ModelError { kind: self.kind, file: file.to_owned(), what: self.what, source: None }
    }
}
