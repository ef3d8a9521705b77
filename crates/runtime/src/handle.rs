//! The handle that the API and the binary hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tenure_journal::{
    Extraction, Fresh, NodeId, ProjectId, Secret, SecretId, SessionId, SessionKey, Timestamp, Version,
};
use tenure_policy::PolicySet;
use tenure_session::{Command, Price, Session, SessionView, StreamEvent, SubagentView};
use tenure_store::{
    AuditEntry, Document, DocumentKind, Order, Page, Receipt, Store, StoreError, StoreErrorKind,
};
use tenure_telemetry::Content;
use tenure_tools::{Addresses, Server, Servers};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::actor::{self, Mail};
use crate::budget;
use crate::budgets::{BudgetBook, FileBudgets};
use crate::clock::Clock;
use crate::described::Described;
use crate::digests::Digests;
use crate::embedding::Embedding;
use crate::environments::{self, EnvironmentConfig, Executors, Host};
use crate::export::{self, ExportConfig, Exporter};
use crate::fair::Gate;
use crate::freezes::Freezes;
use crate::hub::{Hub, Subscription};
use crate::identity::{Identities, IdentityConfig};
use crate::keeping::Keeping;
use crate::load::Quota;
use crate::metrics::{Metrics, Sampled};
use crate::policies::Policies;
use crate::registry::{Admission, Registry};
use crate::tasks::{self, Tasks};
use crate::unreadable::Unreadable;
use crate::vaults::{self, VaultConfig, Vaults};
use crate::webhooks::{self, WebhookConfig, Webhooks};
use crate::{
    Bound, Full, Limit, Load, ModelTable, Places, RuntimeError, RuntimeErrorKind, Sealer, Share, audit,
    collect, erasure, follow, node,
};

/// How often readers that went away are forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// Items of a running turn that a new reader is shown first.
const SNAPSHOT_ITEMS_MAX: usize = 1_000;

/// What a runtime is made of.
pub struct Parts {
    /// Durable state.
    pub store: Arc<dyn Store>,
    /// What model names mean.
    pub models: ModelTable,
    /// Tool servers.
    pub servers: Arc<dyn Servers>,
    /// The project's own servers, by name.
    pub project_servers: BTreeMap<String, Server>,
    /// What may happen: the policies of the server's files, to which projects publish further ones.
    pub policy: Arc<PolicySet>,
    /// Seals secrets.
    pub sealer: Sealer,
    /// Limits.
    pub limits: Limits,
    /// What leaves the server unasked.
    pub outbound: Outbound,
    /// Where commands run.
    pub environments: EnvironmentConfig,
}

/// What leaves the server unasked.
#[derive(Debug, Clone, Default)]
pub struct Outbound {
    /// How webhooks are delivered.
    pub webhooks: WebhookConfig,
    /// Where credentials are used and renewed.
    pub vaults: VaultConfig,
    /// Whether traces hold what was said.
    pub trace_content: Content,
    /// Where the traces of finished turns are sent.
    pub export: Option<ExportConfig>,
    /// Numbers of other parts that are shown among the metrics.
    pub sampled: Vec<Sampled>,
    /// How agents show tool servers who they are.
    pub identity: Option<IdentityConfig>,
    /// The model that is asked about calls of sessions that want it, before people are.
    pub reviewer: Option<String>,
    /// How facts are read out of turns of agents that say nothing of it; absent: they are not.
    pub extraction: Option<Extraction>,
}

