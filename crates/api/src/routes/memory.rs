//! `/v1/tenure/memory/search`: what earlier sessions of an agent said, and facts, found by a question.

use axum::response::Response;
use serde_json::{Value, json};
use tenure_journal::{FactAuthor, FactState, MemorySpace, limit};
use tenure_policy::MemoryUse;
use tenure_runtime::{KnownFact, QUESTION_BYTES_MAX, RECALLED, Recalled, rfc3339};

use super::facts::asked;
use crate::call::Call;
use crate::error::ApiError;
use crate::query;
use crate::verbs;

/// The passages that answer `question`, best first, of the sessions of one agent with one user, or with nobody
/// in particular.
pub(super) async fn search(call: Call) -> Result<Response, ApiError> {
    call.query.check(
        call.dialect(),
        &["agent_id", "user_id", "question", "limit", "true_at", "known_at", "closed"],
    )?;
    let agent = required(&call, "agent_id")?;
    let agent = agent.parse().map_err(|_| {
        ApiError::invalid("Invalid 'agent_id': expected the id of an agent.").param("agent_id")
    })?;
    let question = required(&call, "question")?;
    if question.len() > QUESTION_BYTES_MAX {
        let message = format!("Invalid 'question': expected at most {QUESTION_BYTES_MAX} bytes.");
        return Err(ApiError::invalid(message).param("question"));
    }
    let user = call.query.one("user_id")?.filter(|user| !user.is_empty()).map(str::to_owned);
    let space = MemorySpace { project: call.project(), agent, user };
    verbs::check_memory(&call.app, &call.caller, &space, MemoryUse::Read).await?;
    let by = Some(call.caller.party());
    let found = call.app.runtime.recall(&space, question, asked(&call)?, passages(&call)?, by).await?;
    Ok(query::list(found.iter().map(shown).collect(), false))
}

fn required<'a>(call: &'a Call, name: &str) -> Result<&'a str, ApiError> {
    let given = call.query.one(name)?.filter(|text| !text.trim().is_empty());
    given.ok_or_else(|| ApiError::invalid(format!("Missing required parameter: '{name}'.")).param(name))
}

fn passages(call: &Call) -> Result<usize, ApiError> {
    let Some(text) = call.query.one("limit")? else { return Ok(RECALLED) };
    let number = text.parse().ok().filter(|number| (1..=limit::RECALLED_MAX).contains(number));
    number.ok_or_else(|| {
        let most = limit::RECALLED_MAX;
        ApiError::invalid(format!("Invalid 'limit': expected a whole number from 1 to {most}."))
            .param("limit")
    })
}

/// A passage with where it is from. Its id is the item's, which holds it whole.
fn shown(recalled: &Recalled) -> Value {
    let (episode, why) = (&recalled.episode, &recalled.why);
    if let Some(known) = &recalled.fact {
        return shown_fact(recalled, known);
    }
    json!({
        "id": episode.item,
        "object": "tenure.memory.passage",
        "session_id": episode.session,
        "said_at": rfc3339(episode.at),
        "speaker": episode.speaker.as_str(),
        "name": episode.name,
        "text": episode.text,
        "labels": episode.labels,
        "score": recalled.score,
        "why": {
            "terms": why.terms,
            "nearby": why.nearby,
            "speaker": why.speaker,
            "time": why.time,
            "vector": why.vector,
            "lexical_because": why.lexical_because,
            "scope": "agent and user",
        },
    })
}

/// A fact with when it is true and who said so first. Its id is the fact's.
fn shown_fact(recalled: &Recalled, known: &KnownFact) -> Value {
    let (fact, why) = (&known.fact, &recalled.why);
    let closed = matches!(fact.state, FactState::Closed(_));
    json!({
        "id": known.id,
        "object": "tenure.memory.passage",
        "fact_id": known.id,
        "session_id": fact.sources.iter().find_map(|source| match &source.by {
            FactAuthor::Call { session, .. } | FactAuthor::Extraction { session, .. } => Some(session),
            FactAuthor::Caller { .. } => None,
        }),
        "said_at": rfc3339(fact.learned_at),
        "speaker": "fact",
        "name": fact.subject,
        "text": fact.statement,
        "true": tenure_runtime::fact::held(fact).map_or_else(|| "never".to_owned(), |span| span.to_string()),
        "state": if closed { "closed" } else { "active" },
        "confidence": fact.confidence.as_percent(),
        "labels": fact.labels,
        "score": recalled.score,
        "why": {
            "terms": why.terms,
            "nearby": why.nearby,
            "speaker": why.speaker,
            "time": why.time,
            "vector": why.vector,
            "lexical_because": why.lexical_because,
            "scope": fact.scope.kind().as_str(),
        },
    })
}
