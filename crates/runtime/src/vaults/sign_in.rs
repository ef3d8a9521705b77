//! A person signs in at an authorization server, so that a tool server gets tokens (MCP authorization: OAuth 2.1 with
//! RFC 9728, 8414, 7591, 7636, 8707 and 9207).
//!
//! What must survive until the browser comes back is a document, so any node may be the one it comes back to. What
//! comes back counts once. Every address here was written by someone else, so all of them are reached through one
//! guarded client, which follows no redirect.

use serde::{Deserialize, Serialize};
use serde_json::json;
use tenure_journal::{
    CredentialAuth, CredentialId, OauthAuth, OauthRefresh, OauthState, ProjectId, SignIn, SignInStatus,
    Timestamp, TokenEndpointAuth, VaultId,
};
use tenure_oauth::{
    AuthorizationRequest, Callback, Challenge, Client, ClientAuth, ClientMetadata, Grant, OauthError,
    Registration, ResourceMetadata, ServerMetadata, TokenRequest, Tokens, Verifier, resource_candidates,
    server_candidates,
};
use tenure_seal::SecretString;
use tenure_store::{Document, DocumentKind};
use tenure_webhook::Target;

use super::documents::{self, encode, first};
use super::{NewCredential, Secrets, VaultError};
use crate::seal::random;
use crate::{Runtime, SealerError};

/// How long a browser may take: time to find a password, and a second factor.
const PENDING_MS: u64 = 15 * 60 * 1000;
/// Bytes of chance in what comes back.
const STATE_BYTES: usize = 32;
/// Tries of a write that meets others.
const WRITE_ATTEMPTS: u32 = 8;

/// A sign-in to be begun.
#[derive(Debug, Clone)]
pub struct NewSignIn {
    /// Where the tokens go.
    pub vault_id: VaultId,
    /// What they are for.
    pub at: SignInAt,
    /// The scopes to ask for, where the server names others.
    pub scope: Option<String>,
    /// A client that was registered by hand, with its secret.
    pub client: Option<(String, Option<SecretString>)>,
    /// Where the browser comes back to.
    pub redirect_uri: String,
    /// The address of a document about us, if the world can reach it.
    pub client_document: Option<String>,
}

/// What tokens are for.
#[derive(Debug, Clone)]
pub enum SignInAt {
    /// A new credential with this name for this server.
    Server {
        /// What people call it.
        name: String,
        /// The server.
        mcp_server_url: String,
    },
    /// A credential that is there.
    Credential(CredentialId),
}

/// A sign-in, as those see it who wait for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownSignIn {
    /// Its id.
    pub id: String,
    /// How far it is.
    pub status: SignInStatus,
    /// The server.
    pub mcp_server_url: String,
    /// Who is asked.
    pub issuer: String,
}

/// Why there is no sign-in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// No such sign-in, or it is over.
    #[error("there is no such sign-in, or it is over")]
    NotFound,
    /// The tool server does not answer, or asks for no sign-in.
    #[error("the tool server {0}")]
    Server(&'static str),
    /// An address may not be used.
    #[error("`{url}` is an address that this server does not go to")]
    Address {
        /// The address.
        url: String,
    },
    /// The authorization server cannot be reached.
    #[error("the authorization server cannot be reached")]
    Unreachable,
    /// The authorization server does not fit, or refused.
    #[error(transparent)]
    Oauth(#[from] OauthError),
    /// The vault, or what is in it.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl From<tenure_store::StoreError> for SignInError {
    fn from(error: tenure_store::StoreError) -> Self {
        Self::Vault(error.into())
    }
}

impl From<SealerError> for SignInError {
    fn from(error: SealerError) -> Self {
        Self::Vault(error.into())
    }
}

/// What is kept secret until the browser comes back.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    verifier: SecretString,
    #[serde(default)]
    client_secret: Option<SecretString>,
}

/// Who gives tokens for a server, and for what.
struct Found {
    server: ServerMetadata,
    resource: String,
    scope: Option<String>,
}

