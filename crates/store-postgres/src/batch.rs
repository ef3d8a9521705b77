//! What a batch of writes does to the rows it has locked: one decision after the other in memory, as in the
//! model, and then one statement for each table.
//!
//! ```text
//!   lock what exists, in key order ──▶ decide each write in turn ──▶ write what was accepted, COMMIT
//!          one round trip                     no I/O                        one round trip
//! ```
//!
//! A write that is refused leaves no trace in the rows, so it takes nobody with it. What does not exist yet
//! cannot be locked: should another transaction insert it first, the whole batch fails on the unique key and
//! is decided again, with that row in sight.
//!
//! Most batches need no look: each session is where its append expects it, and no receipt is taken. Such a
//! batch is first decided against that guess, and written by one statement that fails where the guess is
//! wrong, `append.sql`:
//!
//! ```text
//!   guess ──▶ decide each write in turn ──▶ write what was accepted, if the guess holds
//!                       no I/O                         one round trip
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use tenure_journal::{
    BlobRef, BudgetUse, Head, ItemId, NodeId, ProjectId, SessionId, SessionKey, Timestamp, TurnId, Version,
};
use tenure_store::{BudgetChange, BudgetEntry, DocumentKind, Receipt, StoreError, StoreErrorKind, UseEntry};
use tokio_postgres::Row;

use crate::columns::{
    Reservation, UseKey, column, document_key_columns, key_columns, reservation_columns, use_columns, use_key,
};
use crate::connect::{Param, Step};
use crate::found;
use crate::ledger::Ledger;
use crate::memory::EpisodeRow;
use crate::read::{budget_use, key_of, node_of, parsed, value};
use crate::write::{Answer, AppendRows, DocumentRow, Write, int};

const SESSION_VERSION: &str = include_str!("../sql/session_version.sql");
const LOCK_DOCUMENT: &str = include_str!("../sql/lock_document.sql");
const DOCUMENT_VERSION: &str = include_str!("../sql/document_version.sql");
const LOCK_BUDGET: &str = include_str!("../sql/lock_budget.sql");
const RESERVATIONS: &str = include_str!("../sql/reservations.sql");
const LOCK_BUDGET_USE: &str = include_str!("../sql/lock_budget_use.sql");
const RECEIPTS_TAKEN: &str = include_str!("../sql/receipts_taken.sql");
const OPEN_SESSION: &str = include_str!("../sql/open_session.sql");
const EXTEND_SESSION: &str = include_str!("../sql/extend_session.sql");
const APPEND: &str = include_str!("../sql/append.sql");
const APPEND_EVENT: &str = include_str!("../sql/append_event.sql");
const GONE_ITEMS: &str = include_str!("../sql/gone_items.sql");
const GONE_TURNS: &str = include_str!("../sql/gone_turns.sql");
const PUT_ITEM: &str = include_str!("../sql/put_item.sql");
const PUT_TURN: &str = include_str!("../sql/put_turn.sql");
const PUT_SNAPSHOT: &str = include_str!("../sql/put_snapshot.sql");
const RETIRE_DOCUMENT: &str = include_str!("../sql/retire_document.sql");
const PUT_DOCUMENT: &str = include_str!("../sql/put_document.sql");
const FORGET_DOCUMENT_TERMS: &str = include_str!("../sql/forget_document_terms.sql");
const PUT_DOCUMENT_TERM: &str = include_str!("../sql/put_document_term.sql");
const OPEN_BUDGET: &str = include_str!("../sql/open_budget.sql");
const PUT_BUDGET: &str = include_str!("../sql/put_budget.sql");
const OPEN_BUDGET_USE: &str = include_str!("../sql/open_budget_use.sql");
const PUT_BUDGET_USE: &str = include_str!("../sql/put_budget_use.sql");
const RELEASE: &str = include_str!("../sql/release.sql");
const RESERVE: &str = include_str!("../sql/reserve.sql");
const PUT_UNSEALED: &str = include_str!("../sql/put_unsealed.sql");
const PUT_RECEIPT: &str = include_str!("../sql/put_receipt.sql");
const PUT_BLOB: &str = include_str!("../sql/put_blob.sql");
const FORGET_EPISODES: &str = include_str!("../sql/forget_episodes.sql");
const PUT_EPISODE: &str = include_str!("../sql/put_episode.sql");
pub(crate) const KNOW_NODE: &str = include_str!("../sql/know_node.sql");

