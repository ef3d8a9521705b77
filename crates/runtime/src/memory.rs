//! Recall: a question, what the store finds for it, and the answer that `tenure_memory` makes of that. Facts are
//! found beside what was said, see `facts/found.rs`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tenure_journal::{
    Episode, FactAuthor, FactSource, FactState, Failure, FailureKind, Labels, MemoryScope, MemorySpace,
    Party, Timestamp, ToolResult, limit,
};
use tenure_memory::cue::{self, Question};
use tenure_memory::fact::{self, Asked};
use tenure_memory::rank::{Corpus, NEIGHBOURS, names_of};
use tenure_memory::recall::{
    ALIKE_MAX, COMPARED_REACH, HITS_BESIDE_ALIKE_MAX, HITS_MAX, Known, Recall, Recalled,
};
use tenure_memory::{KnownFact, Passages, meaning, moment, rfc3339};
use tenure_session::{Attempted, Rememberer, Session};
use tenure_store::{Alike, Candidates, Store, StoreError, Wanted};
use tenure_vector::AskedVector;
use tokio::time::Instant;

use crate::Runtime;
use crate::embedding::Embedder;
use crate::facts::{self, Facts};
use crate::handle::Shared;

/// Passages of an answer where nobody says how many.
pub const RECALLED: usize = 8;
/// Bytes of a passage that a model is shown; the session has it whole.
const SHOWN_BYTES_MAX: usize = 2_000;
/// Bytes of a question; a longer one is a document.
pub const QUESTION_BYTES_MAX: usize = 4_096;
/// Episodes of a space, the newest, among whose speakers are those that a question may name.
const SPEAKERS_AMONG: usize = 32;
/// How long what was found may wait for the question's vector. After a model that takes longer it is looked for again:
/// what was erased meanwhile is not recalled.
const FOUND_WAITS_MAX: Duration = Duration::from_millis(100);
/// All of time.
const EVER: (Timestamp, Timestamp) = (Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX));

impl Runtime {
    /// What of a space answers a question, best first; at most `limit` passages. Of the facts that the space reads,
    /// those that are asked for. Asked about what was believed at a moment, `last May` is the last before that. `by` is
    /// who asks, where it is not the server itself.
    ///
    /// # Errors
    /// As the store's.
    pub async fn recall(
        &self,
        space: &MemorySpace,
        question: &str,
        asked: Asked,
        limit: usize,
        by: Option<Party>,
    ) -> Result<Vec<Recalled>, StoreError> {
        let now = self.shared.clock.now();
        let question = Question { text: question, now: asked.known_at.unwrap_or(now), names: &[] };
        let facts = Facts { project: space.project, scopes: MemoryScope::all_of(space, None), asked };
        let embedder = self.shared.embedding.of_search(&self.shared, space, by).await?;
        let place =
            Place { store: &*self.shared.store, embedder: embedder.as_deref(), space, known: None, now };
        place.recall(Some(&facts), &question, limit).await
    }
}

/// What was said in a space that answers a question, without what is `known`. Where there is a model and it does not
/// answer, recall is lexical.
pub async fn recall(
    store: &dyn Store,
    embedder: Option<&dyn Embedder>,
    space: &MemorySpace,
    question: &Question<'_>,
    known: Option<Known>,
    limit: usize,
) -> Result<Vec<Recalled>, StoreError> {
    Place { store, embedder, space, known, now: question.now }.recall(None, question, limit).await
}

/// Where to look, and what need not be found.
struct Place<'a> {
    store: &'a dyn Store,
    embedder: Option<&'a dyn Embedder>,
    space: &'a MemorySpace,
    known: Option<Known>,
    now: Timestamp,
}