/// What one runtime takes on at once, and one project of it.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Sessions with something to do. What would begin more is refused; what was let in before goes on.
    pub active_sessions: Bound,
    /// Requests that are being carried out by sessions. Further ones are refused.
    pub waiting_messages: Bound,
    /// Open subscriptions. Further ones are refused.
    pub streams: Bound,
    /// Bytes of request bodies that are being handled. Further ones are refused.
    pub body_bytes: Bound,
    /// Model calls in flight; further ones wait, round-robin by project.
    pub model_calls: Places,
    /// Tool calls and listings in flight; further ones wait, round-robin by project.
    pub tool_calls: Places,
    /// How long it takes at most until a node that gives no sign of life has lost its sessions to others, where
    /// several share a store.
    pub lease: Duration,
    /// Where tool servers that clients name may stand; those of the project may stand anywhere.
    pub tool_addresses: Addresses,
    /// What may be used of models in each project.
    pub budgets: FileBudgets,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            active_sessions: Bound::leaving_room(10_000),
            waiting_messages: Bound::leaving_room(4_096),
            streams: Bound::leaving_room(2_048),
            body_bytes: Bound::leaving_room(256 * 1024 * 1024),
            model_calls: Places::shared(64),
            tool_calls: Places::shared(64),
            lease: Duration::from_secs(10),
            tool_addresses: Addresses::Private,
            budgets: FileBudgets::default(),
        }
    }
}

/// What all actors share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) models: ModelTable,
    /// What the models cost whose price is known.
    pub(crate) prices: BTreeMap<String, Price>,
    pub(crate) candidates: crate::models::Candidates,
    pub(crate) servers: Arc<dyn Servers>,
    pub(crate) project_servers: BTreeMap<String, Server>,
    pub(crate) policies: Policies,
    pub(crate) sealer: Sealer,
    /// Places for model calls.
    pub(crate) model_gate: Arc<Gate>,
    /// Places for tool calls.
    pub(crate) tool_gate: Arc<Gate>,
    pub(crate) load: Arc<Load>,
    messages: Arc<Quota>,
    pub(crate) streams: Arc<Quota>,
    bodies: Arc<Quota>,
    pub(crate) clock: Clock,
    /// Where tool servers that clients name may stand.
    pub(crate) tool_addresses: Addresses,
    /// This process among those that share the store.
    pub(crate) node: NodeId,
    pub(crate) lease: node::Lease,
    pub(crate) hub: Arc<Hub>,
    pub(crate) registry: Registry,
    pub(crate) webhooks: Webhooks,
    pub(crate) vaults: Vaults,
    /// What must not begin for now.
    pub(crate) freezes: Freezes,
    pub(crate) budgets: BudgetBook,
    /// What this release cannot read.
    pub(crate) unreadable: Arc<Unreadable>,
    pub(crate) metrics: Metrics,
    pub(crate) identities: Identities,
    pub(crate) trace_content: Content,
    pub(crate) exporter: Option<Exporter>,
    /// Fires when everything is to end at once.
    pub(crate) stop: CancellationToken,
    /// Fires when nothing new is to begin.
    pub(crate) closing: CancellationToken,
    pub(crate) tasks: Tasks,
    /// The environments on this machine.
    pub(crate) environments: Arc<Host>,
    /// The executors that are connected here, and those that may.
    pub(crate) executors: Executors,
    /// Tells this node's scheduler that an automation changed.
    pub(crate) automations: Arc<Notify>,
    /// Tells that records of the audit log wait.
    pub(crate) unsealed: audit::Waiting,
    /// The model that makes vectors of what is remembered, if there is one.
    pub(crate) embedding: Embedding,
    /// Records that are written a moment later.
    pub(crate) reads: mpsc::Sender<AuditEntry>,
    /// Held by who collects payloads.
    pub(crate) collecting: tokio::sync::Mutex<()>,
    /// Who may be between keeping a payload and referring to it.
    pub(crate) keeping: Arc<Keeping>,
    /// Tools as their servers described them last.
    pub(crate) described: Described,
    /// What the digests of sessions are keyed with, as far as it was looked up.
    pub(crate) digests: Digests,
    /// Tells that something is to be erased.
    pub(crate) asking: erasure::Asking,
}

/// A receipt to be written in the same transaction as what a request changes.
///
/// The body that a repeated request is answered with is made from the session as it is after the change.
pub struct ReceiptDraft {
    /// The idempotency key, with the scope the caller puts into it.
    pub key: String,
    /// Digest of the request.
    pub digest: String,
    /// The status to answer.
    pub status: u16,
    /// Makes the body.
    pub body: Box<dyn Fn(&SessionView) -> String + Send + Sync>,
}

