//! Pinned blocks: kept, edited, and given to the turns that begin.

use tenure_journal::{
    FactSource, Labels, MemoryScope, PinnedBlock, ProjectId, ProposedText, TakenBlock, Timestamp, block_id,
    is_block_name, limit,
};
use tenure_memory::block;
use tenure_session::Batch;
use tenure_store::{Document, DocumentKind, Receipt, Store, StoreError, StoreErrorKind};

use super::documents::{decode, encode, first};
use super::read::all;
use super::{MemoryError, MemoryRefusal, Standing, WRITE_ATTEMPTS, is_conflict, unreadable};
use crate::Runtime;
use crate::handle::Shared;

/// Versions of one block that are shown.
const VERSIONS_MAX: u64 = 1_000;

/// A stored block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedBlock {
    /// The document: its id follows from scope and name, its name is the mark of the scope.
    pub document: Document,
    /// Its content; what it last said, of a version that removes it.
    pub block: PinnedBlock,
}

/// Makes the receipt of a change of what came of it.
pub(crate) type BlockReceipt<'a> = &'a (dyn Fn(&SavedBlock) -> Option<Receipt> + Send + Sync);

/// One edit of a block.
pub(super) struct Edit<'a> {
    pub(super) scope: &'a MemoryScope,
    pub(super) name: &'a str,
    pub(super) labels: &'a Labels,
    pub(super) by: &'a FactSource,
}

impl SavedBlock {
    fn from_document(document: Document) -> Result<Self, MemoryError> {
        let block = decode(&document)?;
        Ok(Self { document, block })
    }

    /// The next version, with this content; one without a text and without a proposal removes the block.
    fn next(&self, block: PinnedBlock, now: Timestamp) -> Self {
        let deleted = block.text.is_empty() && block.proposed.is_none();
        let document = Document {
            version: self.document.version + 1,
            body: encode(&block),
            updated_at: now,
            deleted,
            ..self.document.clone()
        };
        Self { document, block }
    }
}

impl Runtime {
    /// The blocks of a scope, by name.
    ///
    /// # Errors
    /// `Store`, `Damaged`.
    pub async fn blocks(
        &self,
        project: ProjectId,
        scope: &MemoryScope,
    ) -> Result<Vec<SavedBlock>, MemoryError> {
        of_scope(self.store().as_ref(), project, scope).await
    }

    /// A block by its document's id.
    ///
    /// # Errors
    /// `NotFound`, `Store`, `Damaged`.
    pub async fn block(&self, project: ProjectId, id: &str) -> Result<SavedBlock, MemoryError> {
        let found = self.store().document(project, DocumentKind::PinnedBlock, id, None).await?;
        SavedBlock::from_document(found.ok_or(MemoryError::NotFound)?)
    }

    /// Every version of a block, oldest first, also of one that was removed.
    ///
    /// # Errors
    /// As [`Runtime::block`].
    pub async fn block_history(&self, project: ProjectId, id: &str) -> Result<Vec<SavedBlock>, MemoryError> {
        let mut versions = Vec::new();
        for version in 1..=VERSIONS_MAX {
            let found = self.store().document(project, DocumentKind::PinnedBlock, id, Some(version)).await?;
            let Some(found) = found else { break };
            versions.push(SavedBlock::from_document(found)?);
        }
        if versions.is_empty() { Err(MemoryError::NotFound) } else { Ok(versions) }
    }

    /// Writes a block's text for the caller. What was proposed for it goes.
    ///
    /// # Errors
    /// `Refused`, `Busy`, `Store`.
    pub async fn put_block(
        &self,
        project: ProjectId,
        (scope, name): (&MemoryScope, &str),
        text: &str,
        by: &FactSource,
        receipt: BlockReceipt<'_>,
    ) -> Result<SavedBlock, MemoryError> {
        let text = block::text(text)?;
        let edit = Edit { scope, name, labels: &Labels::NEUTRAL, by };
        self.edit(project, &edit, Standing::Direct, |_| Ok(text.clone()), receipt).await
    }

    /// Removes a block. Its versions stay readable.
    ///
    /// # Errors
    /// As [`Runtime::block`], and `Busy`.
    pub async fn remove_block(&self, project: ProjectId, id: &str) -> Result<(), MemoryError> {
        let empty = |block: PinnedBlock| Ok(PinnedBlock { text: String::new(), proposed: None, ..block });
        self.change(project, id, empty, &|_| None).await.map(drop)
    }

    /// Answers what is proposed for a block: its text from now on, or nothing.
    ///
    /// # Errors
    /// As [`Runtime::block`], `Busy`, and `Refused` with `NotProposed`.
    pub async fn answer_block(
        &self,
        project: ProjectId,
        id: &str,
        accept: bool,
        receipt: BlockReceipt<'_>,
    ) -> Result<SavedBlock, MemoryError> {
        let answered = |mut block: PinnedBlock| {
            let proposed = block.proposed.take().ok_or(MemoryError::Refused(MemoryRefusal::NotProposed))?;
            if !accept {
                return Ok(block);
            }
            let ProposedText { text, labels, by } = *proposed;
            Ok(PinnedBlock { text, labels, by, ..block })
        };
        self.change(project, id, answered, receipt).await
    }

