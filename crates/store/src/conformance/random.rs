//! Random operations on a store and on the model, every answer compared.

use std::fmt::Debug;
use std::time::Duration;

use fastrand::Rng;
use tenure_journal::{
    AgentId, Amounts, BlobRef, BudgetId, BudgetScope, Caps, Episode, Fresh, Head, ItemId, Labels,
    MemorySpace, NodeId, Period, ProjectId, Remembered, SessionId, SessionKey, SessionStatus, Speaker,
    Timestamp, TurnId, TurnStatus, Version,
};

use super::build::{append, bytes, document, fresh, head, hidden, message, receipt, row, turn};
use crate::recall::{Candidates, Run};
use crate::{
    Append, AuditEntry, BudgetChange, BudgetEntry, Document, DocumentKind, GoneRows, Indexed, ItemRow,
    MemoryStore, Order, Page, Receipt, SessionFilter, Stamp, Store, StoreError, UseChange, UseEntry, Wanted,
};

const PROJECTS: usize = 2;
const SESSIONS: usize = 6;
const TURNS: usize = 4;
const ITEMS: usize = 12;
const NODES: usize = 3;
const STATUSES: [SessionStatus; 3] =
    [SessionStatus::Idle, SessionStatus::InProgress, SessionStatus::RequiresAction];

/// Everything that operations draw from; small, so that they meet.
struct World {
    rng: Rng,
    fresh: Fresh,
    projects: Vec<ProjectId>,
    sessions: Vec<SessionId>,
    agents: Vec<AgentId>,
    turns: Vec<TurnId>,
    items: Vec<ItemId>,
    nodes: Vec<NodeId>,
}

pub(super) async fn compare(store: &dyn Store, seed: u64, operations: usize) {
    let mut world = World::new(seed);
    let model = MemoryStore::new();
    for operation in 0..operations {
        let (what, found, expected) = world.step(store, &model).await;
        assert_eq!(found, expected, "seed {seed}, operation {operation}: {what}");
    }
}

fn shown<T: Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("{:?}", error.kind()),
    }
}

/// What was found, without the numbers, which are each store's own.
fn unnumbered(found: Candidates) -> (u64, Vec<u64>, Vec<Vec<Episode>>) {
    let bare = |run: Run| run.into_iter().map(|(_, episode)| episode).collect();
    (found.episodes, found.frequencies, found.stretches.into_iter().map(bare).collect())
}

impl World {
    fn new(seed: u64) -> Self {
        let fresh = fresh(seed);
        Self {
            rng: Rng::with_seed(seed),
            projects: (0..PROJECTS).map(|_| ProjectId::fresh(&fresh)).collect(),
            sessions: (0..SESSIONS).map(|_| SessionId::fresh(&fresh)).collect(),
            agents: (0..2).map(|_| AgentId::fresh(&fresh)).collect(),
            turns: (0..TURNS).map(|_| TurnId::fresh(&fresh)).collect(),
            items: (0..ITEMS).map(|_| ItemId::fresh(&fresh)).collect(),
            nodes: (0..NODES).map(|_| NodeId::fresh(&fresh)).collect(),
            fresh,
        }
    }

