//! Collecting payloads that nobody refers to: chunks of snapshots that were never committed, and what deleted
//! sessions leave.
//!
//! The rule, and why nothing that is referred to is ever forgotten, is at [`tenure_store`]. What this module
//! adds is what refers: the journals of all sessions, with every version of their files, because a session can
//! go back to any; and documents, in which every text that has the form of a reference is taken for one. A
//! session counts until it has been deleted for the grace, so that a fork that was just being made is in a
//! journal of its own before the one it comes from is no longer read.
//!
//! It costs what all journals are long. Nothing is written but the removals, a node may die at any line of it,
//! and nodes may collect at once.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tenure_journal::{BlobRef, Event, ProjectId, Reference, SessionKey, Timestamp, Version, WorkspaceRoot};
use tenure_store::{DocumentKind, Order, Page, Stamp, StoreErrorKind};
use tenure_workspace::{Digest, Error, ErrorKind, Reach};
use tokio::runtime::Handle;

use crate::environments::StoreChunks;
use crate::handle::Shared;
use crate::{Runtime, RuntimeError};

/// How often a server collects.
const EVERY: Duration = Duration::from_secs(24 * 3600);
/// How long after the start it first does: a server that is started often collects all the same.
const FIRST: Duration = Duration::from_secs(3600);
/// How old a payload is that is collected, where nothing is said.
pub const GRACE: Duration = Duration::from_secs(24 * 3600);
/// The least that may be said on a server at work: longer than anyone may take between keeping a payload and
/// referring to it, and than clocks of nodes may differ.
pub const GRACE_MIN: Duration = Duration::from_secs(3600);
/// How long an attempt may take to write its snapshot, from its first chunk on.
pub(crate) const SNAPSHOT_MAX: Duration = Duration::from_secs(15 * 60);
/// How long an outcome may wait to be stored before it is given up, as if its process had ended.
pub(crate) const OUTCOME_WAIT_MAX: Duration = Duration::from_secs(30 * 60);

/// Things read at once.
const PAGE: usize = 256;

const _: () = assert!(
    SNAPSHOT_MAX.as_secs() + OUTCOME_WAIT_MAX.as_secs() + 2 * crate::fork::READ_MAX.as_secs()
        <= GRACE_MIN.as_secs(),
    "what is kept is referred to within the grace"
);

/// What was collected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Sessions whose journals were read.
    pub sessions: u64,
    /// Payloads that were looked at because they are old enough.
    pub old: u64,
    /// Payloads that nobody refers to, and that are gone.
    pub forgotten: u64,
    /// Their bytes.
    pub forgotten_bytes: u64,
    /// Projects of which nothing was collected, because something their sessions refer to is missing.
    pub left: u64,
}

impl Runtime {
    /// Forgets payloads, of one project or of all, that nobody refers to and that were last kept longer ago than
    /// `grace`. A second call waits for the first.
    ///
    /// While anything is at work, `grace` must be [`GRACE_MIN`] at least.
    ///
    /// # Errors
    /// `Storage`; `Damaged`: a journal cannot be read, and nothing more was collected.
    pub async fn collect(
        &self,
        project: Option<ProjectId>,
        grace: Duration,
    ) -> Result<Collected, RuntimeError> {
        self.shared().collect(project, grace).await
    }
}

/// Collects from time to time, until the server stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut pause = FIRST;
    loop {
        tokio::select! {
            () = shared.closing.cancelled() => return,
            () = tokio::time::sleep(pause) => pause = EVERY,
        }
        let collected = tokio::select! {
            () = shared.closing.cancelled() => return,
            collected = shared.collect(None, GRACE) => collected,
        };
        match collected {
            Ok(Collected { sessions, old, forgotten, forgotten_bytes, left }) => {
                tracing::info!(sessions, old, forgotten, forgotten_bytes, left, "collected payloads");
            }
            Err(error) => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, source, "payloads cannot be collected now");
            }
        }
    }
}

/// What the sessions and documents of one project refer to.
#[derive(Default)]
struct Referred {
    digests: HashSet<[u8; 32]>,
    /// Trees that journals name: each is whole.
    trees: BTreeSet<WorkspaceRoot>,
    /// Texts of documents that may name a tree, or look as if they did.
    maybe: BTreeSet<WorkspaceRoot>,
}

impl Shared {
    /// Forgets what an erasure leaves, that was last kept longer ago than `grace`. A grace of nothing is for who knows
    /// that nobody is between keeping a payload and referring to it. Deleted sessions count as long as ever.
    pub(crate) async fn collect_erased(
        self: &Arc<Self>,
        project: ProjectId,
        grace: Duration,
    ) -> Result<Collected, RuntimeError> {
        self.collect_within(Some(project), grace, GRACE).await
    }

    async fn collect(
        self: &Arc<Self>,
        project: Option<ProjectId>,
        grace: Duration,
    ) -> Result<Collected, RuntimeError> {
        self.collect_within(project, grace, grace).await
    }

