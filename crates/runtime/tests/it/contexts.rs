//! Sessions that outgrow their model's window, over the real runtime, with a model that refuses what is too long.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::json;
use tenure_journal::{
    AnswerItem, Event, Failure, FailureKind, FunctionTool, InputPart, ItemBody, ModelAnswer, ModelRequest,
    RouteRecord, SessionKey, Stop, Tool, Usage,
};
use tenure_model::scripted::{Script, ScriptedModel};
use tenure_model::{Delta, Model};
use tenure_policy::PolicySet;
use tenure_runtime::{
    Limits, MasterKeys, ModelTable, Opening, Outbound, Parts, Provider, Route, Runtime, Sealer,
};
use tenure_session::{Command, Family, SessionNotice};
use tenure_store::{MemoryStore, Order, Page};
use tokio_util::sync::CancellationToken;

use crate::support::{Shop, opening, until};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// What a window of 8,192 tokens leaves to the input.
const SMALL: u64 = 8_192;

/// A model that answers in a word, and counts what it is asked.
struct Strict {
    window: u64,
    /// What every request took.
    seen: Mutex<Vec<ModelRequest>>,
    /// What it says when it is asked for a summary.
    summary: Result<&'static str, FailureKind>,
}

impl Strict {
    fn new(window: u64, summary: Result<&'static str, FailureKind>) -> Arc<Self> {
        Arc::new(Self { window, seen: Mutex::default(), summary })
    }

    fn requests(&self) -> Vec<ModelRequest> {
        self.seen.lock().expect("no panics").clone()
    }
}

fn is_summary(request: &ModelRequest) -> bool {
    request.instructions.as_deref().is_some_and(|text| text.starts_with("You keep the memory"))
}

#[async_trait]
impl Model for Strict {
    async fn answer(
        &self,
        request: &ModelRequest,
        _: &mut (dyn FnMut(Delta) + Send),
        _: &CancellationToken,
    ) -> Result<ModelAnswer, Failure> {
        let tokens = Family::O200k.count_request(request);
        let failure = |kind| Failure { kind, message: "refused".into(), retry_after_ms: None };
        if tokens > self.window {
            return Err(failure(FailureKind::ContextTooLong));
        }
        self.seen.lock().expect("no panics").push(request.clone());
        let text = if is_summary(request) { self.summary.map_err(failure)? } else { "Noted." };
        let usage = Usage { input_tokens: tokens, cached_tokens: 0, output_tokens: 2, reasoning_tokens: 0 };
        let items = vec![AnswerItem::Message { content: vec![text.to_owned()] }];
        Ok(ModelAnswer { items, usage: Some(usage), stop: Stop::Complete, response_id: None })
    }
}

async fn start(store: Arc<MemoryStore>, model: Arc<dyn Model>, context_tokens: Option<u64>) -> Runtime {
    let provider = Provider::new("strict", model, 8);
    let route = Route {
        record: RouteRecord::default(),
        provider: Arc::clone(&provider),
        model: "m".into(),
        prices: None,
        context_tokens,
        output_tokens_max: None,
    };
    let parts = Parts {
        store,
        models: ModelTable {
            named: BTreeMap::from([("m".to_owned(), vec![route])]),
            fallback: Some(provider),
        },
        servers: Arc::new(Shop::default()),
        project_servers: BTreeMap::new(),
        policy: Arc::new(PolicySet::defaults()),
        sealer: Sealer::new(MasterKeys::of_text(KEY, "the test").expect("a key")),
        limits: Limits::default(),
        outbound: Outbound::default(),
        environments: tenure_runtime::EnvironmentConfig::default(),
    };
    Runtime::start(parts).await.expect("starts")
}

fn without_tools(text: &str) -> Opening {
    let mut opening = opening(text);
    opening.opened.agent.tools.clear();
    opening
}

async fn say(runtime: &Runtime, key: SessionKey, text: &str) -> Vec<String> {
    let mut stream = runtime.subscribe(key).await.expect("there");
    let message = Command::Message { content: vec![InputPart::text(text)] };
    runtime.submit(key, vec![message], None).await.expect("accepted");
    until(&mut stream, SessionNotice::Idle).await
}

fn completed(seen: &[String]) -> bool {
    seen.iter().any(|word| word == "turn.Completed")
}