    async fn change(
        &self,
        project: ProjectId,
        id: &str,
        change: impl Fn(PinnedBlock) -> Result<PinnedBlock, MemoryError>,
        receipt: BlockReceipt<'_>,
    ) -> Result<SavedBlock, MemoryError> {
        for _ in 0..WRITE_ATTEMPTS {
            let found = self.block(project, id).await?;
            let next = found.next(change(found.block.clone())?, self.now());
            match self.put(vec![next.document.clone()], receipt(&next)).await {
                Ok(()) => return Ok(next),
                Err(error) if is_conflict(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(MemoryError::Busy)
    }

    /// Gives a block another text, which follows from the one it has: empty for one that is not there, and to remove
    /// it. What the text was made of joins the labels of what stays of it.
    pub(super) async fn edit(
        &self,
        project: ProjectId,
        edit: &Edit<'_>,
        standing: Standing,
        text: impl Fn(&str) -> Result<String, MemoryError>,
        receipt: BlockReceipt<'_>,
    ) -> Result<SavedBlock, MemoryError> {
        if !is_block_name(edit.name) {
            return Err(MemoryError::Refused(MemoryRefusal::BlockName));
        }
        let mark = edit.scope.mark(project);
        let id = block_id(&mark, edit.name);
        let now = edit.by.at;
        // One that was removed goes on with its versions.
        let mut removed_at = 0;
        for _ in 0..WRITE_ATTEMPTS {
            let found = self.store().document(project, DocumentKind::PinnedBlock, &id, None).await?;
            let found = found.map(SavedBlock::from_document).transpose()?;
            let next = match &found {
                Some(found) => {
                    let block = edit.over(&found.block, standing, text(&found.block.text)?);
                    found.next(block, now)
                }
                None => {
                    let others = of_scope(self.store().as_ref(), project, edit.scope).await?.len();
                    if others >= limit::BLOCKS_PER_SCOPE_MAX {
                        return Err(MemoryError::Refused(MemoryRefusal::BlocksFull(others)));
                    }
                    let text = text("")?;
                    if text.is_empty() {
                        return Err(MemoryError::NotFound);
                    }
                    let block = edit.over(&edit.nothing(), standing, text);
                    let document =
                        first((project, DocumentKind::PinnedBlock, id.clone()), mark.clone(), &block, now);
                    SavedBlock { document: Document { version: removed_at + 1, ..document }, block }
                }
            };
            match self.put(vec![next.document.clone()], receipt(&next)).await {
                Ok(()) => return Ok(next),
                Err(error) => {
                    let StoreErrorKind::Conflict { actual } = error.kind() else { return Err(error.into()) };
                    removed_at = actual.0;
                }
            }
        }
        Err(MemoryError::Busy)
    }
}

impl Edit<'_> {
    fn nothing(&self) -> PinnedBlock {
        PinnedBlock {
            scope: self.scope.clone(),
            name: self.name.to_owned(),
            text: String::new(),
            labels: Labels::NEUTRAL,
            by: self.by.clone(),
            proposed: None,
        }
    }

    /// The block after the edit. A part of the old text may have stayed, so its labels do.
    fn over(&self, before: &PinnedBlock, standing: Standing, text: String) -> PinnedBlock {
        let labels = before.labels.clone().join(self.labels);
        match standing.over(self.labels, &before.labels) {
            Standing::Direct => {
                PinnedBlock { text, labels, by: self.by.clone(), proposed: None, ..before.clone() }
            }
            Standing::Proposed => {
                let proposed = Some(Box::new(ProposedText { text, labels, by: self.by.clone() }));
                PinnedBlock { proposed, ..before.clone() }
            }
        }
    }
}

async fn of_scope(
    store: &dyn Store,
    project: ProjectId,
    scope: &MemoryScope,
) -> Result<Vec<SavedBlock>, MemoryError> {
    let mark = scope.mark(project);
    let page = all(limit::BLOCKS_PER_SCOPE_MAX);
    let found = store.documents(project, DocumentKind::PinnedBlock, Some(&mark), &page).await?;
    found.into_iter().map(SavedBlock::from_document).collect()
}

/// The blocks that a turn takes up, those of the widest scope first, where `batch` begins one.
pub(super) async fn taken(shared: &Shared, batch: &Batch) -> Result<Option<Vec<TakenBlock>>, StoreError> {
    let state = &batch.after;
    if !state.uses_memory() && state.blocks().is_empty() {
        return Ok(None);
    }
    if !state.uses_memory() {
        return Ok(Some(Vec::new()));
    }
    let space = state.memory_space();
    let mut taken = Vec::new();
    for scope in MemoryScope::all_of(&space, Some(state.key().session)) {
        let found = of_scope(&*shared.store, space.project, &scope).await;
        for SavedBlock { document, block } in found.map_err(unreadable)? {
            if !block.text.is_empty() {
                let PinnedBlock { scope, name, text, labels, .. } = block;
                taken.push(TakenBlock { scope, name, version: document.version, text, labels });
            }
        }
    }
    // As the turn before it had them: nothing to decide again.
    Ok((!taken.is_empty() || !state.blocks().is_empty()).then_some(taken))
}
