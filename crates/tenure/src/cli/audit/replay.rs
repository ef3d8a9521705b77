//! `tenure audit replay`: decides again what was decided, and says where the answer is another.
//!
//! A record names its question and its policy set by their digests. The question is in the journal of its session, the
//! set is stored under its digest; both are compared with what the record says before anything is decided with them.
//! The digest of the question is keyed with what the journal begins with; in logs of before it is plain.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use tenure_journal::{
    Approval, Asked, AuditFact, AuditRecord, DigestKey, Event, KEYED_DIGEST_PREFIX, PolicyText, Recorded,
    Timestamp, Version,
};
use tenure_policy::{FAULT, PolicySet, Verdict};

use super::super::Context;
use super::super::client::Client;
use super::super::error::{CliError, Exit};
use super::super::output::{self, Column};

/// Events of one request.
const EVENTS_PAGE: usize = 100;
/// The version of a journal's first event.
const FIRST: u64 = 1;
/// Records of one request.
const RECORDS_PAGE: usize = 1_000;

/// What is wrong with a decision. Each is a finding of its own, with the record's number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Difference {
    #[error("the journal has no such decision")]
    NoDecision,
    #[error("the question is not the one that was recorded")]
    Question,
    #[error("the journal does not begin with the key of the record's digests")]
    NoKey,
    #[error("the policy set `{0}` is not stored")]
    NoSet(String),
    #[error("the policy set `{0}` is not what its digest says")]
    Set(String),
    #[error("the policy set `{0}` cannot be used: {1}")]
    Unusable(String, String),
    #[error("it was decided otherwise: {recorded} then, {again} now")]
    Answer { recorded: String, again: String },
}

/// What a decision comes to, in a few words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    verdict: &'static str,
    policies: Vec<String>,
}

impl Said {
    fn of(verdict: &'static str, policies: &[String]) -> Self {
        Self { verdict, policies: policies.to_vec() }
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.verdict, self.policies.join(", "))
    }
}

/// A decision as its record tells of it.
pub(crate) struct Told {
    /// The digest of what was asked: keyed, or plain in logs of before.
    question: String,
    set: String,
    said: Said,
}

impl Told {
    /// Whether the record names what was asked by a keyed digest.
    fn is_keyed(&self) -> bool {
        self.question.starts_with(KEYED_DIGEST_PREFIX)
    }

    /// Whether the record says that nothing could be decided.
    fn is_undecided(&self) -> bool {
        self.said == Said::of("denied", &[FAULT.to_owned()])
    }
}

/// What a record tells of a decision; nothing for other records, and for decisions of before questions were kept.
pub(crate) fn told(fact: &AuditFact) -> Option<Told> {
    let (question, set, said) = if let AuditFact::Allowed { question, policies, policy_set, .. } = fact {
        (question, Some(policy_set), Said::of("allowed", policies))
    } else if let AuditFact::Refused { question, policies, policy_set, needs_approval, .. } = fact {
        let verdict = if *needs_approval { "held" } else { "denied" };
        (question, Some(policy_set), Said::of(verdict, policies))
    } else if let AuditFact::ApprovalRequested { question, policies, policy_set, .. } = fact {
        (question, policy_set.as_ref(), Said::of("held", policies))
    } else {
        return None;
    };
    Some(Told { question: question.clone()?, set: set?.clone(), said })
}

/// What an event of a journal says was asked.
pub(crate) fn asked(event: &Event) -> Option<&[Asked]> {
    if let Event::EffectRequested { effect } = event {
        return Some(&effect.permit.asked);
    }
    if let Event::SecretPermitted { permit, .. } = event {
        return Some(&permit.asked);
    }
    if let Event::PolicyRefused { refusal } = event {
        return Some(&refusal.asked);
    }
    let Event::ApprovalRequested { approval: Approval { asked, .. } } = event else { return None };
    Some(asked)
}

/// Decides again.
pub(crate) fn again(
    told: &Told,
    asked: Option<&[Asked]>,
    key: Option<&DigestKey>,
    set: &PolicySet,
) -> Result<(), Difference> {
    let asked = asked.ok_or(Difference::NoDecision)?;
    let key = if told.is_keyed() { Some(key.ok_or(Difference::NoKey)?) } else { None };
    let plain = Asked::digest(asked).ok_or(Difference::NoDecision)?;
    if DigestKey::show(key, &plain) != told.question {
        return Err(Difference::Question);
    }
    let again = said(asked, set)?;
    let again = Said { policies: tenure_session::named_policies(&again.policies), ..again };
    if again != told.said {
        let (recorded, again) = (told.said.to_string(), again.to_string());
        return Err(Difference::Answer { recorded, again });
    }
    Ok(())
}

