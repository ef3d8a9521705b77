//! The server: every concrete part, wired once.

mod cluster;
pub(crate) mod embedding;
mod environments;
mod left;
mod outbound;
mod people;
mod policies;
pub(crate) mod providers;
mod sealing;
pub(crate) mod state;
mod tools;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tenure_api::{ApiConfig, agents, keys};
use tenure_journal::{AgentId, KeyId, ProjectId};
use tenure_policy::PolicySet;
use tenure_project::{Project, Redacted};
use tenure_runtime::{Addresses, Bound, FileBudgets, Limits, Parts, Places, Runtime};
use tenure_store::{DocumentKind, Order, Page};
use tenure_tools::McpServers;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub(crate) use environments::{SUPERVISOR, survey, survey_gvisor, tier};
pub(crate) use left::write_private;
pub(crate) use sealing::{MasterKey, SEALING_KEY_FILE};

use crate::proofs::{self, PublishProver, Whereabouts};
use state::{Database, State};

/// How long running turns may go on after the server was asked to end.
const DRAIN: Duration = Duration::from_secs(10);
/// What a server is started with.
pub(crate) struct ServerConfig {
    /// The project it serves.
    pub(crate) project: Project,
    /// The data directory: embedded state, and what this server leaves for the commands beside it.
    pub(crate) data: PathBuf,
    /// Where its durable state is.
    pub(crate) database: Database,
    /// How long other nodes leave this one its sessions without a sign of life.
    pub(crate) lease: Duration,
    /// Whether what was published beside its policies is withdrawn first.
    pub(crate) withdraw_policies: bool,
    /// The key that wraps the keys of projects.
    pub(crate) master_key: MasterKey,
    /// The address to listen on.
    pub(crate) bind: IpAddr,
    /// The port; 0 takes a free one.
    pub(crate) port: u16,
    /// A key that must work, beside those that exist.
    pub(crate) preset_key: Option<Redacted>,
    /// The environment that tool servers inherit little of.
    pub(crate) environment: Vec<(std::ffi::OsString, std::ffi::OsString)>,
}

/// A server that accepts requests.
pub(crate) struct Server {
    runtime: Runtime,
    state: State,
    servers: Arc<McpServers>,
    http: tokio::task::JoinHandle<std::io::Result<()>>,
    stop: CancellationToken,
    data: PathBuf,
    project_id: ProjectId,
    /// Where it listens: `http://127.0.0.1:7878`.
    pub(crate) url: String,
    /// What an operator wants to know, one line each.
    pub(crate) notes: Vec<String>,
}

/// Why the server does not start. Nothing was lost.
#[derive(Debug)]
pub(crate) struct StartError {
    pub(crate) message: String,
    pub(crate) cause: Option<String>,
    pub(crate) fix: Option<String>,
}

