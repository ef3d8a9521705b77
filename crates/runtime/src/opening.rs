//! How a session begins: opened, forked, or in an environment that was made ready before it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tenure_journal::{
    DigestKey, EnvironmentId, EnvironmentOpened, Forked, HostedEnvironment, InputPart, ProjectId, SessionId,
    SessionKey, SessionOpened, Version,
};
use tenure_session::{
    Batch, Budgets, Command, Context, NO_BUDGETS, Refusal, Reserving, Role, Session, SessionView, Window,
};
use tenure_store::StoreErrorKind;

use crate::actor::Actor;
use crate::appending::{append, refused};
use crate::budgets::{self, Whom};
use crate::clock;
use crate::handle::{ReceiptDraft, Runtime, Shared};
use crate::hub::Subscription;
use crate::registry::Admission;
use crate::{RuntimeError, RuntimeErrorKind, Share, facts, node};

/// A session to be opened.
#[derive(Debug)]
pub struct Opening {
    /// How it begins; `opened.project_id` is its project.
    pub opened: SessionOpened,
    /// Its first user messages, all in one turn; may be empty where the API allows it.
    pub input: Vec<Vec<InputPart>>,
}

/// How a journal begins.
pub(crate) enum Beginning {
    /// With a session.
    Session(Box<Opening>),
    /// With a session, and what it was forked with.
    Fork(Box<SessionOpened>, Vec<Forked>),
    /// With an environment that waits for one.
    Environment(Box<EnvironmentOpened>),
}

impl Beginning {
    fn project(&self) -> ProjectId {
        match self {
            Self::Session(opening) => opening.opened.project_id,
            Self::Fork(opened, _) => opened.project_id,
            Self::Environment(opened) => opened.project_id,
        }
    }

    /// What the digests in its audit records are keyed with from its first event on.
    fn set_digest_key(&mut self, key: DigestKey) {
        match self {
            Self::Session(opening) => opening.opened.digest_key = Some(key),
            Self::Fork(opened, _) => opened.digest_key = Some(key),
            Self::Environment(opened) => opened.digest_key = Some(key),
        }
    }

    /// The model that its agent asks, where it has one.
    fn model(&self) -> Option<&str> {
        match self {
            Self::Session(opening) => Some(&opening.opened.agent.model),
            Self::Fork(opened, _) => Some(&opened.agent.model),
            Self::Environment(_) => None,
        }
    }

    /// Whose budgets hold for it, where it asks models.
    fn whom(&self, key: SessionKey) -> Option<Whom<'_>> {
        let opened = match self {
            Self::Session(opening) => &opening.opened,
            Self::Fork(opened, _) => opened,
            Self::Environment(_) => return None,
        };
        Some(Whom::beginning(key.session, opened))
    }

    fn crank(&self, key: SessionKey, cx: &Context<'_>) -> Result<Batch, Refusal> {
        match self {
            Self::Session(opening) => {
                Session::crank_open(key, opening.opened.clone(), opening.input.clone(), cx)
            }
            Self::Fork(opened, forked) => {
                Session::crank_fork(key, opened.as_ref().clone(), forked.clone(), Vec::new(), cx)
            }
            Self::Environment(opened) => Ok(Session::crank_prewarm(key, opened.as_ref().clone(), cx)),
        }
    }
}

