//! What becomes of facts: saying, correcting, closing, and a person's answer to what waits.

use tenure_journal::{Closing, Fact, FactAuthor, FactId, FactSource, FactState, ProjectId, Timestamp, limit};
use tenure_memory::fact::{self, FactRefusal, Saying, normalised, said_term};
use tenure_store::{DocumentKind, Receipt, Store};

use super::documents::{self, SavedFact};
use super::{MemoryError, MemoryRefusal, Standing, WRITE_ATTEMPTS, is_conflict};
use crate::Runtime;

/// Facts with one statement that are looked at: how often it was said anew after it had been closed.
const SAID_MAX: usize = 1_000;

/// What came of saying something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is believed from now on.
    Added,
    /// It was believed already, and was said once more.
    Confirmed,
    /// It waits for a person.
    Proposed,
    /// It is believed from now on, in place of another.
    Corrected,
    /// It is believed no more.
    Closed,
    /// A person said no.
    Rejected,
}

/// A fact as it is after a change, and what the change was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptFact {
    /// The fact.
    pub saved: SavedFact,
    /// What came of it.
    pub outcome: Outcome,
}

/// What takes the place of a fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// The fact.
    pub fact: FactId,
    /// What is so instead. Its scope is that of the fact, and so is its subject where none is given.
    pub saying: Saying,
    /// Until when the old statement was true; absent where it never was.
    pub true_until: Option<Timestamp>,
}

/// Makes the receipt of a change of what came of it.
pub(crate) type FactReceipt<'a> = &'a (dyn Fn(&KeptFact) -> Option<Receipt> + Send + Sync);

impl Runtime {
    /// Keeps a fact that the caller says. The same statement in the same scope is confirmed instead, and one that
    /// waited is accepted by it.
    ///
    /// # Errors
    /// `Refused`, `Busy`, `Store`; `Store` with `ReceiptExists` where the receipt's key was used before.
    pub async fn remember(
        &self,
        project: ProjectId,
        saying: &Saying,
        receipt: FactReceipt<'_>,
    ) -> Result<KeptFact, MemoryError> {
        self.say(project, saying, Standing::Direct, None, receipt).await
    }

    /// Puts a statement in the place of a fact.
    ///
    /// # Errors
    /// As [`Runtime::remember`], and `NotFound`.
    pub async fn correct(
        &self,
        project: ProjectId,
        correction: &Correction,
        receipt: FactReceipt<'_>,
    ) -> Result<KeptFact, MemoryError> {
        self.replace(project, correction, |_| Standing::Direct, receipt).await
    }

    /// Believes a fact no more. `true_until` says until when it was true; absent where it never was.
    ///
    /// # Errors
    /// As [`Runtime::correct`].
    pub async fn close_fact(
        &self,
        project: ProjectId,
        id: FactId,
        closing: Closing,
        receipt: FactReceipt<'_>,
    ) -> Result<KeptFact, MemoryError> {
        self.close(project, id, &closing, |_| Standing::Direct, receipt).await
    }

    /// Accepts a proposal; what it supersedes is closed with it.
    ///
    /// # Errors
    /// As [`Runtime::correct`].
    pub async fn accept_fact(
        &self,
        project: ProjectId,
        id: FactId,
        by: FactSource,
        receipt: FactReceipt<'_>,
    ) -> Result<KeptFact, MemoryError> {
        for _ in 0..WRITE_ATTEMPTS {
            let proposal = self.fact(project, id).await?;
            let accepted = proposal.next(fact::accepted(&proposal.fact, by.clone())?, by.at);
            let mut changed = vec![accepted.clone()];
            if let Some(before) = proposal.fact.supersedes {
                // One that was closed meanwhile, or has gone, is not closed once more.
                if let Some(before) = self.active(project, before).await? {
                    let closing = Closing {
                        at: by.at,
                        true_until: proposal.fact.superseded_from,
                        by: by.clone(),
                        reason: None,
                    };
                    changed.push(before.next(fact::closed(&before.fact, closing, Some(id))?, by.at));
                }
            }
            let kept = KeptFact { saved: accepted, outcome: Outcome::Added };
            if self.write(changed, receipt(&kept)).await? {
                return Ok(kept);
            }
        }
        Err(MemoryError::Busy)
    }

    /// Rejects a proposal.
    ///
    /// # Errors
    /// As [`Runtime::correct`].
    pub async fn reject_fact(
        &self,
        project: ProjectId,
        id: FactId,
        by: FactSource,
        reason: Option<String>,
        receipt: FactReceipt<'_>,
    ) -> Result<KeptFact, MemoryError> {
        for _ in 0..WRITE_ATTEMPTS {
            let proposal = self.fact(project, id).await?;
            let fact = fact::rejected(&proposal.fact, by.clone(), reason.clone())?;
            let kept = KeptFact { saved: proposal.next(fact, by.at), outcome: Outcome::Rejected };
            if self.write(vec![kept.saved.clone()], receipt(&kept)).await? {
                return Ok(kept);
            }
        }
        Err(MemoryError::Busy)
    }