/// Signing in, as the API offers it.
impl Runtime {
    /// Finds out who gives tokens for a server, and where to send a person. Gives that address, which must be opened
    /// by who began the sign-in: whoever opens it signs in for the project.
    ///
    /// # Errors
    /// Each of [`SignInError`]. Nothing is kept then.
    pub async fn start_sign_in(
        &self,
        project: ProjectId,
        new: NewSignIn,
    ) -> Result<(ShownSignIn, String), SignInError> {
        let (name, mcp_server_url, credential_id) = match &new.at {
            SignInAt::Server { name, mcp_server_url } => {
                self.vault(project, new.vault_id).await?;
                (name.clone(), mcp_server_url.clone(), None)
            }
            SignInAt::Credential(id) => {
                let found = self.credential(project, new.vault_id, *id).await?;
                let CredentialAuth::McpOauth(oauth) = &found.body.auth else {
                    return Err(VaultError::NoCredential.into());
                };
                (found.body.name.clone(), oauth.mcp_server_url.clone(), Some(*id))
            }
        };
        let Found { server, resource, scope } = self.discover(&mcp_server_url).await?;
        let scope = new.scope.or(scope);
        let client =
            self.client(&server, new.client, new.client_document.as_deref(), &new.redirect_uri).await?;
        let verifier = Verifier::of_bytes(&random());
        let state = state(project);
        let request = AuthorizationRequest {
            server: &server,
            client_id: &client.id,
            redirect_uri: &new.redirect_uri,
            resource: &resource,
            scope: scope.as_deref(),
            state: &state,
            verifier: &verifier,
        };
        let url = request.url()?.to_string();
        let (token_endpoint_auth, client_secret) = method(client.auth);
        let kept = Kept { verifier: verifier.expose().into(), client_secret };
        let id = digest(&state);
        let now = self.now();
        let body = SignIn {
            vault_id: new.vault_id,
            credential_id,
            name,
            mcp_server_url,
            issuer: server.issuer,
            names_itself: server.authorization_response_iss_parameter_supported,
            token_endpoint: server.token_endpoint,
            client_id: client.id,
            token_endpoint_auth,
            resource,
            scope,
            redirect_uri: new.redirect_uri,
            status: SignInStatus::Pending { until: now.plus_millis(PENDING_MS) },
            sealed: self.seal_kept(project, &id, &kept).await?,
        };
        let shown = shown(&id, &body);
        let document = first((project, DocumentKind::SignIn, id), None, encode(&body), now);
        self.store().put(vec![document], None).await?;
        Ok((shown, url))
    }

    /// How far a sign-in is.
    ///
    /// # Errors
    /// `NotFound`, `Vault`.
    pub async fn sign_in(&self, project: ProjectId, id: &str) -> Result<ShownSignIn, SignInError> {
        let found = self.store().document(project, DocumentKind::SignIn, id, None).await?;
        let body = decode(&found.ok_or(SignInError::NotFound)?)?;
        let mut shown = shown(id, &body);
        if let SignInStatus::Pending { until } = shown.status
            && until <= self.now()
        {
            shown.status = SignInStatus::Failed { why: "nobody came back in time".to_owned() };
        }
        Ok(shown)
    }