/// What a set says to one question, or to two about one effect: the less it allows, the more it counts.
fn said(asked: &[Asked], set: &PolicySet) -> Result<Said, Difference> {
    let mut all = Said::of("allowed", &[]);
    for one in asked {
        let one = match set.decide_again(one).map_err(|_| Difference::Question)? {
            Verdict::Allow(permit) => Said::of("allowed", &permit.into_record().policies),
            Verdict::Ask(hold) => Said::of("held", &hold.policies),
            Verdict::Deny(denial) => Said::of("denied", &denial.policies),
        };
        let rank = |said: &Said| ["allowed", "held", "denied"].iter().position(|word| *word == said.verdict);
        match rank(&one).cmp(&rank(&all)) {
            std::cmp::Ordering::Greater => all = one,
            std::cmp::Ordering::Equal => all.policies.extend(one.policies),
            std::cmp::Ordering::Less => {}
        }
    }
    all.policies.sort();
    all.policies.dedup();
    Ok(all)
}

/// A stored set, if it is what its digest says.
pub(crate) fn set_of(digest: &str, text: Option<&PolicyText>) -> Result<PolicySet, Difference> {
    let text = text.ok_or_else(|| Difference::NoSet(digest.to_owned()))?;
    if text.digest() != digest {
        return Err(Difference::Set(digest.to_owned()));
    }
    PolicySet::of_text(text).map_err(|error| Difference::Unusable(digest.to_owned(), error.to_string()))
}

/// A record of the log that tells of a decision.
struct Decision {
    index: u64,
    record: AuditRecord,
    told: Told,
}

pub(crate) async fn replay(cx: &mut Context, from: u64, session: Option<&str>) -> Result<Exit, CliError> {
    let client = cx.client()?;
    // What waits is part of it.
    client.get(super::PATH, &[]).await?;
    let (decisions, older) = decisions(&client, from, session).await?;
    let mut sets: BTreeMap<String, Result<PolicySet, Difference>> = BTreeMap::new();
    for decision in &decisions {
        if !sets.contains_key(&decision.told.set) {
            let digest = &decision.told.set;
            let text = stored(&client, digest).await?;
            sets.insert(digest.clone(), set_of(digest, text.as_ref()));
        }
    }
    let mut by_session: BTreeMap<String, Vec<&Decision>> = BTreeMap::new();
    for decision in &decisions {
        by_session.entry(decision.record.session.to_string()).or_default().push(decision);
    }
    let mut findings = Vec::new();
    for (session, decisions) in by_session {
        let mut wanted: BTreeSet<u64> = decisions.iter().map(|decision| decision.record.version.0).collect();
        if decisions.iter().any(|decision| decision.told.is_keyed()) {
            wanted.insert(FIRST);
        }
        let events = events(&client, &session, &wanted).await?;
        let key = events.get(&FIRST).and_then(Event::digest_key);
        for decision in decisions {
            let event = events.get(&decision.record.version.0);
            let result = match &sets[&decision.told.set] {
                Ok(set) => again(&decision.told, event.and_then(asked), key.as_ref(), set),
                // It could not be decided with then either, and nothing was allowed.
                Err(Difference::Unusable(..)) if decision.told.is_undecided() => Ok(()),
                Err(difference) => Err(difference.clone()),
            };
            if let Err(difference) = result {
                findings.push(json!({
                    "id": decision.index.to_string(),
                    "session": session,
                    "version": decision.record.version,
                    "policy_set": decision.told.set,
                    "difference": difference.to_string(),
                }));
            }
        }
    }
    findings.sort_by_key(|finding| finding["id"].as_str().and_then(|id| id.parse::<u64>().ok()));
    if !findings.is_empty() {
        let columns = [
            Column::at("RECORD", "/id"),
            Column::at("SESSION", "/session"),
            Column::at("DIFFERENCE", "/difference"),
        ];
        output::list(&mut cx.world.out, cx.format, &columns, &findings)?;
    }
    let (all, other) = (decisions.len(), findings.len());
    cx.note(&format!(
        "{} decisions replayed with {} policy sets: {} the same, {other} not{}",
        all,
        sets.len(),
        all - other,
        if older > 0 { format!("; {older} have no stored question") } else { String::new() }
    ))?;
    Ok(if findings.is_empty() { Exit::Done } else { Exit::Failed })
}

