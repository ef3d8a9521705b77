//! What becomes of facts and procedures that a model read out of a turn: planned before the append that says so, and
//! written with it.
//!
//! An append is refused as a whole where what it changes was changed since it was read, and planned again. So there is
//! no moment at which an answer is in the journal and what was read is not kept, or the other way round.

use std::collections::BTreeSet;

use tenure_journal::{
    ExtractedFact, ExtractedProcedure, FactAuthor, FactId, FactSource, FactState, ItemId, Labels,
    MemoryScope, ProjectId, SessionId, Timestamp, limit,
};
use tenure_memory::fact::{self, Saying};
use tenure_memory::procedure::ProcedureText;
use tenure_memory::{KnownFact, text};
use tenure_session::{Batch, Learned};
use tenure_store::{Document, DocumentKind, Indexed, Store, StoreError};

use super::change::planned;
use super::documents::{self, SavedFact};
use super::procedures::{self, Proposal, Proposed};
use super::read::all;
use super::settings::settings;
use super::{MemoryError, Outcome, Standing};
use crate::handle::Shared;

/// Terms of a turn by which known facts are looked up: the first that say something.
const TERMS_MAX: usize = 48;
/// Facts that share a term with a statement and are compared with it.
const COMPARED_MAX: usize = 32;
/// The outcome of a fact that cannot be kept: a person rejected it, or the scope is full.
const REFUSED: &str = "refused";
/// The outcome of a fact that another of the same answer changes already.
const SAID_TWICE: &str = "said_twice";
/// The outcome of what waits for a person.
const PROPOSED: &str = "proposed";
/// The outcome of a procedure that waits already, or is in force.
const KNOWN: &str = "known";

/// Facts of a scope that may have to do with a text, for a reader whose session has these labels. What is trusted less
/// than what the session has seen, or is more confidential, is not among them: it would rub off on everything that is
/// read.
pub(crate) async fn known(
    store: &dyn Store,
    project: ProjectId,
    (scope, labels): (&MemoryScope, &Labels),
    about: &str,
) -> Result<Vec<KnownFact>, MemoryError> {
    let mut terms = text::distinct_stems(about);
    terms.truncate(TERMS_MAX);
    let mark = scope.mark(project);
    let wanted = limit::EXTRACTION_KNOWN_MAX * 2;
    let mut found = Vec::new();
    if !terms.is_empty() {
        found = store.find_documents(project, DocumentKind::Fact, &mark, &terms, wanted).await?.found;
    }
    // What contradicts a fact need share no word with it. Of a small scope, everything is shown.
    found.extend(store.documents(project, DocumentKind::Fact, Some(&mark), &all(wanted)).await?);
    let mut known: Vec<KnownFact> = Vec::new();
    for document in found {
        let saved = SavedFact::from_document(document)?;
        let is_new = known.iter().all(|one| one.id != saved.id);
        if is_new && saved.fact.state == FactState::Active && adds_nothing(&saved.fact.labels, labels) {
            known.push(saved.known());
        }
    }
    known.truncate(limit::EXTRACTION_KNOWN_MAX);
    Ok(known)
}

/// Whether whoever has `labels` has these already.
pub(super) fn adds_nothing(these: &Labels, labels: &Labels) -> bool {
    labels.clone().join(these) == *labels
}

/// What becomes of what a batch reads out of turns.
#[derive(Default)]
pub(crate) struct Learning {
    /// The versions of facts to write with it.
    pub(crate) indexed: Vec<Indexed>,
    /// The versions of proposals of procedures.
    pub(crate) proposals: Vec<Document>,
    /// What became of each fact, in a word.
    pub(crate) facts: Vec<&'static str>,
    /// What became of each procedure.
    pub(crate) procedures: Vec<&'static str>,
}

/// Plans what a batch writes of what it reads out of turns.
pub(crate) async fn learned(shared: &Shared, batch: &Batch) -> Result<Learning, StoreError> {
    let mut plan = Plan::default();
    let mut learning = Learning::default();
    let (key, store) = (batch.after.key(), &*shared.store);
    for learned in &batch.learned {
        let by = |items: &[ItemId]| {
            let (items, effect) = (items.to_vec(), learned.effect);
            FactSource { at: batch.at, by: FactAuthor::Extraction { session: key.session, items, effect } }
        };
        for fact in &learned.facts {
            let outcome = plan.add(store, key.project, learned, fact, by(&fact.items)).await;
            let outcome = outcome.map(|outcome| outcome.map_or(SAID_TWICE, word));
            learning.facts.push(kept(key.session, outcome)?);
        }
        if let Some(read) = &learned.procedure {
            let proposed = proposal(store, key.project, learned, read, &by(&read.items)).await;
            let outcome = proposed.map(|proposed| match proposed {
                Proposed::Waits(written) => {
                    learning.proposals.extend(written);
                    PROPOSED
                }
                Proposed::Known(_) => KNOWN,
            });
            learning.procedures.push(kept(key.session, outcome)?);
        }
    }
    learning.indexed = plan.changed.iter().map(SavedFact::indexed).collect();
    Ok(learning)
}

