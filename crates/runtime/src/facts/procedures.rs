//! Procedures: proposed by agents and by models that read turns, accepted or rejected by people, and told of to the
//! turns that begin.
//!
//! Whatever the settings of a scope say: nothing that an agent or a model wrote is in force before a person accepted
//! it. [`proposed`] is the one way in which they write, and it writes proposals alone.

use tenure_journal::{
    EffectId, FactAuthor, FactSource, Labels, MemoryScope, Procedure, ProcedureState, ProjectId,
    TakenProcedure, Timestamp, is_proposal_id, limit, procedure_id, proposal_id,
};
use tenure_memory::procedure::{self, ProcedureRefusal, ProcedureText};
use tenure_session::{Batch, KnownProcedure};
use tenure_store::{Document, DocumentKind, Receipt, Store, StoreError, StoreErrorKind};

use super::documents::{decode, encode, first};
use super::extracted::adds_nothing;
use super::read::all;
use super::{MemoryError, MemoryRefusal, WRITE_ATTEMPTS, unreadable};
use crate::Runtime;
use crate::handle::Shared;

/// Versions of one procedure that are shown.
const VERSIONS_MAX: u64 = 1_000;
/// Documents of one kind and scope that are read: more than there may be, because who writes at once is not counted.
const PER_SCOPE_READ_MAX: usize = 2 * limit::PROPOSALS_PER_SCOPE_MAX;
const _: () =
    assert!(limit::PROCEDURES_PER_SCOPE_MAX <= PER_SCOPE_READ_MAX, "all procedures in force are read");

/// A stored procedure, or a proposal of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedProcedure {
    /// The document. Its name is the mark of the scope; its id follows from scope and name, and of a proposal from the
    /// effect that made it as well.
    pub document: Document,
    /// Its content; what it last said, of a version that removes it.
    pub procedure: Procedure,
}

/// Makes the receipt of a change of what came of it.
pub(crate) type ProcedureReceipt<'a> = &'a (dyn Fn(&SavedProcedure) -> Option<Receipt> + Send + Sync);

/// What a person says to a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is in force from now on.
    Accept,
    /// It is not, and is not proposed again.
    Reject {
        /// Why.
        reason: Option<String>,
    },
}

/// What an agent, or a model that read a turn, proposes.
pub(super) struct Proposal<'a> {
    pub(super) scope: &'a MemoryScope,
    pub(super) text: &'a ProcedureText,
    pub(super) labels: &'a Labels,
    pub(super) by: &'a FactSource,
    pub(super) effect: EffectId,
}

/// What becomes of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proposed {
    /// It waits; so do these versions to be written.
    Waits(Vec<Document>),
    /// The same waits already, or is in force.
    Known(ProcedureState),
}

impl SavedProcedure {
    fn from_document(document: Document) -> Result<Self, MemoryError> {
        let procedure = decode(&document)?;
        Ok(Self { document, procedure })
    }

    fn first(project: ProjectId, id: String, procedure: Procedure, now: Timestamp) -> Self {
        let kind = kind_of(&id);
        let mark = procedure.scope.mark(project);
        Self { document: first((project, kind, id), mark, &procedure, now), procedure }
    }

    fn next(&self, procedure: Procedure, now: Timestamp) -> Self {
        let document = Document {
            version: self.document.version + 1,
            body: encode(&procedure),
            updated_at: now,
            deleted: false,
            ..self.document.clone()
        };
        Self { document, procedure }
    }

    fn removed(&self, now: Timestamp) -> Self {
        let next = self.next(self.procedure.clone(), now);
        Self { document: Document { deleted: true, ..next.document }, ..next }
    }

    /// As the model that reads a turn is told of it.
    fn known(&self) -> KnownProcedure {
        let Procedure { name, description, .. } = self.procedure.clone();
        KnownProcedure { name, description, state: self.procedure.state.as_str() }
    }
}

fn kind_of(id: &str) -> DocumentKind {
    if is_proposal_id(id) { DocumentKind::ProcedureProposal } else { DocumentKind::Procedure }
}