/// Everything a writer may need, prepared when it connects.
pub(crate) const STATEMENTS: &[&str] = &[
    SESSION_VERSION,
    LOCK_DOCUMENT,
    DOCUMENT_VERSION,
    LOCK_BUDGET,
    RESERVATIONS,
    LOCK_BUDGET_USE,
    RECEIPTS_TAKEN,
    OPEN_SESSION,
    EXTEND_SESSION,
    APPEND,
    APPEND_EVENT,
    GONE_ITEMS,
    GONE_TURNS,
    PUT_ITEM,
    PUT_TURN,
    PUT_SNAPSHOT,
    RETIRE_DOCUMENT,
    PUT_DOCUMENT,
    FORGET_DOCUMENT_TERMS,
    PUT_DOCUMENT_TERM,
    OPEN_BUDGET,
    PUT_BUDGET,
    OPEN_BUDGET_USE,
    PUT_BUDGET_USE,
    RELEASE,
    RESERVE,
    PUT_UNSEALED,
    PUT_RECEIPT,
    PUT_BLOB,
    FORGET_EPISODES,
    PUT_EPISODE,
    KNOW_NODE,
];

type DocumentKey<'a> = (ProjectId, DocumentKind, &'a str);
type BudgetKey = (ProjectId, SessionId);
/// What a batch reads and locks: keys without repetitions, in the order every batch locks them.
#[derive(Debug, Default)]
pub(crate) struct Wanted<'a> {
    sessions: BTreeSet<SessionKey>,
    documents: BTreeSet<(ProjectId, &'static str, &'a str)>,
    budgets: BTreeSet<BudgetKey>,
    uses: BTreeSet<UseKey>,
    receipts: BTreeSet<(ProjectId, &'a str)>,
}

impl<'a> Wanted<'a> {
    pub(crate) fn of(writes: impl Iterator<Item = &'a Write>) -> Self {
        let mut wanted = Self::default();
        for write in writes {
            if let Write::Append(rows) = write {
                wanted.sessions.insert(rows.key);
                wanted.budgets.extend(rows.append.budget.iter().map(|entry| (rows.key.project, entry.root)));
            }
            if let Some((project, uses)) = write.shared_uses() {
                wanted.uses.extend(uses.iter().map(|entry| use_key(project, entry.budget)));
            }
            let documents = write.documents().iter();
            wanted
                .documents
                .extend(documents.map(|row| (row.document.project, row.document.kind.as_str(), &*row.id)));
            wanted.receipts.extend(write.receipt().map(|receipt| (receipt.project, &*receipt.key)));
        }
        wanted
    }

    /// The statements that lock and read, always in this order; none if nothing is wanted.
    pub(crate) fn steps(&self) -> Vec<Step<'a>> {
        let mut steps = Vec::new();
        if !self.sessions.is_empty() {
            steps.push(Step { sql: SESSION_VERSION, params: key_columns(self.sessions.iter()) });
        }
        if !self.documents.is_empty() {
            for sql in [LOCK_DOCUMENT, DOCUMENT_VERSION] {
                steps.push(Step {
                    sql,
                    params: vec![
                        column(self.documents.iter().map(|(project, _, _)| project.to_string())),
                        column(self.documents.iter().map(|(_, kind, _)| *kind)),
                        column(self.documents.iter().map(|(_, _, id)| *id)),
                    ],
                });
            }
        }
        if !self.budgets.is_empty() {
            for sql in [LOCK_BUDGET, RESERVATIONS] {
                steps.push(Step {
                    sql,
                    params: vec![
                        column(self.budgets.iter().map(|(project, _)| project.to_string())),
                        column(self.budgets.iter().map(|(_, root)| root.to_string())),
                    ],
                });
            }
        }
        if !self.uses.is_empty() {
            steps.push(Step {
                sql: LOCK_BUDGET_USE,
                params: vec![
                    column(self.uses.iter().map(|(project, _)| project.to_string())),
                    column(self.uses.iter().map(|(_, budget)| budget.clone())),
                ],
            });
        }
        if !self.receipts.is_empty() {
            steps.push(Step {
                sql: RECEIPTS_TAKEN,
                params: vec![
                    column(self.receipts.iter().map(|(project, _)| project.to_string())),
                    column(self.receipts.iter().map(|(_, key)| *key)),
                ],
            });
        }
        steps
    }

    /// What would be found if every write were accepted; nothing where only a look can tell.
    pub(crate) fn guess(&self, writes: impl Iterator<Item = &'a Write>) -> Option<Found> {
        if !self.documents.is_empty() || !self.budgets.is_empty() || !self.uses.is_empty() {
            return None;
        }
        let appends = writes.filter_map(|write| match write {
            Write::Append(rows) => Some((rows.key, &rows.append)),
            Write::Put(..) | Write::Use(..) | Write::Blob(..) => None,
        });
        let appends: Vec<_> = appends.collect();
        // What is removed is removed before anything is written, which one statement does not promise.
        if appends.iter().any(|(_, append)| !append.gone.is_empty() || append.head.deleted) {
            return None;
        }
        let appends: Vec<_> = appends.into_iter().map(|(key, append)| (key, append.expected)).collect();
        // Two appends to one session: at least one of them is likely to be refused.
        if appends.len() > self.sessions.len() {
            return None;
        }
        let sessions = appends.into_iter().filter(|(_, expected)| *expected != Version::ZERO);
        let sessions = sessions.map(|(key, expected)| (key, (expected, None))).collect();
        Some(Found { sessions, basis: Basis::Guessed, ..Found::default() })
    }

    /// What the steps answered.
    pub(crate) fn found(&self, steps: &[Step<'_>], answers: &[Vec<Row>]) -> Result<Found, StoreError> {
        let mut found = Found::default();
        for (step, rows) in steps.iter().zip(answers) {
            for row in rows {
                found.add(step.sql, row)?;
            }
        }
        Ok(found)
    }
}

