//! Both codecs against fixtures: streams however they are cut, bodies, and requests.
//!
//! `fixtures/<format>/<case>.sse` or `.json` is what a server sends, `<case>.expected` what is read from
//! it: the deltas, a line each, and the answer or the failure. `fixtures/requests/<case>.json` is a request
//! and `<case>.responses.json` and `<case>.chat.json` its bodies. With `UPDATE_FIXTURES=1` the expected
//! files are written, to be reviewed.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tenure_journal::{AnswerItem, Failure, ModelAnswer, ModelRequest, Stop, Usage};
use tenure_model::codec::{self, Wire, chat, responses};
use tenure_model::{Delta, sse};

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

fn read(wire: Wire, chunks: &[&[u8]]) -> String {
    let mut reader = sse::Decoder::new();
    let mut decoder = wire.decoder();
    let mut deltas = Vec::new();
    for chunk in chunks {
        let mut events = Vec::new();
        reader.feed(chunk, &mut events).expect("a fixture is within limits");
        for event in events {
            match decoder.feed(&event) {
                Ok(more) => deltas.extend(more),
                Err(failure) => return show(&deltas, &Err(failure)),
            }
        }
    }
    show(&deltas, &decoder.finish())
}

fn check_streams(folder: &str, wire: Wire) {
    for path in fixtures(folder, ".sse") {
        let text = fs::read_to_string(&path).expect("a readable fixture");
        let whole = read(wire, &[text.as_bytes()]);
        check_file(&path.with_extension("expected"), &whole);
        let single = text.replace('\n', "\r\n");
        let single: Vec<&[u8]> = single.as_bytes().chunks(1).collect();
        assert_eq!(read(wire, &single), whole, "{} byte by byte", path.display());
        for at in 0..=text.len() {
            let (head, tail) = text.as_bytes().split_at(at);
            assert_eq!(read(wire, &[head, tail]), whole, "{} split at {at}", path.display());
        }
    }
}

fn check_bodies(folder: &str, wire: Wire) {
    for path in fixtures(folder, ".json") {
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
    check_streams("responses", Wire::Responses);
}

#[test]
fn responses_bodies() {
    check_bodies("responses", Wire::Responses);
}

#[test]
fn chat_streams() {
    check_streams("chat", Wire::Chat);
}

#[test]
fn chat_bodies() {
    check_bodies("chat", Wire::Chat);
}

#[test]
fn every_cut_of_a_stream_is_torn_or_complete() {
    for (folder, wire) in [("responses", Wire::Responses), ("chat", Wire::Chat)] {
        for path in fixtures(folder, ".sse") {
            let bytes = fs::read(&path).expect("a readable fixture");
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
        for wire in [Wire::Responses, Wire::Chat] {
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
        let body = responses::encode(&request);
        let read = responses::server::decode_request(&body).expect("our own request");
        assert_eq!(responses::encode(&read), body, "{}", path.display());
        let body = chat::encode(&request);
        let read = chat::server::decode_request(&body).expect("our own request");
        assert_eq!(chat::encode(&read), body, "{}", path.display());
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
        let usage = Some(Usage { input_tokens: 9, cached_tokens: 3, output_tokens: 5, reasoning_tokens: 2 });
        for (wire, first) in
            [(Wire::Responses, reasoning(Some("opaque"), Some("rs_1"))), (Wire::Chat, reasoning(None, None))]
        {
            let items = [vec![first], items.clone()].concat();
            let answer = ModelAnswer { items, usage, stop, response_id: Some("resp_1".into()) };
            check_round_trip(wire, &answer);
        }
    }
}

#[track_caller]
fn check_round_trip(wire: Wire, answer: &ModelAnswer) {
    let (frames, body): (_, Value) = match wire {
        Wire::Responses => {
            (responses::server::encode_stream(answer, "m"), responses::server::encode_body(answer, "m"))
        }
        Wire::Chat => (chat::server::encode_stream(answer, "m"), chat::server::encode_body(answer, "m")),
    };
    let stream: String = frames.into_iter().map(|frame| frame.text).collect();
    let expected = show(&codec::deltas(answer), &Ok(answer.clone()));
    assert_eq!(read(wire, &[stream.as_bytes()]), expected);
    let mut decoder = wire.decoder();
    decoder.feed_body(body.to_string().as_bytes()).expect("our own body");
    assert_eq!(decoder.finish().as_ref(), Ok(answer));
}
