//! The state itself: maps, checks that refuse a write, and a write that cannot fail.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use bytes::Bytes;
use tenure_journal::{
    BlobRef, BudgetId, BudgetScope, BudgetUse, Head, Item, ItemId, NodeId, ProjectId, Recorded, SessionId,
    SessionKey, Timestamp, Turn, TurnId, Version,
};

use super::episodes::Episodes;
use super::found::Index;
use super::unknown_cursor;
use crate::{
    Append, AuditEntry, Budget, BudgetChange, BudgetEntry, Document, DocumentKind, Embedded, Indexed, Order,
    Page, Place, Receipt, Seal, Sealed, SessionFilter, Snapshot, Stamp, StoreError, StoreErrorKind, Stored,
    Unsealed, UseEntry,
};

/// A write that was checked.
#[derive(Debug, Clone)]
pub(super) enum Write {
    /// Events and what follows from them.
    Append(Box<Append>),
    /// A document's next version.
    Put(Vec<Document>, Option<Receipt>, Vec<AuditEntry>),
    /// Documents' next versions, with what they are found by.
    PutIndexed(Vec<Indexed>, Option<Receipt>, Vec<AuditEntry>),
    /// How shared budgets stand.
    Use(ProjectId, Vec<UseEntry>, Vec<AuditEntry>),
    /// A document without a history.
    Note(Box<Document>),
    /// Vectors of a model.
    Embed(String, Vec<Embedded>),
    /// A payload.
    Blob(ProjectId, BlobRef, Bytes, Stamp),
    /// Payloads go.
    Forget(ProjectId, Vec<BlobRef>),
    /// A place is erased.
    Erase(ProjectId, Place),
    /// Records become part of a log.
    Seal(Box<Seal>),
    /// A node takes hold of sessions.
    Claim(NodeId, Vec<SessionKey>),
    /// A node's lease runs until a moment of the store's clock.
    Lease(NodeId, u64),
    /// A session is free if the node holds it.
    Release(NodeId, SessionKey),
    /// A node's lease ends and its sessions are free.
    Retire(NodeId),
}

/// Everything a store keeps.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) sessions: BTreeMap<SessionKey, Session>,
    /// INVARIANT: holds exactly the sessions whose head has a `wake_at`, under that moment.
    pub(super) wakes: BTreeSet<(Timestamp, SessionKey)>,
    /// Versions of each document, the first at index 0.
    pub(super) documents: BTreeMap<(ProjectId, DocumentKind, String), Vec<Document>>,
    pub(super) blobs: BTreeMap<(ProjectId, BlobRef), (Bytes, Stamp)>,
    pub(super) receipts: HashMap<(ProjectId, String), Receipt>,
    /// Until when the lease of each node runs.
    leases: BTreeMap<NodeId, u64>,
    pub(super) budgets: HashMap<(ProjectId, SessionId), Ledger>,
    pub(super) uses: BTreeMap<(ProjectId, BudgetId), BudgetUse>,
    /// Records that wait to be sealed, by position.
    unsealed: BTreeMap<u64, (ProjectId, Bytes)>,
    /// The positions that were ever given.
    positions: u64,
    logs: HashMap<ProjectId, Log>,
    pub(super) episodes: Episodes,
    pub(super) index: Index,
}

/// A project's audit log.
#[derive(Debug, Clone, Default)]
struct Log {
    records: Vec<Bytes>,
    tiles: BTreeMap<(u32, u64), Bytes>,
    checkpoints: BTreeMap<u64, String>,
}

/// A budget with its reservations.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    limit: Option<u64>,
    spent: u64,
    reserved: BTreeMap<String, u64>,
}

#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) head: Head,
    holder: Option<NodeId>,
    pub(super) journal: Vec<Recorded>,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) items: BTreeMap<u64, Item>,
    ordinals: HashMap<ItemId, u64>,
    pub(super) turns: BTreeMap<TurnId, Turn>,
}

