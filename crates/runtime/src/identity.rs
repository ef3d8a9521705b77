//! Who an agent is, for tool servers that are configured to ask.
//!
//! Such a server gets a token with each connection that is made for an agent: who calls, for this server alone, for
//! five minutes. The key is made once for an installation and kept sealed in its store, so every node signs with the
//! same and a server needs to know nothing but the address of the key set.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tenure_identity::{LIFETIME, Minter, SpiffeId};
use tenure_journal::{AgentId, Failure, FailureKind, ProjectId, SecretId};
use tenure_store::{Document, DocumentKind, StoreErrorKind};
use tokio::sync::OnceCell;

use crate::handle::Shared;
use crate::{Runtime, RuntimeError, RuntimeErrorKind};

/// How long a token is used before another is made, in seconds: what begins last has some time left.
const USED_FOR: i64 = LIFETIME.as_secs() as i64 / 2;
/// Tokens that are remembered.
const REMEMBERED_MAX: usize = 4_096;

/// How agents show who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityConfig {
    /// Who says so: the address at which the key set is published.
    pub issuer: String,
    /// The trust domain of SPIFFE ids: a host name of the operator's.
    pub domain: String,
    /// The audiences of the project's tool servers that ask, by the server's name.
    pub audiences: BTreeMap<String, String>,
}

/// The key, and the tokens that are in use.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    config: Option<IdentityConfig>,
    minter: OnceCell<Minter>,
    /// When each was made, in seconds since 1970, and its text.
    minted: Mutex<HashMap<Named, (i64, String)>>,
}

/// Whom a token names, and for whom it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Named {
    project: ProjectId,
    agent: AgentId,
    version: Option<u64>,
    audience: String,
}

impl Identities {
    pub(crate) fn new(config: Option<IdentityConfig>) -> Self {
        Self { config, ..Self::default() }
    }

    /// What a call of a project's server is authorised with, where the server asks who calls.
    pub(crate) async fn authorization(
        &self,
        shared: &Shared,
        project: ProjectId,
        (agent, version): (AgentId, Option<u64>),
        server: &str,
    ) -> Result<Option<String>, Failure> {
        let Some(config) = &self.config else { return Ok(None) };
        let Some(audience) = config.audiences.get(server) else { return Ok(None) };
        let now = shared.clock.now().as_secs();
        let key = Named { project, agent, version, audience: audience.clone() };
        let kept = self.minted.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some((at, token)) = kept.filter(|(at, _)| (0..USED_FOR).contains(&(now - at))) {
            debug_assert!(at <= now, "it was made before");
            return Ok(Some(format!("Bearer {token}")));
        }
        let minter = self.minter(shared).await.map_err(|error| {
            tracing::error!(%error, "an agent cannot show who it is");
            let message = "the agent's identity cannot be shown now".to_owned();
            Failure { kind: FailureKind::NotBegun, message, retry_after_ms: None }
        })?;
        let id = SpiffeId {
            domain: config.domain.clone(),
            project: project.to_string(),
            agent: agent.to_string(),
            version,
        };
        let token = minter.mint(&id, audience, now).map_err(|error| Failure {
            kind: FailureKind::NotBegun,
            message: error.to_string(),
            retry_after_ms: None,
        })?;
        let mut minted = self.minted.lock().unwrap_or_else(PoisonError::into_inner);
        if minted.len() >= REMEMBERED_MAX {
            minted.clear();
        }
        minted.insert(key, (now, token.clone()));
        Ok(Some(format!("Bearer {token}")))
    }

    async fn minter(&self, shared: &Shared) -> Result<&Minter, RuntimeError> {
        let issuer = self.config.as_ref().map(|config| config.issuer.clone()).unwrap_or_default();
        self.minter.get_or_try_init(|| load(shared, issuer)).await
    }
}

impl Runtime {
    /// The public keys that agents' tokens are checked with, to be published; `None` where no server asks.
    ///
    /// # Errors
    /// `Storage`; `Damaged`: the key cannot be read, or was sealed with another installation's key.
    pub async fn agent_keys(&self) -> Result<Option<Value>, RuntimeError> {
        let shared = self.shared();
        if shared.identities.config.is_none() {
            return Ok(None);
        }
        Ok(Some(shared.identities.minter(shared).await?.key_set()))
    }

    /// Who says who agents are; `None` where no server asks.
    #[must_use]
    pub fn agent_issuer(&self) -> Option<&str> {
        self.shared().identities.config.as_ref().map(|config| config.issuer.as_str())
    }
}

/// The installation's key; made by whoever needs it first.
async fn load(shared: &Shared, issuer: String) -> Result<Minter, RuntimeError> {
    let (project, id) = place();
    // Twice: another node may make it in between.
    for _ in 0..2 {
        let found = shared.store.document(project, DocumentKind::Secret, &id.to_string(), None).await?;
        if let Some(found) = found {
            let sealed: Vec<u8> =
                serde_json::from_value(found.body["sealed"].clone()).map_err(|_| damaged())?;
            let text = shared.sealer.unseal(&*shared.store, project, id, &sealed).await;
            let key = STANDARD.decode(text.map_err(|_| damaged())?.as_str()).map_err(|_| damaged())?;
            return Minter::new(issuer, &key).map_err(|_| damaged());
        }
        let key = Minter::generate().map_err(|_| RuntimeErrorKind::Storage)?;
        let now = shared.clock.now();
        let sealed = shared.sealer.seal(&*shared.store, project, id, &STANDARD.encode(key)).await?;
        let document = Document {
            project,
            kind: DocumentKind::Secret,
            id: id.to_string(),
            version: 1,
            name: None,
            body: json!({ "sealed": sealed }),
            created_at: now,
            updated_at: now,
            wake_at: None,
            deleted: false,
        };
        match shared.store.put(vec![document], None).await {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), StoreErrorKind::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(RuntimeErrorKind::Storage.into())
}

fn damaged() -> RuntimeError {
    RuntimeErrorKind::Damaged.into()
}

/// Where the key is: no project's, under an id that no secret of a project is given.
fn place() -> (ProjectId, SecretId) {
    let project = "proj_00000000000000000000000000000000".parse().expect("written as ids are written");
    (project, "sec_00000000000000000000000000000001".parse().expect("written as ids are written"))
}