    /// Forgets what was last kept longer ago than `grace`. A session that has been deleted for less than `dead` counts
    /// as one that is not.
    async fn collect_within(
        self: &Arc<Self>,
        project: Option<ProjectId>,
        grace: Duration,
        dead: Duration,
    ) -> Result<Collected, RuntimeError> {
        let _one = self.collecting.lock().await;
        // The order matters: first the stamp, then what is read, then what is forgotten.
        let before = self.store.stamp().await?.before(grace);
        let millis = i64::try_from(dead.as_millis()).unwrap_or(i64::MAX);
        let dead = Timestamp::from_millis(self.clock.now().as_millis().saturating_sub(millis));
        let mut collected = Collected::default();
        let old = self.old_blobs(project, before).await?;
        let sessions = self.sessions_of(&old).await?;
        for (project, blobs) in old {
            collected.old += blobs.len() as u64;
            let keys = sessions.get(&project).map_or(&[][..], Vec::as_slice);
            let referred = self.referred(project, keys, dead, &mut collected).await?;
            match self.reached(project, referred).await {
                Ok(live) => self.forget(project, &blobs, &live, before, &mut collected).await?,
                Err(error) => {
                    tracing::error!(%project, %error, "nothing of a project is collected: its files are damaged");
                    collected.left += 1;
                }
            }
        }
        Ok(collected)
    }

    async fn old_blobs(
        &self,
        project: Option<ProjectId>,
        before: Stamp,
    ) -> Result<BTreeMap<ProjectId, Vec<BlobRef>>, RuntimeError> {
        let mut old: BTreeMap<ProjectId, Vec<BlobRef>> = BTreeMap::new();
        let mut after = None;
        loop {
            let page = self.store.old_blobs(before, after, PAGE).await?;
            let Some(last) = page.last().copied() else { return Ok(old) };
            after = Some(last);
            for (of, blob) in page {
                if project.is_none_or(|project| project == of) {
                    old.entry(of).or_default().push(blob);
                }
            }
        }
    }

    async fn sessions_of(
        &self,
        old: &BTreeMap<ProjectId, Vec<BlobRef>>,
    ) -> Result<BTreeMap<ProjectId, Vec<SessionKey>>, RuntimeError> {
        let mut sessions: BTreeMap<ProjectId, Vec<SessionKey>> = BTreeMap::new();
        let mut after = None;
        loop {
            let page = self.store.every_session(after, PAGE).await?;
            let Some(last) = page.last().copied() else { return Ok(sessions) };
            after = Some(last);
            for key in page.into_iter().filter(|key| old.contains_key(&key.project)) {
                sessions.entry(key.project).or_default().push(key);
            }
        }
    }

    async fn referred(
        &self,
        project: ProjectId,
        sessions: &[SessionKey],
        dead: Timestamp,
        collected: &mut Collected,
    ) -> Result<Referred, RuntimeError> {
        let mut referred = Referred::default();
        for key in sessions {
            let head = self.store.head(*key).await?;
            if head.as_ref().is_some_and(|head| head.deleted && head.last_active_at < dead) {
                continue;
            }
            collected.sessions += 1;
            let head_is_old = head.is_some_and(|head| head.last_active_at < dead);
            let (mut version, mut own, mut expired) = (Version::ZERO, Vec::new(), false);
            loop {
                let events = self.store.events(*key, version, PAGE).await?;
                let Some(last) = events.last() else { break };
                version = last.version;
                for recorded in &events {
                    expired |= matches!(recorded.event, Event::EnvironmentExpired);
                    recorded.event.references(&mut |reference| own.push(reference));
                }
            }
            // An environment that expired is never a session's: its row is only still listed.
            if expired && head_is_old {
                continue;
            }
            for reference in own {
                match reference {
                    Reference::Blob(blob) => _ = referred.digests.insert(*blob.digest()),
                    Reference::Tree(root) => _ = referred.trees.insert(root),
                }
            }
        }
        for kind in DocumentKind::ALL.into_iter().filter(|kind| may_refer(*kind)) {
            self.documents_refer(project, kind, &mut referred).await?;
        }
        Ok(referred)
    }

    /// Every version of every document that is not deleted.
    async fn documents_refer(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        referred: &mut Referred,
    ) -> Result<(), RuntimeError> {
        let mut page = Page { after: None, limit: PAGE, order: Order::Ascending };
        loop {
            let documents = self.store.documents(project, kind, None, &page).await?;
            let Some(last) = documents.last() else { return Ok(()) };
            page.after = Some(last.id.clone());
            for document in documents {
                referred.look_into(&document.body);
                for version in 1..document.version {
                    let earlier = self.store.document(project, kind, &document.id, Some(version)).await?;
                    earlier.iter().for_each(|earlier| referred.look_into(&earlier.body));
                }
            }
        }
    }