async fn of_scope(
    store: &dyn Store,
    (project, kind): (ProjectId, DocumentKind),
    scope: &MemoryScope,
) -> Result<Vec<SavedProcedure>, MemoryError> {
    let mark = scope.mark(project);
    let page = all(PER_SCOPE_READ_MAX);
    let found = store.documents(project, kind, Some(&mark), &page).await?;
    found.into_iter().map(SavedProcedure::from_document).collect()
}

async fn saved(
    store: &dyn Store,
    project: ProjectId,
    id: &str,
) -> Result<Option<SavedProcedure>, MemoryError> {
    let found = store.document(project, kind_of(id), id, None).await?;
    found.map(SavedProcedure::from_document).transpose()
}

impl Runtime {
    /// The procedures of a scope that are in force, by name, and then what was proposed and is not.
    ///
    /// # Errors
    /// `Store`, `Damaged`.
    pub async fn procedures(
        &self,
        project: ProjectId,
        scope: &MemoryScope,
    ) -> Result<Vec<SavedProcedure>, MemoryError> {
        let store = self.store().as_ref();
        let mut found = of_scope(store, (project, DocumentKind::Procedure), scope).await?;
        found.extend(of_scope(store, (project, DocumentKind::ProcedureProposal), scope).await?);
        Ok(found)
    }

    /// A procedure or a proposal by its document's id.
    ///
    /// # Errors
    /// `NotFound`, `Store`, `Damaged`.
    pub async fn procedure(&self, project: ProjectId, id: &str) -> Result<SavedProcedure, MemoryError> {
        saved(self.store().as_ref(), project, id).await?.ok_or(MemoryError::NotFound)
    }

    /// Every version of a procedure or a proposal, oldest first, also of one that was removed.
    ///
    /// # Errors
    /// As [`Runtime::procedure`].
    pub async fn procedure_history(
        &self,
        project: ProjectId,
        id: &str,
    ) -> Result<Vec<SavedProcedure>, MemoryError> {
        let mut versions = Vec::new();
        for version in 1..=VERSIONS_MAX {
            let Some(found) = self.store().document(project, kind_of(id), id, Some(version)).await? else {
                break;
            };
            versions.push(SavedProcedure::from_document(found)?);
        }
        if versions.is_empty() { Err(MemoryError::NotFound) } else { Ok(versions) }
    }

    /// Writes a procedure for the caller. What waits for a person goes on waiting.
    ///
    /// # Errors
    /// `Refused`, `Busy`, `Store`.
    pub async fn put_procedure(
        &self,
        project: ProjectId,
        scope: &MemoryScope,
        text: ProcedureText,
        by: FactSource,
        receipt: ProcedureReceipt<'_>,
    ) -> Result<SavedProcedure, MemoryError> {
        let ProcedureText { name, description, steps } = text;
        let state = ProcedureState::Accepted { by: None };
        let (labels, sources) = (Labels::NEUTRAL, vec![by]);
        let procedure = Procedure { scope: scope.clone(), name, description, steps, labels, sources, state };
        let mut removed_at = 0;
        for _ in 0..WRITE_ATTEMPTS {
            let next = self.in_force(project, procedure.clone(), removed_at).await?;
            match self.put(vec![next.document.clone()], receipt(&next)).await {
                Ok(()) => return Ok(next),
                Err(error) => removed_at = conflicting(error)?,
            }
        }
        Err(MemoryError::Busy)
    }

    /// Removes a procedure, or a proposal. Its versions stay readable.
    ///
    /// # Errors
    /// As [`Runtime::procedure`], and `Busy`.
    pub async fn remove_procedure(&self, project: ProjectId, id: &str) -> Result<(), MemoryError> {
        for _ in 0..WRITE_ATTEMPTS {
            let removed = self.procedure(project, id).await?.removed(self.now());
            match self.put(vec![removed.document], None).await {
                Ok(()) => return Ok(()),
                Err(error) => drop(conflicting(error)?),
            }
        }
        Err(MemoryError::Busy)
    }