impl ReceiptDraft {
    pub(crate) fn to_receipt(&self, project: ProjectId, at: Timestamp, view: &SessionView) -> Receipt {
        Receipt {
            project,
            key: self.key.clone(),
            digest: self.digest.clone(),
            status: self.status,
            body: (self.body)(view),
            at,
        }
    }
}

/// A running runtime. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    pub(crate) shared: Arc<Shared>,
    /// Who acts through this handle, as audit logs name them; absent for the server itself, whose work they know
    /// from journals.
    pub(crate) by: Option<Arc<str>>,
}

impl Runtime {
    /// Starts a runtime, which resumes unfinished sessions from then on, as many at once as it has room for.
    /// Returns when the first of them are on their way.
    ///
    /// # Errors
    /// `Storage`, `Damaged`: unfinished sessions cannot be looked up.
    pub async fn start(parts: Parts) -> Result<Self, RuntimeError> {
        let Parts { store, models, servers, project_servers, policy, sealer, limits, outbound, environments } =
            parts;
        let sealer = unlocked(sealer, &*store).await?;
        let clock = Clock::default();
        let load = Arc::new(Load::default());
        let quota = |limit, bound| Quota::new(limit, bound, &load);
        let (reads, read) = mpsc::channel(audit::READS_MAX);
        let (exporter, finished) = outbound.export.as_ref().map(|_| Exporter::new()).unzip();
        let shared = Arc::new(Shared {
            node: NodeId::fresh(&clock.fresh()),
            lease: node::Lease::new(limits.lease),
            store,
            prices: budget::prices(&models),
            candidates: models.candidates().reviewed_by(outbound.reviewer).read_by(outbound.extraction),
            models,
            servers,
            project_servers,
            policies: Policies::new(policy),
            executors: Executors::new(&sealer),
            sealer,
            model_gate: Gate::new(limits.model_calls),
            tool_gate: Gate::new(limits.tool_calls),
            messages: quota(Limit::WaitingMessages, limits.waiting_messages),
            streams: quota(Limit::Streams, limits.streams),
            bodies: quota(Limit::BodyBytes, limits.body_bytes),
            tool_addresses: limits.tool_addresses,
            registry: Registry::new(quota(Limit::ActiveSessions, limits.active_sessions)),
            load,
            clock,
            hub: Arc::new(Hub::default()),
            webhooks: Webhooks::new(outbound.webhooks),
            vaults: Vaults::new(outbound.vaults),
            freezes: Freezes::default(),
            budgets: BudgetBook::new(limits.budgets),
            unreadable: Arc::default(),
            metrics: Metrics::new(outbound.sampled),
            identities: Identities::new(outbound.identity),
            trace_content: outbound.trace_content,
            exporter,
            stop: CancellationToken::new(),
            closing: CancellationToken::new(),
            tasks: Tasks::default(),
            automations: Arc::default(),
            unsealed: audit::Waiting::default(),
            embedding: Embedding::default(),
            reads,
            collecting: tokio::sync::Mutex::default(),
            keeping: Arc::default(),
            described: Described::default(),
            digests: Digests::default(),
            asking: erasure::Asking::default(),
            environments: Arc::new(Host::new(environments)),
        });
        if let Some((config, finished)) = outbound.export.zip(finished) {
            shared.tasks.spawn(export::run(Arc::clone(&shared), config, finished));
        }
        let runtime = Self { shared, by: None };
        let wakes = node::enter(&runtime.shared).await?;
        let found = node::claim(&runtime.shared).await?;
        node::start(&runtime.shared, wakes, found);
        runtime.shared.tasks.spawn(sweep(Arc::clone(&runtime.shared)));
        runtime.shared.tasks.spawn(environments::keep(Arc::clone(&runtime.shared)));
        runtime.shared.tasks.spawn(collect::run(Arc::clone(&runtime.shared)));
        runtime.shared.tasks.spawn(erasure::run(Arc::clone(&runtime.shared)));
        runtime.shared.tasks.spawn(audit::run(Arc::clone(&runtime.shared)));
        runtime.shared.tasks.spawn(audit::write_reads(Arc::clone(&runtime.shared), read));
        runtime.shared.tasks.spawn(webhooks::run(Arc::clone(&runtime.shared)));
        runtime.shared.tasks.spawn(vaults::run(Arc::clone(&runtime.shared)));
        Ok(runtime)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Ends the runtime: nothing new begins, what runs may finish until `deadline`, the rest is cut off and
    /// resumed by the next start.
    pub async fn shutdown(&self, deadline: Duration) {
        self.shared.closing.cancel();
        if tokio::time::timeout(deadline, self.idle()).await.is_err() {
            tracing::info!(sessions = self.shared.registry.len(), "parking sessions that are still running");
        }
        self.shared.stop.cancel();
        self.shared.tasks.end().await;
        node::leave(&self.shared).await;
        self.shared.hub.close();
    }

    async fn idle(&self) {
        while self.shared.registry.len() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// How many sessions have something to do.
    #[must_use]
    pub fn active_sessions(&self) -> usize {
        self.shared.registry.len()
    }

    /// What the runtime does now, and what it turned away.
    #[must_use]
    pub fn load(&self) -> &Arc<Load> {
        &self.shared.load
    }

    /// Gives a project so many places in each of its rounds, where others have one: for model calls, at each
    /// provider and in all, and for tool calls.
    pub fn weigh(&self, project: ProjectId, weight: u32) {
        self.shared.model_gate.weigh(project, weight);
        self.shared.tool_gate.weigh(project, weight);
        self.shared.models.providers().for_each(|provider| provider.gate().weigh(project, weight));
    }

    /// A project's share of the request bodies in flight, empty yet: it grows before bytes are read and is
    /// dropped with them.
    #[must_use]
    pub fn body_share(&self, project: ProjectId) -> Share {
        self.shared.bodies.nothing(project)
    }

    /// Durable state, for what the API reads and writes without a session: agents, keys, lists.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.shared.store
    }

    /// The wall clock, never behind what it said before.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// A fresh, time-ordered id source for one request.
    #[must_use]
    pub fn fresh(&self) -> Fresh {
        self.shared.clock.fresh()
    }

    /// The key of a session.
    #[must_use]
    pub fn key(project: ProjectId, session: SessionId) -> SessionKey {
        SessionKey { project, session }
    }

    /// Carries out a batch of commands, all or none. Durable when it returns; gives the session after it.
    ///
    /// # Errors
    /// `NotFound`, `Refused`, `ReceiptExists`, `Overloaded`, `ShuttingDown`, `Storage`, `Damaged`.
    pub async fn submit(
        &self,
        key: SessionKey,
        commands: Vec<Command>,
        receipt: Option<ReceiptDraft>,
    ) -> Result<Arc<SessionView>, RuntimeError> {
        if self.shared.closing.is_cancelled() {
            return Err(RuntimeErrorKind::ShuttingDown.into());
        }
        let _waiting = self.shared.messages.take(key.project, 1)?;
        let admission = admission(&commands);
        self.shared.submit(key, commands, receipt, admission).await
    }

    /// Whether this release can read what it takes to append to a session of the project, and this one.
    pub(crate) async fn can_read(
        &self,
        project: ProjectId,
        session: Option<SessionId>,
    ) -> Result<bool, StoreError> {
        if !self.shared.webhooks.can_read(&self.shared, project).await? {
            return Ok(false);
        }
        let Some(session) = session else { return Ok(true) };
        let loaded = actor::load(SessionKey { project, session }, &self.shared).await;
        // What else is wrong is met by whoever appends.
        Ok(!matches!(loaded, Err(error) if *error.kind() == RuntimeErrorKind::Damaged))
    }

    /// The session as it is now, or `None` if it does not exist, is deleted, or is a subagent's.
    ///
    /// # Errors
    /// `Storage`, `Damaged`.
    pub async fn view(&self, key: SessionKey) -> Result<Option<Arc<SessionView>>, RuntimeError> {
        let Some(state) = self.visible(key).await? else { return Ok(None) };
        Ok(Some(Arc::new(budget::counted(&self.shared, state.view()).await)))
    }

    /// The session's subagents, oldest first, or `None` as for [`Runtime::view`].
    ///
    /// # Errors
    /// `Storage`, `Damaged`.
    pub async fn subagents(&self, key: SessionKey) -> Result<Option<Vec<SubagentView>>, RuntimeError> {
        let state = self.visible(key).await?;
        Ok(state.map(|state| state.subagents().collect()))
    }

    /// A session that clients can see.
    async fn visible(&self, key: SessionKey) -> Result<Option<Session>, RuntimeError> {
        let loaded = actor::load(key, &self.shared).await?;
        let state = loaded.map(|(state, _)| state);
        let is_visible =
            |state: &Session| !state.is_deleted() && state.parent().is_none() && !state.awaits_session();
        Ok(state.filter(is_visible))
    }

    /// Watches a session from now on. While a turn runs, its items so far come first as snapshots.
    ///
    /// # Errors
    /// `NotFound`, `Overloaded`, `Storage`, `Damaged`.
    pub async fn subscribe(&self, key: SessionKey) -> Result<Subscription, RuntimeError> {
        // First the subscription, then the items: what happens in between is seen at least once.
        let share = self.shared.streams.take(key.project, 1)?;
        let mut subscription = self.shared.hub.subscribe(key, share);
        let Some(state) = self.visible(key).await? else {
            return Err(RuntimeErrorKind::NotFound.into());
        };
        self.shared.hub.start_at(key, state.version());
        self.shared.follow(key);
        if let Some(turn) = state.active_turn() {
            let page = Page { after: None, limit: SNAPSHOT_ITEMS_MAX, order: Order::Ascending };
            let items = self.shared.store.items(key, Some(turn.id), &page).await?;
            subscription.show_first(items.into_iter().map(|item| StreamEvent::ItemAdded { item }));
        }
        Ok(subscription)
    }

    /// Seals a secret for the project and gives the reference that may be journaled.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn seal(&self, project: ProjectId, secret: &str) -> Result<Secret, RuntimeError> {
        let id = SecretId::fresh(&self.fresh());
        let now = self.now();
        let sealed = self.shared.sealer.seal(&*self.shared.store, project, id, secret).await?;
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
        self.shared.store.put(vec![document], None).await?;
        Ok(Secret(id))
    }
}

