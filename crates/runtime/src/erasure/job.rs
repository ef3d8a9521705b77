//! An erasure as a document: what is left to do, then what was done.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tenure_journal::{ErasureId, FactId, FileId, ProjectId, SessionId, Timestamp};
use tenure_store::{Document, DocumentKind, Gone};

use super::places::Seen;
use super::{Erasure, Forget};
use crate::collect::Collected;
use crate::handle::Shared;
use crate::{RuntimeError, RuntimeErrorKind};

/// Texts of whom it is about that are looked for afterwards, beside those that the request names.
const SAID_MAX: usize = 8;
/// Bytes of such a text at least: what is shorter, others may have said as well.
const SAID_BYTES_MIN: usize = 24;

/// How far an erasure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErasurePhase {
    /// Sessions are stopped, and their rows removed.
    Sessions,
    /// Payloads that nobody refers to any more are removed.
    Payloads,
    /// What was removed is made unreadable.
    Scrub,
    /// What is left is looked for, and the receipt signed.
    Receipt,
    /// There is a receipt.
    Done,
}

impl ErasurePhase {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Payloads => "payloads",
            Self::Scrub => "scrub",
            Self::Receipt => "receipt",
            Self::Done => "done",
        }
    }
}

/// What was asked for, without saying who it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Asked {
    /// Everything of a user.
    Subject {
        /// The keyed digest of the user's name.
        digest: String,
    },
    /// One session.
    Session {
        /// Which.
        session: SessionId,
    },
    /// An uploaded file, and the sessions that were given it.
    File {
        /// Which.
        file: FileId,
    },
    /// One fact.
    Fact {
        /// Which.
        fact: FactId,
    },
    /// What is kept for a scope.
    Scope {
        /// The keyed digest of the scope, which may name a user.
        digest: String,
    },
}

/// Payloads that were collected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Payloads {
    pub(super) removed: u64,
    pub(super) bytes: u64,
}

/// Where what was said went, as far as journals know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Outside {
    /// Routes to models.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) routes: BTreeSet<String>,
    /// Tool servers.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) servers: BTreeSet<String>,
}

/// What is written down to go next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    pub(super) sessions: Vec<SessionId>,
    pub(super) files: Vec<FileId>,
    pub(super) gone: Gone,
}

/// The body of the document, and what the document says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Job {
    pub(super) id: ErasureId,
    pub(super) project: ProjectId,
    name: String,
    pub(super) asked: Asked,
    pub(super) by: String,
    pub(super) asked_at: Timestamp,
    pub(super) phase: ErasurePhase,
    /// Whom it is about and what is looked for, sealed; empty once it is done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) sealed: Vec<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    plan: Option<Plan>,
    /// Every session that went.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) sessions: BTreeSet<SessionId>,
    #[serde(default, skip_serializing_if = "Gone::is_empty")]
    pub(super) gone: Gone,
    #[serde(default)]
    pub(super) outside: Outside,
    #[serde(default)]
    pub(super) payloads: Payloads,
    /// When the last row went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rows_gone_at: Option<Timestamp>,
    /// Nobody can be about to refer to a payload that was kept before that.
    #[serde(default)]
    pub(super) alone: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) done_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    receipt: Option<String>,
    /// When somebody takes it up again.
    #[serde(skip)]
    next_at: Option<Timestamp>,
}

impl Job {
    pub(super) fn new(
        project: ProjectId,
        id: ErasureId,
        name: String,
        asked: Asked,
        by: String,
        asked_at: Timestamp,
        sealed: Vec<u8>,
    ) -> Self {
        Self {
            id,
            project,
            name,
            asked,
            by,
            asked_at,
            phase: ErasurePhase::Sessions,
            sealed,
            plan: None,
            sessions: BTreeSet::new(),
            gone: Gone::default(),
            outside: Outside::default(),
            payloads: Payloads::default(),
            rows_gone_at: None,
            alone: false,
            problem: None,
            done_at: None,
            receipt: None,
            next_at: None,
        }
    }

    pub(super) fn document(&self, now: Timestamp, wake_at: Option<Timestamp>) -> Document {
        Document {
            project: self.project,
            kind: DocumentKind::Erasure,
            id: self.id.to_string(),
            version: 1,
            name: Some(self.name.clone()),
            body: serde_json::to_value(self).expect("an erasure holds only string keys and whole numbers"),
            created_at: self.asked_at,
            updated_at: now,
            wake_at,
            deleted: false,
        }
    }

    pub(super) fn from_document(document: &Document) -> Result<Self, RuntimeError> {
        let read: Self = Self::deserialize(&document.body).map_err(|error| {
            tracing::error!(erasure = document.id, %error, "an erasure cannot be read");
            RuntimeError::from(RuntimeErrorKind::Damaged)
        })?;
        Ok(Self { next_at: document.wake_at, ..read })
    }