    /// One operation on both: what it was and the two answers.
    async fn step(&mut self, store: &dyn Store, model: &MemoryStore) -> (String, String, String) {
        macro_rules! both {
            ($method:ident($($argument:expr),*)) => {{
                let what = format!(concat!(stringify!($method), " {:?}"), ($(&$argument,)*));
                let expected = shown(Store::$method(model, $(Clone::clone(&$argument)),*).await);
                let found = shown(store.$method($($argument),*).await);
                (what, found, expected)
            }};
        }
        let key = self.key();
        let project = key.project;
        match self.rng.u8(..35) {
            0..8 => {
                let append = self.append(key, model);
                both!(append(append))
            }
            8 => {
                let (document, receipt) = self.document(project, model);
                let documents = vec![document];
                both!(put(documents, receipt))
            }
            9 => {
                let payload = self.payload();
                both!(put_blob(project, payload))
            }
            31 | 32 => {
                let (document, receipt) = self.document(project, model);
                let documents = vec![Indexed { document, terms: self.terms() }];
                let audit: Vec<AuditEntry> = Vec::new();
                both!(put_indexed(documents, receipt, audit))
            }
            33.. => {
                let (kind, name, terms) = (self.kind(), self.name(), self.terms());
                both!(find_documents(project, kind, name.as_str(), terms.as_slice(), 1_000))
            }
            29 | 30 => {
                let (space, wanted) = (self.space(project), self.wanted());
                let what = format!("candidates {:?}", (&space, &wanted));
                let expected = shown(Store::candidates(model, &space, &wanted).await.map(unnumbered));
                let found = shown(store.candidates(&space, &wanted).await.map(unnumbered));
                (what, found, expected)
            }
            10 => both!(load(key)),
            11 => {
                let (after, limit) = (Version(self.rng.u64(..12)), self.rng.usize(..6));
                both!(events(key, after, limit))
            }
            12 => {
                let (filter, page) = (self.filter(), self.page(Cursor::Session));
                both!(sessions(project, &filter, &page))
            }
            13 => {
                let (now, limit) = (Timestamp::from_millis(self.rng.i64(..10)), self.rng.usize(..6));
                let node = self.node();
                let except: Vec<_> = (0..self.rng.usize(..3)).map(|_| self.key()).collect();
                both!(claim_due(node, now, limit, except.as_slice()))
            }
            14 => {
                let turn = self.rng.bool().then(|| self.turn_id());
                let page = self.page(Cursor::Item);
                both!(items(key, turn, &page))
            }
            15 => {
                let page = self.page(Cursor::Turn);
                both!(turns(key, &page))
            }
            16 => {
                let turn = self.turn_id();
                both!(turn(key, turn))
            }
            17 => {
                let (kind, id) = (self.kind(), self.document_id());
                let version = self.rng.bool().then(|| self.rng.u64(..4));
                both!(document(project, kind, id.as_str(), version))
            }
            18 => {
                let (kind, page) = (self.kind(), self.page(Cursor::Document));
                let name = self.rng.bool().then(|| self.name());
                both!(documents(project, kind, name.as_deref(), &page))
            }
            19 => {
                let node = self.node();
                both!(claim(node, key))
            }
            20 => {
                // A lease that has run out already, or one that outlives the test: no clock is compared.
                let (node, hours) = (self.node(), self.rng.u64(..2));
                both!(heartbeat(node, Duration::from_secs(hours * 60 * 60)))
            }
            21 => {
                let node = self.node();
                match self.rng.u8(..4) {
                    0 => both!(retire(node)),
                    1 => both!(release(node, key)),
                    _ => both!(nodes()),
                }
            }
            22 => {
                let node = self.node();
                let what = format!("held {node:?}");
                let sorted = |held: Result<Vec<_>, StoreError>| {
                    shown(held.map(|mut held| {
                        held.sort();
                        held
                    }))
                };
                (what, sorted(store.held(node).await), sorted(model.held_now(node)))
            }
            23 => {
                let (kind, limit) = (self.kind(), self.rng.usize(..6));
                let now = Timestamp::from_millis(self.rng.i64(..10));
                both!(due_documents(kind, now, limit))
            }
            25 => {
                let after = self.rng.bool().then(|| self.key());
                let limit = self.rng.usize(..6);
                both!(every_session(after, limit))
            }
            26 => {
                let (before, limit) = (self.stamp(), self.rng.usize(..6));
                let after = self.rng.bool().then(|| (project, BlobRef::of(&self.payload())));
                both!(old_blobs(before, after, limit))
            }
            27 => {
                let before = self.stamp();
                let blobs: Vec<_> = (0..self.rng.usize(..3)).map(|_| BlobRef::of(&self.payload())).collect();
                both!(forget_blobs(project, blobs.as_slice(), before))
            }
            24 => match self.rng.u8(..3) {
                0 => {
                    let budgets = vec![self.budget(), self.budget()];
                    both!(budget_uses(project, budgets.as_slice()))
                }
                1 => {
                    let uses: Vec<UseEntry> = (0..self.rng.usize(..3)).map(|_| self.use_entry()).collect();
                    let audit: Vec<AuditEntry> = Vec::new();
                    both!(change_uses(project, uses, audit))
                }
                _ => {
                    let root = Self::pick(&mut self.rng, &self.sessions);
                    both!(budget(project, root))
                }
            },
            _ => {
                let (blob, name) = (BlobRef::of(&self.payload()), self.receipt(project).key);
                if self.rng.bool() {
                    both!(blob(project, blob))
                } else {
                    both!(receipt(project, name.as_str()))
                }
            }
        }
    }

    fn pick<T: Copy>(rng: &mut Rng, among: &[T]) -> T {
        among[rng.usize(..among.len())]
    }

    fn key(&mut self) -> SessionKey {
        SessionKey {
            project: Self::pick(&mut self.rng, &self.projects),
            session: Self::pick(&mut self.rng, &self.sessions),
        }
    }

    fn node(&mut self) -> NodeId {
        Self::pick(&mut self.rng, &self.nodes)
    }

    /// Small amounts and limits, so that reservations are refused now and then.
    fn entry(&mut self) -> BudgetEntry {
        let (key, nano_usd) = (self.name(), self.rng.u64(..20));
        let change = match self.rng.u8(..5) {
            0 => BudgetChange::Limit(self.rng.bool().then_some(nano_usd * 10)),
            1 | 2 => BudgetChange::Reserve { key, nano_usd },
            _ => BudgetChange::Settle { key, nano_usd },
        };
        BudgetEntry { root: Self::pick(&mut self.rng, &self.sessions), change }
    }

