//! Budgets of sessions, agents and the project: who sets their limits, and how they stand.
//!
//! A limit is set in two places. What the server's file says holds in every project it serves; what is set while it
//! runs is a document of its project. Where both limit the same thing, the lower holds, so a project cannot give
//! itself more than whoever runs the server allows.
//!
//! ```text
//!   set ──▶ document, durable ──▶ a second, where nodes share the store ──▶ acknowledged
//!                                 (each believes what it read for no longer)
//! ```
//!
//! How much is used is not written where limits are: it is a row of each budget that attempts change with their
//! sessions' journals ([`tenure_store::UseEntry`]). A budget that nobody limits has no row and costs nothing; what was
//! used before somebody did is not counted in it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tenure_journal::{
    AgentId, BudgetId, BudgetScope, BudgetUse, Caps, Period, ProjectId, SessionId, SessionKey, SessionOpened,
    Timestamp,
};
use tenure_session::{Batch, Budgets, Session, SharedBudget, TreeBudget, UseStep};
use tenure_store::{
    AuditEntry, Document, DocumentKind, Order, Page, Receipt, Store, StoreError, StoreErrorKind, UseChange,
    UseEntry,
};

use crate::handle::Shared;
use crate::{Runtime, RuntimeError, actor};

/// How long what was read of a project is believed where others share the store. A change is acknowledged after it.
const CACHED_FOR: Duration = Duration::from_secs(1);
/// Projects that are remembered; more are looked up each time.
const CACHED_MAX: usize = 4_096;
/// Targets of one project whose budgets have limits.
pub const BUDGET_TARGETS_MAX: usize = 1_000;

/// Limits by how long they hold.
type ByPeriod = BTreeMap<Period, Caps>;

/// Whose budgets have limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BudgetTarget {
    /// Everything in the project.
    Project,
    /// Each session, with its subagents.
    Session,
    /// An agent, in all its sessions.
    Agent(AgentId),
}

impl fmt::Display for BudgetTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Project => f.write_str("project"),
            Self::Session => f.write_str("session"),
            Self::Agent(agent) => write!(f, "{agent}"),
        }
    }
}

/// A text that says nobody's budgets.
#[derive(Debug, thiserror::Error)]
#[error("neither `project` nor `session` nor the id of an agent")]
pub struct NotATarget;

impl FromStr for BudgetTarget {
    type Err = NotATarget;

    fn from_str(text: &str) -> Result<Self, NotATarget> {
        match text {
            "project" => Ok(Self::Project),
            "session" => Ok(Self::Session),
            agent => agent.parse().map(Self::Agent).map_err(|_| NotATarget),
        }
    }
}

/// The limits of the server's file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileBudgets {
    /// Of each project.
    pub project: BTreeMap<Period, Caps>,
    /// Of each session.
    pub session: BTreeMap<Period, Caps>,
    /// Of agents, by their names.
    pub agents: BTreeMap<String, BTreeMap<Period, Caps>>,
}

/// Whose budgets are limited, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetLimits {
    /// Whose.
    pub target: BudgetTarget,
    /// The version of what was set while the server ran; 0 if nothing ever was.
    pub version: u64,
    /// What was set while the server ran.
    pub set: BTreeMap<Period, Caps>,
    /// What the server's file says.
    pub file: BTreeMap<Period, Caps>,
    /// Who set it last.
    pub by: Option<String>,
    /// When.
    pub at: Option<Timestamp>,
}

impl BudgetLimits {
    /// What holds.
    #[must_use]
    pub fn caps(&self) -> BTreeMap<Period, Caps> {
        both(&self.set, &self.file)
    }
}

/// Whose budgets hold for a session.
pub(crate) struct Whom<'a> {
    root: SessionId,
    agent: AgentId,
    /// The agent's name; absent for a subagent, whose name is what a model calls it.
    name: Option<&'a str>,
    /// Whether its tree may have a limit.
    limited: bool,
}

impl<'a> Whom<'a> {
    pub(crate) fn of(state: &'a Session) -> Self {
        let name = state.agent().name.as_deref().filter(|_| state.parent().is_none());
        let agent = state.agent().id;
        Self { root: state.budget_root(), agent, name, limited: state.is_limited() }
    }

    /// A session that is about to be opened: what its tree may spend is only known to what opens it.
    pub(crate) fn opening(root: SessionId, agent: AgentId, name: Option<&'a str>) -> Self {
        Self { root, agent, name, limited: false }
    }

    /// The same, from how it begins. A subagent is within its root's limit, if that has one.
    pub(crate) fn beginning(session: SessionId, opened: &'a SessionOpened) -> Self {
        let Some(parent) = opened.parent else {
            return Self::opening(session, opened.agent.id, opened.agent.name.as_deref());
        };
        Self { root: parent.root, agent: opened.agent.id, name: None, limited: true }
    }
}

