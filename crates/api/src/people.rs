//! People: whose tokens are accepted, and what their groups may do.
//!
//! A person has no row that admits them: the provider says who they are with each request, and the table of groups
//! says what that is worth. What is kept is how they were last seen, so that an id in a log is a name to a reader.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tenure_identity::{Claims, Provider, ProviderError};
use tenure_journal::{Author, PersonId, ProjectId, Timestamp};
use tenure_store::{Document, DocumentKind, Store};

use axum::http::StatusCode;

use crate::call::Caller;
use crate::error::ApiError;
use crate::keys::Scope;

/// How exact the time is at which a person was last seen.
const NOTED_EVERY: Duration = Duration::from_secs(60);
/// People of whom it is remembered that they were noted; the rest are noted once more.
const REMEMBERED_MAX: usize = 4_096;

/// How people are admitted to a project.
#[derive(Debug)]
pub struct People {
    provider: Provider,
    client_id: String,
    project: ProjectId,
    groups: BTreeMap<String, Vec<Scope>>,
    noted: Mutex<HashMap<PersonId, Instant>>,
}

impl People {
    /// People of one provider, in one project. `client_id` is what the command line calls itself when they sign in.
    #[must_use]
    pub fn new(
        provider: Provider,
        client_id: String,
        project: ProjectId,
        groups: BTreeMap<String, Vec<Scope>>,
    ) -> Self {
        Self { provider, client_id, project, groups, noted: Mutex::default() }
    }

    /// Where people sign in, and as whose client.
    pub(crate) fn sign_in(&self) -> Value {
        json!({"issuer": self.provider.rules().issuer, "client_id": self.client_id})
    }

    /// Who sent a token.
    ///
    /// # Errors
    /// 401, the same for every token that is not accepted; 503 while the provider's keys cannot be had.
    pub(crate) async fn admit(
        &self,
        store: &Arc<dyn Store>,
        now: Timestamp,
        token: &str,
    ) -> Result<Caller, ApiError> {
        let claims = self.provider.verify(token, now.as_secs()).await.map_err(refused)?;
        let id = PersonId::of(&claims.issuer, &claims.subject);
        self.note(store, now, id, &claims).await;
        let scopes = claims.groups.iter().filter_map(|group| self.groups.get(group)).flatten();
        let mut scopes: Vec<Scope> = scopes.copied().collect();
        scopes.sort_unstable();
        scopes.dedup();
        let name = claims.email.or(claims.name).unwrap_or(claims.subject);
        let author = Author::Person { id, name };
        Ok(Caller { project: self.project, scopes, groups: Vec::new(), author, log: Arc::default() })
    }

    async fn note(&self, store: &Arc<dyn Store>, now: Timestamp, id: PersonId, claims: &Claims) {
        if !self.is_due(id) {
            return;
        }
        let document = Document {
            project: self.project,
            kind: DocumentKind::Person,
            id: id.to_string(),
            version: 1,
            name: None,
            body: json!({"issuer": claims.issuer, "subject": claims.subject, "name": claims.name,
                "email": claims.email, "seen_at": now}),
            created_at: now,
            updated_at: now,
            wake_at: None,
            deleted: false,
        };
        if let Err(error) = store.note(document).await {
            tracing::warn!(person = %id, %error, "that a person was seen cannot be noted");
        }
    }

    fn is_due(&self, id: PersonId) -> bool {
        // A map is whole between its methods, so one poisoned by a panic elsewhere is usable.
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.get(&id).is_some_and(|at| at.elapsed() < NOTED_EVERY) {
            return false;
        }
        if noted.len() >= REMEMBERED_MAX {
            noted.clear();
        }
        noted.insert(id, Instant::now());
        true
    }
}

fn refused(error: ProviderError) -> ApiError {
    match error {
        ProviderError::Token(error) => {
            tracing::info!(%error, "a token is not accepted");
            let message = "The token is not accepted: sign in again with `tenure login`.";
            ApiError::new(StatusCode::UNAUTHORIZED, message).code("invalid_token")
        }
        error @ (ProviderError::Unreachable(_) | ProviderError::Discovery(_) | ProviderError::Keys(_)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "nobody can be checked");
            let message = "The identity provider cannot be asked for its keys now; try again.";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message).code("identity_provider_unavailable")
        }
    }
}