    /// The digests of everything that is referred to, and of what that leads to.
    async fn reached(
        self: &Arc<Self>,
        project: ProjectId,
        referred: Referred,
    ) -> Result<HashSet<[u8; 32]>, Error> {
        let chunks = StoreChunks::new(Arc::clone(&self.store), project, Handle::current());
        let digest = |root: &WorkspaceRoot| Digest::from_bytes(*root.digest());
        let reach = move || {
            let mut reach = Reach::of(&chunks);
            for root in &referred.maybe {
                match reach.add(&digest(root)) {
                    Ok(()) => {}
                    // A text that only looks like a root leads nowhere.
                    Err(error) => match error.kind() {
                        ErrorKind::Missing(_) | ErrorKind::Corrupt(_) | ErrorKind::Manifest(_) => {}
                        ErrorKind::NotFound
                        | ErrorKind::Exists
                        | ErrorKind::NotADirectory
                        | ErrorKind::NotAFile
                        | ErrorKind::Link
                        | ErrorKind::Path(_)
                        | ErrorKind::Limit(_)
                        | ErrorKind::Archive(_)
                        | ErrorKind::Busy
                        | ErrorKind::Chunks
                        | ErrorKind::Io => return Err(error),
                    },
                }
            }
            for root in &referred.trees {
                reach.add(&digest(root))?;
            }
            let mut live = referred.digests;
            live.extend(reach.into_digests().iter().map(|digest| *digest.as_bytes()));
            Ok(live)
        };
        let reached = tokio::task::spawn_blocking(reach).await;
        reached.unwrap_or_else(|_| Err(Error::from(std::io::Error::other("looking at files panicked"))))
    }

    async fn forget(
        &self,
        project: ProjectId,
        blobs: &[BlobRef],
        live: &HashSet<[u8; 32]>,
        before: Stamp,
        collected: &mut Collected,
    ) -> Result<(), RuntimeError> {
        let garbage: Vec<BlobRef> =
            blobs.iter().filter(|blob| !live.contains(blob.digest())).copied().collect();
        for part in garbage.chunks(PAGE) {
            let forgotten = match self.store.forget_blobs(project, part, before).await {
                Ok(forgotten) => forgotten,
                Err(error) if error.kind() == StoreErrorKind::OlderNodes => {
                    tracing::info!(%error, "nothing is collected while an older release runs");
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            };
            collected.forgotten += forgotten.len() as u64;
            collected.forgotten_bytes += forgotten.iter().map(BlobRef::bytes).sum::<u64>();
        }
        Ok(())
    }
}

impl Referred {
    /// Takes every text that has the form of a reference for one. Being wrong keeps a payload.
    fn look_into(&mut self, value: &Value) {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
            Value::String(text) => {
                if let Ok(blob) = text.parse::<BlobRef>() {
                    self.digests.insert(*blob.digest());
                } else if let Ok(root) = text.parse::<WorkspaceRoot>() {
                    self.maybe.insert(root);
                }
            }
            Value::Array(values) => values.iter().for_each(|value| self.look_into(value)),
            Value::Object(members) => members.values().for_each(|value| self.look_into(value)),
        }
    }
}

/// Whether documents of a kind may refer to payloads. Being wrong one way costs time, the other way files.
fn may_refer(kind: DocumentKind) -> bool {
    match kind {
        DocumentKind::Agent
        | DocumentKind::Project
        | DocumentKind::Automation
        | DocumentKind::Template
        | DocumentKind::File
        | DocumentKind::Skill
        | DocumentKind::SkillVersion => true,
        DocumentKind::Key
        | DocumentKind::Secret
        | DocumentKind::Request
        | DocumentKind::Invocation
        | DocumentKind::Webhook
        | DocumentKind::Delivery
        | DocumentKind::Split
        | DocumentKind::Environment
        | DocumentKind::KeyUse
        | DocumentKind::Freeze
        | DocumentKind::Person
        | DocumentKind::PolicySet
        | DocumentKind::Policies
        | DocumentKind::Erasure
        | DocumentKind::Fact
        | DocumentKind::PinnedBlock
        | DocumentKind::Procedure
        | DocumentKind::ProcedureProposal
        | DocumentKind::MemorySettings
        | DocumentKind::Budget
        | DocumentKind::Fork
        | DocumentKind::Vault
        | DocumentKind::Credential
        | DocumentKind::DataKey
        | DocumentKind::SignIn
        | DocumentKind::LostSignIn => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_are_taken_at_their_word() {
        let blob = BlobRef::of(b"a");
        let root = WorkspaceRoot::new([7; 32]);
        let mut referred = Referred::default();
        referred.look_into(&json!({
            "files": [{"blob": blob.to_string()}], "root": root.to_string(),
            "said": format!("about {blob}"), "n": 1,
        }));
        assert_eq!(referred.digests, HashSet::from([*blob.digest()]));
        assert_eq!(referred.maybe, BTreeSet::from([root]));
    }
}