    fn budget(&mut self) -> BudgetId {
        let scope = match self.rng.u8(..3) {
            0 => BudgetScope::Project,
            1 => BudgetScope::Agent(Self::pick(&mut self.rng, &self.agents)),
            _ => BudgetScope::Session(Self::pick(&mut self.rng, &self.sessions)),
        };
        let period = Self::pick(&mut self.rng, &Period::ALL);
        BudgetId::at(scope, period, Timestamp::from_millis(self.rng.i64(0..3) << 26))
    }

    fn use_entry(&mut self) -> UseEntry {
        let mut amounts = || {
            let mut amount = || self.rng.u64(..20);
            Amounts { nano_usd: amount(), tokens: amount(), calls: amount(), millis: amount() }
        };
        let (amounts, spent) = (amounts(), amounts());
        let change = if self.rng.bool() {
            let caps =
                Caps { nano_usd: Some(self.rng.u64(..100)), calls: Some(self.rng.u64(..100)), ..Caps::NONE };
            UseChange::Reserve { amounts, caps }
        } else {
            UseChange::Settle { reserved: amounts, spent }
        };
        UseEntry { budget: self.budget(), change }
    }

    fn documents(&mut self, project: ProjectId, model: &MemoryStore) -> Vec<Document> {
        if self.rng.u8(..4) > 0 {
            return Vec::new();
        }
        vec![self.document(project, model).0]
    }

    fn turn_id(&mut self) -> TurnId {
        Self::pick(&mut self.rng, &self.turns)
    }

    /// Mostly at the right version.
    fn append(&mut self, key: SessionKey, model: &MemoryStore) -> Append {
        let stored = model.load_now(key).ok().flatten();
        let version = stored.map_or(0, |stored| {
            stored.snapshot.map_or(0, |snapshot| snapshot.version.0) + stored.tail.len() as u64
        });
        let expected = if self.rng.u8(..5) == 0 { self.rng.u64(..10) } else { version };
        let texts: Vec<_> = (0..self.rng.usize(1..4)).map(|_| self.rng.u32(..).to_string()).collect();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        let mut documents = self.documents(key.project, model);
        let mut indexed = Vec::new();
        if self.rng.bool() {
            let row = |document| Indexed { document, terms: self.terms() };
            indexed = std::mem::take(&mut documents).into_iter().map(row).collect();
        }
        Append {
            head: self.head(key),
            gone: self.gone(),
            items: (0..self.rng.usize(..4)).map(|_| self.item()).collect(),
            turns: (0..self.rng.usize(..3)).map(|_| self.turn()).collect(),
            snapshot: (self.rng.u8(..4) == 0).then(|| bytes(&format!("folded {expected}"))),
            receipt: (self.rng.u8(..3) == 0).then(|| self.receipt(key.project)),
            holder: (self.rng.u8(..3) > 0).then(|| self.node()),
            documents,
            indexed,
            budget: (0..self.rng.usize(..3)).map(|_| self.entry()).collect(),
            uses: (0..self.rng.usize(..3)).map(|_| self.use_entry()).collect(),
            episodes: (0..self.rng.usize(..4)).map(|_| self.episode(key)).collect(),
            ..append(&self.fresh, key, expected, &texts)
        }
    }

    fn space(&mut self, project: ProjectId) -> MemorySpace {
        let user = self.rng.bool().then(|| self.name());
        MemorySpace { project, agent: Self::pick(&mut self.rng, &self.agents), user }
    }

    fn terms(&mut self) -> Vec<String> {
        let mut terms: Vec<String> =
            (0..self.rng.usize(..4)).map(|_| format!("t{}", self.rng.u8(..6))).collect();
        terms.sort_unstable();
        terms.dedup();
        terms
    }

    fn episode(&mut self, key: SessionKey) -> Remembered {
        let place = self.rng.usize(..ITEMS);
        let episode = Episode {
            session: key.session,
            item: self.items[place],
            ordinal: place as u64,
            at: Timestamp::from_millis(self.rng.i64(0..10)),
            speaker: Self::pick(&mut self.rng, &Speaker::ALL),
            name: self.rng.bool().then(|| self.name()),
            text: self.name(),
            labels: Labels::NEUTRAL,
        };
        Remembered { space: self.space(key.project), episode, terms: self.terms() }
    }

    /// Everything that is found is picked: which of equals are, is the store's own.
    fn wanted(&mut self) -> Wanted {
        let window = (self.rng.u8(..3) == 0).then(|| {
            let from = self.rng.i64(0..10);
            (Timestamp::from_millis(from), Timestamp::from_millis(from + self.rng.i64(0..5)))
        });
        let kindred = if self.rng.bool() { self.terms() } else { Vec::new() };
        let (terms, reach) = (self.terms(), self.rng.usize(..4));
        Wanted { terms, kindred, window, hits_max: 1_000, reach }
    }

