//! Splits: sending the new sessions of an agent to two of its versions, by weight.
//!
//! A session's version is a function of the session's id and the split, and of nothing else: every node
//! gives the same answer, and asking again changes nothing. The session records the version it got, so a
//! later change of the split moves no session.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tenure_journal::{AgentId, Author, ProjectId, SessionId, Timestamp};
use tenure_store::{Document, DocumentKind, Store};

use crate::agents::{self, AgentError};

/// The largest weight of a version: enough for hundredths of a percent.
pub const WEIGHT_MAX: u64 = 10_000;
/// Tries of a write that meets another.
const WRITE_ATTEMPTS: u32 = 4;

/// One version's part of the new sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weighted {
    /// The version.
    pub version: u64,
    /// Its weight, at most [`WEIGHT_MAX`]; 0 sends nothing there.
    pub weight: u64,
}

/// How an agent's new sessions are split.
///
/// INVARIANT: the versions differ and their weights are not both 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// The two versions.
    pub versions: [Weighted; 2],
    /// Who made it so; absent while nobody knows.
    pub author: Option<Author>,
    /// When.
    pub at: Timestamp,
}

/// The content of a split's document. A split that ended has no versions: a document that was deleted could
/// not be written again.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    versions: Vec<Weighted>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    author: Option<Author>,
}

impl Split {
    /// The version that a session runs. The same for every caller.
    #[must_use]
    pub fn choose(&self, session: SessionId) -> u64 {
        let [first, second] = self.versions;
        let total = (first.weight + second.weight).max(1);
        let digest = blake3::hash(session.as_bytes());
        let (eight, _) = digest.as_bytes().split_first_chunk().expect("a digest has thirty-two bytes");
        // The bias of the remainder is below one in 2^48 with weights of at most 2^14.
        let place = u64::from_be_bytes(*eight) % total;
        if place < first.weight { first.version } else { second.version }
    }
}

/// The split of an agent, if it has one.
///
/// # Errors
/// `Store`, `Damaged`.
pub async fn read(
    store: &Arc<dyn Store>,
    project: ProjectId,
    agent: AgentId,
) -> Result<Option<Split>, AgentError> {
    Ok(stored(store, project, agent).await?.and_then(|(_, split)| split))
}

/// Splits the new sessions of an agent, in place of an earlier split.
///
/// # Errors
/// `NotFound`, `NoVersion`, `Store`, `Damaged`.
pub async fn put(
    store: &Arc<dyn Store>,
    project: ProjectId,
    agent: AgentId,
    split: Split,
) -> Result<Split, AgentError> {
    agents::by_id(store, project, agent).await?.ok_or(AgentError::NotFound)?;
    for Weighted { version: number, .. } in split.versions {
        let found = agents::version(store, project, agent, number).await?;
        found.ok_or(AgentError::NoVersion { number })?;
    }
    let body = Body { versions: split.versions.into(), author: split.author.clone() };
    let by = split.author.as_ref().map(Author::principal).unwrap_or_default();
    let mut attempt = 1;
    loop {
        let stored = stored(store, project, agent).await?.map(|(document, _)| document);
        let next = document(project, split.at, agent, stored, &body);
        match agents::put(store, &by, split.at, vec![next], None).await {
            Ok(()) => return Ok(split),
            Err(error) if agents::is_conflict(&error) && attempt < WRITE_ATTEMPTS => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Ends an agent's split: new sessions run the latest version again. False if there is none.
///
/// # Errors
/// `Store`, `Damaged`.
pub async fn end(
    store: &Arc<dyn Store>,
    project: ProjectId,
    now: Timestamp,
    author: Author,
    agent: AgentId,
) -> Result<bool, AgentError> {
    let mut attempt = 1;
    loop {
        let Some(next) = ended(store, project, now, author.clone(), agent).await? else { return Ok(false) };
        match agents::put(store, &author.principal(), now, vec![next], None).await {
            Ok(()) => return Ok(true),
            Err(error) if agents::is_conflict(&error) && attempt < WRITE_ATTEMPTS => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// The document that ends an agent's split, to be written with something else; nothing if there is none.
pub(crate) async fn ended(
    store: &Arc<dyn Store>,
    project: ProjectId,
    now: Timestamp,
    author: Author,
    agent: AgentId,
) -> Result<Option<Document>, AgentError> {
    let Some((stored, Some(_))) = stored(store, project, agent).await? else { return Ok(None) };
    let body = Body { versions: Vec::new(), author: Some(author) };
    Ok(Some(document(project, now, agent, Some(stored), &body)))
}

async fn stored(
    store: &Arc<dyn Store>,
    project: ProjectId,
    agent: AgentId,
) -> Result<Option<(Document, Option<Split>)>, AgentError> {
    let found = store.document(project, DocumentKind::Split, &agent.to_string(), None).await?;
    let Some(document) = found else { return Ok(None) };
    let body = Body::deserialize(&document.body).map_err(AgentError::Damaged)?;
    let versions: Option<[Weighted; 2]> = body.versions.try_into().ok();
    let split = versions.map(|versions| Split { versions, author: body.author, at: document.updated_at });
    Ok(Some((document, split)))
}

fn document(
    project: ProjectId,
    now: Timestamp,
    agent: AgentId,
    stored: Option<Document>,
    body: &Body,
) -> Document {
    let body = serde_json::to_value(body).expect("a split holds only string keys and whole numbers");
    let (version, created_at) = stored.map_or((1, now), |old| (old.version + 1, old.created_at));
    Document {
        project,
        kind: DocumentKind::Split,
        id: agent.to_string(),
        version,
        name: None,
        body,
        created_at,
        updated_at: now,
        wake_at: None,
        deleted: false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tenure_journal::Fresh;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    fn split(first: u64, second: u64) -> Split {
        let versions = [Weighted { version: 3, weight: first }, Weighted { version: 4, weight: second }];
        Split { versions, author: None, at: NOW }
    }

    fn sessions(count: usize) -> Vec<SessionId> {
        let fresh = Fresh::new(NOW, 5);
        (0..count).map(|_| SessionId::fresh(&fresh)).collect()
    }

    #[test]
    fn weights_are_kept_over_many_sessions() {
        for (first, second) in [(1, 1), (90, 10), (1, 99), (9_999, 1), (1, 0), (0, 7)] {
            let split = split(first, second);
            let all = sessions(20_000);
            let found = all.iter().filter(|session| split.choose(**session) == 3).count();
            let expected = 20_000.0 * first as f64 / (first + second) as f64;
            assert!((found as f64 - expected).abs() <= 250.0, "{first}:{second} gave {found}");
        }
    }

    #[test]
    fn the_choice_is_a_function_of_the_id_for_ever() {
        let chosen: String = (0..16)
            .map(|n| {
                split(1, 1)
                    .choose(format!("sess_01a0c3f7b5d8700080000000000000{n:02x}").parse().expect("an id"))
            })
            .map(|version| version.to_string())
            .collect();
        assert_eq!(chosen, "4443344433434334");
    }

    #[test]
    fn raising_a_weight_takes_no_session_from_it() {
        let (before, after) = (split(10, 90), split(50, 50));
        let first = |split: &Split| -> BTreeSet<SessionId> {
            sessions(500).into_iter().filter(|session| split.choose(*session) == 3).collect()
        };
        assert!(first(&before).is_subset(&first(&after)));
    }
}
