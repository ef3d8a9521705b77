//! The handle that the API and the binary hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tenure_journal::{
    Fresh, InputPart, NodeId, ProjectId, Secret, SecretId, SessionId, SessionKey, SessionOpened, Timestamp,
    Version,
};
use tenure_policy::PolicySet;
use tenure_session::{Command, Context, Role, Session, SessionView, StreamEvent};
use tenure_store::{Document, DocumentKind, Order, Page, Receipt, Store, StoreErrorKind};
use tenure_tools::{Server, Servers};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::actor::{self, Actor, Mail};
use crate::clock::{self, Clock};
use crate::hub::{Hub, Subscription};
use crate::registry::Registry;
use crate::{ModelTable, RuntimeError, RuntimeErrorKind, Sealer, follow, node};

/// Sessions found unfinished at start. More than a machine could have had in flight.
const RECOVERED_MAX: usize = 1_000_000;
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
    /// What may happen.
    pub policy: Arc<PolicySet>,
    /// Seals secrets.
    pub sealer: Sealer,
    /// Limits.
    pub limits: Limits,
}

/// What one runtime takes on at once.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Sessions with something to do. Requests beyond that are refused; unfinished sessions are not.
    pub active_sessions_max: usize,
    /// Tool calls in flight, over all sessions; further ones wait.
    pub tool_calls_max: usize,
    /// How long a node keeps its sessions without a sign of life, where several share a store.
    pub lease: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { active_sessions_max: 10_000, tool_calls_max: 64, lease: Duration::from_secs(10) }
    }
}

/// What all actors share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) models: ModelTable,
    pub(crate) servers: Arc<dyn Servers>,
    pub(crate) project_servers: BTreeMap<String, Server>,
    pub(crate) policy: Arc<PolicySet>,
    pub(crate) sealer: Sealer,
    pub(crate) limits: Limits,
    /// Places for tool calls.
    pub(crate) tool_places: Semaphore,
    pub(crate) clock: Clock,
    /// This process among those that share the store.
    pub(crate) node: NodeId,
    pub(crate) lease: node::Lease,
    pub(crate) hub: Arc<Hub>,
    pub(crate) registry: Registry,
    /// Fires when everything is to end at once.
    pub(crate) stop: CancellationToken,
    /// Fires when nothing new is to begin.
    pub(crate) closing: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

/// A session to be opened.
#[derive(Debug)]
pub struct Opening {
    /// How it begins; `opened.project_id` is its project.
    pub opened: SessionOpened,
    /// Its first user messages, all in one turn; may be empty where the API allows it.
    pub input: Vec<Vec<InputPart>>,
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
    shared: Arc<Shared>,
}