    /// Answers a proposal. One that is accepted takes the place of the procedure of its name; both happen or neither.
    ///
    /// # Errors
    /// As [`Runtime::procedure`], `Busy`, and `Refused` with what does not wait for a person.
    pub async fn answer_procedure(
        &self,
        project: ProjectId,
        id: &str,
        answer: &Answer,
        by: &FactSource,
        receipt: ProcedureReceipt<'_>,
    ) -> Result<SavedProcedure, MemoryError> {
        let mut removed_at = 0;
        for _ in 0..WRITE_ATTEMPTS {
            let proposal = self.procedure(project, id).await?;
            let (told, written) = match answer {
                Answer::Accept => {
                    let accepted = procedure::accepted(&proposal.procedure, by.clone())?;
                    let next = self.in_force(project, accepted.clone(), removed_at).await?;
                    let done = proposal.next(accepted, by.at).document;
                    let written = vec![next.document.clone(), Document { deleted: true, ..done }];
                    (next, written)
                }
                Answer::Reject { reason } => {
                    let rejected = procedure::rejected(&proposal.procedure, by.clone(), reason.clone())?;
                    let next = proposal.next(rejected, by.at);
                    let written = vec![next.document.clone()];
                    (next, written)
                }
            };
            match self.put(written, receipt(&told)).await {
                Ok(()) => return Ok(told),
                // Where it is the proposal that another changed, the next round finds out.
                Err(error) => removed_at = conflicting(error)?,
            }
        }
        Err(MemoryError::Busy)
    }

    /// The version with which a procedure is in force: the next of the one of its name, or the first after the last
    /// version of one that was removed.
    async fn in_force(
        &self,
        project: ProjectId,
        procedure: Procedure,
        removed_at: u64,
    ) -> Result<SavedProcedure, MemoryError> {
        let store = self.store().as_ref();
        let id = procedure_id(&procedure.scope.mark(project), &procedure.name);
        if let Some(before) = saved(store, project, &id).await? {
            return Ok(before.next(procedure, self.now()));
        }
        let others = of_scope(store, (project, DocumentKind::Procedure), &procedure.scope).await?.len();
        if others >= limit::PROCEDURES_PER_SCOPE_MAX {
            return Err(MemoryRefusal::ProceduresFull(others).into());
        }
        let new = SavedProcedure::first(project, id, procedure, self.now());
        Ok(SavedProcedure { document: Document { version: removed_at + 1, ..new.document }, ..new })
    }

    /// Proposes a procedure; gives what became of it.
    pub(super) async fn propose(
        &self,
        project: ProjectId,
        proposal: &Proposal<'_>,
        receipt: &(dyn Fn(&Proposed) -> Option<Receipt> + Send + Sync),
    ) -> Result<Proposed, MemoryError> {
        for _ in 0..WRITE_ATTEMPTS {
            let proposed = proposed(self.store().as_ref(), project, proposal).await?;
            let Proposed::Waits(written) = &proposed else { return Ok(proposed) };
            match self.put(written.clone(), receipt(&proposed)).await {
                Ok(()) => return Ok(proposed),
                Err(error) => drop(conflicting(error)?),
            }
        }
        Err(MemoryError::Busy)
    }

    /// The procedure of a name that is in force in a scope.
    pub(super) async fn procedure_in_force(
        &self,
        project: ProjectId,
        scope: &MemoryScope,
        name: &str,
    ) -> Result<SavedProcedure, MemoryError> {
        self.procedure(project, &procedure_id(&scope.mark(project), name)).await
    }
}

/// The version that another has written, where a write met it.
fn conflicting(error: StoreError) -> Result<u64, MemoryError> {
    let StoreErrorKind::Conflict { actual } = error.kind() else { return Err(error.into()) };
    Ok(actual.0)
}