/// What was set in a project while the server ran.
#[derive(Debug, Default)]
struct SetBudgets {
    project: ByPeriod,
    session: ByPeriod,
    agents: HashMap<AgentId, ByPeriod>,
    /// What the server's file says of saved agents, by its names for them.
    of_file: HashMap<AgentId, ByPeriod>,
}

impl SetBudgets {
    fn of(&self, target: BudgetTarget) -> Option<&ByPeriod> {
        match target {
            BudgetTarget::Project => Some(&self.project),
            BudgetTarget::Session => Some(&self.session),
            BudgetTarget::Agent(agent) => self.agents.get(&agent),
        }
    }
}

/// What both allow.
fn both(set: &ByPeriod, file: &ByPeriod) -> ByPeriod {
    let mut caps = set.clone();
    for (period, more) in file {
        let merged = caps.entry(*period).or_default();
        *merged = merged.and(*more);
    }
    caps.retain(|_, caps| *caps != Caps::NONE);
    caps
}

/// What is set, as it is stored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    limits: ByPeriod,
    by: String,
}

impl Body {
    fn of(document: &Document) -> Result<(BudgetTarget, Self), StoreError> {
        let damaged = || StoreError::new(StoreErrorKind::Corrupt, "reading the limits of a budget");
        let target = document.id.parse().map_err(|error: NotATarget| damaged().with_source(error))?;
        let body = Self::deserialize(&document.body).map_err(|error| damaged().with_source(error))?;
        Ok((target, body))
    }
}

/// Why limits were not set.
#[derive(Debug, thiserror::Error)]
pub enum BudgetError {
    /// Durable state. `Conflict`: somebody was faster; look again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The project has as many as it may.
    #[error("a project has budgets of at most {BUDGET_TARGETS_MAX} targets")]
    TooMany,
}

/// Budgets, as the API does them.
impl Runtime {
    /// The limits of one target; `name` is the agent's, by which the server's file knows it.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    pub async fn budget_limits(
        &self,
        project: ProjectId,
        target: BudgetTarget,
        name: Option<&str>,
    ) -> Result<BudgetLimits, StoreError> {
        let file = self.shared().budgets.file(target, name);
        let found = self.store().document(project, DocumentKind::Budget, &target.to_string(), None).await?;
        let Some(document) = found else {
            let version = self.last_budget(project, target).await?;
            return Ok(BudgetLimits { target, version, set: ByPeriod::new(), file, by: None, at: None });
        };
        let (_, Body { limits, by }) = Body::of(&document)?;
        let (version, at) = (document.version, Some(document.updated_at));
        Ok(BudgetLimits { target, version, set: limits, file, by: Some(by), at })
    }

    /// Every target of which something was set while the server ran, in the order of their ids.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    pub async fn budget_targets(&self, project: ProjectId) -> Result<Vec<BudgetTarget>, StoreError> {
        let documents = all(&**self.store(), project).await?;
        documents.iter().map(|document| Body::of(document).map(|(target, _)| target)).collect()
    }

    /// What the server's file says.
    #[must_use]
    pub fn file_budgets(&self) -> &FileBudgets {
        &self.shared().budgets.file
    }

    /// How the budgets of a target stand now, of those with a limit; for [`BudgetTarget::Session`] those of one session.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    pub async fn budget_standing(
        &self,
        project: ProjectId,
        scope: BudgetScope,
        caps: &BTreeMap<Period, Caps>,
    ) -> Result<Vec<(BudgetId, BudgetUse)>, StoreError> {
        let now = self.now();
        let ids: Vec<BudgetId> = caps.keys().map(|period| BudgetId::at(scope, *period, now)).collect();
        let uses = self.store().budget_uses(project, &ids).await?;
        Ok(ids.into_iter().zip(uses).collect())
    }

    /// Sets the limits of a target in place of what was set before; none of them takes them away. When this returns,
    /// no node begins an attempt by the earlier ones any more. `receipt` and `audit` are written with it.
    ///
    /// # Errors
    /// `TooMany`; `Store`: with `Conflict`, `after` is not the version of what is set.
    pub async fn set_budget(
        &self,
        project: ProjectId,
        target: BudgetTarget,
        limits: BTreeMap<Period, Caps>,
        set: SetBudget,
        receipt: Option<Receipt>,
        audit: Vec<AuditEntry>,
    ) -> Result<(), BudgetError> {
        let (store, at) = (&**self.store(), self.now());
        let SetBudget { after, by } = set;
        let deleted = limits.values().all(|caps| *caps == Caps::NONE);
        if !deleted {
            let others = self.budget_targets(project).await?;
            if others.len() >= BUDGET_TARGETS_MAX && !others.contains(&target) {
                return Err(BudgetError::TooMany);
            }
        }
        let body = serde_json::to_value(Body { limits, by }).expect("words and numbers");
        let document = Document {
            project,
            kind: DocumentKind::Budget,
            id: target.to_string(),
            version: after + 1,
            name: None,
            body,
            created_at: at,
            updated_at: at,
            wake_at: None,
            deleted,
        };
        store.put_recorded(vec![document], receipt, audit).await?;
        self.records_wait();
        self.shared().budgets.changed(project);
        if store.is_shared() {
            tokio::time::sleep(CACHED_FOR).await;
        }
        Ok(())
    }

    /// The latest version of what was set of a target and taken away again.
    async fn last_budget(&self, project: ProjectId, target: BudgetTarget) -> Result<u64, StoreError> {
        let (mut version, id) = (0, target.to_string());
        // Limits are set a few times in the life of a project.
        while self.store().document(project, DocumentKind::Budget, &id, Some(version + 1)).await?.is_some() {
            version += 1;
        }
        Ok(version)
    }

    /// The budgets that hold for a session, as they stand; `None` if there is no such session.
    ///
    /// # Errors
    /// `Storage`; `Damaged`: its journal cannot be read.
    pub async fn session_budgets(&self, key: SessionKey) -> Result<Option<Budgets>, RuntimeError> {
        let Some((state, _)) = actor::load(key, self.shared()).await? else { return Ok(None) };
        if state.is_deleted() {
            return Ok(None);
        }
        Ok(Some(look(self.shared(), key.project, &Whom::of(&state), self.now()).await?))
    }
}