impl StartError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), cause: None, fix: None }
    }

    fn cause(mut self, cause: impl std::fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

impl Server {
    /// Opens durable state, resumes what was unfinished, and listens.
    pub(crate) async fn start(config: ServerConfig) -> Result<Self, StartError> {
        let ServerConfig {
            project,
            data,
            database,
            lease,
            withdraw_policies,
            master_key,
            bind,
            port,
            preset_key,
            environment,
        } = config;
        let state = State::open(&database, &data).await?;
        let sealer = sealing::open(&master_key, &data)?;
        let sealer = sealing::agree(&state.store(), sealer).await?;
        let policy = policy(&project)?;
        let policy_digest = policy.digest().to_owned();
        let prover = prover(&project, &policy)?;
        let (models, told) = providers::table(&project.settings, &project.env, &project.root).await?;
        let embedding = embedding::configured(&project.settings, &models, &project.root).await?;
        let mut notes = vec![told];
        notes.extend(state.note());
        let servers = McpServers::new(environment, tenure_tools::Limits::default())
            .map_err(|failure| StartError::new("tool servers cannot be reached").cause(failure.message))?;
        let servers = Arc::new(servers);
        let written = &project.settings.limits;
        let tool_addresses = match project.settings.tool_servers.private_addresses {
            true => Addresses::Private,
            false => Addresses::Public,
        };
        let limits = Limits {
            active_sessions: bound(written.sessions_active),
            waiting_messages: bound(written.messages_waiting),
            streams: bound(written.streams),
            body_bytes: bound(written.body_bytes_in_flight),
            model_calls: places(written.model_calls),
            tool_calls: places(written.tool_calls),
            lease,
            tool_addresses,
            budgets: budgets(&project.settings.budgets),
        };
        let model_names = models.named.keys().cloned().collect();
        let parts = Parts {
            store: state.store(),
            models,
            servers: Arc::clone(&servers) as Arc<dyn tenure_tools::Servers>,
            project_servers: tools::servers(&project.servers, &project.root),
            policy: Arc::new(policy),
            sealer,
            limits,
            outbound: outbound::outbound(&project.settings, &project.env, &state, people::agents(&project)?),
            environments: environments::config(&project.settings.environments, &data).await,
        };
        let runtime = Runtime::start(parts)
            .await
            .map_err(|error| StartError::new("unfinished sessions cannot be resumed").cause(error))?;
        notes.extend(embedding.map(|configured| embedding::begin(&runtime, configured)));
        let project_id = cluster::default_project(&runtime).await?;
        runtime.run_automations(Arc::new(tenure_api::check_agent));
        weigh(&runtime, &written.project_weights).await?;
        policies::record(&runtime, project_id, &policy_digest).await?;
        notes.extend(policies::settle(&runtime, project_id, withdraw_policies).await?);
        notes.extend(make_keys(&runtime, project_id, preset_key.as_ref(), &data).await?);

        let address = SocketAddr::new(bind, port);
        let listener = TcpListener::bind(address).await.map_err(|error| {
            StartError::new(format!("`{address}` cannot be listened on"))
                .cause(error)
                .fix("choose another port with --port, or 0 for a free one")
        })?;
        let local =
            listener.local_addr().map_err(|error| StartError::new("the port is not known").cause(error))?;
        let url = format!("http://{local}");
        let stop = CancellationToken::new();
        let mut api = ApiConfig::new(local);
        api.models = model_names;
        api.hosts.extend(project.settings.server.allowed_hosts.iter().cloned());
        api.origins.extend(project.settings.server.allowed_origins.iter().cloned());
        if let Some(url) = &project.settings.server.public_url {
            api.public_url.clone_from(url);
            api.hosts.extend(url::Url::parse(url).ok().and_then(|url| Some(url.host_str()?.to_owned())));
        }
        api.tool_addresses = tool_addresses;
        api.vaults = outbound::vaults(&project.settings);
        api.prover = Some(Arc::new(prover));
        api.record_reads = project.settings.audit.reads;
        api.people = people::people(project.settings.people.as_ref(), project_id)?;
        api.shutdown = stop.clone();
        let app = tenure_api::app(api, runtime.clone());
        let http = tokio::spawn(tenure_api::serve(listener, app, stop.clone()));
        left::write_server(&data, &url)
            .map_err(|error| StartError::new("the data directory cannot be written").cause(error))?;
        let mut server = Self { runtime, state, servers, http, stop, data, project_id, url, notes };
        let saved = server.save_agents(&project).await?;
        if saved > 0 {
            server.notes.push(format!("{saved} agents saved"));
        }
        Ok(server)
    }

    /// Saves the project's agents; each that changed becomes a new version. Gives how many changed.
    pub(crate) async fn save_agents(&self, project: &Project) -> Result<usize, StartError> {
        let default_model = project.settings.default_model.as_deref().unwrap_or("default");
        let mut changed = 0;
        for (name, agent) in &project.agents {
            let config = agent.config(AgentId::fresh(&self.runtime.fresh()), 1, default_model);
            let (store, now) = (self.runtime.store(), self.runtime.now());
            // Before the agent that names them.
            for skill in &agent.skills {
                store.put_blob(self.project_id, Bytes::copy_from_slice(&skill.archive)).await.map_err(
                    |error| {
                        StartError::new(format!("the skill `{}` cannot be saved", skill.source)).cause(error)
                    },
                )?;
            }
            let saved =
                agents::upsert(store, self.project_id, now, config, agent.metadata.clone()).await.map_err(
                    |error| StartError::new(format!("the agent `{name}` cannot be saved")).cause(error),
                )?;
            changed += usize::from(saved.changed);
        }
        Ok(changed)
    }

    /// Serves until `asked` is done or durable state fails, then drains and closes. Gives the fault, if
    /// there was one.
    pub(crate) async fn run(self, asked: impl Future<Output = ()>) -> Option<String> {
        let fault = tokio::select! {
            () = asked => None,
            fault = self.state.fault() => Some(fault.to_string()),
        };
        self.stop.cancel();
        self.runtime.shutdown(DRAIN).await;
        match self.http.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the HTTP server failed"),
            Err(error) => tracing::error!(%error, "the HTTP server panicked"),
        }
        self.servers.shutdown().await;
        left::remove_server(&self.data);
        if let Err(error) = self.state.close().await {
            tracing::error!(%error, "durable state was not closed cleanly; nothing acknowledged is lost");
        }
        fault
    }
}