impl Place<'_> {
    async fn recall(
        &self,
        facts: Option<&Facts>,
        question: &Question<'_>,
        limit: usize,
    ) -> Result<Vec<Recalled>, StoreError> {
        let past = |facts: &Facts, closed: bool| {
            let asked = Asked { closed: closed || facts.asked.closed, ..facts.asked };
            Facts { asked, ..facts.clone() }
        };
        let facts = facts.map(|facts| past(facts, fact::asks_about_past(question.text)));
        let names = self.names(question).await?;
        let question = &Question { names: &names, ..*question };
        let mut recall = Recall::of(question);
        let anchor = recall.anchor().cloned();
        let first = anchor.as_ref().map(|anchor| Recall::of(&Question { text: &anchor.what, ..*question }));
        let asked: Vec<&str> = [question.text].into_iter().chain(anchor.iter().map(|a| &*a.what)).collect();
        // Terms are looked for while a model makes the vectors, of both in one call: it may be one over a network.
        let by_terms = first.as_ref().unwrap_or(&recall);
        let find = async || (self.candidates(by_terms).await, Instant::now());
        let (alike, (found, at)) = tokio::join!(self.alike(&asked, question.names), find());
        let mut found = found?;
        if at.elapsed() > FOUND_WAITS_MAX {
            found = self.candidates(by_terms).await?;
        }
        let (mut alike, unvectored) = match alike {
            Ok(alike) => (alike.into_iter(), None),
            Err(why) => (Vec::new().into_iter(), Some(why)),
        };
        let (of_question, of_anchor) = (alike.next(), alike.next());
        if let Some(first) = first {
            // What happened then need not be so any more.
            let then = facts.as_ref().map(|facts| past(facts, true));
            let answer = self.answer(then.as_ref(), &first, (found, of_anchor), 1).await?;
            if let Some(first) = answer.first() {
                recall.anchored(first.episode.at);
            }
            found = self.candidates(&recall).await?;
        }
        let mut answer = self.answer(facts.as_ref(), &recall, (found, of_question), limit).await?;
        answer.iter_mut().for_each(|one| one.why.lexical_because.clone_from(&unvectored));
        Ok(answer)
    }

    /// The names of those who spoke lately that the question writes as they are written, beside those that are given.
    async fn names(&self, question: &Question<'_>) -> Result<Vec<String>, StoreError> {
        if !question.names.is_empty() || !cue::may_name(question.text) {
            return Ok(question.names.to_vec());
        }
        let wanted = Wanted {
            terms: Vec::new(),
            kindred: Vec::new(),
            window: Some(EVER),
            hits_max: SPEAKERS_AMONG,
            reach: 0,
        };
        let found = self.store.candidates(self.space, &wanted).await?;
        let names = names_of(found.stretches.iter().flatten().map(|(_, episode)| episode));
        Ok(names.into_iter().filter(|name| cue::is_named(question.text, name)).collect())
    }

    /// What to compare vectors with, for each of some texts; nothing where there is no model.
    ///
    /// # Errors
    /// Why the model gave none, in words that who asks may read.
    async fn alike(&self, asked: &[&str], names: &[String]) -> Result<Vec<Alike>, String> {
        let Some(embedder) = self.embedder else { return Ok(Vec::new()) };
        let model = embedder.model();
        let texts = asked.iter().map(|text| meaning::question(text, names)).collect();
        match embedder.embed(texts).await {
            Ok(vectors) => {
                let alike = |vector: &Vec<f32>| {
                    let vector = AskedVector::of(vector)?;
                    Some(Alike {
                        model: model.to_owned(),
                        vector,
                        hits_max: ALIKE_MAX,
                        reach: NEIGHBOURS,
                        compared_reach: COMPARED_REACH,
                    })
                };
                let alike = vectors.iter().map(alike).collect::<Option<Vec<_>>>();
                alike
                    .filter(|alike| alike.len() == asked.len())
                    .ok_or_else(|| "the model gave no vector".to_owned())
            }
            Err(error) => {
                tracing::warn!(%error, model, "a question has no vector now; recall is lexical");
                Err(error.to_string())
            }
        }
    }

    /// What shares terms with a question.
    async fn candidates(&self, recall: &Recall) -> Result<Candidates, StoreError> {
        let cues = recall.cues();
        let wanted = Wanted {
            terms: cues.sought(),
            kindred: cues.kindred(),
            window: cues.window.map(|window| (window.from, window.until)),
            hits_max: if self.embedder.is_some() { HITS_BESIDE_ALIKE_MAX } else { HITS_MAX },
            reach: NEIGHBOURS,
        };
        self.store.candidates(self.space, &wanted).await
    }

    /// The answer, of what shares terms and of what is alike.
    async fn answer(
        &self,
        facts: Option<&Facts>,
        recall: &Recall,
        (found, alike): (Candidates, Option<Alike>),
        limit: usize,
    ) -> Result<Vec<Recalled>, StoreError> {
        let mut passages = Passages::default();
        let found = match alike {
            Some(alike) => {
                // What shares terms is read while the store looks for what is alike.
                let read: Vec<Episode> =
                    found.stretches.iter().flatten().map(|(_, one)| one.clone()).collect();
                let find = self.store.candidates_alike(self.space, &alike, found);
                let (found, ()) = tokio::join!(find, async { passages.read_ahead(read) });
                found?
            }
            None => found,
        };
        let cues = recall.cues();
        let frequencies = cues.sought().into_iter().zip(found.frequencies).collect();
        let mut corpus = Corpus { episodes: found.episodes, frequencies };
        for run in found.stretches {
            let likeness = |number| found.likenesses.get(&number).copied();
            passages.add(run.into_iter().map(|(number, episode)| (episode, likeness(number))));
        }
        if let Some(facts) = facts {
            facts::add(self.store, facts, (cues, self.now), &mut corpus, &mut passages).await?;
        }
        Ok(recall.answer(&corpus, &passages, self.known, limit))
    }
}