impl Runtime {
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
        self.open_as(SessionId::fresh(&self.fresh()), opening, receipt, subscribe).await
    }

    /// As [`Runtime::open`], for a session whose fresh id is needed before it is opened.
    ///
    /// # Errors
    /// As [`Runtime::open`].
    pub async fn open_as(
        &self,
        id: SessionId,
        opening: Opening,
        receipt: Option<ReceiptDraft>,
        subscribe: bool,
    ) -> Result<(Arc<SessionView>, Option<Subscription>), RuntimeError> {
        if self.shared.closing.is_cancelled() {
            return Err(RuntimeErrorKind::ShuttingDown.into());
        }
        let _kept = self.keeps();
        self.refuse_erased(opening.opened.project_id, &opening.opened.metadata).await?;
        let beginning = Beginning::Session(Box::new(opening));
        let key = SessionKey { project: beginning.project(), session: id };
        let share = subscribe.then(|| self.shared.streams.take(key.project, 1)).transpose()?;
        self.shared.open(key, beginning, receipt, share, Admission::Bounded).await
    }

    /// Opens an environment that waits for a session, and begins to make it ready. Durable when it returns.
    ///
    /// # Errors
    /// `ReceiptExists`, `Overloaded`, `ShuttingDown`, `Storage`.
    pub async fn prewarm(
        &self,
        project: ProjectId,
        environment: HostedEnvironment,
        vault_ids: Vec<String>,
        receipt: Option<ReceiptDraft>,
    ) -> Result<Arc<SessionView>, RuntimeError> {
        if self.shared.closing.is_cancelled() {
            return Err(RuntimeErrorKind::ShuttingDown.into());
        }
        let key = SessionKey { project, session: environment.id.session() };
        let expires_at = self.now().plus_millis(self.shared.environments.prewarmed_millis());
        let opened =
            EnvironmentOpened { project_id: project, environment, expires_at, vault_ids, digest_key: None };
        let opening = self.shared.open(
            key,
            Beginning::Environment(Box::new(opened)),
            receipt,
            None,
            Admission::Bounded,
        );
        opening.await.map(|(view, _)| view)
    }

    /// As [`Runtime::open`], in an environment that waits for a session and whose id names it. Of several that
    /// open one there, one does.
    ///
    /// # Errors
    /// As [`Runtime::open`]; `NotFound` where there is no environment, and `Refused` with `EnvironmentTaken`,
    /// `EnvironmentExpired` or `EnvironmentFailed`.
    pub async fn open_in(
        &self,
        environment: EnvironmentId,
        opening: Opening,
        receipt: Option<ReceiptDraft>,
        subscribe: bool,
    ) -> Result<(Arc<SessionView>, Option<Subscription>), RuntimeError> {
        let _kept = self.keeps();
        self.refuse_erased(opening.opened.project_id, &opening.opened.metadata).await?;
        let key = SessionKey { project: opening.opened.project_id, session: environment.session() };
        let state = self.session_state(key).await?.filter(|state| state.parent().is_none());
        let Some(state) = state.filter(|state| state.hosted().is_some()) else {
            return Err(RuntimeErrorKind::NotFound.into());
        };
        let share = subscribe.then(|| self.shared.streams.take(key.project, 1)).transpose()?;
        let subscription = share.map(|share| self.shared.watch(key, state.version(), share));
        let Opening { opened, input } = opening;
        let command = Command::OpenSession { opened: Box::new(opened), messages: input };
        let view = self.submit(key, vec![command], receipt).await?;
        Ok((view, subscription))
    }
}

impl Shared {
    /// Begins a journal under a key that was chosen for it, and what follows from its first events. With a `share` of the
    /// open streams, the subscription sees everything.
    ///
    /// # Errors
    /// As [`Runtime::open`]; `Storage` also for a session that exists.
    pub(crate) async fn open(
        self: &Arc<Self>,
        key: SessionKey,
        mut beginning: Beginning,
        receipt: Option<ReceiptDraft>,
        share: Option<Share>,
        admission: Admission,
    ) -> Result<(Arc<SessionView>, Option<Subscription>), RuntimeError> {
        beginning.set_digest_key(clock::digest_key());
        let (now, fresh, unhealthy) = (self.clock.now(), self.clock.fresh(), self.models.unhealthy());
        let (_, mailbox) = self.registry.mailbox(key, admission)?;
        let mailbox = mailbox.ok_or(RuntimeErrorKind::Storage)?;
        self.registry.set_holding(key, true);
        let subscription = share.map(|share| self.watch(key, Version::ZERO, share));
        let frozen = self.freezes.of(&*self.store, key.project).await?;
        let policy = self.policies.of(&*self.store, key.project).await?;
        let cx = Context {
            now,
            role: Role::Holder,
            fresh: &fresh,
            chance: clock::chance(),
            policy: &policy,
            window: beginning.model().map_or(Window::DEFAULT, |model| self.models.window(model)),
            tools_changed: &BTreeMap::new(),
            prices: &self.prices,
            routes: self.candidates.with(&unhealthy),
            reserving: Reserving::Asked,
            budgets: &NO_BUDGETS,
            partial: &[],
            frozen: &frozen,
            blocks: None,
            procedures: None,
        };
        let opened = async {
            let mut reserving = Reserving::Asked;
            loop {
                let budgets = match beginning.whom(key) {
                    Some(whom) => budgets::look(self, key.project, &whom, now).await?,
                    None => Budgets::default(),
                };
                let cx = Context { budgets: &budgets, reserving, ..cx };
                let mut batch = beginning.crank(key, &cx)?;
                if let Some(taken) = facts::taken(self, &batch).await? {
                    batch = beginning.crank(key, &taken.over(cx))?;
                }
                let view = Arc::new(batch.after.view());
                let receipt = receipt.as_ref().map(|draft| draft.to_receipt(key.project, now, &view));
                let covered = node::covered(self).await?;
                match append(self, &batch, Role::Holder, Version::ZERO, receipt, &budgets).await {
                    Ok(_) => return Ok((batch, view, covered)),
                    Err(error)
                        if error.kind() == StoreErrorKind::BudgetExceeded
                            && reserving == Reserving::Asked =>
                    {
                        reserving = refused(&error);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        };
        match opened.await {
            Ok((batch, view, covered)) => {
                let state = batch.after.clone();
                let actor = Actor::new(key, Arc::clone(self), mailbox, state, Version::ZERO);
                self.spawn(key, actor.opened(batch, covered));
                Ok((view, subscription))
            }
            Err(error) => {
                drop(mailbox);
                self.registry.remove_closed(key);
                Err(error)
            }
        }
    }
}
