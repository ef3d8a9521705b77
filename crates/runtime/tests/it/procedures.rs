//! Procedures over the real runtime: proposed once whatever a crash leaves, in force only once a person accepted them,
//! seen by nobody of another scope, and gone with whom they rest on.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tenure_journal::{
    ApprovalMode, ContextItem, Done, Event, Extraction, ExtractionChoice, FactSource, Integrity, Labels,
    MEMORY_USER_KEY, MemoryScope, MemorySettings, Outcome, ProcedureState, ProjectId, ScopeKind, SessionKey,
    SessionStatus, Tool, Version, limit,
};
use tenure_model::scripted::{Script, ScriptedModel};
use tenure_runtime::procedure::ProcedureText;
use tenure_runtime::{Forget, Opening, ProcedureAnswer, Runtime, SavedProcedure, caller};
use tenure_session::{Session, SessionNotice};
use tenure_store::{MemoryStore, Receipt};

use crate::support::{opening, start_with, until, wait};

/// The reader is a model of its own: it makes a procedure of turns in which something was done.
const SCRIPT: &str = r#"
rules:
  - when: { model: reader, user: '(?P<word>[a-z]+canary).*"calls":' }
    reply: [{ text: '{"facts":[],"procedure":{"name":"refund-order","description":"To refund the {{ word }}.","steps":"1. Find it.\n2. Refund the {{ word }}.","sources":[6,7,8]}}' }]
  - when: { model: reader, user: '"calls":' }
    reply: [{ text: '{"facts":[],"procedure":{"name":"refund-order","description":"To refund an order.","steps":"1. Find it.\n2. Refund it.","sources":[6,7,8,99]}}' }]
  - when: { model: reader }
    reply: [{ text: '{"facts":[]}' }]
  - when: { user: '^call (?P<tool>[a-z_]+) (?P<given>.+)$', no_result: true }
    reply: [{ call: { tool: "{{ tool }}", raw_arguments: "{{ given }}" } }]
  - when: { user: '^thrice', no_result: true }
    reply:
      - call: { tool: shop__refund, arguments: { order: "o1" } }
      - call: { tool: shop__refund, arguments: { order: "o2" } }
      - call: { tool: shop__refund, arguments: { order: "o3" } }
  - reply: [{ text: "Done." }]
"#;

const PROPOSE: &str = r#"call memory_propose_procedure {"name":"refund-order","description":"To refund an order.","steps":"1. Find it.\n2. Refund it."}"#;
/// How long leases are past.
const LONG: Duration = Duration::from_secs(24 * 60 * 60);
const NO_RECEIPT: &(dyn Fn(&SavedProcedure) -> Option<Receipt> + Send + Sync) = &|_| None;

async fn started(store: &Arc<MemoryStore>) -> Runtime {
    let script = Arc::new(Script::parse(SCRIPT).expect("a valid script"));
    start_with(Arc::clone(store), Arc::default(), Arc::new(ScriptedModel::new(script))).await
}

/// A session of somebody whose turns are read for procedures of this scope.
fn of(user: &str, text: &str, scope: ScopeKind) -> Opening {
    let mut opening = opening(text);
    opening.opened.metadata.insert(MEMORY_USER_KEY.to_owned(), user.to_owned());
    let model = "reader".to_owned();
    let extraction = Extraction { model, scope, facts_max: 8, procedures: true };
    opening.opened.agent.extraction = Some(ExtractionChoice::On(extraction));
    opening.opened.agent.tools.push(Tool::Memory);
    opening.opened.agent.approval = ApprovalMode::Never;
    opening
}

fn with_ada(text: &str) -> Opening {
    of("ada", text, ScopeKind::Space)
}

fn project() -> ProjectId {
    opening("").opened.project_id
}

fn space() -> MemoryScope {
    MemoryScope::Space(opening("").opened.agent.id, Some("ada".to_owned()))
}

async fn say(runtime: &Runtime, opening: Opening) -> SessionKey {
    let (view, stream) = runtime.open(opening, None, true).await.expect("opens");
    until(&mut stream.expect("a stream"), SessionNotice::Idle).await;
    view.key
}

