//! The mock server over real HTTP, asked by the real transport.

use std::sync::Arc;

use serde_json::Value;
use tenure_journal::{
    AnswerItem, ContextItem, Failure, FailureKind, FunctionOutput, InputPart, ModelAnswer, ModelRequest,
    Reasoning, ServiceTier, TextConfig, ToolSpec, Usage,
};
use tenure_model::http::Timeouts;
use tenure_model::{
    Addressing, EmbedRequest, Embeddings as _, HttpConfig, HttpModel, Model, Script, ScriptedModel, Wire,
};
use tenure_testkit::mock_openai::{RequestLog, router};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

const SCRIPT: &str = r#"
rules:
  - when: { user: status }
    fault: { status: 429, retry_after_ms: 1500 }
  - when: { user: quota }
    fault: { status: 429, code: insufficient_quota }
  - when: { user: disconnect }
    fault: { disconnect: true }
  - when: { user: cut }
    fault: { cut_after_tokens: 2 }
    reply: [{ text: one two three }]
  - when: { user: late cut }
    fault: { cut_after_tokens: 99 }
    reply: [{ text: one two three }]
  - when: { user: silence }
    fault: { stall_ms: 600000 }
    reply: [{ text: one }]
  - when: { user: pause }
    fault: { stall_ms: 600000, stall_after_tokens: 1 }
    reply: [{ text: one two }]
  - when: { user: twice }
    fault: { status: 500, times: 2 }
    reply: [{ text: third time lucky }]
  - when: { user: slowly }
    token_delay_ms: 1
    reply: [{ text: one two three }]
  - when: { user: look, no_result: true }
    reply:
      - reasoning: Two things to look at.
      - text: Looking.
      - call: { tool: look, arguments: { at: "{{ user }}" } }
      - call: { tool: look, raw_arguments: '{"at": ' }
  - when: { result_of: look, result: (?P<seen>c.t) }
    reply: [{ text: "I see a {{ seen }}." }]
"#;

struct Mock {
    address: String,
    log: RequestLog,
}