impl Runtime {
    /// Starts a runtime and resumes every unfinished session. Returns once they are all on their way; how
    /// many there were is in the log.
    ///
    /// # Errors
    /// `Storage`, `Damaged`: unfinished sessions cannot be looked up.
    pub async fn start(parts: Parts) -> Result<Self, RuntimeError> {
        let Parts { store, models, servers, project_servers, policy, sealer, limits } = parts;
        let clock = Clock::default();
        let shared = Arc::new(Shared {
            node: NodeId::fresh(&clock.fresh()),
            lease: node::Lease::new(),
            store,
            models,
            servers,
            project_servers,
            policy,
            sealer,
            limits,
            tool_places: Semaphore::new(limits.tool_calls_max.clamp(1, Semaphore::MAX_PERMITS)),
            clock,
            hub: Arc::new(Hub::default()),
            registry: Registry::default(),
            stop: CancellationToken::new(),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let runtime = Self { shared };
        node::enter(&runtime.shared).await?;
        // Whatever has a time to wake was being worked on: a pause between two tries is only waited for here.
        let unfinished = runtime.claim_due(Timestamp::from_millis(i64::MAX), RECOVERED_MAX).await?;
        if unfinished > 0 {
            tracing::info!(sessions = unfinished, "resuming unfinished sessions");
        }
        node::start(&runtime);
        runtime.shared.tasks.spawn(sweep(Arc::clone(&runtime.shared)));
        Ok(runtime)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Takes hold of what is due at `now` and gives it actors; says how many.
    pub(crate) async fn claim_due(&self, now: Timestamp, limit: usize) -> Result<usize, RuntimeError> {
        if self.shared.closing.is_cancelled() {
            return Ok(0);
        }
        let claimed = self.shared.store.claim_due(self.shared.node, now, limit).await?;
        for key in &claimed {
            self.wake(*key, Mail::Look);
        }
        Ok(claimed.len())
    }

    /// Puts a mail into a session's mailbox, with an actor to read it.
    pub(crate) fn wake(&self, key: SessionKey, mail: Mail) {
        // Unfinished sessions are never refused. A full mailbox means that its actor is already at work.
        if let Some(mailbox) = self.mailbox(key, usize::MAX) {
            let _ = mailbox.try_send(mail);
        }
    }

    /// Ends the runtime: nothing new begins, what runs may finish until `deadline`, the rest is cut off and
    /// resumed by the next start.
    pub async fn shutdown(&self, deadline: Duration) {
        self.shared.closing.cancel();
        self.shared.tasks.close();
        if tokio::time::timeout(deadline, self.idle()).await.is_err() {
            tracing::info!(sessions = self.shared.registry.len(), "parking sessions that are still running");
        }
        self.shared.stop.cancel();
        self.shared.tasks.wait().await;
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

    /// Opens a session and starts its first turn. Durable when it returns.
    ///
    /// With `subscribe`, the subscription sees everything from `agent.session.created` on.
    ///
    /// # Errors
    /// `Refused`, `ReceiptExists`, `Overloaded`, `ShuttingDown`, `Storage`.
    pub async fn open(
        &self,
        opening: Opening,
        receipt: Option<ReceiptDraft>,
        subscribe: bool,
    ) -> Result<(Arc<SessionView>, Option<Subscription>), RuntimeError> {
        let (now, fresh) = (self.now(), self.fresh());
        let key = SessionKey { project: opening.opened.project_id, session: SessionId::fresh(&fresh) };
        let (_, mailbox) = self.enter(key, self.shared.limits.active_sessions_max)?;
        let mailbox = mailbox.ok_or(RuntimeErrorKind::Storage)?;
        self.shared.registry.set_holding(key, true);
        let subscription = subscribe.then(|| self.watch(key, Version::ZERO));
        let cx = Context {
            now,
            role: Role::Holder,
            fresh: &fresh,
            chance: clock::chance(),
            policy: &self.shared.policy,
            context_tokens: None,
            partial: &[],
        };
        let opened = async {
            let batch = Session::crank_open(key, opening.opened, opening.input, &cx)?;
            let view = Arc::new(batch.after.view());
            let receipt = receipt.map(|draft| draft.to_receipt(key.project, now, &view));
            let covered = node::covered(&self.shared).await?;
            actor::append(&self.shared, &batch, Role::Holder, Version::ZERO, receipt).await?;
            Ok((batch, view, covered))
        };
        match opened.await {
            Ok((batch, view, covered)) => {
                let state = batch.after.clone();
                let actor = Actor::new(key, Arc::clone(&self.shared), mailbox, state, Version::ZERO);
                self.spawn(key, actor.opened(batch, covered));
                Ok((view, subscription))
            }
            Err(error) => {
                drop(mailbox);
                self.shared.registry.remove_closed(key);
                Err(error)
            }
        }
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
        let mailbox =
            self.mailbox(key, self.shared.limits.active_sessions_max).ok_or(RuntimeErrorKind::Overloaded)?;
        let (reply, answer) = oneshot::channel();
        let gone = |_| RuntimeError::from(RuntimeErrorKind::Storage);
        mailbox
            .send(Mail::Submit { commands, receipt, reply })
            .await
            .map_err(|_| RuntimeErrorKind::Storage)?;
        drop(mailbox);
        answer.await.map_err(gone)?
    }

    /// The session as it is now, or `None` if it does not exist or is deleted.
    ///
    /// # Errors
    /// `Storage`, `Damaged`.
    pub async fn view(&self, key: SessionKey) -> Result<Option<Arc<SessionView>>, RuntimeError> {
        let loaded = actor::load(key, &self.shared).await?;
        Ok(loaded.filter(|(state, _)| !state.is_deleted()).map(|(state, _)| Arc::new(state.view())))
    }

    /// Watches a session from now on. While a turn runs, its items so far come first as snapshots.
    ///
    /// # Errors
    /// `NotFound`, `Storage`, `Damaged`.
    pub async fn subscribe(&self, key: SessionKey) -> Result<Subscription, RuntimeError> {
        // First the subscription, then the items: what happens in between is seen at least once.
        let mut subscription = self.shared.hub.subscribe(key);
        let Some((state, _)) = actor::load(key, &self.shared).await? else {
            return Err(RuntimeErrorKind::NotFound.into());
        };
        if state.is_deleted() {
            return Err(RuntimeErrorKind::NotFound.into());
        }
        self.shared.hub.start_at(key, state.version());
        self.follow(key);
        if let Some(turn) = state.active_turn() {
            let page = Page { after: None, limit: SNAPSHOT_ITEMS_MAX, order: Order::Ascending };
            let items = self.shared.store.items(key, Some(turn.id), &page).await?;
            subscription.show_first(items.into_iter().map(|item| StreamEvent::ItemAdded { item }));
        }
        Ok(subscription)
    }

    /// Watches a session from the event after `told` on.
    fn watch(&self, key: SessionKey, told: Version) -> Subscription {
        let subscription = self.shared.hub.subscribe(key);
        self.shared.hub.start_at(key, told);
        self.follow(key);
        subscription
    }

    /// Sees to it that readers here are told what other nodes commit to the session.
    fn follow(&self, key: SessionKey) {
        if !self.shared.store.is_shared() {
            return;
        }
        if let Some(wake) = self.shared.hub.follow(key) {
            self.shared.tasks.spawn(follow::run(key, Arc::clone(&self.shared), wake));
        }
    }

    /// Seals a secret for the project and gives the reference that may be journaled.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn seal(&self, project: ProjectId, secret: &str) -> Result<Secret, RuntimeError> {
        let id = SecretId::fresh(&self.fresh());
        let now = self.now();
        let document = Document {
            project,
            kind: DocumentKind::Secret,
            id: id.to_string(),
            version: 1,
            name: None,
            body: json!({ "sealed": self.shared.sealer.seal(project, id, secret) }),
            created_at: now,
            updated_at: now,
            wake_at: None,
            deleted: false,
        };
        self.shared.store.put(vec![document], None).await?;
        Ok(Secret(id))
    }

    fn mailbox(&self, key: SessionKey, actors_max: usize) -> Option<mpsc::Sender<Mail>> {
        let (sender, receiver) = self.shared.registry.mailbox(key, actors_max)?;
        if let Some(receiver) = receiver {
            self.spawn(key, actor::run(key, Arc::clone(&self.shared), receiver));
        }
        Some(sender)
    }

    fn enter(
        &self,
        key: SessionKey,
        actors_max: usize,
    ) -> Result<(mpsc::Sender<Mail>, Option<mpsc::Receiver<Mail>>), RuntimeError> {
        if self.shared.closing.is_cancelled() {
            return Err(RuntimeErrorKind::ShuttingDown.into());
        }
        self.shared.registry.mailbox(key, actors_max).ok_or_else(|| RuntimeErrorKind::Overloaded.into())
    }

    /// Runs an actor's task; when it ends, however it ends, the registry forgets it.
    fn spawn(&self, key: SessionKey, task: impl Future<Output = ()> + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        self.shared.tasks.spawn(async move {
            // A panic inside one session ends that session's actor and nothing else.
            if let Err(error) = tokio::spawn(task).await {
                tracing::error!(session = %key.session, %error, "a session's actor panicked");
            }
            shared.registry.remove_closed(key);
        });
    }
}

impl Shared {
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

async fn sweep(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = tokio::time::sleep(SWEEP_EVERY) => shared.hub.sweep(),
        }
    }
}