impl Shared {
    /// Puts a batch of commands into the mailbox of the session's actor, and waits for what it says.
    ///
    /// # Errors
    /// As [`Runtime::submit`].
    pub(crate) async fn submit(
        self: &Arc<Self>,
        key: SessionKey,
        commands: Vec<Command>,
        receipt: Option<ReceiptDraft>,
        admission: Admission,
    ) -> Result<Arc<SessionView>, RuntimeError> {
        let mailbox = self.mailbox(key, admission)?;
        let (reply, answer) = oneshot::channel();
        let gone = |_| RuntimeError::from(RuntimeErrorKind::Storage);
        mailbox
            .send(Mail::Submit { commands, receipt, reply })
            .await
            .map_err(|_| RuntimeErrorKind::Storage)?;
        drop(mailbox);
        answer.await.map_err(gone)?
    }

    /// Puts a mail into a session's mailbox, with an actor to read it.
    pub(crate) fn wake(self: &Arc<Self>, key: SessionKey, mail: Mail) {
        // Unfinished sessions are never refused. A full mailbox means that its actor is already at work.
        if let Ok(mailbox) = self.mailbox(key, Admission::Always) {
            let _ = mailbox.try_send(mail);
        }
    }

    /// Watches a session from the event after `told` on.
    pub(crate) fn watch(self: &Arc<Self>, key: SessionKey, told: Version, share: Share) -> Subscription {
        let subscription = self.hub.subscribe(key, share);
        self.hub.start_at(key, told);
        self.follow(key);
        subscription
    }