    /// Whether something is written down to go.
    pub(super) fn has_plan(&self) -> bool {
        self.plan.is_some()
    }

    pub(super) fn planned(&self) -> Plan {
        self.plan.clone().unwrap_or_default()
    }

    /// Writes down what is to go next.
    pub(super) fn plan(&mut self, sessions: Vec<SessionId>, seen: Seen, gone: Gone) {
        self.outside.routes.extend(seen.outside.routes);
        self.outside.servers.extend(seen.outside.servers);
        self.plan = Some(Plan { sessions, files: seen.files, gone });
    }

    /// What was to go is gone. A process that dies before this is written down removes nothing twice, and counts
    /// what it wrote down once.
    pub(super) fn went(&mut self) {
        if let Some(plan) = self.plan.take() {
            self.sessions.extend(plan.sessions);
            self.gone.extend(&plan.gone);
        }
    }

    /// Every row is gone.
    pub(super) fn rows_gone(&mut self, now: Timestamp, alone: bool) {
        self.rows_gone_at = Some(now);
        self.alone = alone;
        self.phase = ErasurePhase::Payloads;
    }

    /// How long it takes until every payload that the rows referred to is older than the grace.
    pub(super) fn payloads_young(&self, now: Timestamp, grace: Duration) -> Duration {
        let since = self.rows_gone_at.unwrap_or(now);
        let millis = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        match grace.is_zero() {
            true => Duration::ZERO,
            false => Duration::from_millis(now.millis_until(since.plus_millis(millis))),
        }
    }

    pub(super) fn collected(&mut self, collected: &Collected) {
        self.payloads.removed += collected.forgotten;
        self.payloads.bytes += collected.forgotten_bytes;
        self.phase = ErasurePhase::Scrub;
    }

    /// There is a receipt, and nobody is named any more.
    pub(super) fn done(&mut self, now: Timestamp, receipt: String) {
        self.phase = ErasurePhase::Done;
        self.sealed = Vec::new();
        self.problem = None;
        self.done_at = Some(now);
        self.receipt = Some(receipt);
    }

    pub(super) fn shown(&self) -> Erasure {
        let mut shown = Erasure {
            id: self.id,
            subject: None,
            session: None,
            file: None,
            fact: None,
            scope: None,
            by: self.by.clone(),
            asked_at: self.asked_at,
            phase: self.phase,
            gone: self.gone.clone(),
            problem: self.problem.clone(),
            next_at: self.next_at,
            receipt: self.receipt.clone(),
        };
        match &self.asked {
            Asked::Subject { digest } => shown.subject = Some(digest.clone()),
            Asked::Session { session } => shown.session = Some(*session),
            Asked::File { file } => shown.file = Some(*file),
            Asked::Fact { fact } => shown.fact = Some(*fact),
            Asked::Scope { digest } => shown.scope = Some(digest.clone()),
        }
        shown
    }
}

/// What an erasure keeps sealed while it is under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Secret {
    pub(super) what: Forget,
    /// What the request names to be looked for.
    pub(super) verify: Vec<String>,
    /// What was said in the sessions that go, the longest first.
    #[serde(default)]
    said: Vec<String>,
}

impl Secret {
    pub(super) fn new(what: Forget, verify: Vec<String>) -> Self {
        Self { what, verify, said: Vec::new() }
    }

    /// Takes texts to be looked for, if they are long enough to be nobody else's.
    pub(super) fn said(&mut self, texts: &[String]) {
        self.said.extend(texts.iter().filter(|text| text.len() >= SAID_BYTES_MIN).cloned());
        self.said.sort_by_key(|text| std::cmp::Reverse(text.len()));
        self.said.dedup();
        self.said.truncate(SAID_MAX);
    }

    /// What is to be looked for.
    pub(super) fn texts(&self) -> Vec<String> {
        self.verify.iter().chain(&self.said).cloned().collect()
    }

    pub(super) async fn seal(
        &self,
        shared: &Shared,
        project: ProjectId,
        id: ErasureId,
    ) -> Result<Vec<u8>, RuntimeError> {
        let plain = serde_json::to_string(self).expect("texts and ids are JSON");
        let record = id.to_string();
        Ok(shared.sealer.seal_record(&*shared.store, project, (&record, 1), &plain).await?)
    }

    pub(super) async fn open(shared: &Shared, job: &Job) -> Result<Self, RuntimeError> {
        let record = job.id.to_string();
        let opened =
            shared.sealer.open_record(&*shared.store, job.project, (&record, 1), &job.sealed).await?;
        serde_json::from_str(&opened).map_err(|_| RuntimeErrorKind::Damaged.into())
    }
}
