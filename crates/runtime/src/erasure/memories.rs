//! Facts, pinned blocks, procedures and how scopes are written to: those kept for whom an erasure is about, and those
//! that rest on what goes.

use serde::Deserialize as _;
use tenure_journal::{
    Fact, FactAuthor, FactId, FactSource, FactState, MemoryScope, MemorySettings, PinnedBlock, Procedure,
    ProjectId, SessionId,
};
use tenure_store::{Document, DocumentKind, Erasing, Gone, Place, StoreError};

use super::Forget;
use super::documents::{Pages, has_or_had};
use crate::RuntimeError;
use crate::handle::Shared;

/// What is kept of a scope.
const KINDS: [DocumentKind; 5] = [
    DocumentKind::Fact,
    DocumentKind::PinnedBlock,
    DocumentKind::Procedure,
    DocumentKind::ProcedureProposal,
    DocumentKind::MemorySettings,
];

/// Whose memories go.
struct Going<'a> {
    user: Option<&'a str>,
    scope: Option<&'a MemoryScope>,
    sessions: &'a [SessionId],
}

/// A document that goes, and for whom it is kept.
pub(super) struct Memory {
    pub(super) scope: MemoryScope,
    kind: DocumentKind,
    id: String,
}

/// Erases what [`going`] finds, or counts it.
pub(super) async fn memories(
    shared: &Shared,
    project: ProjectId,
    what: &Forget,
    sessions: &[SessionId],
    erasing: Erasing,
) -> Result<Gone, RuntimeError> {
    let mut gone = Gone::default();
    for memory in going(shared, project, what, sessions).await? {
        let place = Place::Document(memory.kind, memory.id);
        gone.extend(&shared.store.erase(project, &place, erasing).await?);
    }
    Ok(gone)
}

/// The one fact that is asked for, or what is kept for the one scope but how it is written to.
///
/// Of sessions, and of a user: what is kept for the user, by any agent, or for one of the `sessions` alone, and,
/// whomever it is kept for, a fact that agents said in no other session or that one of these ended, a block that one of
/// them wrote, and a procedure of which any version was said in no other session: nobody can tell what of its text is
/// from it. A proposal goes by itself, and what it would have replaced stays. What was removed before has a past still,
/// and is among them.
pub(super) async fn going(
    shared: &Shared,
    project: ProjectId,
    what: &Forget,
    sessions: &[SessionId],
) -> Result<Vec<Memory>, RuntimeError> {
    if let Forget::Fact(fact) = what {
        let versions = versions(shared, project, &fact.to_string()).await?;
        let memory = |version: &Document| {
            let scope = MemoryScope::deserialize(&version.body["scope"]).ok()?;
            Some(Memory { scope, kind: DocumentKind::Fact, id: fact.to_string() })
        };
        return Ok(versions.last().and_then(memory).into_iter().collect());
    }
    let going = Going { user: what.user(), scope: what.scope(), sessions };
    let mut found = Vec::new();
    for kind in KINDS {
        let mut pages = Pages::of(project, kind);
        loop {
            let documents = pages.next(shared).await?;
            if documents.is_empty() {
                break;
            }
            for document in documents {
                // One that cannot be read is left to a release that can.
                if let Ok(scope) = MemoryScope::deserialize(&document.body["scope"])
                    && going.takes(shared, &document).await?
                {
                    found.push(Memory { scope, kind, id: document.id });
                }
            }
        }
    }
    Ok(found)
}

/// Every version of a fact, the first one first; none where there is no such fact.
async fn versions(shared: &Shared, project: ProjectId, fact: &str) -> Result<Vec<Document>, StoreError> {
    let mut versions = Vec::new();
    loop {
        let version = Some(versions.len() as u64 + 1);
        match shared.store.document(project, DocumentKind::Fact, fact, version).await? {
            Some(document) => versions.push(document),
            None => return Ok(versions),
        }
    }
}

/// Whether a fact is there, or was removed and has a past still.
pub(super) async fn is_there(shared: &Shared, project: ProjectId, fact: FactId) -> Result<bool, StoreError> {
    Ok(shared.store.document(project, DocumentKind::Fact, &fact.to_string(), Some(1)).await?.is_some())
}