/// One call of the tool `memory_recall`, with what the session had before it when it was made.
pub(crate) struct Call {
    space: MemorySpace,
    rememberer: Rememberer,
    flow: Labels,
    known: Known,
    arguments: Value,
}

impl Call {
    pub(crate) fn of(state: &Session, name: &str, arguments: &Value) -> Option<Self> {
        let known = Known { session: state.key().session, from: state.first_in_context() };
        (name == "memory_recall").then(|| Self {
            space: state.memory_space(),
            rememberer: Rememberer::of(state),
            flow: state.labels().clone(),
            known,
            arguments: arguments.clone(),
        })
    }
}

pub(crate) async fn run(shared: &Arc<Shared>, call: &Call) -> Result<Attempted, Failure> {
    let question = match call.arguments.get("question").and_then(Value::as_str) {
        Some(question) if !question.trim().is_empty() && question.len() <= QUESTION_BYTES_MAX => question,
        Some(_) | None => {
            let words = format!("`question` must be a text of 1 to {QUESTION_BYTES_MAX} bytes");
            return Ok(returned(words, true));
        }
    };
    let wanted = call.arguments.get("limit").and_then(Value::as_u64).and_then(|limit| limit.try_into().ok());
    let limit = wanted.unwrap_or(RECALLED).clamp(1, limit::RECALLED_MAX);
    let asked = match asked(&call.arguments) {
        Ok(asked) => asked,
        Err(words) => return Ok(returned(words, true)),
    };
    let now = shared.clock.now();
    let question = Question { text: question, now: asked.known_at.unwrap_or(now), names: &[] };
    let scopes = MemoryScope::all_of(&call.space, Some(call.known.session));
    let facts = Facts { project: call.space.project, scopes, asked };
    let embedder = shared.embedding.of_session(shared, (&call.rememberer, &call.flow));
    let place = Place {
        store: &*shared.store,
        embedder: embedder.as_deref(),
        space: &call.space,
        known: Some(call.known),
        now,
    };
    let found = place.recall(Some(&facts), &question, limit).await;
    let found = found.map_err(|error| {
        tracing::error!(session = %call.known.session, %error, "the memory cannot be read");
        let message = "the memory cannot be read now".to_owned();
        Failure { kind: FailureKind::ServerError, message, retry_after_ms: None }
    })?;
    Ok(returned(told(&found), false))
}

/// The facts that a call asks for, or what is wrong with its arguments.
fn asked(arguments: &Value) -> Result<Asked, String> {
    let at = |name: &str| match arguments.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_str().and_then(moment).map(Some).ok_or_else(|| {
            format!("`{name}` must be a date as 2030-01-31 or a moment as 2030-01-31T09:00:00Z")
        }),
    };
    let closed = arguments.get("closed").and_then(Value::as_bool).unwrap_or(false);
    Ok(Asked { true_at: at("true_at")?, known_at: at("known_at")?, closed })
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
        if let Some(known) = &one.fact {
            return told_of_fact(known, &one.why.to_string());
        }
        let episode = &one.episode;
        let shown = episode.text.floor_char_boundary(SHOWN_BYTES_MAX);
        let ellipsis = if shown < episode.text.len() { "…" } else { "" };
        json!({
            "said_at": rfc3339(episode.at),
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

/// Who said something, as a model is told.
pub(crate) fn told_of_source(source: &FactSource) -> Value {
    match &source.by {
        FactAuthor::Call { session, item, .. } => json!({ "session": session, "item": item }),
        FactAuthor::Extraction { session, items, .. } => json!({ "session": session, "items": items }),
        FactAuthor::Caller { .. } => json!({ "by": "a person" }),
    }
}

/// A fact as a model is told of it: with when it is true, since when it is known, and who said so.
fn told_of_fact(known: &KnownFact, why: &str) -> Value {
    let fact = &known.fact;
    let source = fact.sources.first();
    let closed = match &fact.state {
        FactState::Closed(closing) => Some(closing),
        FactState::Active | FactState::Proposed | FactState::Rejected { .. } => None,
    };
    json!({
        "fact": known.id,
        "subject": fact.subject,
        "text": fact.statement,
        "scope": fact.scope.kind().as_str(),
        "true": fact::held(fact).map_or_else(|| "never".to_owned(), |span| span.to_string()),
        "learned_at": rfc3339(fact.learned_at),
        "closed_at": closed.map(|closing| rfc3339(closing.at)),
        "closed_because": closed.and_then(|closing| closing.reason.clone()),
        "superseded_by": fact.superseded_by,
        "confidence": fact.confidence.as_percent(),
        "source": source.map(told_of_source),
        "why": why,
        // Read again by the session, into which they flow.
        "labels": (!fact.labels.is_neutral()).then_some(&fact.labels),
    })
}