    /// Sees to it that readers here are told what other nodes commit to the session.
    fn follow(self: &Arc<Self>, key: SessionKey) {
        if !self.store.is_shared() {
            return;
        }
        if let Some(wake) = self.hub.follow(key) {
            self.tasks.spawn(follow::run(key, Arc::clone(self), wake));
        }
    }

    pub(crate) fn mailbox(
        self: &Arc<Self>,
        key: SessionKey,
        admission: Admission,
    ) -> Result<mpsc::Sender<Mail>, Full> {
        let (sender, receiver) = self.registry.mailbox(key, admission)?;
        if let Some(receiver) = receiver {
            self.spawn(key, actor::run(key, Arc::clone(self), receiver));
        }
        Ok(sender)
    }

    /// Runs an actor's task; when it ends, however it ends, the registry forgets it.
    pub(crate) fn spawn(self: &Arc<Self>, key: SessionKey, task: impl Future<Output = ()> + Send + 'static) {
        self.forget_after(key, tasks::spawn(task));
    }

    fn forget_after(self: &Arc<Self>, key: SessionKey, actor: JoinHandle<()>) {
        let shared = Arc::clone(self);
        self.tasks.spawn(async move {
            // A panic inside one session ends that session's actor and nothing else.
            if let Err(error) = actor.await {
                tracing::error!(session = %key.session, %error, "a session's actor panicked");
            }
            shared.registry.remove_closed(key);
        });
    }

