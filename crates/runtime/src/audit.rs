//! Sealing audit logs: records that came with events become part of their project's log, under a signed
//! checkpoint.
//!
//! ```text
//!   append with records ──▶ unsealed ──▶ take up to RECORDS_AT_ONCE, grow the tree, sign ──▶ seal ──▶ again
//! ```
//!
//! Every node seals, and the store lets one of two that seal the same log go on; the other looks again. A process
//! that dies anywhere here leaves its records unsealed, for the next to take. Before a log is gone on with, what is
//! kept of it is compared to its newest checkpoint: a log that was changed is never signed anew.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tenure_audit::{
    Checkpoint, Evidence, Hash, SigningKey, TILE_WIDTH, TileId, Tiles, Tree, VerifierKey, inclusion,
};
use tenure_journal::{
    DigestKey, ProjectId, RequestFact, RequestKind, RequestOutcome, RequestRecord, Timestamp, json,
};
use tenure_store::{AuditEntry, Document, Seal, Sealed, Store, StoreError, StoreErrorKind, Unsealed};
use tokio::sync::{Notify, mpsc};

use crate::handle::Shared;
use crate::{Runtime, RuntimeError, RuntimeErrorKind};

/// How long records may wait, so that one checkpoint covers many.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a node looks for what others left.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Records that are sealed in one transaction.
const RECORDS_AT_ONCE: usize = 4_096;
/// How often one request seals before it gives up: each time it takes up to [`RECORDS_AT_ONCE`], or another node was
/// faster.
const ROUNDS_MAX: usize = 256;
/// Trees that are kept in memory, so that sealing reads nothing of the log.
const TREES_MAX: usize = 1_024;
/// What the name of a log begins with; its project follows.
const ORIGIN: &str = "tenure";

/// A project's audit log, to be read.
pub struct AuditLog {
    /// The project.
    pub project: ProjectId,
    /// What checks its checkpoints.
    pub key: VerifierKey,
    /// The newest checkpoint; `None` before the first record.
    pub sealed: Option<Sealed>,
}

impl Runtime {
    /// The project's audit log as it stands.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn audit_log(&self, project: ProjectId) -> Result<AuditLog, RuntimeError> {
        let shared = self.shared();
        let sealed = shared.store.sealed(project, u64::MAX).await?;
        Ok(AuditLog { project, key: shared.signing_key(project).verifier(), sealed })
    }

    /// Evidence that record `index` is in the log, under its newest checkpoint; `None` if the log has no such
    /// record.
    ///
    /// # Errors
    /// `Storage`; `Damaged`: the log's tiles are not what they were.
    pub async fn audit_evidence(
        &self,
        project: ProjectId,
        index: u64,
    ) -> Result<Option<Evidence>, RuntimeError> {
        let store = &*self.shared().store;
        let Some(Sealed { size, checkpoint }) = store.sealed(project, u64::MAX).await? else {
            return Ok(None);
        };
        if index >= size {
            return Ok(None);
        }
        let mut tiles = Loaded::default();
        for id in on_the_way(size, index) {
            tiles.load(store, project, id).await?;
        }
        let path = inclusion(&tiles, size, index).map_err(|_| RuntimeErrorKind::Damaged)?;
        Ok(path.map(|path| Evidence { index, path, checkpoint }))
    }

    /// Tells this node that records wait to be sealed, which were written beside a session.
    pub fn records_wait(&self) {
        self.shared().unsealed.tell();
    }

    /// Seals what of the project was appended before.
    ///
    /// # Errors
    /// `Storage`; `Damaged`: the log was changed, and is not gone on with.
    pub async fn seal_audit(&self, project: ProjectId) -> Result<(), RuntimeError> {
        let mut trees = Trees::default();
        for _ in 0..ROUNDS_MAX {
            if !trees.seal(self.shared()).await? {
                let damaged = trees.damaged.contains(&project);
                return if damaged { Err(RuntimeErrorKind::Damaged.into()) } else { Ok(()) };
            }
        }
        Err(RuntimeErrorKind::Storage.into())
    }
}

/// Records of reads that may wait to be written; who reads more has to wait for them.
pub(crate) const READS_MAX: usize = 4_096;
/// Records of reads that are written in one transaction.
const READS_AT_ONCE: usize = 256;

impl Runtime {
    /// Has a record written a moment later, together with others: for reads, of which a process that dies may lose
    /// the last. Waits while too many wait. Cancelling it before it returns may lose the record.
    pub async fn record_soon(&self, entry: AuditEntry) {
        if self.shared().reads.send(entry).await.is_err() {
            tracing::warn!("a record is not written: the server is ending");
        }
    }

    /// Writes a record of what was done. Durable when it returns.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn record(&self, entry: AuditEntry) -> Result<(), RuntimeError> {
        self.shared().store.put_recorded(Vec::new(), None, vec![entry]).await?;
        self.records_wait();
        Ok(())
    }
}