fn journal(store: &MemoryStore, key: SessionKey) -> Vec<Event> {
    let events = store.events_now(key, Version::ZERO, usize::MAX).expect("readable");
    events.into_iter().map(|recorded| recorded.event).collect()
}

/// What came of attempts of a session.
fn done(store: &MemoryStore, key: SessionKey) -> Vec<Done> {
    let done = |event| {
        let Event::AttemptEnded { outcome: Outcome::Done { done }, .. } = event else { return None };
        Some(done)
    };
    journal(store, key).into_iter().filter_map(done).collect()
}

fn readings(store: &MemoryStore, key: SessionKey) -> usize {
    done(store, key).iter().filter(|done| matches!(done, Done::Extracted { .. })).count()
}

/// Waits until the first turn of a session was read.
async fn read(store: &MemoryStore, key: SessionKey) {
    wait::until("the turn is read", || readings(store, key) > 0).await;
}

/// What the tools of a session told its model.
fn told(store: &MemoryStore, key: SessionKey) -> Vec<String> {
    let told = |done| if let Done::Tool { result } = done { Some(result.text) } else { None };
    done(store, key).into_iter().filter_map(told).collect()
}

async fn kept(runtime: &Runtime, scope: &MemoryScope) -> Vec<SavedProcedure> {
    runtime.procedures(project(), scope).await.expect("readable")
}

/// How the procedures of a scope stand, by name.
async fn standing(runtime: &Runtime, scope: &MemoryScope) -> Vec<String> {
    let line = |saved: &SavedProcedure| {
        let SavedProcedure { document, procedure } = saved;
        format!("{} {} v{}", procedure.name, procedure.state.as_str(), document.version)
    };
    kept(runtime, scope).await.iter().map(line).collect()
}

async fn answer(runtime: &Runtime, proposal: &SavedProcedure, answer: ProcedureAnswer) -> SavedProcedure {
    let (id, by) = (&proposal.document.id, person(runtime));
    runtime.answer_procedure(project(), id, &answer, &by, NO_RECEIPT).await.expect("it waits")
}

fn person(runtime: &Runtime) -> FactSource {
    caller("key_1", runtime.now())
}

async fn put(runtime: &Runtime, scope: &MemoryScope, name: &str) -> SavedProcedure {
    let text = ProcedureText::new(name, "To do it.", &format!("1. Do {name}.")).expect("a procedure");
    runtime.put_procedure(project(), scope, text, person(runtime), NO_RECEIPT).await.expect("kept")
}

/// What the model of a session is told of procedures.
fn listed(store: &MemoryStore, key: SessionKey) -> Option<String> {
    let events = store.events_now(key, Version::ZERO, usize::MAX).expect("readable");
    let session = Session::fold(key, None, &events).expect("it was opened");
    let note = |item| {
        let ContextItem::Note { text } = item else { return None };
        text.starts_with("## Procedures").then_some(text)
    };
    session.context().input.into_iter().find_map(note)
}

/// The names in it, in order.
fn names(listed: Option<&str>) -> Vec<&str> {
    listed.unwrap_or_default().lines().filter_map(|line| line.strip_prefix("> ")?.split(' ').next()).collect()
}

