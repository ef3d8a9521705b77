//! Access tokens that have expired: one node asks for new ones, once, and what it is given is durable before anyone
//! uses it.
//!
//! A refresh token often works once. So the document says who uses it now, by a write that only one can win; whoever
//! else needs the token waits for the next version. The request goes on when the tool call that wanted it is
//! cancelled. If the process dies between the answer and the write, the new tokens are lost, the next node is told that
//! the old refresh token is spent, and a person has to sign in again: that is said, and not hidden.

use std::sync::Arc;
use std::time::Duration;

use tenure_journal::{
    CredentialAuth, CredentialId, Failure, FailureKind, OauthAuth, OauthRefresh, OauthState, SessionKey,
    Timestamp, TokenEndpointAuth,
};
use tenure_oauth::{Client, ClientAuth, DOCUMENT_BYTES_MAX, Grant, OauthError, TokenRequest, Tokens};
use tenure_seal::SecretString;
use tenure_webhook::Target;

use super::access::{failure, unusable};
use super::want::still_waiting;
use super::{SavedCredential, Secrets, VaultError, documents};
use crate::handle::Shared;

/// How long before its end a token is not used any more: a call and the difference of two clocks.
const LEEWAY_MS: u64 = 5_000;
/// How long others leave a node alone that asks for tokens; longer than the request may take.
const LEASE_MS: u64 = 60_000;
/// How often a version is looked for that another node writes.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Tries of a write that meets others.
const WRITE_ATTEMPTS: u32 = 16;
/// Sessions that one credential remembers as waiting for a sign-in. Nobody would tell a further one, so it does not wait.
const WAITING_MAX: usize = 1_000;

/// Which token is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// One that has not expired.
    Valid,
    /// One of a later version: the server refused the token of this one.
    OtherThan(u64),
}

/// A credential whose access token can be used, as far as is known, with its secrets.
///
/// # Errors
/// `SignInRequired`: a person must sign in, and the session is told when one did. `Overloaded`: the tokens cannot be
/// had now. `Authentication`: the credential is gone.
pub(super) async fn usable(
    shared: &Arc<Shared>,
    session: SessionKey,
    id: CredentialId,
    need: Need,
) -> Result<(SavedCredential, Secrets), Failure> {
    for _ in 0..u64::from(WRITE_ATTEMPTS) * LEASE_MS {
        let found = documents::credential(&*shared.store, session.project, id).await.map_err(unusable)?;
        let CredentialAuth::McpOauth(oauth) = &found.body.auth else {
            return Err(failure(FailureKind::Authentication, "the credential holds no tokens"));
        };
        let now = shared.clock.now();
        match &oauth.state {
            OauthState::NeedsSignIn { waiting, .. } => {
                let is_known = waiting.contains(&session.session);
                if is_known || wait_for_sign_in(shared, &found, session).await? {
                    return Err(sign_in_required(&found));
                }
            }
            OauthState::Refreshing { until, .. } if now < *until => tokio::time::sleep(LOOK_EVERY).await,
            OauthState::Ready | OauthState::Refreshing { .. } => {
                let is_other = match need {
                    Need::Valid => true,
                    Need::OtherThan(version) => found.document.version > version,
                };
                if oauth.state.is_ready() && is_other && is_valid(oauth, now) {
                    let secrets = found.open((&shared.sealer, &*shared.store)).await.map_err(unusable)?;
                    return Ok((found, secrets));
                }
                renew(shared, session, found).await?;
            }
        }
    }
    Err(failure(FailureKind::Overloaded, "the tool server's credential changes all the time"))
}

fn is_valid(oauth: &OauthAuth, now: Timestamp) -> bool {
    oauth.expires_at.is_none_or(|at| now.plus_millis(LEEWAY_MS) < at)
}

fn sign_in_required(credential: &SavedCredential) -> Failure {
    let name = &credential.body.name;
    failure(
        FailureKind::SignInRequired,
        format!("a person must sign in: the credential `{name}` is not accepted"),
    )
}

/// Notes that a session waits. Says whether it did; if not, someone wrote first.
///
/// # Errors
/// `Authentication`: as many wait already as a credential remembers. As for [`usable`].
async fn wait_for_sign_in(
    shared: &Shared,
    found: &SavedCredential,
    session: SessionKey,
) -> Result<bool, Failure> {
    let with = (&shared.sealer, &*shared.store);
    let mut body = found.body.clone();
    if let CredentialAuth::McpOauth(oauth) = &mut body.auth
        && let OauthState::NeedsSignIn { waiting, .. } = &mut oauth.state
    {
        if waiting.len() >= WAITING_MAX {
            let all = std::mem::take(waiting);
            *waiting = still_waiting(shared, session.project, all, |one| *one).await.map_err(unusable)?;
        }
        if waiting.len() >= WAITING_MAX {
            tracing::warn!(credential = %found.id, "more sessions wait for a sign-in than a credential remembers");
            return Err(failure(FailureKind::Authentication, sign_in_required(found).message));
        }
        waiting.push(session.session);
    }
    let secrets = found.open(with).await.map_err(unusable)?;
    write(shared, found, body.auth, &secrets).await
}