#[tokio::test]
async fn a_session_of_a_thousand_turns_answers_in_a_small_window() {
    let model = Strict::new(SMALL, Ok("They asked for order ord_4711 first."));
    let runtime = start(Arc::new(MemoryStore::new()), Arc::clone(&model) as _, Some(SMALL)).await;
    let (view, stream) =
        runtime.open(without_tools("Remember order ord_4711."), None, true).await.expect("opens");
    until(&mut stream.expect("subscribed"), SessionNotice::Idle).await;
    for turn in 0..1_000 {
        let seen =
            say(&runtime, view.key, &format!("Turn {turn}: {}", "and some more words ".repeat(8))).await;
        assert!(completed(&seen), "turn {turn}: {seen:?}");
    }
    let requests = model.requests();
    let last = requests.last().expect("there were some");
    assert!(
        format!("{:?}", last.input).contains("ord_4711"),
        "an early id is still known: {:#?}",
        last.input
    );
    assert!(requests.iter().filter(|request| is_summary(request)).count() > 3, "it was summarised");
    let page = Page { after: None, limit: 5_000, order: Order::Ascending };
    let items = runtime.store().items(view.key, None, &page).await.expect("readable");
    assert_eq!(items.len(), 2_002, "nothing is gone from the session");
}

#[tokio::test]
async fn without_a_summary_a_session_answers_all_the_same() {
    for failure in [FailureKind::Authentication, FailureKind::InvalidRequest, FailureKind::ContextTooLong] {
        let model = Strict::new(2_000, Err(failure));
        let runtime = start(Arc::new(MemoryStore::new()), Arc::clone(&model) as _, Some(2_000)).await;
        let (view, stream) =
            runtime.open(without_tools("Remember ord_4711."), None, true).await.expect("opens");
        until(&mut stream.expect("subscribed"), SessionNotice::Idle).await;
        for turn in 0..60 {
            let seen = say(&runtime, view.key, &format!("Turn {turn}: {}", "more ".repeat(40))).await;
            assert!(completed(&seen), "{failure:?}, turn {turn}: {seen:?}");
        }
        let last = model.requests().pop().expect("there were some");
        assert!(format!("{:?}", last.input).contains("ord_4711"), "{:#?}", last.input);
    }
}

#[tokio::test]
async fn a_window_that_nobody_knows_is_learned() {
    // Nothing says that the model takes so little; it refuses, and is believed.
    let model = Strict::new(3_000, Ok("Earlier: ord_4711."));
    let runtime = start(Arc::new(MemoryStore::new()), Arc::clone(&model) as _, None).await;
    let (view, stream) = runtime.open(without_tools("Hi"), None, true).await.expect("opens");
    until(&mut stream.expect("subscribed"), SessionNotice::Idle).await;
    for turn in 0..40 {
        let seen = say(&runtime, view.key, &format!("Turn {turn}: {}", "more words ".repeat(80))).await;
        assert!(completed(&seen), "turn {turn}: {seen:?}");
    }
    let journal = runtime.journal(view.key).await.expect("readable");
    let refused =
        journal.iter().filter(|recorded| format!("{:?}", recorded.event).contains("ContextTooLong"));
    let refused = refused.count();
    assert!((1..=6).contains(&refused), "refused {refused} times and not at every turn");
}

#[tokio::test]
async fn a_message_of_many_windows_is_answered() {
    let model = Strict::new(SMALL, Ok("A long text."));
    let runtime = start(Arc::new(MemoryStore::new()), Arc::clone(&model) as _, Some(SMALL)).await;
    let long = format!("Begin {} end.", "sentence after sentence ".repeat(100_000));
    let (view, stream) = runtime.open(without_tools(&long), None, true).await.expect("opens");
    let seen = until(&mut stream.expect("subscribed"), SessionNotice::Idle).await;
    assert!(completed(&seen), "{seen:?}");
    let seen = say(&runtime, view.key, "And now?").await;
    assert!(completed(&seen), "{seen:?}");
}

