//! All codecs against fixtures: streams however they are cut, bodies, and requests.
//!
//! `fixtures/<format>/<case>.sse`, `.events` or `.json` is what a server sends (`.events` has the name and the
//! payload of a frame in each line, because frames are binary), `<case>.expected` what is read from
//! it: the deltas, a line each, and the answer or the failure. `fixtures/requests/<case>.json` is a request
//! and `<case>.<format>.json` its bodies. With `UPDATE_FIXTURES=1` the expected
//! files are written, to be reviewed.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tenure_journal::{AnswerItem, Failure, ModelAnswer, ModelRequest, Stop, Usage};
use tenure_model::codec::server::Frame;
use tenure_model::codec::{self, Framing, Wire, anthropic, chat, converse, responses};
use tenure_model::{Delta, eventstream, sse};

fn fixtures(folder: &str, ending: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(folder);
    let entries = fs::read_dir(&folder).expect("the folder of fixtures exists");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a readable entry").path()).collect();
    paths.retain(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name in UTF-8");
        name.ends_with(ending) && name.matches('.').count() == ending.matches('.').count()
    });
    paths.sort();
    assert!(!paths.is_empty(), "no `{ending}` in {}", folder.display());
    paths
}

#[track_caller]
fn check_file(path: &Path, found: &str) {
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        fs::write(path, found).expect("the fixture can be written");
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(found, expected, "{}", path.display());
}

fn show(deltas: &[Delta], outcome: &Result<ModelAnswer, Failure>) -> String {
    let mut shown = String::new();
    for delta in deltas {
        match delta {
            Delta::MessageStarted { index } => writeln!(shown, "{index} message"),
            Delta::ReasoningStarted { index } => writeln!(shown, "{index} reasoning"),
            Delta::Text { index, part, delta } => writeln!(shown, "{index} text {part} {delta:?}"),
            Delta::Summary { index, part, delta } => writeln!(shown, "{index} summary {part} {delta:?}"),
            Delta::ItemDone { index } => writeln!(shown, "{index} done"),
        }
        .expect("a string takes everything");
    }
    let outcome = match outcome {
        Ok(answer) => serde_json::to_string_pretty(answer),
        Err(failure) => serde_json::to_string_pretty(failure),
    };
    shown + &outcome.expect("an outcome is JSON") + "\n"
}

/// Takes a stream apart as the transport does.
enum Reader {
    Sse(sse::Decoder),
    EventStream(eventstream::Decoder),
}

impl Reader {
    fn of(wire: Wire) -> Self {
        match wire.framing() {
            Framing::Sse => Self::Sse(sse::Decoder::new()),
            Framing::EventStream => Self::EventStream(eventstream::Decoder::new()),
        }
    }

    fn feed(&mut self, bytes: &[u8], events: &mut Vec<sse::Event>) {
        match self {
            Self::Sse(decoder) => decoder.feed(bytes, events).expect("a fixture is within limits"),
            Self::EventStream(decoder) => decoder.feed(bytes, events).expect("a fixture is whole"),
        }
    }
}

fn read(wire: Wire, chunks: &[&[u8]]) -> String {
    let mut reader = Reader::of(wire);
    let mut decoder = wire.decoder();
    let mut deltas = Vec::new();
    for chunk in chunks {
        let mut events = Vec::new();
        reader.feed(chunk, &mut events);
        for event in events {
            match decoder.feed(&event) {
                Ok(more) => deltas.extend(more),
                Err(failure) => return show(&deltas, &Err(failure)),
            }
        }
    }
    show(&deltas, &decoder.finish())
}

/// The bytes of a fixture, as they would arrive.
fn stream(path: &Path, wire: Wire) -> Vec<u8> {
    let text = fs::read_to_string(path).expect("a readable fixture");
    match wire.framing() {
        Framing::Sse => text.into_bytes(),
        Framing::EventStream => text.lines().flat_map(frame).collect(),
    }
}

