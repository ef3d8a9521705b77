//! Why signing in does not go on.

/// Signing in does not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct OauthError {
    kind: OauthErrorKind,
}

/// What is wrong. Texts of servers are shortened and hold no control characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OauthErrorKind {
    /// A document is too long, or not what it should be.
    #[error("the {what} cannot be read")]
    Unreadable {
        /// Which document.
        what: &'static str,
    },
    /// The metadata is about another server than the one that was asked for.
    #[error("the {what} is about `{found}` and not about the server that it was asked of")]
    Mismatch {
        /// Which document.
        what: &'static str,
        /// What it is about.
        found: String,
    },
    /// The authorization server does not do what is needed.
    #[error("the authorization server {what}")]
    Unsupported {
        /// What it does not do.
        what: &'static str,
    },
    /// The server refused, with its word for why (RFC 6749, section 5.2).
    #[error("the authorization server refused: {code}")]
    Refused {
        /// The word.
        code: String,
    },
    /// What came back belongs to another sign-in, or was made up.
    #[error("the answer of the authorization server does not belong to this sign-in")]
    Forged,
}

impl OauthError {
    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> &OauthErrorKind {
        &self.kind
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match &self.kind {
            OauthErrorKind::Refused { code } => {
                matches!(code.as_str(), "temporarily_unavailable" | "server_error" | "slow_down")
            }
            OauthErrorKind::Unreadable { .. }
            | OauthErrorKind::Mismatch { .. }
            | OauthErrorKind::Unsupported { .. }
            | OauthErrorKind::Forged => false,
        }
    }
}

impl From<OauthErrorKind> for OauthError {
    fn from(kind: OauthErrorKind) -> Self {
        Self { kind }
    }
}

/// A text of someone else's, fit to be shown.
pub(crate) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().take(CHARS_MAX).map(plain).collect()
}