#[tokio::test]
async fn a_tool_result_of_fifty_megabytes_is_answered() {
    // A function's result is the client's to give, and is kept in the journal whole.
    let script = "context_tokens: 8192\nrules:\n  - when: { user: 'summari|Summari' }\n    reply: [{ text: 'Files.' }]\n  \
                  - when: { result_of: dump }\n    reply: [{ text: 'Read.' }]\n  - when: { user: '^dump' }\n    \
                  reply: [{ call: { tool: dump } }]\n  - reply: [{ text: 'Fine.' }]\n";
    let model = Arc::new(ScriptedModel::new(Arc::new(Script::parse(script).expect("a script"))));
    let runtime = start(Arc::new(MemoryStore::new()), model, Some(SMALL)).await;
    let mut opening = without_tools("dump it");
    opening.opened.agent.tools = vec![Tool::Function(FunctionTool {
        name: "dump".into(),
        description: String::new(),
        parameters: json!({"type": "object"}),
        defer_loading: false,
        is_async: false,
    })];
    let (view, stream) = runtime.open(opening, None, true).await.expect("opens");
    until(&mut stream.expect("subscribed"), SessionNotice::RequiresAction).await;
    let state = runtime.view(view.key).await.expect("readable").expect("there");
    let tenure_session::RequiredAction::FunctionCall { turn_id, call_id, .. } = &state.required_actions[0]
    else {
        panic!("a call, not {:?}", state.required_actions)
    };
    let mut stream = runtime.subscribe(view.key).await.expect("there");
    let output = tenure_journal::FunctionOutput::Text("0123456789abcde\n".repeat(50 * 1024 * 1024 / 16));
    let result = Command::FunctionResult {
        turn_id: *turn_id,
        call_id: call_id.clone(),
        success: true,
        output: Some(output),
        error: None,
    };
    runtime.submit(view.key, vec![result], None).await.expect("accepted");
    let seen = until(&mut stream, SessionNotice::Idle).await;
    assert!(completed(&seen), "{seen:?}");
    let seen = say(&runtime, view.key, "Anything else?").await;
    assert!(completed(&seen), "{seen:?}");
}

#[tokio::test]
async fn instructions_that_fill_the_window_fail_the_turn_and_name_the_setting() {
    let model = Strict::new(SMALL, Ok("Nothing."));
    let runtime = start(Arc::new(MemoryStore::new()), Arc::clone(&model) as _, Some(SMALL)).await;
    let mut opening = without_tools("Hi");
    opening.opened.agent.instructions = Some("Be brief and be kind. ".repeat(4_000));
    let (view, stream) = runtime.open(opening, None, true).await.expect("opens");
    let seen = until(&mut stream.expect("subscribed"), SessionNotice::Idle).await;
    assert!(seen.contains(&"turn.Failed".to_owned()), "{seen:?}");
    let page = Page { after: None, limit: 5, order: Order::Ascending };
    let turns = runtime.store().turns(view.key, &page).await.expect("readable");
    let error = turns[0].error.as_ref().expect("why");
    assert_eq!(error.code, "context_length_exceeded");
    assert!(
        error.message.contains("`instructions`") && error.message.contains("`context_tokens`"),
        "{}",
        error.message
    );
    assert!(model.requests().is_empty(), "nothing was sent that cannot fit");
}

#[tokio::test]
async fn a_summary_that_a_crash_cut_off_is_asked_for_again() {
    /// Never answers when it is asked for a summary.
    struct Stuck(Arc<Strict>);
    #[async_trait]
    impl Model for Stuck {
        async fn answer(
            &self,
            request: &ModelRequest,
            sink: &mut (dyn FnMut(Delta) + Send),
            cancel: &CancellationToken,
        ) -> Result<ModelAnswer, Failure> {
            if is_summary(request) {
                cancel.cancelled().await;
            }
            self.0.answer(request, sink, cancel).await
        }
    }
    let store = Arc::new(MemoryStore::new());
    let inner = Strict::new(2_000, Ok("Earlier: ord_4711."));
    let first = start(Arc::clone(&store), Arc::new(Stuck(Arc::clone(&inner))), Some(2_000)).await;
    let (view, stream) = first.open(without_tools("Remember ord_4711."), None, true).await.expect("opens");
    until(&mut stream.expect("subscribed"), SessionNotice::Idle).await;
    let is_asked = |journal: &[tenure_journal::Recorded]| {
        journal.iter().any(|recorded| format!("{:?}", recorded.event).contains("kind: Compact"))
    };
    let mut turns = 0;
    loop {
        let message = Command::Message { content: vec![InputPart::text("more words ".repeat(60))] };
        let mut stream = first.subscribe(view.key).await.expect("there");
        first.submit(view.key, vec![message], None).await.expect("accepted");
        if is_asked(&first.journal(view.key).await.expect("readable")) {
            break;
        }
        until(&mut stream, SessionNotice::Idle).await;
        turns += 1;
        assert!(turns < 100, "it never became too long");
    }
    first.shutdown(std::time::Duration::ZERO).await;
    let second = start(store, Arc::clone(&inner) as _, Some(2_000)).await;
    let mut stream = second.subscribe(view.key).await.expect("there");
    let running = second.view(view.key).await.expect("readable").expect("there");
    if running.status != tenure_journal::SessionStatus::Idle {
        assert!(completed(&until(&mut stream, SessionNotice::Idle).await));
    }
    let journal = second.journal(view.key).await.expect("readable");
    let summaries = journal.iter().filter(|recorded| matches!(recorded.event, Event::ContextCompacted(_)));
    assert_eq!(summaries.count(), 1, "there is one summary, whole");
}