fn frame(line: &str) -> Vec<u8> {
    let (name, payload) = line.split_once(' ').expect("a name and a payload");
    let kind = if name.ends_with("Exception") { "exception" } else { "event" };
    let headers = [(":message-type", kind), (&*format!(":{kind}-type"), name)];
    eventstream::encode(&headers, payload.as_bytes())
}

fn streams(wire: Wire) -> Vec<PathBuf> {
    match wire.framing() {
        Framing::Sse => fixtures(wire.as_str(), ".sse"),
        Framing::EventStream => fixtures(wire.as_str(), ".events"),
    }
}

fn check_streams(wire: Wire) {
    for path in streams(wire) {
        let bytes = stream(&path, wire);
        let whole = read(wire, &[&bytes]);
        check_file(&path.with_extension("expected"), &whole);
        let single = match wire.framing() {
            Framing::Sse => String::from_utf8_lossy(&bytes).replace('\n', "\r\n").into_bytes(),
            Framing::EventStream => bytes.clone(),
        };
        let single: Vec<&[u8]> = single.chunks(1).collect();
        assert_eq!(read(wire, &single), whole, "{} byte by byte", path.display());
        for at in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(at);
            assert_eq!(read(wire, &[head, tail]), whole, "{} split at {at}", path.display());
        }
    }
}

fn check_bodies(wire: Wire) {
    for path in fixtures(wire.as_str(), ".json") {
        let body = fs::read(&path).expect("a readable fixture");
        let mut decoder = wire.decoder();
        let shown = match decoder.feed_body(&body) {
            Ok(deltas) => show(&deltas, &decoder.finish()),
            Err(failure) => show(&[], &Err(failure)),
        };
        check_file(&path.with_extension("expected"), &shown);
    }
}

#[test]
fn responses_streams() {
    check_streams(Wire::Responses);
}

#[test]
fn responses_bodies() {
    check_bodies(Wire::Responses);
}

#[test]
fn chat_streams() {
    check_streams(Wire::Chat);
}

#[test]
fn chat_bodies() {
    check_bodies(Wire::Chat);
}

#[test]
fn anthropic_streams() {
    check_streams(Wire::Anthropic);
}

#[test]
fn anthropic_bodies() {
    check_bodies(Wire::Anthropic);
}

#[test]
fn converse_streams() {
    check_streams(Wire::Converse);
}

#[test]
fn converse_bodies() {
    check_bodies(Wire::Converse);
}

#[test]
fn every_cut_of_a_stream_is_torn_or_complete() {
    for wire in Wire::ALL {
        for path in streams(wire) {
            let bytes = stream(&path, wire);
            let whole: String = read(wire, &[&bytes]);
            for end in 0..bytes.len() {
                let shown = read(wire, &[&bytes[..end]]);
                let torn = shown.contains("broke before the answer was complete");
                let without_usage = shown.contains("\"usage\": null") && shown.contains("\"items\"");
                assert!(
                    torn || without_usage || whole.ends_with(&shown[shown.find('{').unwrap_or(0)..]),
                    "{} cut at {end}: {shown}",
                    path.display()
                );
            }
        }
    }
}