    /// Takes what a browser brought back, redeems the code, and keeps the tokens. Durable when it returns; counts once.
    ///
    /// # Errors
    /// Each of [`SignInError`]; the sign-in says why too.
    pub async fn finish_sign_in(&self, callback: &Callback) -> Result<ShownSignIn, SignInError> {
        let state = callback.state.as_deref().ok_or(SignInError::NotFound)?;
        let project = state.split_once('.').and_then(|(project, _)| project.parse::<ProjectId>().ok());
        let (project, id) = (project.ok_or(SignInError::NotFound)?, digest(state));
        let found = self.store().document(project, DocumentKind::SignIn, &id, None).await?;
        let found = found.ok_or(SignInError::NotFound)?;
        let mut body = decode(&found)?;
        let is_open = matches!(body.status, SignInStatus::Pending { until } if self.now() < until);
        if !is_open {
            return Err(SignInError::NotFound);
        }
        body.status = SignInStatus::Redeeming;
        let claimed = next(&found, &body, self.now());
        // Of several that bring the same back, one counts.
        self.store().put(vec![claimed.clone()], None).await.map_err(|_| SignInError::NotFound)?;
        // A task of its own: a browser that goes away must not lose what was given.
        let (runtime, callback) = (self.clone(), callback.clone());
        let redeeming =
            crate::tasks::spawn(async move { runtime.redeem(project, &id, claimed, body, &callback).await });
        redeeming.await.map_err(|_| SignInError::Unreachable)?
    }

    async fn redeem(
        &self,
        project: ProjectId,
        id: &str,
        claimed: Document,
        mut body: SignIn,
        callback: &Callback,
    ) -> Result<ShownSignIn, SignInError> {
        let redeemed = self.tokens(project, id, &body, callback).await;
        body.status = match &redeemed {
            Ok(credential_id) => SignInStatus::Done { credential_id: *credential_id },
            Err(error) => SignInStatus::Failed { why: error.to_string() },
        };
        // Its secrets are of no more use.
        body.sealed = Vec::new();
        self.store().put(vec![next(&claimed, &body, self.now())], None).await?;
        match redeemed {
            Ok(credential) => {
                tracing::info!(%credential, vault = %body.vault_id, "a person signed in for a credential");
                self.shared().vaults.wake();
                Ok(shown(id, &body))
            }
            Err(error) => {
                tracing::warn!(%error, vault = %body.vault_id, "a sign-in came to nothing");
                Err(error)
            }
        }
    }

    async fn tokens(
        &self,
        project: ProjectId,
        id: &str,
        body: &SignIn,
        callback: &Callback,
    ) -> Result<CredentialId, SignInError> {
        let code = callback.code(&body.issuer, body.names_itself)?;
        let kept = self.open_kept(project, id, body).await?;
        let secret = kept.client_secret.as_ref().map(|secret| secret.expose().to_owned()).unwrap_or_default();
        let auth = match body.token_endpoint_auth {
            TokenEndpointAuth::None => ClientAuth::None,
            TokenEndpointAuth::ClientSecretBasic => ClientAuth::Basic(secret),
            TokenEndpointAuth::ClientSecretPost => ClientAuth::Post(secret),
        };
        let client = Client { id: body.client_id.clone(), auth };
        let grant = Grant::Code { code, redirect_uri: &body.redirect_uri, verifier: kept.verifier.expose() };
        let request = TokenRequest { client: &client, grant, resource: Some(&body.resource) };
        let answered = self.shared().vaults.post(&body.token_endpoint, &request).await;
        let (status, document) = answered.ok_or(SignInError::Unreachable)?;
        let tokens = Tokens::parse(status, &document)?;
        self.keep(project, body, kept.client_secret, tokens).await
    }