#[tokio::test]
async fn what_left_the_context_is_found_by_its_words_and_read_by_its_id() {
    /// Searches for the kettle, reads what it finds, and says what it read.
    struct Searching(Arc<Strict>);
    #[async_trait]
    impl Model for Searching {
        async fn answer(
            &self,
            request: &ModelRequest,
            sink: &mut (dyn FnMut(Delta) + Send),
            cancel: &CancellationToken,
        ) -> Result<ModelAnswer, Failure> {
            let call = |arguments: serde_json::Value| ModelAnswer {
                items: vec![AnswerItem::ToolCall {
                    call_id: format!("c{}", request.input.len()),
                    name: "search_history".into(),
                    arguments: arguments.to_string(),
                }],
                usage: None,
                stop: Stop::Complete,
                response_id: None,
            };
            let offers = request.tools.iter().any(|tool| tool.name == "search_history");
            let asked = format!("{:?}", request.input.last());
            if is_summary(request) || !offers {
                return self.0.answer(request, sink, cancel).await;
            }
            if asked.contains("Which kettle") {
                return Ok(call(json!({"words": "kettle"})));
            }
            if let Some((_, rest)) =
                asked.split_once("item_id\\\\\\\":\\\\\\\"").or_else(|| asked.split_once("item_id\\\":\\\""))
            {
                let id: String =
                    rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                return Ok(call(json!({"item_id": id})));
            }
            self.0.answer(request, sink, cancel).await
        }
    }
    let inner = Strict::new(2_000, Ok("They talked."));
    let model = Arc::new(Searching(Arc::clone(&inner)));
    let runtime = start(Arc::new(MemoryStore::new()), model, Some(2_000)).await;
    let first = "The kettle KT-220-BL is blue and holds two litres.";
    let (view, stream) = runtime.open(without_tools(first), None, true).await.expect("opens");
    until(&mut stream.expect("subscribed"), SessionNotice::Idle).await;
    for turn in 0..30 {
        assert!(completed(&say(&runtime, view.key, &format!("{turn} {}", "other words ".repeat(40))).await));
    }
    assert!(completed(&say(&runtime, view.key, "Which kettle was it?").await));
    let page = Page { after: None, limit: 5_000, order: Order::Ascending };
    let items = runtime.store().items(view.key, None, &page).await.expect("readable");
    let found = |body: &ItemBody| match body {
        ItemBody::McpCall { name, output, .. } if name == "search_history" => output.clone(),
        ItemBody::McpCall { .. }
        | ItemBody::UserMessage { .. }
        | ItemBody::AssistantMessage { .. }
        | ItemBody::Reasoning { .. }
        | ItemBody::FunctionCall { .. }
        | ItemBody::FunctionCallOutput { .. }
        | ItemBody::CommandExecution { .. }
        | ItemBody::SubagentCall { .. }
        | ItemBody::AgentMessage { .. }
        | ItemBody::InternalCall { .. } => None,
    };
    let outputs: Vec<String> = items.iter().filter_map(|item| found(&item.body)).collect();
    assert_eq!(outputs.len(), 2, "{outputs:?}");
    assert!(outputs[0].contains("KT-220-BL"), "{}", outputs[0]);
    assert!(outputs[1].starts_with(first), "{}", outputs[1]);
}
