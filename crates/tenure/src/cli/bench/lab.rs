//! What measurements are made with: a runtime in this process with a model that answers at once, and
//! servers as processes of their own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tenure_journal::{
    AgentConfig, AgentId, ContainerSize, Environment, EnvironmentId, Fresh, HostedEnvironment, InputPart,
    Network, ProjectId, SessionId, SessionKey, SessionOpened, WorkspaceRoot,
};
use tenure_model::scripted::{Script, ScriptedModel};
use tenure_policy::PolicySet;
use tenure_project::Redacted;
use tenure_runtime::{
    EnvironmentConfig, Limits, ModelTable, Opening, Parts, Provider, Runtime, Sealer, Subscription,
    SubscriptionItem,
};
use tenure_session::{Command, SessionNotice, StreamEvent};
use tenure_store::Store;
use tenure_store_postgres::{Options, PostgresStore};
use tenure_store_sqlite::SqliteStore;
use tenure_tools::McpServers;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout};

use super::failed;
use crate::cli::client::Client;
use crate::cli::error::CliError;
use crate::cli::output::text;
use crate::cli::target::Target;

/// Answers everything at once.
const SCRIPT: &str = "rules: [{reply: [{text: ok}]}]";
/// How long a turn or a start may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a runtime may take to end; nothing runs any more by then.
const DRAIN: Duration = Duration::from_secs(5);
const KEY: &str = "key-of-a-benchmark";

/// A directory that goes away with its measurement.
pub(super) fn directory(parent: &Path) -> Result<TempDir, CliError> {
    let made = tempfile::Builder::new().prefix("tenure-bench-").tempdir_in(parent);
    made.map_err(|error| failed(&format!("writing to `{}`", parent.display()), error))
}

/// The model that all measurements in this process ask.
pub(super) fn instant_model() -> Result<Arc<ScriptedModel>, CliError> {
    let script = Script::parse(SCRIPT).map_err(|error| failed("reading the script", error))?;
    Ok(Arc::new(ScriptedModel::new(Arc::new(script))))
}

/// A runtime over durable state.
pub(super) struct Lab<S = SqliteStore> {
    pub(super) runtime: Runtime,
    pub(super) store: Arc<S>,
    project: ProjectId,
}

impl Lab {
    /// Opens durable state at `data`.
    pub(super) async fn open(data: &Path) -> Result<Self, CliError> {
        let store = SqliteStore::open(data).map_err(|error| failed("opening the store", error))?;
        let directory = data.join("environments");
        Self::over(store, EnvironmentConfig { directory, ..EnvironmentConfig::default() }).await
    }

    pub(super) async fn close(self) -> Result<(), CliError> {
        self.runtime.shutdown(DRAIN).await;
        self.store.close().await.map_err(|error| failed("closing the store", error))
    }
}

impl Lab<PostgresStore> {
    /// A node on the database.
    pub(super) async fn join(url: &str) -> Result<Self, CliError> {
        let options = Options::parse(url).map_err(|error| failed("reading the URL", error))?;
        let store = PostgresStore::open(&options).await;
        let store = store.map_err(|error| failed("opening the database", error))?;
        Self::over(store, EnvironmentConfig::default()).await
    }

    pub(super) async fn leave(self) -> Result<(), CliError> {
        self.runtime.shutdown(DRAIN).await;
        self.store.close().await.map_err(|error| failed("closing the store", error))
    }
}

impl<S: Store> Lab<S> {
    async fn over(store: S, environments: EnvironmentConfig) -> Result<Self, CliError> {
        let store = Arc::new(store);
        let servers = McpServers::new(Vec::new(), tenure_tools::Limits::default())
            .map_err(|failure| failed("preparing for tool servers", failure.message))?;
        let provider = Provider::new("scripted", instant_model()?, usize::MAX);
        let parts = Parts {
            store: Arc::clone(&store) as Arc<dyn Store>,
            models: ModelTable { named: BTreeMap::new(), fallback: Some(provider) },
            servers: Arc::new(servers),
            project_servers: BTreeMap::new(),
            policy: Arc::new(PolicySet::defaults()),
            sealer: Sealer::ephemeral(),
            limits: Limits::default(),
            outbound: tenure_runtime::Outbound::default(),
            environments,
        };
        let runtime = Runtime::start(parts).await.map_err(|error| failed("starting the runtime", error))?;
        let project = ProjectId::fresh(&runtime.fresh());
        Ok(Self { runtime, store, project })
    }