/// Writes records of reads until the runtime closes, as many together as wait.
pub(crate) async fn write_reads(shared: Arc<Shared>, mut reads: mpsc::Receiver<AuditEntry>) {
    let mut entries = Vec::new();
    loop {
        tokio::select! {
            biased;
            count = reads.recv_many(&mut entries, READS_AT_ONCE) => if count == 0 { return },
            // Nobody is answered any more: what waited was written before.
            () = shared.stop.cancelled() => return,
        }
        while let Err(error) = shared.store.put_recorded(Vec::new(), None, entries.clone()).await {
            tracing::error!(%error, "records of what was read cannot be written; trying again");
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = shared.stop.cancelled() => return,
            }
        }
        entries.clear();
        shared.unsealed.tell();
    }
}

/// The records of documents that somebody changes, to be written with them: `agent.update`, with the document's id
/// and the digest of what it says from now on, keyed with what `key` gives for the project.
#[must_use]
pub fn changes(
    by: &str,
    at: Timestamp,
    documents: &[Document],
    key: impl Fn(ProjectId) -> Option<DigestKey>,
) -> Vec<AuditEntry> {
    let record = |document: &Document| {
        let verb = match (document.deleted, document.version) {
            (true, _) => "delete",
            (false, 1) => "create",
            (false, _) => "update",
        };
        let fact = RequestFact {
            kind: RequestKind::Changed,
            action: format!("{}.{verb}", document.kind.as_str()),
            resource: document.id.clone(),
            arguments: DigestKey::show(key(document.project).as_ref(), &json::digest(&document.body)),
            by: by.to_owned(),
            outcome: RequestOutcome::Done,
        };
        let record = RequestRecord { at, project: document.project, fact };
        AuditEntry { project: document.project, record: record.to_bytes().into() }
    };
    documents.iter().map(record).collect()
}

/// Tells the sealing task that records wait.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Notify);

impl Waiting {
    pub(crate) fn tell(&self) {
        self.0.notify_one();
    }
}

