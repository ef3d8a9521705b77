//! Why something about a vault cannot be done.

use tenure_store::{StoreError, StoreErrorKind};

use crate::SealerError;

/// Something about a vault cannot be done. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// No such vault in the project.
    #[error("there is no vault with that id")]
    NoVault,
    /// No such credential in the vault.
    #[error("there is no credential with that id in the vault")]
    NoCredential,
    /// The vault is full.
    #[error("a vault holds at most {} credentials; make another", super::CREDENTIALS_MAX)]
    TooMany,
    /// The change does not fit the credential.
    #[error("{message}")]
    Unfit {
        /// The member of the change.
        member: &'static str,
        /// Why, as a word.
        code: &'static str,
        /// Why.
        message: String,
    },
    /// Others changed it at the same time, again and again.
    #[error("the credential changes all the time; try again")]
    Busy,
    /// Its secrets cannot be sealed or opened.
    #[error(transparent)]
    Seal(SealerError),
    /// Durable state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored does not decode.
    #[error("a stored vault or credential cannot be read")]
    Damaged(#[source] serde_json::Error),
}

impl From<SealerError> for VaultError {
    fn from(error: SealerError) -> Self {
        match error {
            SealerError::Store(error) => Self::Store(error),
            other @ (SealerError::Seal(_) | SealerError::Damaged { .. } | SealerError::NotText) => {
                Self::Seal(other)
            }
        }
    }
}

impl VaultError {
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(error) if matches!(error.kind(), StoreErrorKind::Conflict { .. }))
    }
}