    /// Puts tokens where they belong.
    async fn keep(
        &self,
        project: ProjectId,
        body: &SignIn,
        client_secret: Option<SecretString>,
        tokens: Tokens,
    ) -> Result<CredentialId, SignInError> {
        let refresh_token = tokens.refresh_token.map(SecretString::new);
        let refresh = refresh_token.is_some().then(|| OauthRefresh {
            token_endpoint: body.token_endpoint.clone(),
            client_id: body.client_id.clone(),
            scope: None,
            resource: Some(body.resource.clone()),
            token_endpoint_auth: body.token_endpoint_auth,
        });
        let secrets = Secrets {
            token: Some(SecretString::new(tokens.access_token)),
            refresh_token,
            client_secret: client_secret.filter(|_| refresh.is_some()),
            value: None,
        };
        let expires_at = tokens.expires_in.map(|secs| self.now().plus_millis(secs.saturating_mul(1000)));
        let mcp_server_url = body.mcp_server_url.clone();
        let fresh = OauthAuth {
            mcp_server_url,
            expires_at,
            refresh,
            state: OauthState::Ready,
            releasing: Vec::new(),
        };
        let Some(id) = body.credential_id else {
            let new = NewCredential {
                name: body.name.clone(),
                metadata: std::collections::BTreeMap::new(),
                auth: CredentialAuth::McpOauth(Box::new(fresh)),
                secrets,
            };
            return Ok(self.create_credential(project, body.vault_id, new, |_| None).await?.id);
        };
        let with = (&self.shared().sealer, &**self.store());
        for _ in 0..WRITE_ATTEMPTS {
            let found = documents::credential(&**self.store(), project, id).await?;
            let mut next = found.body.clone();
            let CredentialAuth::McpOauth(oauth) = &mut next.auth else {
                return Err(VaultError::NoCredential.into());
            };
            oauth.make_ready();
            let releasing = std::mem::take(&mut oauth.releasing);
            **oauth = OauthAuth { releasing, ..fresh.clone() };
            let next = found.next(with, next, &secrets, self.now()).await?;
            match self.store().put(vec![next.document], None).await.map_err(VaultError::from) {
                Ok(()) => return Ok(id),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(VaultError::Busy.into())
    }

    /// Who gives tokens for the server: what it says when it is asked without one, and what those say whom it names.
    async fn discover(&self, server_url: &str) -> Result<Found, SignInError> {
        let challenge = self.challenge(server_url).await?;
        let told = challenge.resource_metadata.as_deref();
        let mut metadata = None;
        for candidate in resource_candidates(server_url, told)? {
            if let Some(document) = self.document(&candidate).await? {
                metadata = Some(ResourceMetadata::parse(&document, server_url)?);
                break;
            }
        }
        let metadata = metadata.ok_or(SignInError::Server("does not say who gives tokens for it"))?;
        let mut failed = SignInError::Unreachable;
        for issuer in &metadata.authorization_servers {
            match self.authorization_server(issuer).await {
                Ok(server) => {
                    let all =
                        (!metadata.scopes_supported.is_empty()).then(|| metadata.scopes_supported.join(" "));
                    let scope = challenge.scope.clone().or(all);
                    return Ok(Found { server, resource: metadata.resource, scope });
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    async fn authorization_server(&self, issuer: &str) -> Result<ServerMetadata, SignInError> {
        for candidate in server_candidates(issuer)? {
            if let Some(document) = self.document(&candidate).await? {
                return Ok(ServerMetadata::parse(&document, issuer)?);
            }
        }
        Err(SignInError::Unreachable)
    }

    /// What a server says to who has no token. One that greets anyone may ask for it later, when something is called:
    /// then its metadata is looked for where it must be.
    async fn challenge(&self, server_url: &str) -> Result<Challenge, SignInError> {
        let hello = json!({
            "jsonrpc": "2.0", "id": 1, "method": "initialize",
            "params": {
                "protocolVersion": "2025-11-25", "capabilities": {},
                "clientInfo": {"name": "tenure", "version": env!("CARGO_PKG_VERSION")},
            },
        });
        let request = self
            .http()?
            .post(self.target(server_url)?)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(hello.to_string());
        let response = request.send().await.map_err(|_| SignInError::Server("does not answer"))?;
        if response.status().as_u16() != 401 && !response.status().is_success() {
            return Err(SignInError::Server("asks for no sign-in"));
        }
        let headers = response.headers().get_all("www-authenticate").iter();
        let challenge = headers.filter_map(|header| Challenge::parse(header.to_str().ok()?)).next();
        Ok(challenge.unwrap_or_default())
    }

    /// A document of metadata; nothing where there is none.
    async fn document(&self, url: &str) -> Result<Option<Vec<u8>>, SignInError> {
        let request = self.http()?.get(self.target(url)?).header("accept", "application/json");
        match self.shared().vaults.read(request).await {
            Some((200, document)) => Ok(Some(document)),
            Some(_) => Ok(None),
            None => Err(SignInError::Unreachable),
        }
    }

    async fn client(
        &self,
        server: &ServerMetadata,
        given: Option<(String, Option<SecretString>)>,
        document: Option<&str>,
        redirect_uri: &str,
    ) -> Result<Client, SignInError> {
        let given = given.map(|(id, secret)| {
            let auth = match secret {
                None => ClientAuth::None,
                Some(secret) if server.accepts("client_secret_basic") => {
                    ClientAuth::Basic(secret.expose().to_owned())
                }
                Some(secret) => ClientAuth::Post(secret.expose().to_owned()),
            };
            Client { id, auth }
        });
        match Registration::choose(server, given, document)? {
            Registration::Known(client) => Ok(client),
            Registration::At(endpoint) => {
                let request = self
                    .http()?
                    .post(self.target(&endpoint)?)
                    .header("content-type", "application/json")
                    .body(ClientMetadata::new(None, redirect_uri).to_json().to_string());
                match self.shared().vaults.read(request).await {
                    Some((200..=299, document)) => Ok(Registration::answered(&document)?),
                    Some(_) | None => Err(SignInError::Unreachable),
                }
            }
        }
    }

    fn http(&self) -> Result<&reqwest::Client, SignInError> {
        self.shared().vaults.http().ok_or(SignInError::Unreachable)
    }

    fn target(&self, url: &str) -> Result<reqwest::Url, SignInError> {
        let target = Target::parse(&self.shared().vaults.config.policy, url);
        let refused = |_| SignInError::Address { url: url.chars().take(200).collect() };
        target.map(|target| target.url().clone()).map_err(refused)
    }

    async fn seal_kept(&self, project: ProjectId, id: &str, kept: &Kept) -> Result<Vec<u8>, SignInError> {
        let text = crate::seal::SecretText::new(encode(kept).to_string());
        let shared = self.shared();
        Ok(shared.sealer.seal_record(&*shared.store, project, (&record(id), 1), &text).await?)
    }

    async fn open_kept(&self, project: ProjectId, id: &str, body: &SignIn) -> Result<Kept, SignInError> {
        let shared = self.shared();
        let text = shared.sealer.open_record(&*shared.store, project, (&record(id), 1), &body.sealed).await?;
        serde_json::from_str(&text).map_err(|error| VaultError::Damaged(error).into())
    }
}

fn record(id: &str) -> String {
    format!("sign_in {id}")
}

/// What comes back with the browser: whose it is, and what nobody guesses. Only its digest is kept.
fn state(project: ProjectId) -> String {
    let chance: String = random::<STATE_BYTES>().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{project}.{chance}")
}

fn digest(state: &str) -> String {
    blake3::hash(state.as_bytes()).to_hex().to_string()
}

fn method(auth: ClientAuth) -> (TokenEndpointAuth, Option<SecretString>) {
    match auth {
        ClientAuth::None => (TokenEndpointAuth::None, None),
        ClientAuth::Basic(secret) => (TokenEndpointAuth::ClientSecretBasic, Some(SecretString::new(secret))),
        ClientAuth::Post(secret) => (TokenEndpointAuth::ClientSecretPost, Some(SecretString::new(secret))),
    }
}

fn shown(id: &str, body: &SignIn) -> ShownSignIn {
    ShownSignIn {
        id: id.to_owned(),
        status: body.status.clone(),
        mcp_server_url: body.mcp_server_url.clone(),
        issuer: body.issuer.clone(),
    }
}

fn next(before: &Document, body: &SignIn, now: Timestamp) -> Document {
    Document { version: before.version + 1, updated_at: now, body: encode(body), ..before.clone() }
}

fn decode(document: &Document) -> Result<SignIn, SignInError> {
    SignIn::deserialize(&document.body).map_err(|error| VaultError::Damaged(error).into())
}