/// Seals what is appended until the runtime closes.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut trees = Trees::default();
    loop {
        match trees.seal(&shared).await {
            Ok(true) if !shared.stop.is_cancelled() => continue,
            Ok(_) => {}
            Err(error) => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, source, "the audit log cannot be gone on with");
                trees = Trees::default();
            }
        }
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = shared.unsealed.0.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        tokio::select! {
            // Then what came last is sealed at once; what is not is for the next start.
            () = shared.stop.cancelled() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// What a node knows of the logs it sealed last.
#[derive(Default)]
struct Trees {
    /// Their right edges.
    edges: HashMap<ProjectId, Tree>,
    /// Logs that were changed: nothing more is signed for them, and they hold up no other.
    damaged: Vec<ProjectId>,
}

impl Trees {
    /// Seals what waits, up to [`RECORDS_AT_ONCE`]. Returns whether more may wait.
    async fn seal(&mut self, shared: &Shared) -> Result<bool, RuntimeError> {
        let waiting = shared.store.unsealed(&self.damaged, RECORDS_AT_ONCE).await?;
        let mut more = waiting.len() == RECORDS_AT_ONCE;
        let mut projects: BTreeMap<ProjectId, Vec<Unsealed>> = BTreeMap::new();
        for unsealed in waiting {
            projects.entry(unsealed.project).or_default().push(unsealed);
        }
        for (project, records) in projects {
            match self.seal_one(shared, project, &records).await {
                Err(error) if *error.kind() == RuntimeErrorKind::Damaged => {
                    tracing::error!(%project, "the audit log is not what its checkpoint was signed for");
                    self.damaged.push(project);
                }
                sealed => more |= !sealed?,
            }
        }
        Ok(more)
    }

    /// Seals records of one project. Returns whether it did: otherwise another was faster, and whatever it left is
    /// to be looked for.
    async fn seal_one(
        &mut self,
        shared: &Shared,
        project: ProjectId,
        records: &[Unsealed],
    ) -> Result<bool, RuntimeError> {
        let key = shared.signing_key(project);
        let mut tree = match self.edges.remove(&project) {
            Some(tree) => tree,
            None => resume(&*shared.store, project, &key.verifier()).await?,
        };
        let expected = tree.size();
        let mut tiles = Vec::new();
        for unsealed in records {
            tree.push(Hash::of_record(&unsealed.record), &mut tiles);
        }
        tiles.extend(tree.partial_tiles());
        let checkpoint =
            Checkpoint { origin: key.verifier().name().to_owned(), size: tree.size(), root: tree.root() };
        let seal = Seal {
            project,
            expected,
            records: records.iter().map(|unsealed| (unsealed.position, unsealed.record.clone())).collect(),
            tiles: tiles
                .iter()
                .map(|tile| (tile.id.level(), tile.id.index(), Bytes::from(tile.to_bytes())))
                .collect(),
            checkpoint: checkpoint.sign(&key).expect("the name of a log can stand in a note"),
        };
        match shared.store.seal(seal).await {
            Ok(()) => {
                if self.edges.len() >= TREES_MAX {
                    self.edges.clear();
                }
                self.edges.insert(project, tree);
                Ok(true)
            }
            Err(error) => {
                let StoreErrorKind::Conflict { actual } = error.kind() else { return Err(error.into()) };
                // Size and checkpoint are written together, so a log that is longer than its newest checkpoint was
                // changed, and nobody would ever be faster.
                let newest = shared.store.sealed(project, u64::MAX).await?.map_or(0, |sealed| sealed.size);
                if newest < actual.0 { Err(RuntimeErrorKind::Damaged.into()) } else { Ok(false) }
            }
        }
    }
}

/// The right edge of a log, if it is what its newest checkpoint was signed for.
async fn resume(store: &dyn Store, project: ProjectId, key: &VerifierKey) -> Result<Tree, RuntimeError> {
    let Some(Sealed { size, checkpoint }) = store.sealed(project, u64::MAX).await? else {
        return Ok(Tree::new());
    };
    let mut tiles = Loaded::default();
    for id in Tree::edge(size) {
        tiles.load(store, project, id).await?;
    }
    let tree = Tree::resume(size, &tiles).map_err(|_| RuntimeErrorKind::Damaged)?;
    let signed = Checkpoint::open(&checkpoint, key).map_err(|_| RuntimeErrorKind::Damaged)?;
    if (signed.size, signed.root) != (tree.size(), tree.root()) {
        return Err(RuntimeErrorKind::Damaged.into());
    }
    Ok(tree)
}

/// The tiles that a proof for record `index` is made of: on each level, the one above the record and the last.
fn on_the_way(size: u64, index: u64) -> Vec<TileId> {
    let mut ids = Vec::new();
    let (mut own, mut level) = (index / TILE_WIDTH, 0);
    while let Some(id) = TileId::of(size, level, own) {
        ids.push(id);
        own /= TILE_WIDTH;
        level += 1;
    }
    ids.extend(Tree::edge(size));
    ids
}

/// Tiles that were read.
#[derive(Default)]
struct Loaded(HashMap<TileId, Vec<Hash>>);

impl Loaded {
    async fn load(&mut self, store: &dyn Store, project: ProjectId, id: TileId) -> Result<(), StoreError> {
        let kept = store.audit_tile(project, id.level(), id.index()).await?.unwrap_or_default();
        let mut hashes = Hash::many(&kept).unwrap_or_default();
        hashes.truncate(usize::try_from(id.width()).unwrap_or(usize::MAX));
        self.0.insert(id, hashes);
        Ok(())
    }
}

/// A tile is not kept, or not whole.
#[derive(Debug, thiserror::Error)]
#[error("the tile is not kept")]
struct NotKept;

impl Tiles for Loaded {
    type Error = NotKept;

    fn tile(&self, id: TileId) -> Result<Vec<Hash>, NotKept> {
        self.0.get(&id).cloned().ok_or(NotKept)
    }
}

impl Shared {
    /// The key of a project's log: of this installation, and of no other log. It follows from the installation's
    /// key, so every node has it and there is no further file to keep.
    pub(crate) fn signing_key(&self, project: ProjectId) -> SigningKey {
        let origin = format!("{ORIGIN}/{project}");
        SigningKey::new(&origin, &self.sealer.derived(&format!("audit log {origin}")))
            .expect("a project's id can stand in a name")
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Tiles that say which of them a proof asks for.
    #[derive(Default)]
    struct Asked(RefCell<Vec<TileId>>);

    impl Tiles for Asked {
        type Error = NotKept;

        fn tile(&self, id: TileId) -> Result<Vec<Hash>, NotKept> {
            self.0.borrow_mut().push(id);
            Ok(vec![Hash::of_nothing(); usize::try_from(id.width()).expect("small")])
        }
    }

    #[test]
    fn a_proof_asks_for_nothing_that_is_not_loaded() {
        for size in [1_u64, 2, 255, 256, 257, 600, 65_535, 65_536, 65_537, 70_000, 16_777_216, 20_000_000] {
            for index in [0, 1, size / 3, size / 2, size.saturating_sub(257), size - 1] {
                let Some(index) = Some(index).filter(|index| *index < size) else { continue };
                let asked = Asked::default();
                inclusion(&asked, size, index).expect("kept").expect("inside");
                let loaded = on_the_way(size, index);
                for id in asked.0.into_inner() {
                    assert!(loaded.contains(&id), "{id} for record {index} of {size}");
                }
            }
        }
    }
}