fn bound(limit: tenure_project::Limit) -> Bound {
    Bound { max: limit.max, per_project_max: limit.per_project_max }
}

fn budgets(written: &tenure_project::Budgets) -> FileBudgets {
    let tenure_project::Budgets { project, session, agents } = written.clone();
    FileBudgets { project, session, agents }
}

fn places(limit: tenure_project::Limit) -> Places {
    let count = |number| usize::try_from(number).unwrap_or(usize::MAX);
    Places { max: count(limit.max), per_project_max: count(limit.per_project_max) }
}

/// Gives projects their weights, by name.
async fn weigh(runtime: &Runtime, weights: &BTreeMap<String, u64>) -> Result<(), StartError> {
    for (name, weight) in weights {
        let page = Page { after: None, limit: 1, order: Order::Ascending };
        let found =
            runtime.store().documents(keys::system_project(), DocumentKind::Project, Some(name), &page).await;
        let found = found.map_err(|error| StartError::new("durable state cannot be used").cause(error))?;
        let id = found.first().and_then(|document| document.id.parse().ok()).ok_or_else(|| {
            StartError::new(format!("`limits.project_weights` names `{name}`, and there is no such project"))
                .fix("name a project of this server, such as `default`, in tenure.yaml")
        })?;
        runtime.weigh(id, u32::try_from(*weight).unwrap_or(u32::MAX));
    }
    Ok(())
}

fn policy(project: &Project) -> Result<PolicySet, StartError> {
    crate::contracts::policy_set(project)
        .map_err(|error| StartError::new("the policies cannot be used").cause(error))
}

/// What is proven of policies before they are published beside those of the project's files.
fn prover(project: &Project, policy: &PolicySet) -> Result<PublishProver, StartError> {
    let invariants = proofs::invariants(project, policy.contracts())
        .map_err(|error| StartError::new("the invariants cannot be used").cause(error))?;
    Ok(PublishProver::new(invariants, Whereabouts::of(&project.env)))
}

/// Makes the first key, and sees to it that the preset one works.
async fn make_keys(
    runtime: &Runtime,
    project: ProjectId,
    preset: Option<&Redacted>,
    data: &Path,
) -> Result<Vec<String>, StartError> {
    let failed = |error: keys::KeyError| StartError::new("API keys cannot be kept").cause(error);
    let (store, now, fresh) = (runtime.store(), runtime.now(), runtime.fresh());
    if let Some(preset) = preset {
        keys::ensure_preset(store, now, &fresh, preset.expose(), project).await.map_err(failed)?;
        let mut notes = vec!["the key of TENURE_API_KEY works".to_owned()];
        let revoked =
            keys::revoke_other_presets(store, now, project, preset.expose()).await.map_err(failed)?;
        for key in revoked {
            tracing::warn!(key = %key.id, "revoked the key that TENURE_API_KEY named before");
            notes.push(format!("the key it named before, {}, is revoked", key.id));
        }
        return Ok(notes);
    }
    let path = data.join(left::KEY_FILE);
    if path.exists() {
        return Ok(vec![format!("the API key is in {}", path.display())]);
    }
    if store.is_shared() && !keys::list(store, project, None, 1).await.map_err(failed)?.is_empty() {
        return Ok(vec![
            "API keys exist in the database; the first one was shown by the first node".to_owned(),
        ]);
    }
    let new = keys::NewKey {
        project_id: project,
        name: "first".to_owned(),
        scopes: vec![keys::Scope::Read, keys::Scope::Write, keys::Scope::Admin],
        groups: Vec::new(),
        expires_at: None,
    };
    let (text, _) =
        keys::create(store, now, KeyId::fresh(&fresh), new, None, Vec::new()).await.map_err(failed)?;
    // Dying before this line leaves a key nobody knows; the next start makes another.
    left::write_private(&path, text.expose())
        .map_err(|error| StartError::new("the API key cannot be written").cause(error))?;
    let shown = format!("a first API key, shown this once: {}", text.expose());
    Ok(vec![shown, format!("it is also in {}", path.display())])
}
