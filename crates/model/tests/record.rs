//! Recordings are replayed strictly.

use std::io::Write;
use std::sync::{Arc, Mutex};

use tenure_journal::{ContextItem, InputPart, ModelRequest, Reasoning, ServiceTier, TextConfig};
use tenure_model::record::{Recorder, Replay};
use tenure_model::{Delta, Model, Script, ScriptedModel};
use tokio_util::sync::CancellationToken;

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn request(text: &str, cache_key: &str) -> ModelRequest {
    ModelRequest {
        model: "demo".into(),
        instructions: None,
        input: vec![ContextItem::User { content: vec![InputPart::text(text)] }],
        tools: vec![],
        reasoning: Reasoning::default(),
        text: TextConfig::default(),
        service_tier: ServiceTier::Auto,
        cache_key: cache_key.into(),
        cache_ttl: None,
        output_tokens_max: None,
    }
}

async fn ask(model: &impl Model, request: &ModelRequest) -> (Vec<Delta>, String) {
    let mut deltas = Vec::new();
    let outcome = model.answer(request, &mut |delta| deltas.push(delta), &CancellationToken::new()).await;
    (
        deltas,
        serde_json::to_string(&outcome.map_err(|failure| (failure.kind, failure.message))).expect("JSON"),
    )
}

#[tokio::test]
async fn replays_what_was_recorded_and_nothing_else() {
    let script = "rules:\n- when: { user: fail }\n  fault: { status: 503 }\n- reply: [{ text: 'You said {{ user }}.' }]\n";
    let scripted = ScriptedModel::new(Arc::new(Script::parse(script).expect("a valid script")));
    let file = Shared::default();
    let recorder = Recorder::new(scripted, Box::new(file.clone()));
    let mut expected = Vec::new();
    for text in ["one", "fail", "two"] {
        expected.push(ask(&recorder, &request(text, "sess_1")).await);
    }
    let recorded = file.0.lock().expect("no panic").clone();
    let replay = Replay::read(recorded.as_slice()).expect("a recording");

    let (_, refused) = ask(&replay, &request("other", "sess_2")).await;
    assert!(
        refused.contains("exchange 1 differs from the recording at `request.input[0].content[0].text`"),
        "{refused}"
    );
    assert_eq!(replay.remaining(), 3, "a request that differs takes nothing");
    for (text, expected) in ["one", "fail", "two"].into_iter().zip(expected) {
        assert_eq!(ask(&replay, &request(text, "sess_2")).await, expected);
    }
    let (_, refused) = ask(&replay, &request("three", "sess_2")).await;
    assert!(refused.contains("the recording has 3 exchanges and all were replayed"), "{refused}");
}

#[test]
fn a_damaged_recording_is_refused_with_the_line() {
    let error = Replay::read(&b"\n{\"request\":1}\n"[..]).expect_err("not an exchange").to_string();
    assert!(error.starts_with("line 2 of the recording is not an exchange"), "{error}");
}