/// How limits are set.
#[derive(Debug, Clone)]
pub struct SetBudget {
    /// The version of what is set; another means that somebody was faster.
    pub after: u64,
    /// Who.
    pub by: String,
}

async fn all(store: &dyn Store, project: ProjectId) -> Result<Vec<Document>, StoreError> {
    let page = Page { after: None, limit: BUDGET_TARGETS_MAX, order: Order::Ascending };
    store.documents(project, DocumentKind::Budget, None, &page).await
}

/// The budgets that hold for a session, as they stand. Where nothing is limited, nothing is read.
pub(crate) async fn look(
    shared: &Shared,
    project: ProjectId,
    whom: &Whom<'_>,
    at: Timestamp,
) -> Result<Budgets, StoreError> {
    let store = &*shared.store;
    let set = shared.budgets.of(store, project).await?;
    let limits = shared.budgets.limits(&set, whom, at);
    let tree = if whom.limited {
        let tree = store.budget(project, whom.root).await?;
        tree.limit_nano_usd.map(|limit| TreeBudget {
            limit,
            spent: tree.spent_nano_usd,
            reserved: tree.reserved_nano_usd,
        })
    } else {
        None
    };
    if limits.is_empty() {
        return Ok(Budgets { tree, shared: Vec::new() });
    }
    let ids: Vec<BudgetId> = limits.iter().map(|(id, _)| *id).collect();
    let uses = store.budget_uses(project, &ids).await?;
    let standing = limits.into_iter().zip(uses).map(|((id, caps), used)| SharedBudget { id, caps, used });
    Ok(Budgets { tree, shared: standing.collect() })
}

/// What a batch changes in configured budgets. What it sets aside has to fit into `budgets`, by which it was decided;
/// a batch that was decided long ago and is only written again fits everywhere.
#[must_use]
pub fn uses(batch: &Batch, budgets: &Budgets) -> Vec<UseEntry> {
    let entry = |step: &UseStep| match *step {
        UseStep::Reserve { budget, amounts } => {
            UseEntry { budget, change: UseChange::Reserve { amounts, caps: budgets.caps(budget) } }
        }
        UseStep::Settle { budget, reserved, spent } => {
            UseEntry { budget, change: UseChange::Settle { reserved, spent } }
        }
    };
    batch.uses.iter().map(entry).collect()
}

/// The limits of all projects, as this node believes them.
#[derive(Debug, Default)]
pub(crate) struct BudgetBook {
    file: FileBudgets,
    remembered: Mutex<Remembered>,
}

#[derive(Debug, Default)]
struct Remembered {
    projects: HashMap<ProjectId, (Instant, Arc<SetBudgets>)>,
    /// How many changes were made here: what was read before one is not remembered after it.
    changes: u64,
}

impl BudgetBook {
    pub(crate) fn new(file: FileBudgets) -> Self {
        Self { file, remembered: Mutex::default() }
    }