/// What becomes of a proposal as things stand. Its id is that of the effect that makes it, so however often that is
/// attempted there is one.
///
/// # Errors
/// `Refused`: a person rejected the same, or too much waits.
pub(super) async fn proposed(
    store: &dyn Store,
    project: ProjectId,
    wanted: &Proposal<'_>,
) -> Result<Proposed, MemoryError> {
    let Proposal { scope, text, labels, by, effect } = *wanted;
    let mark = scope.mark(project);
    let before = saved(store, project, &procedure_id(&mark, &text.name)).await?;
    if let Some(before) = before.as_ref().filter(|before| text.is(&before.procedure)) {
        return Ok(Proposed::Known(before.procedure.state.clone()));
    }
    let proposals = of_scope(store, (project, DocumentKind::ProcedureProposal), scope).await?;
    let is_rejected = |one: &&SavedProcedure| matches!(one.procedure.state, ProcedureState::Rejected { .. });
    if proposals.iter().filter(is_rejected).any(|one| text.does(&one.procedure)) {
        return Err(ProcedureRefusal::Rejected.into());
    }
    if let Some(same) = proposals.iter().find(|one| text.is(&one.procedure)) {
        let is_its_own = same.procedure.sources.iter().any(|source| is_by(source, effect));
        let again = procedure::said_again(&same.procedure, by.clone());
        return Ok(match is_its_own {
            true => Proposed::Known(same.procedure.state.clone()),
            false => Proposed::Waits(vec![same.next(again, by.at).document]),
        });
    }
    let mut written = Vec::new();
    if proposals.len() >= limit::PROPOSALS_PER_SCOPE_MAX {
        let oldest = proposals.iter().filter(is_rejected).min_by_key(|one| one.document.updated_at);
        let oldest = oldest.ok_or(MemoryRefusal::ProposalsFull(proposals.len()))?;
        written.push(oldest.removed(by.at).document);
    }
    let ProcedureText { name, description, steps } = text.clone();
    let id = proposal_id(&mark, &name, effect);
    let state = ProcedureState::Proposed { revises: before.map(|before| before.document.version) };
    let (scope, labels, sources) = (scope.clone(), labels.clone(), vec![by.clone()]);
    let proposal = Procedure { scope, name, description, steps, labels, sources, state };
    written.push(SavedProcedure::first(project, id, proposal, by.at).document);
    Ok(Proposed::Waits(written))
}

fn is_by(source: &FactSource, effect: EffectId) -> bool {
    match &source.by {
        FactAuthor::Call { effect: of, .. } | FactAuthor::Extraction { effect: of, .. } => *of == effect,
        FactAuthor::Caller { .. } => false,
    }
}

/// The procedures of a scope for a reader whose session has these labels, as facts are given to it: what would rub off
/// on it is not among them.
pub(crate) async fn known_procedures(
    store: &dyn Store,
    project: ProjectId,
    (scope, labels): (&MemoryScope, &Labels),
) -> Result<Vec<KnownProcedure>, MemoryError> {
    let mut found = of_scope(store, (project, DocumentKind::Procedure), scope).await?;
    found.extend(of_scope(store, (project, DocumentKind::ProcedureProposal), scope).await?);
    let plain = found.iter().filter(|saved| adds_nothing(&saved.procedure.labels, labels));
    Ok(plain.map(SavedProcedure::known).collect())
}

/// The procedures that a turn takes up, those of the widest scope first, where `batch` begins one.
pub(super) async fn taken(shared: &Shared, batch: &Batch) -> Result<Option<Vec<TakenProcedure>>, StoreError> {
    let state = &batch.after;
    if !state.uses_memory() && state.procedures().is_empty() {
        return Ok(None);
    }
    if !state.uses_memory() {
        return Ok(Some(Vec::new()));
    }
    let space = state.memory_space();
    let mut taken = Vec::new();
    for scope in MemoryScope::all_of(&space, Some(state.key().session)) {
        let found = of_scope(&*shared.store, (space.project, DocumentKind::Procedure), &scope).await;
        for SavedProcedure { document, procedure } in found.map_err(unreadable)? {
            let Procedure { scope, name, description, labels, .. } = procedure;
            taken.push(TakenProcedure { scope, name, version: document.version, description, labels });
        }
    }
    Ok((!taken.is_empty() || !state.procedures().is_empty()).then_some(taken))
}