fn request(path: &Path) -> ModelRequest {
    let text = fs::read(path).expect("a readable fixture");
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn requests() {
    for path in fixtures("requests", ".json") {
        let request = request(&path);
        for wire in Wire::ALL {
            // Sorted: whether maps keep their order depends on the features other crates ask for.
            let mut body = wire.encode(&request);
            body.sort_all_objects();
            let body = serde_json::to_string_pretty(&body).expect("a body is JSON") + "\n";
            check_file(&path.with_extension(format!("{}.json", wire.as_str())), &body);
        }
    }
}

/// What one side writes the other reads back to what writes the same.
#[test]
fn server_side_reads_what_the_client_side_writes() {
    for path in fixtures("requests", ".json") {
        let request = request(&path);
        for wire in Wire::ALL {
            let body = wire.encode(&request);
            let read = match wire {
                Wire::Responses => responses::server::decode_request(&body),
                Wire::Chat => chat::server::decode_request(&body),
                Wire::Anthropic => anthropic::server::decode_request(&body),
                Wire::Converse => converse::server::decode_request(&request.model, &body),
            };
            assert_eq!(wire.encode(&read.expect("our own request")), body, "{wire:?} {}", path.display());
        }
    }
}

#[test]
fn client_side_reads_what_the_server_side_writes() {
    let reasoning = |encrypted: Option<&str>, id: Option<&str>| AnswerItem::Reasoning {
        summary: vec!["Let me think.".into()],
        encrypted: encrypted.map(str::to_owned),
        provider_id: id.map(str::to_owned),
    };
    let message = |text: &str| AnswerItem::Message { content: vec![text.into()] };
    let call = |id: &str, arguments: &str| AnswerItem::ToolCall {
        call_id: id.into(),
        name: "orders__get".into(),
        arguments: arguments.into(),
    };
    let cases = [
        (vec![message("Hello, world.\n\nIt is  me: é🙂")], Stop::Complete),
        (vec![message("Looking."), call("c1", r#"{"id": "7"}"#), call("c2", "")], Stop::Complete),
        (vec![call("", "{\"broken\": "), call("", "not json at all")], Stop::Complete),
        (vec![message("cut")], Stop::MaxOutputTokens),
        (vec![message("cut")], Stop::ContentFilter),
    ];
    for (items, stop) in cases {
        let usage = Usage { input_tokens: 9, cached_tokens: 3, output_tokens: 5, reasoning_tokens: 2 };
        for wire in Wire::ALL {
            let claude = Some("claude:signature:sig");
            let (first, usage, id) = match wire {
                Wire::Responses => (reasoning(Some("opaque"), Some("rs_1")), usage, Some("resp_1")),
                Wire::Chat => (reasoning(None, None), usage, Some("resp_1")),
                Wire::Anthropic => (reasoning(claude, None), usage, Some("resp_1")),
                Wire::Converse => (reasoning(claude, None), Usage { reasoning_tokens: 0, ..usage }, None),
            };
            let items = [vec![first], items.clone()].concat();
            let response_id = id.map(str::to_owned);
            check_round_trip(wire, &ModelAnswer { items, usage: Some(usage), stop, response_id });
        }
    }
}

#[track_caller]
fn check_round_trip(wire: Wire, answer: &ModelAnswer) {
    let (frames, body): (Vec<Frame>, Value) = match wire {
        Wire::Responses => {
            (responses::server::encode_stream(answer, "m"), responses::server::encode_body(answer, "m"))
        }
        Wire::Chat => (chat::server::encode_stream(answer, "m"), chat::server::encode_body(answer, "m")),
        Wire::Anthropic => {
            (anthropic::server::encode_stream(answer, "m"), anthropic::server::encode_body(answer, "m"))
        }
        Wire::Converse => (converse::server::encode_stream(answer), converse::server::encode_body(answer)),
    };
    let stream: Vec<u8> = frames.into_iter().flat_map(|frame| frame.bytes).collect();
    let expected = show(&codec::deltas(answer), &Ok(answer.clone()));
    assert_eq!(read(wire, &[&stream]), expected);
    let mut decoder = wire.decoder();
    decoder.feed_body(body.to_string().as_bytes()).expect("our own body");
    let expected = match wire {
        Wire::Responses | Wire::Chat => answer.clone(),
        Wire::Anthropic | Wire::Converse => with_parsed_arguments(answer.clone()),
    };
    assert_eq!(decoder.finish(), Ok(expected));
}

/// The answer as a body tells it whose arguments are objects and not text.
fn with_parsed_arguments(mut answer: ModelAnswer) -> ModelAnswer {
    for item in &mut answer.items {
        if let AnswerItem::ToolCall { arguments, .. } = item {
            let parsed = serde_json::from_str(arguments).ok().filter(Value::is_object);
            let parsed = parsed.or_else(|| arguments.is_empty().then(|| json!({})));
            *arguments = parsed.unwrap_or_else(|| json!({ "invalid_arguments": arguments })).to_string();
        }
    }
    answer
}
