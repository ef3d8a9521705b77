//! Recall: a question, what the store finds for it, and the answer that `tenure_memory` makes of that.

use serde_json::{Value, json};
use tenure_journal::{AskedVector, Episode, Failure, FailureKind, MemorySpace, ToolResult, limit};
use tenure_memory::cue::Question;
use tenure_memory::rank::{Corpus, NEIGHBOURS, Similarity};
use tenure_memory::recall::{ALIKE_MAX, HITS_MAX, Known, Recall, Recalled};
use tenure_memory::{Passage, Stretch, meaning};
use tenure_session::{Attempted, Session};
use tenure_store::{Alike, Candidates, Store, StoreError, Wanted};

use crate::Runtime;
use crate::embedding::Embedder;
use crate::handle::Shared;

/// Passages of an answer where nobody says how many.
pub const RECALLED: usize = 8;
/// Bytes of a passage that a model is shown; the session has it whole.
const SHOWN_BYTES_MAX: usize = 2_000;
/// Bytes of a question; a longer one is a document.
pub const QUESTION_BYTES_MAX: usize = 4_096;

impl Runtime {
    /// What of a space answers a question, best first; at most `limit` passages.
    ///
    /// # Errors
    /// As the store's.
    pub async fn recall(
        &self,
        space: &MemorySpace,
        question: &str,
        limit: usize,
    ) -> Result<Vec<Recalled>, StoreError> {
        let question = Question { text: question, now: self.shared.clock.now(), names: &[] };
        recall(&*self.shared.store, self.shared.embedding.embedder(), space, &question, None, limit).await
    }
}

/// As [`Runtime::recall`], without what is `known`. Where there is a model and it does not answer, recall is lexical.
pub async fn recall(
    store: &dyn Store,
    embedder: Option<&dyn Embedder>,
    space: &MemorySpace,
    question: &Question<'_>,
    known: Option<Known>,
    limit: usize,
) -> Result<Vec<Recalled>, StoreError> {
    let mut recall = Recall::of(question);
    if let Some(anchor) = recall.anchor() {
        let first = Recall::of(&Question { text: &anchor.what, ..*question });
        let alike = alike(embedder, &anchor.what, question.names).await;
        let found = answer(store, space, &first, alike, known, 1).await?;
        if let Some(first) = found.first() {
            recall.anchored(first.episode.at);
        }
    }
    let alike = alike(embedder, question.text, question.names).await;
    answer(store, space, &recall, alike, known, limit).await
}

/// What to compare vectors with.
async fn alike(embedder: Option<&dyn Embedder>, text: &str, names: &[String]) -> Option<Alike> {
    let embedder = embedder?;
    let model = embedder.model().to_owned();
    match embedder.embed(vec![meaning::question(text, names)]).await {
        Ok(vectors) => {
            let vector = AskedVector::of(vectors.first()?)?;
            Some(Alike { model, vector, hits_max: ALIKE_MAX })
        }
        Err(error) => {
            tracing::warn!(%error, model, "a question has no vector now; recall is lexical");
            None
        }
    }
}

async fn answer(
    store: &dyn Store,
    space: &MemorySpace,
    recall: &Recall,
    alike: Option<Alike>,
    known: Option<Known>,
    limit: usize,
) -> Result<Vec<Recalled>, StoreError> {
    let cues = recall.cues();
    let wanted = Wanted {
        terms: cues.terms.clone(),
        window: cues.window.map(|window| (window.from, window.until)),
        hits_max: HITS_MAX,
        reach: NEIGHBOURS,
        alike,
    };
    let Candidates { episodes, frequencies, stretches, likenesses } =
        store.candidates(space, &wanted).await?;
    let corpus = Corpus { episodes, frequencies: wanted.terms.into_iter().zip(frequencies).collect() };
    let read = |run: Vec<_>| Stretch { passages: run.into_iter().map(Passage::from).collect() };
    let stretches: Vec<Stretch> = stretches.into_iter().map(read).collect();
    let likeness = |episode: &Episode| likenesses.get(&(episode.session, episode.ordinal)).copied();
    let similarity: Option<Similarity<'_>> = if likenesses.is_empty() { None } else { Some(&likeness) };
    Ok(recall.answer(&corpus, &stretches, known, limit, similarity))
}

/// One call of the tool `memory_recall`, with what the session had before it when it was made.
pub(crate) struct Call {
    space: MemorySpace,
    known: Known,
    arguments: Value,
}

impl Call {
    pub(crate) fn of(state: &Session, name: &str, arguments: &Value) -> Option<Self> {
        let known = Known { session: state.key().session, from: state.first_in_context() };
        (name == "memory_recall").then(|| Self {
            space: state.memory_space(),
            known,
            arguments: arguments.clone(),
        })
    }
}

pub(crate) async fn run(shared: &Shared, call: &Call) -> Result<Attempted, Failure> {
    let question = match call.arguments.get("question").and_then(Value::as_str) {
        Some(question) if !question.trim().is_empty() && question.len() <= QUESTION_BYTES_MAX => question,
        Some(_) | None => {
            let words = format!("`question` must be a text of 1 to {QUESTION_BYTES_MAX} bytes");
            return Ok(returned(words, true));
        }
    };
    let wanted = call.arguments.get("limit").and_then(Value::as_u64).and_then(|limit| limit.try_into().ok());
    let limit = wanted.unwrap_or(RECALLED).clamp(1, limit::RECALLED_MAX);
    let question = Question { text: question, now: shared.clock.now(), names: &[] };
    let embedder = shared.embedding.embedder();
    let found = recall(&*shared.store, embedder, &call.space, &question, Some(call.known), limit).await;
    let found = found.map_err(|error| {
        tracing::error!(session = %call.known.session, %error, "the memory cannot be read");
        let message = "the memory cannot be read now".to_owned();
        Failure { kind: FailureKind::ServerError, message, retry_after_ms: None }
    })?;
    Ok(returned(told(&found), false))
}

fn returned(text: String, is_error: bool) -> Attempted {
    Attempted::Returned(ToolResult { text, is_error, stored: None, root: None })
}

/// Passages as a model is told of them: each with when, by whom and where.
fn told(found: &[Recalled]) -> String {
    if found.is_empty() {
        return json!({ "passages": [], "note": "Nothing that is remembered has to do with this." })
            .to_string();
    }
    let passage = |one: &Recalled| {
        let episode = &one.episode;
        let shown = episode.text.floor_char_boundary(SHOWN_BYTES_MAX);
        let ellipsis = if shown < episode.text.len() { "…" } else { "" };
        json!({
            "said_at": tenure_memory::rfc3339(episode.at),
            "by": episode.speaker.as_str(),
            "name": episode.name,
            "text": format!("{}{ellipsis}", &episode.text[..shown]),
            "session": episode.session,
            "item": episode.item,
            "why": one.why.to_string(),
            // Read again by the session, into which they flow.
            "labels": (!episode.labels.is_neutral()).then_some(&episode.labels),
        })
    };
    json!({ "passages": found.iter().map(passage).collect::<Vec<_>>() }).to_string()
}