    fn file(&self, target: BudgetTarget, name: Option<&str>) -> ByPeriod {
        match target {
            BudgetTarget::Project => self.file.project.clone(),
            BudgetTarget::Session => self.file.session.clone(),
            BudgetTarget::Agent(_) => {
                name.and_then(|name| self.file.agents.get(name)).cloned().unwrap_or_default()
            }
        }
    }

    /// What is set in a project.
    async fn of(&self, store: &dyn Store, project: ProjectId) -> Result<Arc<SetBudgets>, StoreError> {
        let (known, changes) = {
            let remembered = self.lock();
            // Which agents have a name of the file is looked up anew.
            let keeps = !store.is_shared() && self.file.agents.is_empty();
            let is_fresh = |at: &Instant| keeps || at.elapsed() < CACHED_FOR;
            let known = remembered.projects.get(&project).filter(|(at, _)| is_fresh(at));
            (known.map(|(_, set)| Arc::clone(set)), remembered.changes)
        };
        if let Some(known) = known {
            return Ok(known);
        }
        // The clock first: what is read is at least as fresh as it says.
        let at = Instant::now();
        let mut set = SetBudgets::default();
        for document in all(store, project).await? {
            let (target, Body { limits, .. }) = Body::of(&document)?;
            match target {
                BudgetTarget::Project => set.project = limits,
                BudgetTarget::Session => set.session = limits,
                BudgetTarget::Agent(agent) => drop(set.agents.insert(agent, limits)),
            }
        }
        for (name, caps) in &self.file.agents {
            let page = Page { after: None, limit: BUDGET_TARGETS_MAX, order: Order::Ascending };
            for saved in store.documents(project, DocumentKind::Agent, Some(name), &page).await? {
                if let Ok(agent) = saved.id.parse() {
                    set.of_file.insert(agent, caps.clone());
                }
            }
        }
        let set = Arc::new(set);
        let mut remembered = self.lock();
        if remembered.changes == changes {
            if remembered.projects.len() >= CACHED_MAX {
                remembered.projects.clear();
            }
            remembered.projects.insert(project, (at, Arc::clone(&set)));
        }
        Ok(set)
    }

    /// The limits that hold for a session at a moment: its own, its agent's, the project's.
    fn limits(&self, set: &SetBudgets, whom: &Whom<'_>, at: Timestamp) -> Vec<(BudgetId, Caps)> {
        let none = ByPeriod::new();
        let of = |target, scope| {
            let file = match target {
                BudgetTarget::Agent(agent) => set.of_file.get(&agent).cloned(),
                BudgetTarget::Project | BudgetTarget::Session => None,
            };
            // An agent that was deleted goes on under its name.
            let file = file.unwrap_or_else(|| self.file(target, whom.name));
            let caps = both(set.of(target).unwrap_or(&none), &file);
            caps.into_iter().map(move |(period, caps)| (BudgetId::at(scope, period, at), caps))
        };
        let session = of(BudgetTarget::Session, BudgetScope::Session(whom.root));
        let agent = of(BudgetTarget::Agent(whom.agent), BudgetScope::Agent(whom.agent));
        session.chain(agent).chain(of(BudgetTarget::Project, BudgetScope::Project)).collect()
    }

    /// Forgets what was believed of a project.
    fn changed(&self, project: ProjectId) {
        let mut remembered = self.lock();
        remembered.changes += 1;
        remembered.projects.remove(&project);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Remembered> {
        // A map is whole between its methods, so one poisoned by a panic elsewhere is usable.
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tenure_journal::{AgentConfig, AgentRef, EffectId, Fresh, Parent, SubagentId};

    use super::*;

    #[test]
    fn the_limit_of_the_root_is_asked_about_before_a_subagent_is_there() {
        let fresh = Fresh::new(Timestamp::from_millis(1), 1);
        let (root, child) = (SessionId::fresh(&fresh), SessionId::fresh(&fresh));
        let agent = AgentId::fresh(&fresh);
        let named = AgentConfig { name: Some("clerk".to_owned()), ..AgentConfig::new(agent, "m") };
        let mut opened = SessionOpened::new(ProjectId::fresh(&fresh), named);
        let whom = Whom::beginning(root, &opened);
        assert_eq!((whom.root, whom.name, whom.limited), (root, Some("clerk"), false));
        opened.parent = Some(Parent {
            session: root,
            root,
            agent: AgentRef::Agent(agent),
            subagent_id: SubagentId::of_effect(EffectId::fresh(&fresh)),
            depth: 1,
        });
        let whom = Whom::beginning(child, &opened);
        assert_eq!((whom.root, whom.name, whom.limited), (root, None, true));
    }
}