/// Whether rows are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Basis {
    /// They are locked.
    #[default]
    Locked,
    /// They are taken to be so, and the statements that write find out.
    Guessed,
}

/// The locked rows, or a guess at them.
#[derive(Debug, Default)]
pub(crate) struct Found {
    basis: Basis,
    sessions: HashMap<SessionKey, (Version, Option<NodeId>)>,
    /// Latest versions; ids as they are stored.
    documents: HashMap<(String, String, String), u64>,
    budgets: HashMap<BudgetKey, Ledger>,
    uses: HashMap<UseKey, BudgetUse>,
    receipts: HashSet<(String, String)>,
}

impl Found {
    fn add(&mut self, sql: &str, row: &Row) -> Result<(), StoreError> {
        match sql {
            SESSION_VERSION => {
                let version = Version(value::<i64>(row, 2)?.unsigned_abs());
                self.sessions.insert(key_of(row)?, (version, node_of(row, 3)?));
            }
            DOCUMENT_VERSION => {
                let key = (value(row, 0)?, value(row, 1)?, value(row, 2)?);
                self.documents.insert(key, value::<i64>(row, 3)?.unsigned_abs());
            }
            LOCK_BUDGET => {
                let limit = value::<Option<i64>>(row, 2)?.map(i64::cast_unsigned);
                let spent = value::<i64>(row, 3)?.cast_unsigned();
                let ledger = Ledger { limit, spent, reserved: BTreeMap::new() };
                self.budgets.insert((parsed(row, 0)?, parsed(row, 1)?), ledger);
            }
            RESERVATIONS => {
                // A budget that was opened since the locks were taken is not ours to change: it stays
                // unseen, and opening it fails on its key.
                if let Some(ledger) = self.budgets.get_mut(&(parsed(row, 0)?, parsed(row, 1)?)) {
                    ledger.reserved.insert(value(row, 2)?, value::<i64>(row, 3)?.cast_unsigned());
                }
            }
            LOCK_BUDGET_USE => {
                self.uses.insert((parsed(row, 0)?, value(row, 1)?), budget_use(row, 2)?);
            }
            RECEIPTS_TAKEN => {
                self.receipts.insert((value(row, 0)?, value(row, 1)?));
            }
            _ => {}
        }
        Ok(())
    }
}