impl State {
    pub(super) fn check_receipt(&self, receipt: Option<&Receipt>) -> Result<(), StoreError> {
        match receipt {
            Some(receipt) if self.receipts.contains_key(&(receipt.project, receipt.key.clone())) => {
                let context = format!("writing in project `{}`", receipt.project);
                Err(StoreError::new(StoreErrorKind::ReceiptExists, context))
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn check_version(&self, append: &Append) -> Result<(), StoreError> {
        let key = append.head.key;
        let actual = self.sessions.get(&key).map_or(Version::ZERO, Session::version);
        if actual == append.expected {
            return Ok(());
        }
        let context = format!("appending to session `{}` at version {}", key.session, append.expected.0);
        Err(StoreError::new(StoreErrorKind::Conflict { actual }, context))
    }

    pub(super) fn check_holder(&self, append: &Append) -> Result<(), StoreError> {
        let key = append.head.key;
        let holder = self.sessions.get(&key).and_then(|session| session.holder);
        match (append.holder, holder) {
            (Some(node), Some(holder)) if node != holder => {
                let context = format!("appending to session `{}` as `{node}`", key.session);
                Err(StoreError::new(StoreErrorKind::Held, context))
            }
            (Some(_) | None, _) => Ok(()),
        }
    }

    pub(super) fn check_budget(&self, append: &Append) -> Result<(), StoreError> {
        let project = append.head.key.project;
        let mut after: HashMap<SessionId, Ledger> = HashMap::new();
        for entry in &append.budget {
            let stored = || self.budgets.get(&(project, entry.root)).cloned().unwrap_or_default();
            let ledger = after.entry(entry.root).or_insert_with(stored);
            ledger.change(&entry.change);
            if matches!(entry.change, BudgetChange::Reserve { .. }) && ledger.is_exceeded() {
                let context = format!("reserving in the budget of session `{}`", entry.root);
                return Err(StoreError::new(StoreErrorKind::BudgetExceeded, context));
            }
        }
        self.check_uses(project, &append.uses)
    }

    pub(super) fn check_uses(&self, project: ProjectId, uses: &[UseEntry]) -> Result<(), StoreError> {
        let mut after: HashMap<BudgetId, BudgetUse> = HashMap::new();
        for entry in uses {
            let stored = || self.uses.get(&(project, entry.budget)).copied().unwrap_or_default();
            entry.apply(after.entry(entry.budget).or_insert_with(stored))?;
        }
        Ok(())
    }

    /// Removes the shared budgets of a session's tree, and says how many there were.
    pub(super) fn erase_uses(&mut self, key: SessionKey) -> u64 {
        let before = self.uses.len();
        let is_of = |id: &BudgetId| id.scope() == BudgetScope::Session(key.session);
        self.uses.retain(|(project, id), _| *project != key.project || !is_of(id));
        (before - self.uses.len()) as u64
    }

    pub(super) fn check_documents(&self, documents: &[Document]) -> Result<(), StoreError> {
        documents.iter().try_for_each(|document| self.check_document(document))
    }

    pub(super) fn check_document(&self, document: &Document) -> Result<(), StoreError> {
        let key = (document.project, document.kind, document.id.clone());
        let actual = self.documents.get(&key).map_or(0, |versions| versions.len() as u64);
        if actual.checked_add(1) == Some(document.version) {
            return Ok(());
        }
        let context =
            format!("writing version {} of {} `{}`", document.version, document.kind.as_str(), document.id);
        Err(StoreError::new(StoreErrorKind::Conflict { actual: Version(actual) }, context))
    }

    pub(super) fn check_seal(&self, seal: &Seal) -> Result<(), StoreError> {
        let actual = self.logs.get(&seal.project).map_or(0, |log| log.records.len() as u64);
        let waits = |position| self.unsealed.get(position).is_some_and(|(of, _)| *of == seal.project);
        if actual == seal.expected && seal.records.iter().all(|(position, _)| waits(position)) {
            return Ok(());
        }
        let context = format!("sealing in project `{}` at {}", seal.project, seal.expected);
        Err(StoreError::new(StoreErrorKind::Conflict { actual: Version(actual) }, context))
    }

    fn seal(&mut self, seal: Seal) {
        let log = self.logs.entry(seal.project).or_default();
        for (position, record) in seal.records {
            self.unsealed.remove(&position);
            log.records.push(record);
        }
        log.tiles.extend(seal.tiles.into_iter().map(|(level, index, hashes)| ((level, index), hashes)));
        log.checkpoints.insert(log.records.len() as u64, seal.checkpoint);
    }

    pub(super) fn unsealed(&self, except: &[ProjectId], limit: usize) -> Vec<Unsealed> {
        let wanted = self.unsealed.iter().filter(|(_, (project, _))| !except.contains(project));
        let waiting = wanted.take(limit);
        waiting
            .map(|(position, (project, record))| Unsealed {
                project: *project,
                position: *position,
                record: record.clone(),
            })
            .collect()
    }

    pub(super) fn sealed(&self, project: ProjectId, size_max: u64) -> Option<Sealed> {
        let (size, checkpoint) = self.logs.get(&project)?.checkpoints.range(..=size_max).next_back()?;
        Some(Sealed { size: *size, checkpoint: checkpoint.clone() })
    }

    pub(super) fn sealed_records(&self, project: ProjectId, from: u64, limit: usize) -> Vec<Bytes> {
        let records = self.logs.get(&project).map_or(&[][..], |log| &log.records);
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        records.iter().skip(from).take(limit).cloned().collect()
    }

    pub(super) fn audit_tile(&self, project: ProjectId, level: u32, index: u64) -> Option<Bytes> {
        self.logs.get(&project)?.tiles.get(&(level, index)).cloned()
    }

    pub(super) fn write(&mut self, write: Write) {
        match write {
            Write::Append(append) => self.append(*append),
            Write::Put(documents, receipt, audit) => {
                self.put(documents);
                self.keep(receipt);
                audit.into_iter().for_each(|entry| self.record(entry.project, entry.record));
            }
            Write::PutIndexed(documents, receipt, audit) => {
                documents.iter().for_each(|indexed| self.index.put(indexed));
                self.write(Write::Put(
                    documents.into_iter().map(|indexed| indexed.document).collect(),
                    receipt,
                    audit,
                ));
            }
            Write::Use(project, uses, audit) => {
                self.change_uses(project, &uses);
                audit.into_iter().for_each(|entry| self.record(entry.project, entry.record));
            }
            Write::Embed(model, embedded) => self.episodes.embed(&model, embedded),
            Write::Note(document) => {
                let document = Document { version: 1, deleted: false, ..*document };
                let key = (document.project, document.kind, document.id.clone());
                self.documents.insert(key, vec![document]);
            }
            Write::Erase(project, place) => _ = self.erase(project, &place),
            Write::Seal(seal) => self.seal(*seal),
            Write::Claim(node, keys) => {
                for key in keys {
                    if let Some(session) = self.sessions.get_mut(&key) {
                        session.holder = Some(node);
                    }
                }
            }
            Write::Lease(node, until) => {
                self.leases.insert(node, until);
            }
            Write::Release(node, key) => {
                if let Some(session) = self.sessions.get_mut(&key).filter(|s| s.holder == Some(node)) {
                    session.holder = None;
                }
            }
            Write::Retire(node) => {
                self.leases.remove(&node);
                for session in self.sessions.values_mut().filter(|session| session.holder == Some(node)) {
                    session.holder = None;
                }
            }
            Write::Blob(project, blob, payload, stamp) => {
                let kept = self.blobs.entry((project, blob)).or_insert((payload, stamp));
                kept.1 = kept.1.max(stamp);
            }
            Write::Forget(project, blobs) => {
                for blob in blobs {
                    self.blobs.remove(&(project, blob));
                }
            }
        }
    }

    fn append(&mut self, append: Append) {
        let key = append.head.key;
        if append.head.deleted {
            self.episodes.forget(key, 0);
        } else {
            self.episodes.put(key, append.gone.items_from, append.episodes);
        }
        let session = self.sessions.entry(key).or_insert_with(|| Session::new(append.head.clone()));
        if let Some(wake_at) = session.head.wake_at {
            self.wakes.remove(&(wake_at, key));
        }
        if let Some(wake_at) = append.head.wake_at {
            self.wakes.insert((wake_at, key));
        }
        session.holder = append.head.wake_at.and(append.holder.or(session.holder));
        session.head = append.head;
        for event in append.events {
            let version = session.version().plus(1);
            session.journal.push(Recorded { version, at: append.at, event });
        }
        if let Some(from) = append.gone.items_from {
            for item in session.items.split_off(&from).into_values() {
                session.ordinals.remove(&item.id);
            }
        }
        for turn in &append.gone.turns {
            session.turns.remove(turn);
        }
        for row in append.items {
            let ordinal = *session.ordinals.entry(row.item.id).or_insert(row.ordinal);
            session.items.insert(ordinal, row.item);
        }
        session.turns.extend(append.turns.into_iter().map(|turn| (turn.id, turn)));
        if let Some(bytes) = append.snapshot {
            session.snapshot = Some(Snapshot { version: session.version(), bytes });
        }
        self.put(append.documents);
        append.indexed.iter().for_each(|indexed| self.index.put(indexed));
        self.put(append.indexed.into_iter().map(|indexed| indexed.document).collect());
        for record in append.audit {
            self.record(key.project, record.to_bytes().into());
        }
        self.change_uses(key.project, &append.uses);
        for BudgetEntry { root, change } in append.budget {
            self.budgets.entry((key.project, root)).or_default().change(&change);
        }
        self.keep(append.receipt);
    }

    fn change_uses(&mut self, project: ProjectId, uses: &[UseEntry]) {
        for entry in uses {
            let standing = self.uses.entry((project, entry.budget)).or_default();
            entry.apply(standing).expect("checked before it was written");
        }
    }

    fn record(&mut self, project: ProjectId, record: Bytes) {
        self.positions += 1;
        self.unsealed.insert(self.positions, (project, record));
    }

    fn put(&mut self, documents: Vec<Document>) {
        for document in documents {
            let key = (document.project, document.kind, document.id.clone());
            self.documents.entry(key).or_default().push(document);
        }
    }

    fn keep(&mut self, receipt: Option<Receipt>) {
        if let Some(receipt) = receipt {
            self.receipts.insert((receipt.project, receipt.key.clone()), receipt);
        }
    }

    pub(super) fn keys(&self) -> Vec<SessionKey> {
        self.sessions.keys().copied().collect()
    }

    pub(super) fn load(&self, key: SessionKey) -> Option<Stored> {
        let session = self.sessions.get(&key)?;
        let folded = session.snapshot.as_ref().map_or(Version::ZERO, |snapshot| snapshot.version);
        let tail = session.after(folded).to_vec();
        Some(Stored { snapshot: session.snapshot.clone(), tail })
    }

    pub(super) fn events(&self, key: SessionKey, after: Version, limit: usize) -> Vec<Recorded> {
        let tail = self.sessions.get(&key).map_or(&[][..], |session| session.after(after));
        tail[..limit.min(tail.len())].to_vec()
    }

    pub(super) fn head(&self, key: SessionKey) -> Option<Head> {
        self.sessions.get(&key).map(|session| session.head.clone())
    }

    pub(super) fn sessions(
        &self,
        project: ProjectId,
        filter: &SessionFilter,
        page: &Page,
    ) -> Result<Vec<Head>, StoreError> {
        let after = parse_cursor::<SessionId>(page, "sessions")?;
        let heads = self.sessions.values().map(|session| &session.head).filter(|head| {
            head.key.project == project
                && !head.deleted
                && head.parent.is_none()
                && filter.agent_id.is_none_or(|agent| agent == head.agent_id)
                && filter.status.is_none_or(|status| status == head.status)
                && filter.metadata.iter().all(|(name, value)| head.metadata.get(name) == Some(value))
        });
        Ok(paged(heads, page, after.as_ref(), |head| head.key.session).into_iter().cloned().collect())
    }

    /// Sessions that are due at `now`, whoever holds them, earliest first.
    pub(super) fn due(&self, now: Timestamp) -> impl Iterator<Item = SessionKey> {
        self.wakes.iter().take_while(move |(wake_at, _)| *wake_at <= now).map(|(_, key)| *key)
    }

    /// Sessions that are due at `now` and that neither `node` nor a node alive at `clock` holds.
    pub(super) fn claimable(
        &self,
        node: NodeId,
        now: Timestamp,
        clock: u64,
        limit: usize,
        except: &[SessionKey],
    ) -> Vec<SessionKey> {
        let free = |key: &SessionKey| {
            let holder = self.sessions.get(key).and_then(|session| session.holder);
            holder.is_none_or(|holder| holder != node && !self.is_alive(holder, clock))
        };
        self.due(now).filter(free).filter(|key| !except.contains(key)).take(limit).collect()
    }

    pub(super) fn is_alive(&self, node: NodeId, clock: u64) -> bool {
        self.leases.get(&node).is_some_and(|until| *until > clock)
    }

    pub(super) fn alive(&self, clock: u64) -> usize {
        self.leases.values().filter(|until| **until > clock).count()
    }

    /// Who holds a session; the outer absence is a session that does not exist.
    pub(super) fn holder(&self, key: SessionKey) -> Option<Option<NodeId>> {
        self.sessions.get(&key).map(|session| session.holder)
    }

    pub(super) fn held(&self, node: NodeId) -> Vec<(SessionKey, Version)> {
        let held = self.sessions.iter().filter(|(_, session)| session.holder == Some(node));
        held.map(|(key, session)| (*key, session.version())).collect()
    }

    pub(super) fn due_documents(&self, kind: DocumentKind, now: Timestamp, limit: usize) -> Vec<Document> {
        let latest = self.documents.values().filter_map(|versions| versions.last());
        let due = |document: &&Document| {
            document.kind == kind && !document.deleted && document.wake_at.is_some_and(|at| at <= now)
        };
        let mut due: Vec<_> = latest.filter(due).collect();
        due.sort_by_key(|document| document.wake_at);
        due.into_iter().take(limit).cloned().collect()
    }

    pub(super) fn budget_uses(&self, project: ProjectId, budgets: &[BudgetId]) -> Vec<BudgetUse> {
        let standing = |id: &BudgetId| self.uses.get(&(project, *id)).copied().unwrap_or_default();
        budgets.iter().map(standing).collect()
    }

    pub(super) fn budget(&self, project: ProjectId, root: SessionId) -> Budget {
        self.budgets.get(&(project, root)).map(Ledger::to_budget).unwrap_or_default()
    }

    pub(super) fn items(
        &self,
        key: SessionKey,
        turn: Option<TurnId>,
        page: &Page,
    ) -> Result<Vec<Item>, StoreError> {
        let session = self.sessions.get(&key);
        let after = match &page.after {
            None => None,
            Some(text) => {
                let ordinal = text
                    .parse()
                    .ok()
                    .and_then(|id: ItemId| session.and_then(|session| session.ordinals.get(&id)));
                Some(*ordinal.ok_or_else(|| unknown_cursor(text, "items"))?)
            }
        };
        let items = session
            .into_iter()
            .flat_map(|session| &session.items)
            .filter(|(_, item)| item.is_public() && turn.is_none_or(|turn| turn == item.turn_id));
        let items = paged(items, page, after.as_ref(), |(ordinal, _)| **ordinal);
        Ok(items.into_iter().map(|(_, item)| item.clone()).collect())
    }

    pub(super) fn turns(&self, key: SessionKey, page: &Page) -> Result<Vec<Turn>, StoreError> {
        let after = parse_cursor::<TurnId>(page, "turns")?;
        let turns = self.sessions.get(&key).into_iter().flat_map(|session| session.turns.values());
        Ok(paged(turns, page, after.as_ref(), |turn| turn.id).into_iter().cloned().collect())
    }

    pub(super) fn turn(&self, key: SessionKey, turn: TurnId) -> Option<Turn> {
        self.sessions.get(&key)?.turns.get(&turn).cloned()
    }

    pub(super) fn document(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        id: &str,
        version: Option<u64>,
    ) -> Option<Document> {
        let versions = self.documents.get(&(project, kind, id.to_owned()))?;
        match version {
            Some(version) => versions.iter().find(|document| document.version == version).cloned(),
            None => versions.last().filter(|document| !document.deleted).cloned(),
        }
    }

    pub(super) fn documents(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        name: Option<&str>,
        page: &Page,
    ) -> Vec<Document> {
        let is_wanted =
            |document: &&Document| !document.deleted && (name.is_none() || document.name.as_deref() == name);
        let documents = self.latest_of(project, kind).filter(is_wanted);
        let page_of = paged(documents, page, page.after.as_deref().as_ref(), |document| document.id.as_str());
        page_of.into_iter().cloned().collect()
    }

    pub(super) fn documents_telling(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        text: &str,
    ) -> Vec<String> {
        let tells = |document: &Document| {
            document.name.as_deref().is_some_and(|name| name.contains(text))
                || document.body.to_string().contains(text)
        };
        let of_kind = self.documents.iter().filter(|((of, is, _), _)| (*of, *is) == (project, kind));
        let telling = of_kind.filter(|(_, versions)| versions.iter().any(tells));
        telling.map(|((_, _, id), _)| id.clone()).collect()
    }

    pub(super) fn deleted_documents(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        page: &Page,
    ) -> Vec<Document> {
        let documents = self.latest_of(project, kind).filter(|document| document.deleted);
        let page_of = paged(documents, page, page.after.as_deref().as_ref(), |document| document.id.as_str());
        page_of.into_iter().cloned().collect()
    }

    /// The latest version of every document of a kind, deleted ones among them, ordered by id.
    fn latest_of(&self, project: ProjectId, kind: DocumentKind) -> impl Iterator<Item = &Document> {
        let from = Bound::Included((project, kind, String::new()));
        self.documents
            .range((from, Bound::Unbounded))
            .take_while(move |((of, is, _), _)| (*of, *is) == (project, kind))
            .filter_map(|(_, versions)| versions.last())
    }

    pub(super) fn blob(&self, project: ProjectId, blob: BlobRef) -> Option<Bytes> {
        self.blobs.get(&(project, blob)).map(|(payload, _)| payload.clone())
    }

    pub(super) fn blob_by_digest(&self, project: ProjectId, digest: [u8; 32]) -> Option<Bytes> {
        let blobs = [BlobRef::from_parts(digest, 0), BlobRef::from_parts(digest, u64::MAX)];
        let [first, last] = blobs.map(|blob| (project, blob));
        self.blobs.range(first..=last).next().map(|(_, (payload, _))| payload.clone())
    }

    /// Payloads last kept before `before`, after `after`.
    pub(super) fn old_blobs(
        &self,
        before: Stamp,
        after: Option<(ProjectId, BlobRef)>,
        limit: usize,
    ) -> Vec<(ProjectId, BlobRef)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let after = self.blobs.range((from, Bound::Unbounded));
        after.filter(|(_, (_, stamp))| *stamp < before).take(limit).map(|(key, _)| *key).collect()
    }

    pub(super) fn stamp_of(&self, project: ProjectId, blob: BlobRef) -> Option<Stamp> {
        self.blobs.get(&(project, blob)).map(|(_, stamp)| *stamp)
    }

    pub(super) fn receipt(&self, project: ProjectId, key: &str) -> Option<Receipt> {
        self.receipts.get(&(project, key.to_owned())).cloned()
    }
}

impl Ledger {
    fn change(&mut self, change: &BudgetChange) {
        match change {
            BudgetChange::Limit(limit) => self.limit = *limit,
            BudgetChange::Reserve { key, nano_usd } => {
                self.reserved.insert(key.clone(), *nano_usd);
            }
            BudgetChange::Settle { key, nano_usd } => {
                self.reserved.remove(key);
                self.spent = self.spent.saturating_add(*nano_usd);
            }
        }
    }

    fn is_exceeded(&self) -> bool {
        let budget = self.to_budget();
        let used = budget.spent_nano_usd.saturating_add(budget.reserved_nano_usd);
        self.limit.is_some_and(|limit| used > limit)
    }

    fn to_budget(&self) -> Budget {
        Budget {
            limit_nano_usd: self.limit,
            spent_nano_usd: self.spent,
            reserved_nano_usd: self.reserved.values().fold(0, |sum, amount| sum.saturating_add(*amount)),
        }
    }
}

impl Session {
    fn new(head: Head) -> Self {
        Self {
            head,
            holder: None,
            journal: Vec::new(),
            snapshot: None,
            items: BTreeMap::new(),
            ordinals: HashMap::new(),
            turns: BTreeMap::new(),
        }
    }

    fn version(&self) -> Version {
        Version::ZERO.plus(self.journal.len())
    }

    fn after(&self, version: Version) -> &[Recorded] {
        let skipped = usize::try_from(version.0).unwrap_or(usize::MAX).min(self.journal.len());
        &self.journal[skipped..]
    }
}

fn parse_cursor<Id: std::str::FromStr>(page: &Page, what: &str) -> Result<Option<Id>, StoreError> {
    match &page.after {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| unknown_cursor(text, what)),
    }
}

/// Of `rows` in ascending order of `place`, those of the page in the page's order.
fn paged<T, K: Ord>(
    rows: impl Iterator<Item = T>,
    page: &Page,
    after: Option<&K>,
    place: impl Fn(&T) -> K,
) -> Vec<T> {
    let follows = |row: &T| match (after, page.order) {
        (None, _) => true,
        (Some(after), Order::Ascending) => place(row) > *after,
        (Some(after), Order::Descending) => place(row) < *after,
    };
    let mut rows: Vec<T> = rows.filter(follows).collect();
    match page.order {
        Order::Ascending => {}
        Order::Descending => rows.reverse(),
    }
    rows.truncate(page.limit);
    rows
}