/// Writes the next version. Says whether it did; if not, someone wrote first.
async fn write(
    shared: &Shared,
    found: &SavedCredential,
    auth: CredentialAuth,
    secrets: &Secrets,
) -> Result<bool, Failure> {
    let with = (&shared.sealer, &*shared.store);
    let mut body = found.body.clone();
    body.auth = auth;
    let next = found.next(with, body, secrets, shared.clock.now()).await.map_err(unusable)?;
    match shared.store.put(vec![next.document], None).await.map_err(VaultError::from) {
        Ok(()) => Ok(true),
        Err(error) if error.is_conflict() => Ok(false),
        Err(error) => Err(unusable(error)),
    }
}

/// Gets new tokens, or finds out that there is no way. When it returns without an error, the document says which.
async fn renew(shared: &Arc<Shared>, session: SessionKey, found: SavedCredential) -> Result<(), Failure> {
    let with = (&shared.sealer, &*shared.store);
    let CredentialAuth::McpOauth(oauth) = &found.body.auth else { return Ok(()) };
    let secrets = found.open(with).await.map_err(unusable)?;
    let (Some(refresh), Some(token)) = (oauth.refresh.clone(), secrets.refresh_token.clone()) else {
        let why = "its access token is refused or has expired, and there is no refresh token";
        return give_up(shared, &found, &secrets, session, why).await.map(drop);
    };
    let until = shared.clock.now().plus_millis(LEASE_MS);
    let mut claimed = oauth.as_ref().clone();
    claimed.state = OauthState::Refreshing { node: shared.node, until };
    if !write(shared, &found, CredentialAuth::McpOauth(Box::new(claimed)), &secrets).await? {
        return Ok(());
    }
    // A task of its own: whoever gives up waiting must not lose what was given.
    let task = Arc::clone(shared);
    let renewing =
        crate::tasks::spawn(async move { carry_out(&task, session, found.id, &refresh, &token).await });
    renewing.await.map_err(|_| failure(FailureKind::Overloaded, "new tokens could not be asked for"))?
}

async fn carry_out(
    shared: &Arc<Shared>,
    session: SessionKey,
    id: CredentialId,
    refresh: &OauthRefresh,
    token: &SecretString,
) -> Result<(), Failure> {
    let found = documents::credential(&*shared.store, session.project, id).await.map_err(unusable)?;
    let secrets = found.open((&shared.sealer, &*shared.store)).await.map_err(unusable)?;
    let asked = ask(shared, refresh, &secrets, token).await;
    let outcome = match &asked {
        Ok(_) => "ok",
        Err(Asked::Refused(_)) => "refused",
        Err(Asked::Unreachable) => "unreachable",
    };
    shared.metrics.token_refreshes.with(&[outcome]).add(1);
    match asked {
        Ok(tokens) => keep(shared, session, id, found, tokens).await,
        Err(Asked::Refused(error)) => {
            let why = format!("new tokens were refused: {error}");
            give_up(shared, &found, &secrets, session, &why).await.map(drop)
        }
        Err(Asked::Unreachable) => {
            release(shared, &found, &secrets).await;
            Err(failure(FailureKind::Overloaded, "new tokens for the tool server cannot be had now"))
        }
    }
}

/// Writes new tokens. If the credential was changed meanwhile by hand, that is what counts.
async fn keep(
    shared: &Shared,
    session: SessionKey,
    id: CredentialId,
    mut found: SavedCredential,
    tokens: Tokens,
) -> Result<(), Failure> {
    for _ in 0..WRITE_ATTEMPTS {
        let CredentialAuth::McpOauth(oauth) = &found.body.auth else { return Ok(()) };
        if !matches!(&oauth.state, OauthState::Refreshing { node, .. } if *node == shared.node) {
            return Ok(());
        }
        let mut secrets = found.open((&shared.sealer, &*shared.store)).await.map_err(unusable)?;
        let mut next = oauth.as_ref().clone();
        next.expires_at =
            tokens.expires_in.map(|secs| shared.clock.now().plus_millis(secs.saturating_mul(1000)));
        next.make_ready();
        secrets.token = Some(SecretString::new(tokens.access_token.clone()));
        if let Some(token) = &tokens.refresh_token {
            secrets.refresh_token = Some(SecretString::new(token.clone()));
        }
        if write(shared, &found, CredentialAuth::McpOauth(Box::new(next)), &secrets).await? {
            return Ok(());
        }
        found = documents::credential(&*shared.store, session.project, id).await.map_err(unusable)?;
    }
    tracing::error!(credential = %id, "new tokens could not be written and are lost");
    Err(failure(FailureKind::Overloaded, "new tokens could not be written"))
}