    /// Believes what a closed fact says again: another fact with the same statement, since `by` said so.
    ///
    /// # Errors
    /// As [`Runtime::correct`]; `Refused` with `NotClosed`.
    pub async fn restore_fact(
        &self,
        project: ProjectId,
        id: FactId,
        by: FactSource,
        receipt: FactReceipt<'_>,
    ) -> Result<KeptFact, MemoryError> {
        let closed = self.fact(project, id).await?;
        if !matches!(closed.fact.state, FactState::Closed(_)) {
            return Err(FactRefusal::NotClosed.into());
        }
        let Fact { scope, subject, statement, valid_from, valid_to, confidence, labels, .. } = closed.fact;
        let saying =
            Saying { scope, subject: Some(subject), statement, valid_from, valid_to, confidence, labels, by };
        self.say(project, &saying, Standing::Direct, None, receipt).await
    }

    /// A fact that is believed, or nothing.
    async fn active(&self, project: ProjectId, id: FactId) -> Result<Option<SavedFact>, MemoryError> {
        match self.fact(project, id).await {
            Ok(saved) => Ok((saved.fact.state == FactState::Active).then_some(saved)),
            Err(MemoryError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps what is said as its standing wants. `before` is what it takes the place of, which is closed with it.
    pub(super) async fn say(
        &self,
        project: ProjectId,
        saying: &Saying,
        standing: Standing,
        before: Option<(FactId, Option<Timestamp>)>,
        receipt: FactReceipt<'_>,
    ) -> Result<KeptFact, MemoryError> {
        for _ in 0..WRITE_ATTEMPTS {
            let (kept, changed) = planned(self.store().as_ref(), project, saying, standing, before).await?;
            if self.write(changed, receipt(&kept)).await? {
                return Ok(kept);
            }
        }
        Err(MemoryError::Busy)
    }

    /// Puts a statement in the place of a fact, as far as `standing` says of it that this may be done.
    pub(super) async fn replace(
        &self,
        project: ProjectId,
        correction: &Correction,
        standing: impl Fn(&Fact) -> Standing,
        receipt: FactReceipt<'_>,
    ) -> Result<KeptFact, MemoryError> {
        let old = self.fact(project, correction.fact).await?;
        let subject = correction.saying.subject.clone().unwrap_or_else(|| old.fact.subject.clone());
        let scope = old.fact.scope.clone();
        let saying = Saying { scope, subject: Some(subject), ..correction.saying.clone() };
        let before = Some((correction.fact, correction.true_until));
        self.say(project, &saying, standing(&old.fact), before, receipt).await
    }

    /// Believes a fact no more, if `standing` says of it that this may be done directly.
    pub(super) async fn close(
        &self,
        project: ProjectId,
        id: FactId,
        closing: &Closing,
        standing: impl Fn(&Fact) -> Standing,
        receipt: FactReceipt<'_>,
    ) -> Result<KeptFact, MemoryError> {
        for _ in 0..WRITE_ATTEMPTS {
            let old = self.fact(project, id).await?;
            let closed = fact::closed(&old.fact, closing.clone(), None)?;
            match standing(&old.fact) {
                Standing::Direct => {}
                Standing::Proposed => return Err(MemoryError::Refused(MemoryRefusal::OnlyPeople)),
            }
            let saved = old.next(closed, closing.at);
            let kept = KeptFact { saved, outcome: Outcome::Closed };
            if self.write(vec![kept.saved.clone()], receipt(&kept)).await? {
                return Ok(kept);
            }
        }
        Err(MemoryError::Busy)
    }

    /// Writes versions of facts; false where others were faster.
    async fn write(&self, facts: Vec<SavedFact>, receipt: Option<Receipt>) -> Result<bool, MemoryError> {
        match self.put_indexed(facts.iter().map(SavedFact::indexed).collect(), receipt).await {
            Ok(()) => Ok(true),
            Err(error) if is_conflict(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// What becomes of what is said, with what it takes the place of, and the facts that it changes.
pub(super) async fn planned(
    store: &dyn Store,
    project: ProjectId,
    saying: &Saying,
    standing: Standing,
    before: Option<(FactId, Option<Timestamp>)>,
) -> Result<(KeptFact, Vec<SavedFact>), MemoryError> {
    let (kept, mut changed) = said(store, project, saying, standing, before.map(|(id, _)| id)).await?;
    if let Some((id, true_until)) = before {
        let old = documents::fact(store, project, id).await?;
        // What cannot be closed cannot be superseded, now or later.
        let closing = Closing { at: saying.by.at, true_until, by: saying.by.clone(), reason: None };
        let closed = fact::closed(&old.fact, closing, Some(kept.saved.id))?;
        match kept.outcome {
            Outcome::Proposed => {}
            Outcome::Added
            | Outcome::Confirmed
            | Outcome::Corrected
            | Outcome::Closed
            | Outcome::Rejected => changed.push(old.next(closed, saying.by.at)),
        }
    }
    let kept = superseding(kept, before, &mut changed);
    Ok((kept, changed))
}

/// What becomes of what is said, and the facts that it changes.
async fn said(
    store: &dyn Store,
    project: ProjectId,
    saying: &Saying,
    standing: Standing,
    before: Option<FactId>,
) -> Result<(KeptFact, Vec<SavedFact>), MemoryError> {
    let state = match standing {
        Standing::Direct => FactState::Active,
        Standing::Proposed => FactState::Proposed,
    };
    let new = saying.to_fact(state)?;
    let mark = saying.scope.mark(project);
    let statement = normalised(&new.statement);
    let same = Said::find(store, project, &mark, &new.statement).await?;
    let now = saying.by.at;
    for found in same.facts.iter().filter(|found| Some(found.id) != before) {
        let again = || fact::confirmed(&found.fact, saying);
        let (fact, outcome) = match (&found.fact.state, standing) {
            (FactState::Active, _) => (again(), Outcome::Confirmed),
            (FactState::Proposed, Standing::Proposed) => (again(), Outcome::Proposed),
            (FactState::Proposed, Standing::Direct) => {
                (fact::accepted(&found.fact, saying.by.clone())?, Outcome::Added)
            }
            (FactState::Rejected { .. }, Standing::Proposed) => return Err(FactRefusal::Rejected.into()),
            (FactState::Rejected { .. }, Standing::Direct) | (FactState::Closed(_), _) => continue,
        };
        let saved = found.next(fact, now);
        return Ok((KeptFact { saved: saved.clone(), outcome }, vec![saved]));
    }
    if same.scope_has >= limit::FACTS_PER_SCOPE_MAX {
        return Err(FactRefusal::Full.into());
    }
    let saved = SavedFact::new(project, same.next_id(&mark, &statement), new, now);
    let outcome = match standing {
        Standing::Direct => Outcome::Added,
        Standing::Proposed => Outcome::Proposed,
    };
    Ok((KeptFact { saved: saved.clone(), outcome }, vec![saved]))
}

/// The same change, with what the new fact takes the place of as part of it.
fn superseding(
    kept: KeptFact,
    before: Option<(FactId, Option<Timestamp>)>,
    changed: &mut [SavedFact],
) -> KeptFact {
    let Some((id, true_until)) = before else { return kept };
    // One that was said before took the place of what it did then.
    if kept.saved.document.version > 1 {
        return kept;
    }
    let fact = Fact { supersedes: Some(id), superseded_from: true_until, ..kept.saved.fact };
    let body = documents::encode(&fact);
    let document = tenure_store::Document { body, ..kept.saved.document };
    let saved = SavedFact { id: kept.saved.id, document, fact };
    if let Some(new) = changed.iter_mut().find(|changed| changed.id == saved.id) {
        *new = saved.clone();
    }
    let outcome = if kept.outcome == Outcome::Added { Outcome::Corrected } else { kept.outcome };
    KeptFact { saved, outcome }
}

/// The facts of a scope that say the same.
struct Said {
    facts: Vec<SavedFact>,
    /// How many facts the scope has.
    scope_has: u64,
}

impl Said {
    async fn find(
        store: &dyn Store,
        project: ProjectId,
        mark: &str,
        statement: &str,
    ) -> Result<Self, MemoryError> {
        let term = [said_term(statement)];
        let found = store.find_documents(project, DocumentKind::Fact, mark, &term, SAID_MAX).await?;
        let facts = found.found.into_iter().map(SavedFact::from_document).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { facts, scope_has: found.documents })
    }

    /// The id of the next fact with this statement. Each follows from the one before it, so whoever says it at the
    /// same time would make the same one, and only one does.
    fn next_id(&self, mark: &str, statement: &str) -> FactId {
        let mut id = FactId::of(mark, statement, None);
        while self.facts.iter().any(|fact| fact.id == id) {
            id = FactId::of(mark, statement, Some(id));
        }
        id
    }
}

/// Who says something with a key or as a person.
#[must_use]
pub fn caller(id: &str, at: Timestamp) -> FactSource {
    FactSource { at, by: FactAuthor::Caller { id: id.to_owned() } }
}