/// What the accepted writes change. Maps keep rows in the order of their keys, in which every batch writes
/// them, and one row for each key, because a statement may not meet a row twice.
#[derive(Debug)]
pub(crate) struct Changes<'a> {
    /// As they were before this batch.
    existed: HashSet<SessionKey>,
    budgets_existed: HashMap<BudgetKey, BTreeMap<String, u64>>,
    uses_existed: HashSet<UseKey>,
    now: Found,
    heads: BTreeMap<SessionKey, &'a AppendRows>,
    events: Vec<(SessionKey, u64, Timestamp, &'a str)>,
    audit: Vec<(ProjectId, &'a str)>,
    episodes: BTreeMap<(SessionKey, u64), &'a EpisodeRow>,
    /// The places from which on the episodes that were there go.
    gone_episodes: BTreeMap<SessionKey, u64>,
    gone_items: BTreeMap<SessionKey, u64>,
    gone_turns: BTreeSet<(SessionKey, TurnId)>,
    items: BTreeMap<(SessionKey, ItemId), ItemRow<'a>>,
    turns: BTreeMap<(SessionKey, TurnId), &'a str>,
    snapshots: BTreeMap<SessionKey, (Version, &'a [u8])>,
    documents: BTreeMap<(DocumentKey<'a>, u64), &'a DocumentRow>,
    /// The last versions that say what they are found by.
    indexed: BTreeMap<DocumentKey<'a>, &'a DocumentRow>,
    budgets: BTreeSet<BudgetKey>,
    uses: BTreeSet<UseKey>,
    receipts: BTreeMap<(ProjectId, &'a str), &'a Receipt>,
    blobs: BTreeMap<(ProjectId, BlobRef), Option<&'a Bytes>>,
}

#[derive(Debug)]
struct ItemRow<'a> {
    ordinal: u64,
    turn: TurnId,
    is_public: bool,
    json: &'a str,
}

impl<'a> Changes<'a> {
    pub(crate) fn to(found: Found) -> Self {
        let existed = found.sessions.keys().copied().collect();
        let reserved = found.budgets.iter().map(|(key, ledger)| (*key, ledger.reserved.clone()));
        Self {
            existed,
            budgets_existed: reserved.collect(),
            uses_existed: found.uses.keys().cloned().collect(),
            now: found,
            heads: BTreeMap::new(),
            events: Vec::new(),
            audit: Vec::new(),
            episodes: BTreeMap::new(),
            gone_episodes: BTreeMap::new(),
            gone_items: BTreeMap::new(),
            gone_turns: BTreeSet::new(),
            items: BTreeMap::new(),
            turns: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            documents: BTreeMap::new(),
            indexed: BTreeMap::new(),
            budgets: BTreeSet::new(),
            uses: BTreeSet::new(),
            receipts: BTreeMap::new(),
            blobs: BTreeMap::new(),
        }
    }

    /// Whether a write may be made, and if so what it changes.
    pub(crate) fn decide(&mut self, write: &'a Write) -> Answer {
        self.check_receipt(write.receipt())?;
        let version = match write {
            Write::Append(rows) => {
                self.check_head(rows)?;
                self.check_documents(&rows.documents)?;
                let ledgers = self.check_budget(rows)?;
                let uses = self.check_uses(rows.key.project, &rows.append.uses)?;
                self.change_uses(uses);
                self.append(rows, ledgers)
            }
            Write::Use(project, uses, audit) => {
                let uses = self.check_uses(*project, uses)?;
                self.change_uses(uses);
                self.audit.extend(audit.iter().map(|(project, record)| (*project, record.as_str())));
                Version::ZERO
            }
            Write::Put(documents, _, audit) => {
                self.check_documents(documents)?;
                self.audit.extend(audit.iter().map(|(project, record)| (*project, record.as_str())));
                Version::ZERO
            }
            Write::Blob(project, blob, payload) => {
                self.blobs.insert((*project, *blob), payload.as_ref());
                Version::ZERO
            }
        };
        for row in write.documents() {
            let document = &row.document;
            let key = (document.project, document.kind, &*row.id);
            let found = (document.project.to_string(), document.kind.as_str().to_owned(), row.id.clone());
            self.now.documents.insert(found, document.version);
            self.documents.insert((key, document.version), row);
            if row.terms.is_some() {
                self.indexed.insert(key, row);
            }
        }
        if let Some(receipt) = write.receipt() {
            self.now.receipts.insert((receipt.project.to_string(), receipt.key.clone()));
            self.receipts.insert((receipt.project, &receipt.key), receipt);
        }
        Ok(version)
    }

    fn check_receipt(&self, receipt: Option<&Receipt>) -> Result<(), StoreError> {
        match receipt {
            Some(receipt)
                if self.now.receipts.contains(&(receipt.project.to_string(), receipt.key.clone())) =>
            {
                let context = format!("writing in project `{}`", receipt.project);
                Err(StoreError::new(StoreErrorKind::ReceiptExists, context))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn check_head(&self, rows: &AppendRows) -> Result<(), StoreError> {
        let (key, expected) = (rows.key, rows.append.expected);
        let found = self.now.sessions.get(&key);
        let (actual, holder) = found.copied().unwrap_or((Version::ZERO, None));
        if actual != expected {
            let context = format!("appending to session `{}` at version {}", key.session, expected.0);
            return Err(StoreError::new(StoreErrorKind::Conflict { actual }, context));
        }
        match (rows.append.holder, holder) {
            (Some(node), Some(holder)) if node != holder => {
                let context = format!("appending to session `{}` as `{node}`", key.session);
                Err(StoreError::new(StoreErrorKind::Held, context))
            }
            (Some(_) | None, _) => Ok(()),
        }
    }

    fn check_documents(&self, documents: &[DocumentRow]) -> Result<(), StoreError> {
        for row in documents {
            let document = &row.document;
            let (kind, version) = (document.kind.as_str(), document.version);
            let key = (document.project.to_string(), kind.to_owned(), row.id.clone());
            let actual = self.now.documents.get(&key).copied().unwrap_or(0);
            if actual.checked_add(1) != Some(version) {
                let context = format!("writing version {version} of {kind} `{}`", document.id);
                return Err(StoreError::new(StoreErrorKind::Conflict { actual: Version(actual) }, context));
            }
        }
        Ok(())
    }

    /// The ledgers as they are after the append.
    fn check_budget(&self, rows: &AppendRows) -> Result<HashMap<BudgetKey, Ledger>, StoreError> {
        let mut after = HashMap::new();
        for BudgetEntry { root, change } in &rows.append.budget {
            let key = (rows.key.project, *root);
            let stored = || self.now.budgets.get(&key).cloned().unwrap_or_default();
            let ledger: &mut Ledger = after.entry(key).or_insert_with(stored);
            ledger.change(change);
            if matches!(change, BudgetChange::Reserve { .. }) && ledger.is_exceeded() {
                let context = format!("reserving in the budget of session `{root}`");
                return Err(StoreError::new(StoreErrorKind::BudgetExceeded, context));
            }
        }
        Ok(after)
    }

    /// How shared budgets stand after these changes.
    fn check_uses(
        &self,
        project: ProjectId,
        uses: &[UseEntry],
    ) -> Result<HashMap<UseKey, BudgetUse>, StoreError> {
        let mut after = HashMap::new();
        for entry in uses {
            let key = use_key(project, entry.budget);
            let stored = self.now.uses.get(&key).copied().unwrap_or_default();
            entry.apply(after.entry(key).or_insert(stored))?;
        }
        Ok(after)
    }

    fn change_uses(&mut self, uses: HashMap<UseKey, BudgetUse>) {
        self.uses.extend(uses.keys().cloned());
        self.now.uses.extend(uses);
    }

    fn append(&mut self, rows: &'a AppendRows, ledgers: HashMap<BudgetKey, Ledger>) -> Version {
        let (key, append) = (rows.key, &rows.append);
        let holder = self.now.sessions.get(&key).and_then(|(_, holder)| *holder);
        let version = append.expected.plus(rows.events.len());
        let holder = append.head.wake_at.and(append.holder.or(holder));
        self.now.sessions.insert(key, (version, holder));
        self.heads.insert(key, rows);
        for (event, number) in rows.events.iter().zip(append.expected.0 + 1..) {
            self.events.push((key, number, append.at, event));
        }
        self.audit.extend(rows.audit.iter().map(|record| (key.project, record.as_str())));
        self.remember(rows);
        if let Some(from) = append.gone.items_from {
            self.items.retain(|(of, _), row| *of != key || row.ordinal < from);
            self.gone_items.entry(key).and_modify(|first| *first = from.min(*first)).or_insert(from);
        }
        for turn in &append.gone.turns {
            self.turns.remove(&(key, *turn));
            self.gone_turns.insert((key, *turn));
        }
        for (row, json) in append.items.iter().zip(&rows.items) {
            let (turn, is_public) = (row.item.turn_id, row.item.is_public());
            // An item keeps the place it had first.
            let ordinal = self.items.get(&(key, row.item.id)).map_or(row.ordinal, |first| first.ordinal);
            self.items.insert((key, row.item.id), ItemRow { ordinal, turn, is_public, json });
        }
        for (turn, json) in append.turns.iter().zip(&rows.turns) {
            self.turns.insert((key, turn.id), json);
        }
        if let Some(bytes) = &append.snapshot {
            self.snapshots.insert(key, (version, bytes));
        }
        self.budgets.extend(ledgers.keys());
        self.now.budgets.extend(ledgers);
        version
    }

    /// What becomes of the session's episodes. A session that is deleted has none.
    fn remember(&mut self, rows: &'a AppendRows) {
        let (key, append) = (rows.key, &rows.append);
        let from = if append.head.deleted { Some(0) } else { append.gone.items_from };
        if let Some(from) = from {
            self.episodes.retain(|(of, ordinal), _| *of != key || *ordinal < from);
            self.gone_episodes.entry(key).and_modify(|first| *first = from.min(*first)).or_insert(from);
        }
        if !append.head.deleted {
            let places = rows.episodes.iter().map(|row| ((key, row.remembered.episode.ordinal), row));
            self.episodes.extend(places);
        }
    }

    /// Nodes that hold a session after the batch.
    pub(crate) fn holders(&self) -> BTreeSet<NodeId> {
        self.heads.keys().filter_map(|key| self.holder(key)).collect()
    }

    fn holder(&self, key: &SessionKey) -> Option<NodeId> {
        self.now.sessions.get(key).and_then(|(_, holder)| *holder)
    }

    /// The statements that write it, always in this order of tables.
    pub(crate) fn steps(&self) -> Vec<Step<'a>> {
        match self.now.basis {
            Basis::Guessed => self.guessed_steps(),
            Basis::Locked => self.locked_steps(),
        }
    }

    /// One for everything but payloads.
    fn guessed_steps(&self) -> Vec<Step<'a>> {
        let mut steps = Vec::new();
        if !self.heads.is_empty() || !self.receipts.is_empty() || !self.audit.is_empty() {
            let heads: Vec<_> = self.heads.iter().collect();
            let mut params = self.head_columns(&heads);
            // The statement itself keeps or drops the holder, because only it knows who that is.
            params.pop();
            params
                .push(column(heads.iter().map(|(_, rows)| rows.append.holder.map(|node| node.to_string()))));
            params.push(column(heads.iter().map(|(_, rows)| int(rows.append.expected.0))));
            params.extend(self.event_columns());
            params.extend(self.item_columns());
            params.extend(self.turn_columns());
            params.extend(self.snapshot_columns());
            params.extend(self.receipt_columns());
            params.extend(self.audit_columns());
            params.extend(self.episode_columns());
            steps.push(Step { sql: APPEND, params });
        }
        if !self.blobs.is_empty() {
            steps.push(Step { sql: PUT_BLOB, params: self.blob_columns() });
        }
        steps
    }

    fn locked_steps(&self) -> Vec<Step<'a>> {
        let mut steps = Vec::new();
        let mut push = |sql, is_empty: bool, params: Vec<Param<'a>>| {
            if !is_empty {
                steps.push(Step { sql, params });
            }
        };
        let (extended, opened): (Vec<_>, Vec<_>) =
            self.heads.iter().partition(|(key, _)| self.existed.contains(key));
        push(OPEN_SESSION, opened.is_empty(), self.head_columns(&opened));
        push(EXTEND_SESSION, extended.is_empty(), self.head_columns(&extended));
        push(APPEND_EVENT, self.events.is_empty(), self.event_columns());
        push(GONE_ITEMS, self.gone_items.is_empty(), self.gone_item_columns());
        push(GONE_TURNS, self.gone_turns.is_empty(), self.gone_turn_columns());
        push(PUT_ITEM, self.items.is_empty(), self.item_columns());
        push(PUT_TURN, self.turns.is_empty(), self.turn_columns());
        push(PUT_SNAPSHOT, self.snapshots.is_empty(), self.snapshot_columns());
        let retired: Vec<_> = self.documents.iter().filter(|((_, version), _)| *version > 1).collect();
        push(RETIRE_DOCUMENT, retired.is_empty(), document_key_columns(retired.iter().map(|(_, row)| **row)));
        push(PUT_DOCUMENT, self.documents.is_empty(), self.document_columns());
        let indexed = || self.indexed.values().copied();
        push(FORGET_DOCUMENT_TERMS, self.indexed.is_empty(), document_key_columns(indexed()));
        let terms = found::term_columns(indexed());
        push(PUT_DOCUMENT_TERM, terms.is_empty(), terms);
        let (changed, new): (Vec<_>, Vec<_>) =
            self.budgets.iter().partition(|key| self.budgets_existed.contains_key(key));
        for (sql, budgets) in [(OPEN_BUDGET, &new), (PUT_BUDGET, &changed)] {
            push(sql, budgets.is_empty(), self.budget_columns(budgets));
        }
        let (changed, new): (Vec<_>, Vec<_>) =
            self.uses.iter().partition(|key| self.uses_existed.contains(*key));
        for (sql, uses) in [(OPEN_BUDGET_USE, &new), (PUT_BUDGET_USE, &changed)] {
            push(sql, uses.is_empty(), use_columns(uses, &self.now.uses));
        }
        let (released, reserved) = self.reservations();
        push(RELEASE, released.is_empty(), reservation_columns(&released, false));
        push(RESERVE, reserved.is_empty(), reservation_columns(&reserved, true));
        push(PUT_UNSEALED, self.audit.is_empty(), self.audit_columns());
        push(FORGET_EPISODES, self.gone_episodes.is_empty(), self.gone_episode_columns());
        push(PUT_EPISODE, self.episodes.is_empty(), self.episode_columns());
        push(PUT_RECEIPT, self.receipts.is_empty(), self.receipt_columns());
        push(PUT_BLOB, self.blobs.is_empty(), self.blob_columns());
        steps
    }

    fn head_columns(&self, heads: &[(&SessionKey, &&'a AppendRows)]) -> Vec<Param<'a>> {
        let head = |rows: &&'a AppendRows| -> &'a Head { &rows.append.head };
        let version = |key: &SessionKey| self.now.sessions.get(key).map_or(0, |(version, _)| int(version.0));
        let mut params = key_columns(heads.iter().map(|(key, _)| *key));
        let rest: [Param<'a>; 11] = [
            column(heads.iter().map(|(key, _)| version(key))),
            column(heads.iter().map(|(_, rows)| head(rows).status.as_str())),
            column(heads.iter().map(|(_, rows)| head(rows).agent_id.to_string())),
            column(heads.iter().map(|(_, rows)| rows.agent_name.as_deref())),
            column(heads.iter().map(|(_, rows)| &*rows.metadata)),
            column(heads.iter().map(|(_, rows)| head(rows).created_at.as_millis())),
            column(heads.iter().map(|(_, rows)| head(rows).last_active_at.as_millis())),
            column(heads.iter().map(|(_, rows)| head(rows).wake_at.map(Timestamp::as_millis))),
            column(heads.iter().map(|(_, rows)| head(rows).deleted)),
            column(heads.iter().map(|(_, rows)| head(rows).parent.map(|parent| parent.to_string()))),
            column(heads.iter().map(|(key, _)| self.holder(key).map(|node| node.to_string()))),
        ];
        params.extend(rest);
        params
    }

    fn event_columns(&self) -> Vec<Param<'a>> {
        let mut params = key_columns(self.events.iter().map(|(key, ..)| key));
        params.push(column(self.events.iter().map(|(_, version, ..)| int(*version))));
        params.push(column(self.events.iter().map(|(_, _, at, _)| at.as_millis())));
        params.push(column(self.events.iter().map(|(.., event)| *event)));
        params
    }

    fn audit_columns(&self) -> Vec<Param<'a>> {
        vec![
            column(self.audit.iter().map(|(project, _)| project.to_string())),
            column(self.audit.iter().map(|(_, record)| *record)),
        ]
    }

    fn episode_columns(&self) -> Vec<Param<'a>> {
        let rows = || self.episodes.values();
        let mut params = key_columns(self.episodes.keys().map(|(key, _)| key));
        let rest: [Param<'a>; 11] = [
            column(rows().map(|row| int(row.remembered.episode.ordinal))),
            column(rows().map(|row| row.remembered.episode.item.to_string())),
            column(rows().map(|row| &*row.space)),
            column(rows().map(|row| row.remembered.space.agent.to_string())),
            column(rows().map(|row| row.user.as_deref())),
            column(rows().map(|row| row.remembered.episode.at.as_millis())),
            column(rows().map(|row| row.remembered.episode.speaker.as_str())),
            column(rows().map(|row| row.name.as_deref())),
            column(rows().map(|row| &*row.text)),
            column(rows().map(|row| row.labels.as_deref())),
            column(rows().map(|row| &*row.terms)),
        ];
        params.extend(rest);
        params
    }

    fn gone_episode_columns(&self) -> Vec<Param<'a>> {
        let mut params = key_columns(self.gone_episodes.keys());
        params.push(column(self.gone_episodes.values().map(|from| int(*from))));
        params
    }

    fn gone_item_columns(&self) -> Vec<Param<'a>> {
        let mut params = key_columns(self.gone_items.keys());
        params.push(column(self.gone_items.values().map(|from| int(*from))));
        params
    }

    fn gone_turn_columns(&self) -> Vec<Param<'a>> {
        let mut params = key_columns(self.gone_turns.iter().map(|(key, _)| key));
        params.push(column(self.gone_turns.iter().map(|(_, turn)| turn.to_string())));
        params
    }

    fn item_columns(&self) -> Vec<Param<'a>> {
        let mut params = key_columns(self.items.keys().map(|(key, _)| key));
        params.push(column(self.items.values().map(|row| int(row.ordinal))));
        params.push(column(self.items.keys().map(|(_, item)| item.to_string())));
        params.push(column(self.items.values().map(|row| row.turn.to_string())));
        params.push(column(self.items.values().map(|row| row.is_public)));
        params.push(column(self.items.values().map(|row| row.json)));
        params
    }

    fn turn_columns(&self) -> Vec<Param<'a>> {
        let mut params = key_columns(self.turns.keys().map(|(key, _)| key));
        params.push(column(self.turns.keys().map(|(_, turn)| turn.to_string())));
        params.push(column(self.turns.values().copied()));
        params
    }

    fn snapshot_columns(&self) -> Vec<Param<'a>> {
        let mut params = key_columns(self.snapshots.keys());
        params.push(column(self.snapshots.values().map(|(version, _)| int(version.0))));
        params.push(column(self.snapshots.values().map(|(_, bytes)| *bytes)));
        params
    }

    fn document_columns(&self) -> Vec<Param<'a>> {
        let rows = || self.documents.values();
        let is_latest = |((key, version), _): (&(DocumentKey<'a>, u64), _)| {
            !self.documents.contains_key(&(*key, version.saturating_add(1)))
        };
        let mut params = document_key_columns(rows().copied());
        let rest: [Param<'a>; 8] = [
            column(rows().map(|row| int(row.document.version))),
            column(self.documents.iter().map(is_latest)),
            column(rows().map(|row| row.document.deleted)),
            column(rows().map(|row| row.name.as_deref())),
            column(rows().map(|row| &*row.body)),
            column(rows().map(|row| row.document.created_at.as_millis())),
            column(rows().map(|row| row.document.updated_at.as_millis())),
            column(rows().map(|row| row.document.wake_at.map(Timestamp::as_millis))),
        ];
        params.extend(rest);
        params
    }

    fn budget_columns(&self, keys: &[&BudgetKey]) -> Vec<Param<'a>> {
        let ledgers = || keys.iter().filter_map(|key| self.now.budgets.get(*key));
        vec![
            column(keys.iter().map(|(project, _)| project.to_string())),
            column(keys.iter().map(|(_, root)| root.to_string())),
            column(ledgers().map(|ledger| ledger.limit.map(u64::cast_signed))),
            column(ledgers().map(|ledger| ledger.spent.cast_signed())),
        ]
    }

    /// Reservations that are gone, and those that are new or changed.
    fn reservations(&self) -> (Vec<Reservation>, Vec<Reservation>) {
        let none = BTreeMap::new();
        let (mut released, mut reserved) = (Vec::new(), Vec::new());
        for key in &self.budgets {
            let before = self.budgets_existed.get(key).unwrap_or(&none);
            let after = self.now.budgets.get(key).map_or(&none, |ledger| &ledger.reserved);
            let gone = before.iter().filter(|(name, _)| !after.contains_key(*name));
            released.extend(gone.map(|(name, amount)| (*key, name.clone(), *amount)));
            let new = after.iter().filter(|(name, amount)| before.get(*name) != Some(amount));
            reserved.extend(new.map(|(name, amount)| (*key, name.clone(), *amount)));
        }
        (released, reserved)
    }

    fn receipt_columns(&self) -> Vec<Param<'a>> {
        let receipts = || self.receipts.values();
        vec![
            column(receipts().map(|receipt| receipt.project.to_string())),
            column(receipts().map(|receipt| &*receipt.key)),
            column(receipts().map(|receipt| &*receipt.digest)),
            column(receipts().map(|receipt| i32::from(receipt.status))),
            column(receipts().map(|receipt| &*receipt.body)),
            column(receipts().map(|receipt| receipt.at.as_millis())),
        ]
    }

    fn blob_columns(&self) -> Vec<Param<'a>> {
        vec![
            column(self.blobs.keys().map(|(project, _)| project.to_string())),
            column(self.blobs.keys().map(|(_, blob)| blob.to_string())),
            column(self.blobs.values().map(|payload| payload.map(|payload| &payload[..]))),
        ]
    }
}