    /// The part of a request that waits among those that may.
    pub(crate) fn waiting(&self, project: ProjectId) -> Result<Share, Full> {
        self.messages.take(project, 1)
    }

    /// Takes an idempotency key for a request that changed nothing.
    pub(crate) async fn keep_receipt(&self, receipt: Receipt) -> Result<(), RuntimeError> {
        let document = Document {
            project: receipt.project,
            kind: DocumentKind::Request,
            id: tenure_journal::RequestId::fresh(&self.clock.fresh()).to_string(),
            version: 1,
            name: None,
            body: serde_json::Value::Null,
            created_at: receipt.at,
            updated_at: receipt.at,
            wake_at: None,
            deleted: true,
        };
        match self.store.put(vec![document], Some(receipt)).await {
            Err(error) if error.kind() == StoreErrorKind::ReceiptExists => {
                Err(RuntimeErrorKind::ReceiptExists.into())
            }
            result => Ok(result?),
        }
    }
}

/// A message begins something new, and so do files. An answer, a cancellation, a change of settings and a deletion are about
/// what was let in before: refusing them would keep it from ending.
fn admission(commands: &[Command]) -> Admission {
    let begins = |command: &Command| match command {
        Command::Message { .. }
        | Command::OwnMessage { .. }
        | Command::PlaceFiles { .. }
        | Command::OpenSession { .. } => true,
        // A subagent's work was let in with its parent's.
        Command::Parent(_)
        | Command::Cancel
        | Command::Grant { .. }
        | Command::GrantAgain { .. }
        | Command::AwaitConnection { .. }
        | Command::FunctionResult { .. }
        | Command::Decide { .. }
        | Command::Release { .. }
        | Command::Update { .. }
        | Command::DeleteArtifact { .. }
        | Command::SignedIn
        | Command::BindCredential { .. }
        | Command::ExpireEnvironment
        | Command::SuspendEnvironment
        | Command::Rewind { .. }
        | Command::Delete => false,
    };
    if commands.iter().any(begins) { Admission::Bounded } else { Admission::Always }
}

/// The sealer with the installation's key. Where no other node depends on it, a master key that is not the right one
/// keeps nobody from what needs no secret.
async fn unlocked(mut sealer: Sealer, store: &dyn Store) -> Result<Sealer, RuntimeError> {
    match sealer.unlock(store).await {
        Ok(()) => Ok(sealer),
        Err(error) if error.is_unknown_key() && !store.is_shared() => {
            tracing::error!(%error, "sealed secrets stay closed until the right master key is back");
            sealer.unlock_anew();
            Ok(sealer)
        }
        Err(error) => Err(error.into()),
    }
}

async fn sweep(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = tokio::time::sleep(SWEEP_EVERY) => {
                shared.hub.sweep();
                shared.executors.sweep(shared.environments.config.suspend);
            }
        }
    }
}