    /// Opens a session and waits for the end of its first turn.
    pub(super) async fn converse(&self) -> Result<Conversation, CliError> {
        self.begin(SessionId::fresh(&self.runtime.fresh()), Environment::None).await
    }

    /// The same, in an environment with these files.
    pub(super) async fn converse_in(&self, root: WorkspaceRoot) -> Result<Conversation, CliError> {
        let session = SessionId::fresh(&self.runtime.fresh());
        let hosted = HostedEnvironment {
            id: EnvironmentId::of_session(session),
            network: Network::Disabled,
            size: ContainerSize::Small,
            files: Vec::new(),
            packages: tenure_journal::Packages::default(),
            setup: Vec::new(),
            variables: None,
            base: Some(root),
            capabilities: tenure_journal::Capabilities::default(),
        };
        self.begin(session, Environment::Hosted(Box::new(hosted))).await
    }

    /// The project of every session here.
    pub(super) fn project(&self) -> ProjectId {
        self.project
    }

    async fn begin(&self, session: SessionId, environment: Environment) -> Result<Conversation, CliError> {
        let opened = SessionOpened { environment, ..self.opened() };
        let opening = Opening { opened, input: vec![vec![InputPart::text("hello")]] };
        let opened = self.runtime.open_as(session, opening, None, true).await;
        let (view, stream) = opened.map_err(|error| failed("opening a session", error))?;
        let stream = stream.ok_or_else(|| failed("opening a session", "it has no stream"))?;
        let mut conversation = Conversation { runtime: self.runtime.clone(), key: view.key, stream };
        conversation.wait_until_idle().await?;
        Ok(conversation)
    }

    fn opened(&self) -> SessionOpened {
        opened(self.project, &self.runtime.fresh())
    }
}

/// How every session here begins.
pub(super) fn opened(project_id: ProjectId, fresh: &Fresh) -> SessionOpened {
    let agent = AgentConfig {
        name: Some("bench".to_owned()),
        instructions: Some("Be brief.".to_owned()),
        ..AgentConfig::new(AgentId::fresh(fresh), "scripted")
    };
    SessionOpened::new(project_id, agent)
}

/// An open session that is watched.
pub(super) struct Conversation {
    runtime: Runtime,
    pub(super) key: SessionKey,
    stream: Subscription,
}

impl Conversation {
    /// One more turn, from the message to the end.
    pub(super) async fn turn(&mut self) -> Result<(), CliError> {
        let message = Command::Message { content: vec![InputPart::text("and again")] };
        let sent = self.runtime.submit(self.key, vec![message], None).await;
        sent.map_err(|error| failed("sending a message", error))?;
        self.wait_until_idle().await
    }

    async fn wait_until_idle(&mut self) -> Result<(), CliError> {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.stream.next()).await;
            let next = next.map_err(|_| failed("a turn", "it does not end"))?;
            let Some(SubscriptionItem::Event(event)) = next else {
                return Err(failed("a turn", "its stream ended"));
            };
            match &*event {
                StreamEvent::Session { kind: SessionNotice::Idle, .. } => return Ok(()),
                StreamEvent::Error { .. } => return Err(failed("a turn", "the session reports an error")),
                StreamEvent::Session { .. }
                | StreamEvent::Turn { .. }
                | StreamEvent::ItemAdded { .. }
                | StreamEvent::ItemDone { .. }
                | StreamEvent::Part { .. }
                | StreamEvent::Subagent { .. }
                | StreamEvent::Environment { .. }
                | StreamEvent::CommandOutput { .. }
                | StreamEvent::Deleted => {}
            }
        }
    }
}

/// A project directory for servers.
pub(super) struct Site {
    root: TempDir,
}

impl Site {
    /// A project whose model is at `model`, an address that need not answer; nothing is limited that a
    /// measurement could meet.
    pub(super) fn new(parent: &Path, model: &str) -> Result<Self, CliError> {
        let root = directory(parent)?;
        let settings = json!({
            "providers": {"bench": {"type": "openai", "wire": "responses", "base_url": model}},
            "limits": {
                "sessions_active_max": 10_000,
                "sessions_active_per_project_max": 10_000,
                "model_calls_max": 10_000,
            },
            "default_model": "scripted",
        });
        // JSON is YAML.
        std::fs::write(root.path().join("tenure.yaml"), settings.to_string())?;
        std::fs::create_dir(root.path().join("agents"))?;
        std::fs::write(root.path().join("agents/bench.md"), "Be brief.\n")?;
        Ok(Self { root })
    }

