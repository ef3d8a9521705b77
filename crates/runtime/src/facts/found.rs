//! Facts among what is recalled: candidates of every scope that is read, ranked beside the episodes.

use tenure_journal::{MemoryScope, ProjectId, Timestamp};
use tenure_memory::Passages;
use tenure_memory::cue::Cues;
use tenure_memory::fact::Asked;
use tenure_memory::rank::Corpus;
use tenure_memory::recall::HITS_MAX;
use tenure_store::{DocumentKind, Store, StoreError, StoreErrorKind};

use super::MemoryError;
use super::documents::SavedFact;

/// Which facts a question is put to.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) project: ProjectId,
    /// The scopes that are read.
    pub(crate) scopes: Vec<MemoryScope>,
    /// Those of which times.
    pub(crate) asked: Asked,
}

/// Adds to what was found the facts that share terms with the question and that it may be answered with. A fact
/// stands alone and borrows nothing from what was said around it.
pub(crate) async fn add(
    store: &dyn Store,
    facts: &Facts,
    (cues, now): (&Cues, Timestamp),
    corpus: &mut Corpus,
    passages: &mut Passages,
) -> Result<(), StoreError> {
    if cues.terms.is_empty() {
        return Ok(());
    }
    let sought = cues.sought();
    for scope in &facts.scopes {
        let mark = scope.mark(facts.project);
        let found = store.find_documents(facts.project, DocumentKind::Fact, &mark, &sought, HITS_MAX).await?;
        corpus.episodes += found.documents;
        for (term, having) in sought.iter().zip(found.frequencies) {
            *corpus.frequencies.entry(term.clone()).or_default() += having;
        }
        for document in found.found {
            let saved = SavedFact::from_document(document).map_err(damaged)?;
            if facts.asked.admits(&saved.fact, cues.window, now) {
                passages.add_fact(saved.known());
            }
        }
    }
    Ok(())
}

fn damaged(error: MemoryError) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, "reading a fact").with_source(error)
}