/// The decisions of the log, and how many have no stored question.
async fn decisions(
    client: &Client,
    from: u64,
    session: Option<&str>,
) -> Result<(Vec<Decision>, usize), CliError> {
    let (mut found, mut older, mut next) = (Vec::new(), 0, from);
    loop {
        let (start, limit) = (next.to_string(), RECORDS_PAGE.to_string());
        let query = [("from", start.as_str()), ("limit", limit.as_str())];
        let page = client.get(&format!("{}/records", super::PATH), &query).await?;
        let rows = page["data"].as_array().map_or(&[][..], |rows| rows);
        for (index, row) in (next..).zip(rows) {
            let Some(record) = row["record"].as_str() else { continue };
            // Requests are records of another shape, and no decisions of a session.
            let Ok(record) = serde_json::from_str::<AuditRecord>(record) else { continue };
            if session.is_some_and(|session| record.session.to_string() != session) {
                continue;
            }
            let is_decision = matches!(
                record.fact,
                AuditFact::Allowed { .. } | AuditFact::Refused { .. } | AuditFact::ApprovalRequested { .. }
            );
            match told(&record.fact) {
                Some(told) => found.push(Decision { index, record, told }),
                None => older += usize::from(is_decision),
            }
        }
        next += rows.len() as u64;
        if rows.len() < RECORDS_PAGE {
            return Ok((found, older));
        }
    }
}

/// Those events of a session's journal that are wanted, by version.
async fn events(
    client: &Client,
    session: &str,
    wanted: &BTreeSet<u64>,
) -> Result<BTreeMap<u64, Event>, CliError> {
    let mut found = BTreeMap::new();
    let path = format!("/v1/tenure/sessions/{session}/journal");
    let mut wanted = wanted.clone();
    while let Some(next) = wanted.first().copied() {
        let (after, limit) = ((next - 1).to_string(), EVENTS_PAGE.to_string());
        let mut query = vec![("limit", limit.as_str())];
        if next > 1 {
            query.push(("after", after.as_str()));
        }
        let page = match client.get(&path, &query).await {
            Ok(page) => page,
            // The session is gone, or this is not how long its journal is: its decisions are named one by one.
            Err(error) if error.exit == Exit::NotFound => return Ok(found),
            Err(error) => return Err(error),
        };
        let rows = page["data"].as_array().map_or(&[][..], |rows| rows);
        let last = rows.last().and_then(|row| row["version"].as_u64()).unwrap_or(next);
        for row in rows {
            let version = row["version"].as_u64().unwrap_or_default();
            if wanted.contains(&version)
                && let Ok(read) =
                    Recorded::decode(Version(version), Timestamp::EPOCH, row["event"].to_string().as_bytes())
            {
                found.insert(version, read.event);
            }
        }
        wanted.retain(|version| *version > last.max(next));
    }
    Ok(found)
}