    fn gone(&mut self) -> GoneRows {
        if self.rng.u8(..5) > 0 {
            return GoneRows::default();
        }
        let items_from = self.rng.bool().then(|| self.rng.u64(..ITEMS as u64));
        GoneRows { items_from, turns: (0..self.rng.usize(..3)).map(|_| self.turn_id()).collect() }
    }

    fn head(&mut self, key: SessionKey) -> Head {
        let metadata = (0..self.rng.usize(..3)).map(|_| (self.name(), self.name())).collect();
        Head {
            status: Self::pick(&mut self.rng, &STATUSES),
            metadata,
            wake_at: self.rng.bool().then(|| Timestamp::from_millis(self.rng.i64(..10))),
            deleted: self.rng.u8(..10) == 0,
            ..head(key, Self::pick(&mut self.rng, &self.agents))
        }
    }

    /// An item's ordinal follows from the item, as a session would have it.
    fn item(&mut self) -> ItemRow {
        let place = self.rng.usize(..ITEMS);
        let (id, turn_id) = (self.items[place], self.turn_id());
        let text = self.name();
        row(
            place as u64,
            if self.rng.u8(..4) == 0 { hidden(id, turn_id) } else { message(id, turn_id, &text) },
        )
    }

    fn turn(&mut self) -> tenure_journal::Turn {
        let statuses = [TurnStatus::Queued, TurnStatus::InProgress, TurnStatus::Failed];
        let agent = Self::pick(&mut self.rng, &self.agents);
        turn(self.turn_id(), agent, Self::pick(&mut self.rng, &statuses))
    }

    fn receipt(&mut self, project: ProjectId) -> Receipt {
        receipt(project, &self.rng.u8(..60).to_string())
    }

    fn document(&mut self, project: ProjectId, model: &MemoryStore) -> (Document, Option<Receipt>) {
        let (kind, id) = (self.kind(), self.document_id());
        let written = |version| matches!(model.document_now(project, kind, &id, Some(version)), Ok(Some(_)));
        let next = (1..).find(|version| !written(*version)).unwrap_or(1);
        let version = if self.rng.u8(..5) == 0 { self.rng.u64(..4) } else { next };
        let document = Document {
            name: self.rng.bool().then(|| self.name()),
            deleted: self.rng.u8(..4) == 0,
            wake_at: self.rng.bool().then(|| Timestamp::from_millis(self.rng.i64(..10))),
            ..document(project, kind, &id, version)
        };
        let receipt = (self.rng.u8(..4) == 0).then(|| self.receipt(project));
        (document, receipt)
    }

    fn kind(&mut self) -> DocumentKind {
        Self::pick(&mut self.rng, &[DocumentKind::Agent, DocumentKind::Key])
    }

    fn document_id(&mut self) -> String {
        Self::pick(&mut self.rng, &["a", "B", "b", "é"]).to_owned()
    }

    fn name(&mut self) -> String {
        Self::pick(&mut self.rng, &["x", "y", "x\"'"]).to_owned()
    }

    fn payload(&mut self) -> bytes::Bytes {
        bytes(&"z".repeat(self.rng.usize(..8)))
    }

    /// Before or after everything: no clock is compared.
    fn stamp(&mut self) -> Stamp {
        Stamp(if self.rng.bool() { 0 } else { u64::MAX })
    }

    fn filter(&mut self) -> SessionFilter {
        SessionFilter {
            agent_id: self.rng.bool().then(|| Self::pick(&mut self.rng, &self.agents)),
            status: self.rng.bool().then(|| Self::pick(&mut self.rng, &STATUSES)),
            metadata: (0..self.rng.usize(..2)).map(|_| (self.name(), self.name())).collect(),
        }
    }

    fn page(&mut self, cursor: Cursor) -> Page {
        let after = match (self.rng.u8(..6), cursor) {
            (0..3, _) => None,
            (3, _) => Some("nothing".to_owned()),
            (_, Cursor::Session) => Some(Self::pick(&mut self.rng, &self.sessions).to_string()),
            (_, Cursor::Turn) => Some(self.turn_id().to_string()),
            (_, Cursor::Item) => Some(Self::pick(&mut self.rng, &self.items).to_string()),
            (_, Cursor::Document) => Some(self.document_id()),
        };
        let order = if self.rng.bool() { Order::Ascending } else { Order::Descending };
        Page { after, limit: self.rng.usize(..6), order }
    }
}

/// What a page's cursor names.
#[derive(Clone, Copy)]
enum Cursor {
    Session,
    Turn,
    Item,
    Document,
}
