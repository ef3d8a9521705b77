//! OAuth 2.1 as a client of MCP servers: what to ask, and what an answer means. Pure: it makes texts and reads texts,
//! and knows no network, no clock and no chance.
//!
//! ```text
//!   401 with a challenge ──▶ Challenge ── resource metadata (RFC 9728) ──▶ ResourceMetadata
//!                                          server metadata (RFC 8414, OIDC) ──▶ ServerMetadata
//!                                          registration (given, document, RFC 7591) ──▶ Client
//!   a person's browser  ◀── authorization URL, PKCE S256, resource (RFC 8707), state
//!                       ──▶ Callback, its issuer compared (RFC 9207)
//!   token endpoint      ◀── TokenRequest ──▶ Tokens
//! ```
//!
//! Everything that is read here was written by others, who may want a token that is not theirs. So issuers are
//! compared byte for byte, a server without S256 is refused, a resource that is not the server's own is refused, and
//! every text has a limit. Which addresses may be reached is the caller's to decide, for each of them.

mod authorize;
mod challenge;
mod error;
mod metadata;
mod pkce;
mod register;
mod token;

pub use authorize::{AuthorizationRequest, Callback};
pub use challenge::Challenge;
pub use error::{OauthError, OauthErrorKind};
pub use metadata::{
    DOCUMENT_BYTES_MAX, ResourceMetadata, ServerMetadata, resource_candidates, server_candidates,
};
pub use pkce::Verifier;
pub use register::{Client, ClientMetadata, Registration};
pub use token::{ClientAuth, Grant, TokenRequest, Tokens};