/// What the set with a digest was made from; nothing if it is not stored.
async fn stored(client: &Client, digest: &str) -> Result<Option<PolicyText>, CliError> {
    match client.get(&format!("/v1/tenure/policies/sets/{digest}"), &[]).await {
        Ok(found) => Ok(serde_json::from_str(&found["text"].to_string()).ok()),
        Err(error) if error.exit == Exit::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tenure_journal::{AgentId, EffectId, Fresh, ProjectId, json as strict};
    use tenure_policy::{Action, AgentFacts, Facts, PolicySource, Principal, Request, kept_questions};

    use super::*;

    fn set(text: &str) -> PolicySet {
        PolicySet::new(&[PolicySource { name: "p.cedar".into(), text: text.into() }]).expect("valid")
    }

    /// What is recorded of a listing of a server's tools, and what was asked.
    fn decided(set: &PolicySet) -> (AuditFact, Vec<Asked>) {
        let fresh = Fresh::new(Timestamp::from_millis(1), 1);
        let project = ProjectId::fresh(&fresh);
        let agent = AgentFacts {
            project,
            agent_id: AgentId::fresh(&fresh),
            agent_name: Some("a"),
            version: None,
            frozen: false,
        };
        let request = Request {
            project,
            principal: Principal::Agent(agent),
            behind: None,
            action: Action::ToolsList { server: "shop" },
            arguments: &Value::Null,
            facts: Facts::neutral(),
        };
        let (action, resource) = ("tools.list".to_owned(), "shop".to_owned());
        match set.decide(&request, None) {
            Verdict::Allow(permit) => {
                let record = permit.into_record();
                let fact = AuditFact::Allowed {
                    effect: EffectId::fresh(&fresh),
                    action,
                    resource,
                    policies: record.policies,
                    policy_set: record.policy_digest,
                    arguments: record.arguments_digest,
                    approval: None,
                    grant: None,
                    question: Asked::digest(&record.asked),
                };
                (fact, record.asked)
            }
            Verdict::Ask(_) => panic!("nobody is asked about a listing"),
            Verdict::Deny(denial) => {
                let asked = kept_questions(&denial.asked);
                let fact = AuditFact::Refused {
                    action,
                    resource,
                    policies: denial.policies,
                    policy_set: set.digest().to_owned(),
                    arguments: strict::digest(&Value::Null),
                    needs_approval: false,
                    question: Asked::digest(&asked),
                };
                (fact, asked)
            }
        }
    }

    const CLOSED: &str = r#"@id("closed") forbid (principal, action == Action::"tools.list", resource);"#;

    #[test]
    fn what_was_decided_is_decided_so_again() {
        for set in [PolicySet::defaults(), set(CLOSED)] {
            let (fact, asked) = decided(&set);
            let told = told(&fact).expect("a decision");
            let stored = set_of(&told.set, Some(set.text())).expect("stored");
            assert_eq!(again(&told, Some(&asked), None, &stored), Ok(()));
        }
    }

    #[test]
    fn a_keyed_question_is_compared_with_the_key_of_its_journal() {
        let set = PolicySet::defaults();
        let (mut fact, asked) = decided(&set);
        let (ours, theirs) = (DigestKey::new([1; 32]), DigestKey::new([2; 32]));
        if let AuditFact::Allowed { question: Some(question), .. } = &mut fact {
            *question = ours.keyed(question);
        }
        let told = told(&fact).expect("a decision");
        assert_eq!(again(&told, Some(&asked), Some(&ours), &set), Ok(()));
        assert_eq!(again(&told, Some(&asked), Some(&theirs), &set), Err(Difference::Question));
        assert_eq!(again(&told, Some(&asked), None, &set), Err(Difference::NoKey));
    }

    #[test]
    fn what_was_changed_is_named() {
        let sound = PolicySet::defaults();
        let (fact, asked) = decided(&sound);
        let recorded = told(&fact).expect("a decision");
        assert_eq!(again(&recorded, None, None, &sound), Err(Difference::NoDecision));
        let mut other = asked.clone();
        let mut question = other[0].read().expect("JSON");
        question["resource"]["name"][1] = json!("bank");
        other[0] = Asked::new(&question);
        assert_eq!(again(&recorded, Some(&other), None, &sound), Err(Difference::Question));
        let differs = again(&recorded, Some(&asked), None, &set(CLOSED)).expect_err("closed");
        let words = "it was decided otherwise: allowed (default.tools-list) then, denied (closed) now";
        assert_eq!(differs.to_string(), words);
        // A record that says more than was allowed.
        let AuditFact::Allowed { mut policies, .. } = fact.clone() else { panic!("{fact:?}") };
        policies.push("another".to_owned());
        let forged = Told { said: Said::of("allowed", &policies), ..told(&fact).expect("a decision") };
        assert!(matches!(again(&forged, Some(&asked), None, &sound), Err(Difference::Answer { .. })));
    }

    #[test]
    fn a_set_that_is_missing_or_changed_is_named() {
        let sound = PolicySet::defaults();
        let digest = sound.digest();
        assert_eq!(set_of(digest, None).err(), Some(Difference::NoSet(digest.to_owned())));
        let mut text = sound.text().clone();
        text.guard_rails.push_str("\n// nothing");
        assert_eq!(set_of(digest, Some(&text)).err(), Some(Difference::Set(digest.to_owned())));
        text.schema = "entity Other;".to_owned();
        let other = text.digest();
        assert!(matches!(set_of(&other, Some(&text)), Err(Difference::Unusable(named, _)) if named == other));
    }

    #[test]
    fn decisions_of_before_have_no_question() {
        let (mut fact, _) = decided(&PolicySet::defaults());
        if let AuditFact::Allowed { question, .. } = &mut fact {
            *question = None;
        }
        assert!(told(&fact).is_none());
        assert!(told(&AuditFact::SessionFailed).is_none());
    }
}