/// Says that a person must sign in, and gives what is said to the session.
pub(super) async fn refuse(
    shared: &Arc<Shared>,
    session: SessionKey,
    found: &SavedCredential,
    secrets: &Secrets,
    why: &str,
) -> Failure {
    match give_up(shared, found, secrets, session, why).await {
        Ok(true) => sign_in_required(found),
        // Someone wrote first: the next attempt sees what.
        Ok(false) => failure(FailureKind::Overloaded, "the tool server's credential was changed meanwhile"),
        Err(failure) => failure,
    }
}

/// Says that a person must sign in: what is wrong is in the document, in the metrics and in the log. Says whether it
/// was written; if not, someone wrote first.
async fn give_up(
    shared: &Shared,
    found: &SavedCredential,
    secrets: &Secrets,
    session: SessionKey,
    why: &str,
) -> Result<bool, Failure> {
    let CredentialAuth::McpOauth(oauth) = &found.body.auth else { return Ok(false) };
    let mut next = oauth.as_ref().clone();
    next.state = OauthState::NeedsSignIn {
        why: why.to_owned(),
        since: shared.clock.now(),
        waiting: vec![session.session],
        resource_metadata: None,
        scope: None,
    };
    let written = write(shared, found, CredentialAuth::McpOauth(Box::new(next)), secrets).await?;
    if written {
        shared.metrics.sign_ins_needed.with(&[]).add(1);
        tracing::error!(credential = %found.id, vault = %found.vault_id, why, "a credential needs a person to sign in");
    }
    Ok(written)
}

/// Lets others try, after the authorization server could not be reached. If it is not written, the lease ends anyway.
async fn release(shared: &Shared, found: &SavedCredential, secrets: &Secrets) {
    let CredentialAuth::McpOauth(oauth) = &found.body.auth else { return };
    let mut next = oauth.as_ref().clone();
    next.state = OauthState::Ready;
    let _ = write(shared, found, CredentialAuth::McpOauth(Box::new(next)), secrets).await;
}

/// Why there are no new tokens.
enum Asked {
    /// The server said no, or something that is no answer.
    Refused(OauthError),
    /// It may say yes later.
    Unreachable,
}

async fn ask(
    shared: &Shared,
    refresh: &OauthRefresh,
    secrets: &Secrets,
    token: &SecretString,
) -> Result<Tokens, Asked> {
    let secret =
        || secrets.client_secret.as_ref().map(|secret| secret.expose().to_owned()).unwrap_or_default();
    let auth = match refresh.token_endpoint_auth {
        TokenEndpointAuth::None => ClientAuth::None,
        TokenEndpointAuth::ClientSecretBasic => ClientAuth::Basic(secret()),
        TokenEndpointAuth::ClientSecretPost => ClientAuth::Post(secret()),
    };
    let client = Client { id: refresh.client_id.clone(), auth };
    let grant = Grant::Refresh { token: token.expose(), scope: refresh.scope.as_deref() };
    let request = TokenRequest { client: &client, grant, resource: refresh.resource.as_deref() };
    let (status, document) =
        shared.vaults.post(&refresh.token_endpoint, &request).await.ok_or(Asked::Unreachable)?;
    match Tokens::parse(status, &document) {
        Ok(tokens) => Ok(tokens),
        Err(error) if error.is_transient() => Err(Asked::Unreachable),
        Err(error) => Err(Asked::Refused(error)),
    }
}

impl super::Vaults {
    /// Sends a request to a token endpoint; nothing if there is no answer, or the address is not allowed.
    pub(super) async fn post(&self, endpoint: &str, request: &TokenRequest<'_>) -> Option<(u16, Vec<u8>)> {
        let target = Target::parse(&self.config.policy, endpoint);
        let target =
            target.inspect_err(|error| tracing::warn!(%error, "a token endpoint is not allowed")).ok()?;
        let mut builder = self
            .http()?
            .post(target.url().clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .body(request.form());
        if let Some(value) = request.authorization() {
            let mut value = reqwest::header::HeaderValue::from_str(&value).ok()?;
            value.set_sensitive(true);
            builder = builder.header("authorization", value);
        }
        self.read(builder).await
    }

    /// Sends a request and reads its answer, which has a limit.
    pub(super) async fn read(&self, request: reqwest::RequestBuilder) -> Option<(u16, Vec<u8>)> {
        let sent = request.send().await;
        // An address may hold what is secret.
        let mut response = sent
            .inspect_err(|error| {
                tracing::warn!(is_timeout = error.is_timeout(), "an authorization server gave no answer");
            })
            .ok()?;
        let status = response.status().as_u16();
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await.ok()? {
            document.extend_from_slice(&chunk);
            if document.len() > DOCUMENT_BYTES_MAX {
                return Some((status, document));
            }
        }
        Some((status, document))
    }
}
