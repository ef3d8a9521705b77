//! Who somebody is, shown by a signed token: people by their identity provider, agents by this server.
//!
//! A token is read with suspicion and checked against rules that were written down before it came: which issuer,
//! which audience, which algorithms. Nothing in a token says how it is to be checked; `alg` is compared with the
//! list, and `jku`, `x5u`, `jwk` and `x5c` are not looked at. There is no symmetric algorithm and no `none` in the
//! type of algorithms, so neither can be configured or guessed.
//!
//! Signatures are ring's, which the server links anyway. The envelope is read here, because it is what attacks are
//! made of: one strict JSON reader, unpadded base64url and nothing else, limits first.
//!
//! What this crate deliberately does not do: sessions, cookies, encryption of tokens, and trusting a second issuer.

mod claims;
mod jwk;
mod mint;
mod pkce;
#[cfg(feature = "http")]
mod provider;
mod rules;
mod token;

pub use claims::Claims;
pub use jwk::{Algorithm, KeySet, KeySetError};
pub use mint::{LIFETIME, Minter, MinterError, SpiffeId};
pub use pkce::{challenge, unreserved};
#[cfg(feature = "http")]
pub use provider::{Discovery, Provider, ProviderError, discover};
pub use rules::Rules;
pub use token::{TOKEN_BYTES_MAX, Token, TokenError, TokenErrorKind, looks_like_token};