async fn mock() -> Mock {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket").to_string();
    let log = RequestLog::new();
    let app = router(Arc::new(Script::parse(SCRIPT).expect("a valid script")), log.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    Mock { address, log }
}

fn model(mock: &Mock, wire: Wire, timeouts: Timeouts) -> HttpModel {
    // Another test of this process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let path = if wire == Wire::Converse { "" } else { "/v1" };
    let url = format!("http://{}{path}", mock.address).parse().expect("a URL");
    HttpModel::new(&HttpConfig { timeouts, ..HttpConfig::new(url, wire, None) })
        .expect("a valid configuration")
}

fn request(text: &str) -> ModelRequest {
    ModelRequest {
        model: "m1".into(),
        instructions: Some("Be brief.".into()),
        input: vec![ContextItem::User { content: vec![InputPart::text(text)] }],
        tools: vec![ToolSpec {
            name: "look".into(),
            description: "Looks.".into(),
            parameters: serde_json::json!({ "type": "object" }),
        }],
        reasoning: Reasoning::default(),
        text: TextConfig::default(),
        service_tier: ServiceTier::Auto,
        cache_key: "sess_1".into(),
        cache_ttl: None,
        output_tokens_max: None,
    }
}

async fn ask(model: &impl Model, request: &ModelRequest) -> Result<ModelAnswer, Failure> {
    model.answer(request, &mut |_| {}, &CancellationToken::new()).await
}

/// The request that follows when the tools have answered.
fn continued(mut request: ModelRequest, answer: &ModelAnswer) -> ModelRequest {
    let mut results = Vec::new();
    for (index, item) in answer.items.iter().enumerate() {
        request.input.push(match item.clone() {
            AnswerItem::Message { content } => ContextItem::Assistant { text: content.concat(), phase: None },
            AnswerItem::Reasoning { summary, encrypted, provider_id } => {
                ContextItem::Reasoning { provider_id, summary, encrypted }
            }
            AnswerItem::ToolCall { call_id, name, arguments } => {
                let output = FunctionOutput::Text(format!("result {index}: a cat"));
                results.push(ContextItem::CallResult { call_id: call_id.clone(), output });
                ContextItem::Call { call_id, name, arguments }
            }
        });
    }
    request.input.append(&mut results);
    request
}

#[tokio::test]
async fn answers_as_the_scripted_model_does_over_every_format() {
    let mock = mock().await;
    let local = ScriptedModel::new(Arc::new(Script::parse(SCRIPT).expect("a valid script")));
    for wire in Wire::ALL {
        let model = model(&mock, wire, Timeouts::default());
        let first = request("please look");
        let answer = ask(&model, &first).await.expect("an answer");
        let mut expected = ask(&local, &first).await.expect("an answer");
        if let AnswerItem::Reasoning { encrypted, provider_id, .. } = &mut expected.items[0] {
            // Chat Completions has no place for opaque thinking, and the others sign it.
            match wire {
                Wire::Responses => {}
                Wire::Chat => (*encrypted, *provider_id) = (None, None),
                Wire::Anthropic | Wire::Converse => {
                    let opaque = encrypted.take().unwrap_or_default();
                    (*encrypted, *provider_id) = (Some(format!("claude:signature:{opaque}")), None);
                }
            }
        }
        if wire == Wire::Converse {
            // It has no ids of answers, and does not count thinking apart.
            expected.response_id = None;
            expected.usage = expected.usage.map(|usage| Usage { reasoning_tokens: 0, ..usage });
        }
        assert_eq!(answer, expected, "{wire:?}");
        let second = continued(first, &answer);
        let answer = ask(&model, &second).await.expect("an answer");
        assert_eq!(answer.items, [AnswerItem::Message { content: vec!["I see a cat.".into()] }], "{wire:?}");
        let slow = ask(&model, &request("slowly")).await.expect("an answer");
        assert_eq!(slow.items, [AnswerItem::Message { content: vec!["one two three".into()] }], "{wire:?}");
    }
    let violations: Vec<_> =
        mock.log.received().into_iter().flat_map(|received| received.violations).collect();
    assert_eq!(violations, Vec::<String>::new(), "what the codecs write is what a strict provider accepts");
}

#[tokio::test]
async fn acts_faults_out_on_the_connection() {
    let mock = mock().await;
    let short = Timeouts { first_byte_ms: 100, idle_ms: 100, ..Timeouts::default() };
    let usual = Timeouts::default();
    let cases = [
        ("status", usual, FailureKind::RateLimited, Some(1500)),
        ("quota", usual, FailureKind::CreditExhausted, None),
        ("disconnect", usual, FailureKind::ConnectionFailed, None),
        ("cut", usual, FailureKind::ConnectionFailed, None),
        ("late cut", usual, FailureKind::ConnectionFailed, None),
        ("silence", short, FailureKind::Timeout, None),
        ("pause", short, FailureKind::Timeout, None),
        ("nothing like that", usual, FailureKind::InvalidRequest, None),
    ];
    for wire in Wire::ALL {
        for (text, timeouts, kind, wait) in cases {
            // Bedrock has no code for it.
            let is_unknown = wire == Wire::Converse && kind == FailureKind::CreditExhausted;
            let kind = if is_unknown { FailureKind::RateLimited } else { kind };
            let failure = ask(&model(&mock, wire, timeouts), &request(text)).await.expect_err(text);
            assert_eq!((failure.kind, failure.retry_after_ms), (kind, wait), "{text} over {wire:?}");
        }
    }
}

#[tokio::test]
async fn a_counted_fault_passes() {
    let mock = mock().await;
    let model = model(&mock, Wire::Responses, Timeouts::default());
    for expected in [false, false, true, true] {
        assert_eq!(ask(&model, &request("twice")).await.is_ok(), expected);
    }
}

/// Sends raw bytes and returns everything that comes back.
async fn raw(mock: &Mock, method: &str, path: &str, body: &str) -> String {
    let mut socket = TcpStream::connect(&mock.address).await.expect("the mock listens");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all((head + body).as_bytes()).await.expect("the mock reads");
    let mut answer = Vec::new();
    // A reset after what was sent is an end like any other.
    let _ = socket.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn body_of(response: &str) -> Value {
    let (_, body) = response.split_once("\r\n\r\n").expect("a whole response");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {response}"))
}

#[tokio::test]
async fn speaks_plain_json_and_shows_what_it_was_asked() {
    let mock = mock().await;
    let ask = r#"{"model":"m1","store":false,"input":"slowly"}"#;
    let answer = body_of(&raw(&mock, "POST", "/v1/responses", ask).await);
    assert_eq!(answer["output"][0]["content"][0]["text"], "one two three");
    let ask = r#"{"model":"m1","messages":[{"role":"user","content":"slowly"},{"role":"tool","tool_call_id":"x","content":"y"}]}"#;
    let answer = body_of(&raw(&mock, "POST", "/v1/chat/completions", ask).await);
    assert_eq!(answer["choices"][0]["message"]["content"], "one two three");
    for (body, status) in [("{", "400"), (r#"{"model":"m1"}"#, "400"), (r#"{"model":"m1","input":7}"#, "400")]
    {
        let answer = raw(&mock, "POST", "/v1/responses", body).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{body}: {answer}");
    }
    let models = body_of(&raw(&mock, "GET", "/v1/models", "").await);
    assert_eq!(models["data"][0]["id"], "scripted");

    let log = body_of(&raw(&mock, "GET", "/mock/requests", "").await);
    let seen: Vec<_> =
        log["requests"].as_array().expect("a list").iter().map(|seen| &seen["valid"]).collect();
    assert_eq!(seen, [true, false, false, false]);
    assert_eq!(log["requests"][1]["violations"][0], "messages[1]: a result without a call: `x`");
    assert_eq!((&log["total"], &log["invalid"]), (&4.into(), &3.into()));
}

#[tokio::test]
async fn disconnecting_leaves_no_byte_and_cutting_leaves_whole_tokens() {
    let mock = mock().await;
    let ask = |text: &str| {
        format!(r#"{{"model":"m1","stream":true,"messages":[{{"role":"user","content":"{text}"}}]}}"#)
    };
    assert_eq!(raw(&mock, "POST", "/v1/chat/completions", &ask("disconnect")).await, "");
    let cut = raw(&mock, "POST", "/v1/chat/completions", &ask("cut")).await;
    assert!(cut.contains(r#""content":"one""#) && cut.contains(r#""content":" two""#), "{cut}");
    assert!(!cut.contains("three") && !cut.contains("[DONE]") && !cut.ends_with("0\r\n\r\n"), "{cut}");
}

#[tokio::test]
async fn a_log_in_a_file_has_a_line_for_each_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("requests.jsonl");
    let log = RequestLog::with_file(&path).expect("a file");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket").to_string();
    let app = router(Arc::new(Script::parse(SCRIPT).expect("a valid script")), log.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let mock = Mock { address, log };
    for _ in 0..2 {
        raw(&mock, "POST", "/v1/responses", r#"{"model":"m1","store":false,"input":"slowly"}"#).await;
    }
    let lines = std::fs::read_to_string(&path).expect("the file");
    let rules: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(rules.iter().map(|line| &line["rule"]).collect::<Vec<_>>(), ["rules[8]", "rules[8]"]);
}

#[tokio::test]
async fn serves_vectors_that_follow_from_the_text_alone() {
    let mock = mock().await;
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let request = |texts, dimensions| EmbedRequest { model: "small".into(), texts, dimensions };
    let usual = model(&mock, Wire::Responses, Timeouts::default());
    let answer =
        usual.embed(&request(texts(&["In Lisbon.", "In Rome.", "In Lisbon."]), None)).await.expect("vectors");
    assert_eq!((answer.vectors.len(), answer.vectors[0].len()), (3, 64));
    assert!(answer.vectors[0] == answer.vectors[2] && answer.vectors[0] != answer.vectors[1]);
    assert!(answer.tokens.is_some_and(|tokens| tokens > 0));
    let short = usual.embed(&request(texts(&["In Lisbon."]), Some(8))).await.expect("vectors");
    assert_eq!(short.vectors[0].len(), 8);
    let url = format!("http://{}/openai?api-version=1", mock.address).parse().expect("a URL");
    let azure = HttpConfig { addressing: Addressing::Deployments, ..HttpConfig::new(url, Wire::Chat, None) };
    let azure = HttpModel::new(&azure).expect("a valid configuration");
    let again = azure.embed(&request(texts(&["In Lisbon."]), None)).await.expect("vectors");
    assert_eq!(again.vectors[0], answer.vectors[0], "the same at every address");
    assert_eq!(mock.log.invalid(), 0);
    let refused = usual.embed(&request(Vec::new(), None)).await.expect_err("nothing was asked");
    assert_eq!((refused.kind, mock.log.invalid()), (FailureKind::InvalidRequest, 1));
}
