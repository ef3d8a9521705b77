//! How a provider knows who asks.

use std::sync::Arc;

use url::Url;

use crate::entra::Tokens;
use crate::sigv4::Signer;
use crate::{Secret, Wire};

/// What proves who asks.
#[derive(Debug, Clone, Default)]
pub enum Auth {
    /// Nothing: a server of one's own.
    #[default]
    None,
    /// A key or token as `Authorization: Bearer`: OpenAI, Bedrock's API keys, most others.
    Bearer(Secret),
    /// A key in the header `x-api-key`: Anthropic.
    XApiKey(Secret),
    /// A key in the header `api-key`: Azure OpenAI.
    ApiKey(Secret),
    /// A signature of each request: Bedrock.
    SigV4(Box<Signer>),
    /// A token of Entra ID, fetched and renewed with a client's own secret: Azure OpenAI.
    ClientCredentials(Box<ClientCredentials>),
}

impl Auth {
    /// A key as the providers that speak `wire` want it; none where there is none.
    #[must_use]
    pub fn key(wire: Wire, key: Option<Secret>) -> Self {
        match (wire, key) {
            (_, None) => Self::None,
            (Wire::Anthropic, Some(key)) => Self::XApiKey(key),
            (Wire::Responses | Wire::Chat | Wire::Converse, Some(key)) => Self::Bearer(key),
        }
    }
}

/// A client that proves itself to Entra ID with a secret (OAuth 2.0, RFC 6749, section 4.4).
#[derive(Debug, Clone)]
pub struct ClientCredentials {
    /// Where tokens are given, such as `https://login.microsoftonline.com/<tenant>/oauth2/v2.0/token`.
    pub token_url: Url,
    /// The client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Secret,
    /// What the token is for, such as `https://ai.azure.com/.default`.
    pub scope: String,
}

/// What each request still has to do for its proof.
#[derive(Debug, Clone)]
pub(crate) enum Proof {
    /// Nothing: a header of every request holds it.
    Fixed,
    Signature(Box<Signer>),
    Token(Arc<Tokens>),
}