    /// The same with a scripted model in the server.
    pub(super) fn scripted(parent: &Path, script: &str) -> Result<Self, CliError> {
        let site = Self::new(parent, "http://127.0.0.1:9/v1")?;
        let settings = json!({
            "providers": {"bench": {"type": "scripted", "script": "script.yaml"}},
            "default_model": "scripted",
        });
        std::fs::write(site.root.path().join("tenure.yaml"), settings.to_string())?;
        std::fs::write(site.root.path().join("script.yaml"), script)?;
        Ok(site)
    }

    /// Changes a setting of the servers that are started from now on.
    pub(super) fn set(&self, key: &str, value: &Value) -> Result<(), CliError> {
        let path = self.root.path().join("tenure.yaml");
        let mut settings: Value = serde_json::from_slice(&std::fs::read(&path)?)
            .map_err(|error| failed("reading the settings", error))?;
        settings[key] = value.clone();
        Ok(std::fs::write(path, settings.to_string())?)
    }

    /// What its servers logged.
    pub(super) fn log(&self) -> Result<String, CliError> {
        Ok(std::fs::read_to_string(self.root.path().join("log"))?)
    }

    pub(super) fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// Starts a server and waits until it listens.
    pub(super) async fn serve(&self) -> Result<Served, CliError> {
        self.serve_with("warn", &["--data", "data"]).await
    }

    /// The same with everything in its log that is of a `level` at least.
    pub(super) async fn serve_telling(&self, level: &str) -> Result<Served, CliError> {
        self.serve_with(level, &["--data", "data"]).await
    }

    /// Starts the node of a number and waits until it listens.
    pub(super) async fn node(&self, number: u32, database: &str) -> Result<Served, CliError> {
        let data = format!("node-{number}");
        let further = ["--data", &data, "--database", database, "--sealing-key", "sealing.key"];
        self.serve_with("warn", &further).await
    }

    async fn serve_with(&self, level: &str, further: &[&str]) -> Result<Served, CliError> {
        let log = self.root.path().join("log");
        let began = Instant::now();
        let mut child = tokio::process::Command::new(std::env::current_exe()?)
            .args(["serve", "--port", "0"])
            .args(further)
            .current_dir(self.root.path())
            .env("TENURE_API_KEY", KEY)
            .env("TENURE_LOG", level)
            .env_remove("TENURE_DATA_DIR")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::OpenOptions::new().append(true).create(true).open(&log)?)
            .kill_on_drop(true)
            .spawn()?;
        let silent = || failed("starting a server", std::fs::read_to_string(&log).unwrap_or_default());
        let mut output = BufReader::new(child.stdout.take().ok_or_else(silent)?);
        let mut line = String::new();
        tokio::time::timeout(PATIENCE, output.read_line(&mut line)).await.map_err(|_| silent())??;
        let took = began.elapsed();
        let said: Value = serde_json::from_str(&line).map_err(|_| silent())?;
        let address = text(&said, "/listening").to_owned();
        Ok(Served { child, _output: output, address, began, took })
    }
}

/// A running server.
pub(super) struct Served {
    child: Child,
    /// Kept open: a closed pipe would end a process that prints.
    _output: BufReader<ChildStdout>,
    address: String,
    pub(super) began: Instant,
    /// How long it took until it listened.
    pub(super) took: Duration,
}

impl Served {
    pub(super) fn client(&self) -> Result<Client, CliError> {
        let base = self.address.trim_end_matches("/v1").to_owned();
        Client::new(Target { base, key: Some(Redacted::new(KEY.to_owned())) })
    }

    /// SIGKILL.
    pub(super) async fn kill(mut self) -> Result<(), CliError> {
        Ok(self.child.kill().await?)
    }

    /// Bytes of memory it occupies, where the system says.
    pub(super) fn memory_bytes(&self) -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(kib * 1024.0)
    }
}

/// Seconds of processor time this process has used, where the system says.
pub(super) fn cpu_seconds() -> Option<f64> {
    /// Linux counts in hundredths of a second for programs, whatever it uses itself.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in parentheses, which may hold spaces.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = |place: usize| fields.split_whitespace().nth(place)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}