/// What became of something that was read. That one thing cannot be kept keeps nothing else from being so.
fn kept(session: SessionId, outcome: Result<&'static str, MemoryError>) -> Result<&'static str, StoreError> {
    match outcome {
        Ok(outcome) => Ok(outcome),
        Err(MemoryError::Store(error)) => Err(error),
        Err(MemoryError::Refused(_) | MemoryError::NotFound) => Ok(REFUSED),
        Err(error @ (MemoryError::Busy | MemoryError::Damaged(_))) => {
            tracing::error!(%session, %error, "what was read out of a turn cannot be kept");
            Ok(REFUSED)
        }
    }
}

async fn proposal(
    store: &dyn Store,
    project: ProjectId,
    learned: &Learned,
    read: &ExtractedProcedure,
    by: &FactSource,
) -> Result<Proposed, MemoryError> {
    let text = ProcedureText::new(&read.name, &read.description, &read.steps)?;
    let Learned { effect, scope, labels, .. } = learned;
    let wanted = Proposal { scope, text: &text, labels, by, effect: *effect };
    procedures::proposed(store, project, &wanted).await
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Added => "added",
        Outcome::Confirmed => "confirmed",
        Outcome::Proposed => PROPOSED,
        Outcome::Corrected => "corrected",
        Outcome::Closed | Outcome::Rejected => REFUSED,
    }
}

/// What one append writes: each fact at most once.
#[derive(Default)]
struct Plan {
    changed: Vec<SavedFact>,
    touched: BTreeSet<FactId>,
}

impl Plan {
    /// Plans one fact. `None`: another of the same append says so already.
    async fn add(
        &mut self,
        store: &dyn Store,
        project: ProjectId,
        learned: &Learned,
        read: &ExtractedFact,
        by: FactSource,
    ) -> Result<Option<Outcome>, MemoryError> {
        let mut saying = saying(learned, read, by);
        let review = settings(store, project, &saying.scope).await?.review;
        let mut standing = Standing::of_agent(review);
        let old = self.contradicted(store, project, learned, read).await?;
        if let Some(old) = &old {
            standing = standing.over(&learned.labels, &old.fact.labels);
        }
        let before = old.as_ref().map(|old| (old.id, Some(until(&saying, old, saying.by.at))));
        if let Some(same) = alike(store, project, &saying, before.map(|(id, _)| id)).await? {
            // Said in other words it is confirmed in the words that are known.
            saying.statement = same;
        }
        let (kept, changed) = planned(store, project, &saying, standing, before).await?;
        if changed.iter().any(|saved| self.touched.contains(&saved.id)) {
            return Ok(None);
        }
        self.touched.extend(changed.iter().map(|saved| saved.id));
        self.changed.extend(changed);
        Ok(Some(kept.outcome))
    }

    /// The fact that is contradicted, if it is one of the scope that is believed, and that nothing else of the append
    /// changes. A model that names another has made it up.
    async fn contradicted(
        &self,
        store: &dyn Store,
        project: ProjectId,
        learned: &Learned,
        read: &ExtractedFact,
    ) -> Result<Option<SavedFact>, MemoryError> {
        let Some(id) = read.replaces.filter(|id| !self.touched.contains(id)) else { return Ok(None) };
        match documents::fact(store, project, id).await {
            Ok(saved) => {
                let is_it = saved.fact.state == FactState::Active
                    && saved.fact.scope == learned.scope
                    && fact::normalised(&saved.fact.statement) != fact::normalised(&read.statement);
                Ok(is_it.then_some(saved))
            }
            Err(MemoryError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn saying(learned: &Learned, read: &ExtractedFact, by: FactSource) -> Saying {
    Saying {
        scope: learned.scope.clone(),
        subject: Some(read.subject.clone()),
        statement: read.statement.clone(),
        valid_from: read.valid_from,
        valid_to: read.valid_to,
        confidence: read.confidence,
        labels: learned.labels.clone(),
        by,
    }
}

/// Until when a statement was true that another contradicts: until that began, or now where nobody said when.
fn until(saying: &Saying, old: &SavedFact, now: Timestamp) -> Timestamp {
    let from = saying.valid_from.unwrap_or(now);
    old.fact.valid_from.map_or(from, |began| from.max(began))
}

/// The statement of a fact of the same scope that says the same in other words and is believed or waits.
async fn alike(
    store: &dyn Store,
    project: ProjectId,
    saying: &Saying,
    before: Option<FactId>,
) -> Result<Option<String>, MemoryError> {
    let new = saying.to_fact(FactState::Active)?;
    let mut terms = text::distinct_stems(&fact::shown(&new));
    terms.truncate(TERMS_MAX);
    if terms.is_empty() {
        return Ok(None);
    }
    let mark = saying.scope.mark(project);
    let found = store.find_documents(project, DocumentKind::Fact, &mark, &terms, COMPARED_MAX).await?;
    for document in found.found {
        let SavedFact { id, fact, .. } = SavedFact::from_document(document)?;
        let is_there = matches!(fact.state, FactState::Active | FactState::Proposed);
        if is_there && Some(id) != before && fact::resembles(&fact, &new) {
            return Ok(Some(fact.statement));
        }
    }
    Ok(None)
}