/// What the versions of the facts say that go, to be looked for when they are gone.
pub(super) async fn statements(
    shared: &Shared,
    project: ProjectId,
    what: &Forget,
) -> Result<Vec<String>, RuntimeError> {
    let statement = |version: &Document| version.body["statement"].as_str().map(str::to_owned);
    let mut found = Vec::new();
    for fact in going(shared, project, what, &[]).await? {
        if fact.kind == DocumentKind::Fact {
            found.extend(versions(shared, project, &fact.id).await?.iter().filter_map(statement));
        }
    }
    Ok(found)
}

impl Going<'_> {
    /// Whether a version goes, and with it all. What is kept for a scope always was. A proposal says the same in all of
    /// its versions, and its latest has everybody who said it.
    async fn takes(&self, shared: &Shared, latest: &Document) -> Result<bool, StoreError> {
        if self.scope.is_some() || latest.kind == DocumentKind::ProcedureProposal {
            return Ok(self.has(latest));
        }
        has_or_had(shared, latest, |version| self.has(version)).await
    }

    /// Whether a version goes.
    fn has(&self, document: &Document) -> bool {
        if document.kind == DocumentKind::MemorySettings {
            return MemorySettings::deserialize(&document.body)
                .is_ok_and(|settings| self.scope.is_none() && self.is_of(&settings.scope));
        }
        if document.kind == DocumentKind::PinnedBlock {
            return PinnedBlock::deserialize(&document.body).is_ok_and(|block| {
                let proposed = block.proposed.as_ref().is_some_and(|proposed| self.said(&proposed.by));
                proposed || self.said(&block.by) || self.is_of(&block.scope)
            });
        }
        if matches!(document.kind, DocumentKind::Procedure | DocumentKind::ProcedureProposal) {
            return Procedure::deserialize(&document.body).is_ok_and(|procedure| {
                self.is_only_theirs(&procedure.sources) || self.is_of(&procedure.scope)
            });
        }
        Fact::deserialize(&document.body).is_ok_and(|fact| {
            let ended = match &fact.state {
                FactState::Closed(closing) => self.said(&closing.by),
                FactState::Rejected { by, .. } => self.said(by),
                FactState::Proposed | FactState::Active => false,
            };
            ended || self.is_only_theirs(&fact.sources) || self.is_of(&fact.scope)
        })
    }

    /// Whether agents said it in these sessions and in no other. A person who accepted it did not say it.
    fn is_only_theirs(&self, sources: &[FactSource]) -> bool {
        let mut agents =
            sources.iter().filter(|source| !matches!(source.by, FactAuthor::Caller { .. })).peekable();
        agents.peek().is_some() && agents.all(|source| self.said(source))
    }

    fn said(&self, source: &FactSource) -> bool {
        self.sessions.iter().any(|session| source.by.is_of(*session))
    }

    fn is_of(&self, scope: &MemoryScope) -> bool {
        if self.scope == Some(scope) {
            return true;
        }
        match scope {
            MemoryScope::User(name) | MemoryScope::Space(_, Some(name)) => self.user == Some(name.as_str()),
            MemoryScope::Session(session) => self.sessions.contains(session),
            MemoryScope::Project | MemoryScope::Agent(_) | MemoryScope::Space(_, None) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use tenure_journal::{AgentId, EffectId, Fresh, ItemId, Labels, ProcedureState, Timestamp};

    use super::*;

    #[test]
    fn what_rests_on_sessions_that_go_goes_with_them() {
        let fresh = Fresh::new(Timestamp::EPOCH, 1);
        let [hers, his] = [(); 2].map(|()| SessionId::fresh(&fresh));
        let call = |session| FactSource {
            at: Timestamp::EPOCH,
            by: FactAuthor::Call { session, item: ItemId::fresh(&fresh), effect: EffectId::fresh(&fresh) },
        };
        let person = FactSource { at: Timestamp::EPOCH, by: FactAuthor::Caller { id: "key_1".into() } };
        let by_hand = person.clone();
        let agent = AgentId::fresh(&fresh);
        let project = || MemoryScope::Project;
        let closed = |by: FactSource| {
            FactState::Closed(tenure_journal::Closing {
                at: Timestamp::EPOCH,
                true_until: None,
                by,
                reason: None,
            })
        };
        let fact = |scope, sources: Vec<FactSource>, state| Fact {
            scope,
            subject: "Ada".into(),
            statement: "Ada lives in Paris.".into(),
            valid_from: None,
            valid_to: None,
            learned_at: Timestamp::EPOCH,
            confidence: tenure_journal::Confidence::FULL,
            said: 1,
            sources,
            labels: Labels::NEUTRAL,
            supersedes: None,
            superseded_from: None,
            superseded_by: None,
            state,
        };
        let active = || FactState::Active;
        let rejected = |by| FactState::Rejected { by, reason: None };
        let rows = [
            ("said by her alone", fact(project(), vec![call(hers)], active()), true),
            ("said by both", fact(project(), vec![call(hers), call(his)], active()), false),
            ("accepted by a person", fact(project(), vec![call(hers), person.clone()], active()), true),
            ("said by a person alone", fact(project(), vec![person.clone()], active()), false),
            ("said by him, ended by her", fact(project(), vec![call(his)], closed(call(hers))), true),
            ("said and ended by him", fact(project(), vec![call(his)], closed(call(his))), false),
            ("refused by a person", fact(project(), vec![call(his)], rejected(person.clone())), false),
            ("kept for her", fact(MemoryScope::User("ada".into()), vec![person.clone()], active()), true),
            ("kept for him", fact(MemoryScope::User("bob".into()), vec![person.clone()], active()), false),
            (
                "by an agent, for her",
                fact(MemoryScope::Space(agent, Some("ada".into())), vec![call(his)], active()),
                true,
            ),
            ("by an agent, for all", fact(MemoryScope::Agent(agent), vec![call(his)], active()), false),
            ("of her session", fact(MemoryScope::Session(hers), vec![person], active()), true),
        ];
        let going = Going { user: Some("ada"), scope: None, sessions: &[hers] };
        let document = |kind, body| Document {
            project: ProjectId::fresh(&fresh),
            kind,
            id: "x".into(),
            version: 1,
            name: None,
            body,
            created_at: Timestamp::EPOCH,
            updated_at: Timestamp::EPOCH,
            wake_at: None,
            deleted: false,
        };
        for (what, fact, goes) in rows {
            let body = serde_json::to_value(fact).expect("JSON");
            assert_eq!(going.has(&document(DocumentKind::Fact, body)), goes, "{what}");
        }
        for (what, by, proposer, goes) in [
            ("written by her", call(hers), None, true),
            ("written by him", call(his), None, false),
            ("hers waits for a person", call(his), Some(call(hers)), true),
        ] {
            let proposed = proposer.map(|by| {
                Box::new(tenure_journal::ProposedText { text: "b".into(), labels: Labels::NEUTRAL, by })
            });
            let (name, text) = ("house".into(), "a".into());
            let block = PinnedBlock { scope: project(), name, text, labels: Labels::NEUTRAL, by, proposed };
            let body = serde_json::to_value(block).expect("JSON");
            assert_eq!(going.has(&document(DocumentKind::PinnedBlock, body)), goes, "{what}");
        }
        let ada = || MemoryScope::User("ada".into());
        for (what, scope, sources, goes) in [
            ("proposed by her", project(), vec![call(hers)], true),
            ("proposed by both", project(), vec![call(hers), call(his)], false),
            ("proposed by him", project(), vec![call(his)], false),
            ("written by a person", project(), vec![by_hand.clone()], false),
            ("written for her", ada(), vec![by_hand], true),
        ] {
            let by = Some(call(his));
            for state in [ProcedureState::Proposed { revises: None }, ProcedureState::Accepted { by }] {
                let (scope, sources, labels) = (scope.clone(), sources.clone(), Labels::NEUTRAL);
                let (name, description, steps) = ("a".into(), "b".into(), "c".into());
                let body = Procedure { scope, name, description, steps, labels, sources, state };
                let body = serde_json::to_value(body).expect("JSON");
                for kind in [DocumentKind::Procedure, DocumentKind::ProcedureProposal] {
                    assert_eq!(going.has(&document(kind, body.clone())), goes, "{what}");
                }
            }
        }
    }
}