#[tokio::test]
async fn what_worked_is_proposed_and_gone_by_once_a_person_accepts_it() {
    let store = Arc::new(MemoryStore::new());
    let runtime = started(&store).await;
    // Whatever the settings say.
    let settings = MemorySettings { scope: space(), review: false };
    runtime.put_memory_settings(project(), settings).await.expect("kept");
    let key = say(&runtime, with_ada("thrice please")).await;
    read(&store, key).await;
    assert_eq!(standing(&runtime, &space()).await, ["refund-order proposed v1"]);
    let proposal = kept(&runtime, &space()).await.remove(0);
    assert_eq!(proposal.procedure.steps, "1. Find it.\n2. Refund it.");
    assert!(proposal.procedure.sources[0].by.is_of(key.session), "{:?}", proposal.procedure.sources);

    let waiting = say(&runtime, with_ada("call memory_procedure {\"name\":\"refund-order\"}")).await;
    assert_eq!(listed(&store, waiting), None, "what waits is not shown");
    assert!(told(&store, waiting)[0].contains("nothing of that id or name"), "{:?}", told(&store, waiting));
    let named = r#"call memory_procedure {"name":"refund-order","scope":"space"}"#;
    let waiting = say(&runtime, with_ada(named)).await;
    assert!(told(&store, waiting)[0].contains("nothing of that id or name"), "nor read");

    let accepted = answer(&runtime, &proposal, ProcedureAnswer::Accept).await;
    assert!(matches!(accepted.procedure.state, ProcedureState::Accepted { by: Some(_) }));
    assert_eq!(standing(&runtime, &space()).await, ["refund-order accepted v1"]);
    let using = say(&runtime, with_ada("call memory_procedure {\"name\":\"refund-order\"}")).await;
    let shown = listed(&store, using).expect("it is listed");
    assert!(shown.ends_with("> refund-order (space): To refund an order.\n"), "{shown}");
    let read: serde_json::Value = serde_json::from_str(&told(&store, using)[0]).expect("JSON");
    assert_eq!(
        (&read["steps"], &read["version"]),
        (&"1. Find it.\n2. Refund it.".into(), &1.into()),
        "{read}"
    );
    assert_eq!(read["sources"][0]["session"], key.session.to_string(), "{read}");
    assert_eq!(read["sources"][0]["items"].as_array().map(Vec::len), Some(3), "{read}");
    let text = runtime.metrics_text();
    assert!(text.contains("tenure_extracted_procedures_total{outcome=\"proposed\"} 1"), "{text}");

    // Found again it is known; nothing more waits.
    let again = say(&runtime, with_ada("thrice please")).await;
    self::read(&store, again).await;
    assert_eq!(standing(&runtime, &space()).await, ["refund-order accepted v1"]);
    let told = told(&store, say(&runtime, with_ada(PROPOSE)).await);
    assert!(told[0].contains("kept already"), "{told:?}");
    runtime.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_revision_waits_beside_what_is_in_force() {
    let store = Arc::new(MemoryStore::new());
    let runtime = started(&store).await;
    put(&runtime, &space(), "refund-order").await;
    let first = told(&store, say(&runtime, with_ada(PROPOSE)).await);
    assert!(first[0].contains("proposed; it is not used"), "{first:?}");
    let both = ["refund-order accepted v1", "refund-order proposed v1"];
    assert_eq!(standing(&runtime, &space()).await, both);
    let proposal = kept(&runtime, &space()).await.remove(1);
    assert_eq!(proposal.procedure.state, ProcedureState::Proposed { revises: Some(1) });
    let named = r#"call memory_procedure {"name":"refund-order"}"#;
    let told = told(&store, say(&runtime, with_ada(named)).await);
    assert!(told[0].contains("1. Do refund-order."), "the one in force stays so: {told:?}");

    // Said again by another session it is one proposal with two sources.
    say(&runtime, with_ada(PROPOSE)).await;
    assert_eq!(standing(&runtime, &space()).await, [both[0], "refund-order proposed v2"]);
    let proposal = kept(&runtime, &space()).await.remove(1);
    assert_eq!(proposal.procedure.sources.len(), 2);
    answer(&runtime, &proposal, ProcedureAnswer::Accept).await;
    assert_eq!(standing(&runtime, &space()).await, ["refund-order accepted v2"]);
    let id = kept(&runtime, &space()).await.remove(0).document.id;
    let history = runtime.procedure_history(project(), &id).await.expect("there");
    let steps: Vec<&str> = history.iter().map(|saved| saved.procedure.steps.as_str()).collect();
    assert_eq!(steps, ["1. Do refund-order.", "1. Find it.\n2. Refund it."]);
    let past = runtime.procedure_history(project(), &proposal.document.id).await.expect("there");
    assert_eq!(
        past.last().map(|last| last.document.deleted),
        Some(true),
        "a proposal that was accepted is done"
    );

    // One that is removed goes on with its versions.
    runtime.remove_procedure(project(), &id).await.expect("there");
    assert_eq!(standing(&runtime, &space()).await, [""; 0]);
    say(&runtime, with_ada(PROPOSE)).await;
    let proposal = kept(&runtime, &space()).await.remove(0);
    assert_eq!(proposal.procedure.state, ProcedureState::Proposed { revises: None });
    answer(&runtime, &proposal, ProcedureAnswer::Accept).await;
    assert_eq!(standing(&runtime, &space()).await, ["refund-order accepted v4"]);
    runtime.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_a_person_rejected_is_not_proposed_again() {
    let store = Arc::new(MemoryStore::new());
    let runtime = started(&store).await;
    say(&runtime, with_ada(PROPOSE)).await;
    let proposal = kept(&runtime, &space()).await.remove(0);
    let reason = Some("not so".to_owned());
    answer(&runtime, &proposal, ProcedureAnswer::Reject { reason }).await;
    let rejected = ["refund-order rejected v2"];
    let renamed = PROPOSE.replace("refund-order", "pay-back").replace("To refund", "When to refund");
    for text in [PROPOSE, &renamed, &PROPOSE.replace("1. Find it.", "1.  FIND it.")] {
        let told = told(&store, say(&runtime, with_ada(text)).await);
        assert!(told[0].contains("a person rejected this procedure"), "{told:?}");
        assert_eq!(standing(&runtime, &space()).await, rejected);
    }
    let key = say(&runtime, with_ada("thrice please")).await;
    read(&store, key).await;
    assert_eq!(standing(&runtime, &space()).await, rejected, "nor by a model that reads a turn");
    let text = runtime.metrics_text();
    assert!(text.contains("tenure_extracted_procedures_total{outcome=\"refused\"} 1"), "{text}");
    let by = person(&runtime);
    let again = runtime
        .answer_procedure(project(), &proposal.document.id, &ProcedureAnswer::Accept, &by, NO_RECEIPT)
        .await;
    assert!(again.is_err(), "it waits no more");
    let better = PROPOSE.replace("2. Refund it.", "2. Ask. 3. Refund it.");
    say(&runtime, with_ada(&better)).await;
    assert_eq!(kept(&runtime, &space()).await.len(), 2, "another text is another");
    runtime.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn nobody_of_another_scope_sees_or_reads_it() {
    let store = Arc::new(MemoryStore::new());
    let runtime = started(&store).await;
    let ada = MemoryScope::User("ada".to_owned());
    for scope in [&ada, &space()] {
        put(&runtime, scope, &format!("for-{}", scope.kind().as_str())).await;
    }
    put(&runtime, &MemoryScope::Project, "for-all").await;
    let hers = say(&runtime, with_ada("hello")).await;
    let shown = listed(&store, hers);
    assert_eq!(names(shown.as_deref()), ["for-all", "for-user", "for-space"], "the widest first");

    let mut foreign = of("ada", "hello", ScopeKind::Space);
    foreign.opened.project_id = ProjectId::fresh(&tenure_journal::Fresh::new(runtime.now(), 77));
    let mut other_agent = of("ada", "hello", ScopeKind::Space);
    other_agent.opened.agent.id =
        tenure_journal::AgentId::fresh(&tenure_journal::Fresh::new(runtime.now(), 78));
    let mut without = of("ada", "hello", ScopeKind::Space);
    without.opened.agent.tools.retain(|tool| *tool != Tool::Memory);
    for (what, opening, expected) in [
        ("another user", of("bob", "hello", ScopeKind::Space), &["for-all"][..]),
        ("another agent", other_agent, &["for-all", "for-user"]),
        ("another project", foreign, &[]),
        ("an agent without the memory", without, &[]),
    ] {
        let key = say(&runtime, opening).await;
        assert_eq!(names(listed(&store, key).as_deref()), expected, "{what}");
    }
    for scope in ["user", "space"] {
        let named = format!(r#"call memory_procedure {{"name":"for-{scope}","scope":"{scope}"}}"#);
        let key = say(&runtime, of("bob", &named, ScopeKind::Space)).await;
        assert!(told(&store, key)[0].contains("nothing of that id or name"), "{:?}", told(&store, key));
    }
    runtime.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_a_stranger_taught_stays_a_strangers_word() {
    let store = Arc::new(MemoryStore::new());
    let runtime = started(&store).await;
    let mut planted = with_ada("thrice please");
    let strangers = Labels { integrity: Integrity::Untrusted, ..Labels::NEUTRAL };
    planted.opened.trust.messages = strangers.clone();
    // The shop's calls are held for nobody: what was read is what matters here.
    planted.opened.agent.tools.retain(|tool| *tool == Tool::Memory);
    planted.input = vec![vec![tenure_journal::InputPart::text(PROPOSE)]];
    say(&runtime, planted).await;
    let proposal = kept(&runtime, &space()).await.remove(0);
    assert_eq!(proposal.procedure.labels, strangers);
    answer(&runtime, &proposal, ProcedureAnswer::Accept).await;
    let key = say(&runtime, with_ada("hello")).await;
    let taken = journal(&store, key).into_iter().find_map(|event| {
        let Event::ProceduresTaken { procedures } = event else { return None };
        Some(procedures)
    });
    assert_eq!(taken.expect("taken up")[0].labels, strangers, "an answer makes nothing more trusted");
    runtime.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_scope_has_so_many_and_old_rejections_make_room() {
    let store = Arc::new(MemoryStore::new());
    let runtime = started(&store).await;
    for number in 0..limit::PROCEDURES_PER_SCOPE_MAX {
        put(&runtime, &space(), &format!("p{number}")).await;
    }
    put(&runtime, &space(), "p0").await;
    let text = ProcedureText::new("one-more", "To do it.", "1. Do it.").expect("a procedure");
    let full = runtime.put_procedure(project(), &space(), text, person(&runtime), NO_RECEIPT).await;
    assert!(full.is_err_and(|error| error.to_string().contains("which is the most")));

    let propose = |number: usize| PROPOSE.replace("Refund it.", &format!("Refund it {number} times."));
    for number in 0..limit::PROPOSALS_PER_SCOPE_MAX {
        let key = say(&runtime, with_ada(&propose(number))).await;
        assert!(told(&store, key)[0].contains("proposed; it is not used"), "{:?}", told(&store, key));
    }
    let key = say(&runtime, with_ada(PROPOSE)).await;
    assert!(told(&store, key)[0].contains("wait for a person, which is the most"), "{:?}", told(&store, key));
    let waiting = kept(&runtime, &space()).await;
    let proposal = waiting.last().expect("they wait");
    let accepted = runtime
        .answer_procedure(
            project(),
            &proposal.document.id,
            &ProcedureAnswer::Accept,
            &person(&runtime),
            NO_RECEIPT,
        )
        .await;
    assert!(
        accepted.is_err_and(|error| error.to_string().contains("which is the most")),
        "nor by acceptance"
    );
    answer(&runtime, proposal, ProcedureAnswer::Reject { reason: None }).await;
    let key = say(&runtime, with_ada(PROPOSE)).await;
    assert!(told(&store, key)[0].contains("proposed; it is not used"), "{:?}", told(&store, key));
    let proposals = kept(&runtime, &space()).await.len() - limit::PROCEDURES_PER_SCOPE_MAX;
    assert_eq!(proposals, limit::PROPOSALS_PER_SCOPE_MAX, "the rejected one made room");
    runtime.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_many_answer_at_once_is_answered_once() {
    let store = Arc::new(MemoryStore::new());
    let runtime = started(&store).await;
    say(&runtime, with_ada(PROPOSE)).await;
    let id = kept(&runtime, &space()).await.remove(0).document.id;
    let answers = (0..6).map(|number| {
        let (runtime, id, by) = (&runtime, &id, person(&runtime));
        async move {
            let answer = match number % 2 {
                0 => ProcedureAnswer::Accept,
                _ => ProcedureAnswer::Reject { reason: None },
            };
            runtime.answer_procedure(project(), id, &answer, &by, NO_RECEIPT).await.is_ok()
        }
    });
    let answered = join_all(answers).await.into_iter().filter(|answered| *answered).count();
    assert_eq!((answered, kept(&runtime, &space()).await.len()), (1, 1));
    runtime.shutdown(Duration::from_secs(5)).await;
}

/// What is left of a session after a crash that kept so many writes.
async fn crashed(text: &str, kept: Option<usize>) -> (Arc<MemoryStore>, usize) {
    let store = Arc::new(MemoryStore::volatile());
    let runtime = started(&store).await;
    let key = say(&runtime, with_ada(text)).await;
    read(&store, key).await;
    let writes = store.unsynced();
    runtime.shutdown(Duration::from_secs(5)).await;
    store.crash_keeping(kept.unwrap_or(writes));
    store.pass(LONG);
    (store, writes)
}

#[tokio::test]
async fn whatever_a_crash_leaves_there_is_one_proposal() {
    for text in ["thrice please", PROPOSE] {
        let (_, writes) = crashed(text, None).await;
        let mut finished = 0;
        for left in 0..=writes {
            let (store, _) = crashed(text, Some(left)).await;
            let keys = store.keys_now();
            let runtime = started(&store).await;
            if let Some(key) = keys.first().copied() {
                read(&store, key).await;
                wait::until("the session rests", || {
                    let head = store.head_now(key).expect("readable").expect("there");
                    head.status == SessionStatus::Idle
                })
                .await;
                let found = standing(&runtime, &space()).await;
                assert_eq!(found, ["refund-order proposed v1"], "{text}: after {left} of {writes} writes");
                assert_eq!(readings(&store, key), 1, "{text}: after {left} of {writes} writes");
                finished += 1;
            }
            runtime.shutdown(Duration::from_secs(5)).await;
        }
        assert!(finished > 2, "{text}: {finished} of {writes}");
    }
}

#[tokio::test]
async fn what_rests_on_somebody_goes_with_them_and_nothing_else() {
    let store = Arc::new(MemoryStore::unshared());
    let runtime = started(&store).await;
    let by_hand = put(&runtime, &MemoryScope::Project, "refund-order").await;
    for user in ["ada", "bob"] {
        let text = format!("thrice, the {user}canary");
        let key = say(&runtime, of(user, &text, ScopeKind::Project)).await;
        read(&store, key).await;
    }
    let ship = r#"call memory_propose_procedure {"name":"ship-order","description":"To ship.","steps":"The adacanary.","scope":"project"}"#;
    say(&runtime, of("ada", ship, ScopeKind::Project)).await;
    let found = kept(&runtime, &MemoryScope::Project).await;
    let accepted = found.iter().find(|one| one.procedure.name == "ship-order").expect("it waits");
    answer(&runtime, accepted, ProcedureAnswer::Accept).await;
    assert_eq!(kept(&runtime, &MemoryScope::Project).await.len(), 4);

    let verify = ["adacanary".to_owned()];
    let subject = Forget::Subject("ada".to_owned());
    let erasure = runtime.forget(project(), &subject, &verify, "key_1").await.expect("begins");
    let receipt = wait::answered("the erasure is done", async || {
        runtime.erasure(project(), erasure.id).await.expect("there").receipt
    })
    .await;
    assert!(receipt.contains("\"verified\":{\"found\":{}"), "{receipt}");
    assert!(receipt.contains("\"documents.procedure\":1"), "what a person accepted goes too: {receipt}");
    assert!(receipt.contains("\"documents.procedure_proposal\":3"), "with every version: {receipt}");
    let left = kept(&runtime, &MemoryScope::Project).await;
    assert_eq!(left.first(), Some(&by_hand), "what a person wrote stays, whatever was proposed for it");
    assert!(left.len() == 2 && left[1].procedure.steps.contains("bobcanary"), "{left:?}");
    runtime.shutdown(Duration::from_secs(5)).await;
}
