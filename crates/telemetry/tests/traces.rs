//! Traces of journals as releases wrote them, as text: one span a line.
//!
//! `TENURE_WRITE_TRACES=1 cargo test -p tenure-telemetry traces` writes the texts anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;
use tenure_journal::{Event, Recorded, Timestamp, TurnEnd, TurnId, Version};
use tenure_telemetry::{Attribute, Content, Span, SpanId, SpanKind, Subject, Trace, Tracer, otlp};

#[derive(Deserialize)]
struct Line {
    at: Timestamp,
    event: Box<RawValue>,
}

fn journal(name: &str) -> Vec<Recorded> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../session/tests/journals/v0_1").join(name);
    let text = std::fs::read_to_string(path.with_extension("jsonl")).expect("a journal");
    let decode = |(version, line): (u64, &str)| {
        let line: Line = serde_json::from_str(line).expect("a line");
        Recorded::decode(Version(version), line.at, line.event.get().as_bytes()).expect("an event")
    };
    (1..).zip(text.lines()).map(decode).collect()
}

/// The journal, with the turn that it leaves open ended a second later.
fn ended(name: &str) -> Vec<Recorded> {
    let mut events = journal(name);
    let mut open: Option<TurnId> = None;
    for recorded in &events {
        if let Event::TurnCreated { turn_id } = &recorded.event {
            open = Some(*turn_id);
        } else if let Event::TurnEnded { .. } = &recorded.event {
            open = None;
        }
    }
    let last = events.last().expect("events");
    if let Some(turn_id) = open {
        let (version, at) = (last.version.plus(1), last.at.plus_millis(1_000));
        let event = Event::TurnEnded { turn_id, end: TurnEnd::Completed };
        events.push(Recorded { version, at, event });
    }
    events
}

fn traces(events: &[Recorded], content: Content) -> Vec<Trace> {
    let Event::SessionOpened(opened) = &events[0].event else { panic!("the first event opens") };
    let session = "sess_0199699e1a0070008000000000000001".parse().expect("an id");
    let mut tracer = Tracer::new(Subject::new(session, &opened.agent), content);
    events.iter().filter_map(|recorded| tracer.apply(recorded)).collect()
}

/// Ids become numbers in the order of their first appearance.
fn shorten(text: &str) -> String {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut words = Vec::new();
    for word in text.split_inclusive(['=', ' ', '\n', '"', ',']) {
        let bare = word.trim_end_matches(['=', ' ', '\n', '"', ',']);
        let is_id = bare
            .split_once('_')
            .is_some_and(|(_, digits)| digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
        if !is_id {
            words.push(word.to_owned());
            continue;
        }
        let prefix = bare.split('_').next().unwrap_or_default();
        if !names.contains_key(bare) {
            let count = counts.entry(prefix.to_owned()).or_default();
            *count += 1;
            names.insert(bare.to_owned(), format!("{prefix}{count}"));
        }
        words.push(word.replace(bare, &names[bare]));
    }
    words.concat()
}

fn shown(traces: &[Trace]) -> String {
    let mut out = String::new();
    for trace in traces {
        let depth = |span: &Span| {
            let mut depth = 0;
            let mut parent = span.parent;
            while let Some(id) = parent {
                depth += 1;
                parent = trace.spans.iter().find(|span| span.id == id).expect("a parent in the trace").parent;
            }
            depth
        };
        for span in &trace.spans {
            let begins = trace.created_at.millis_until(span.start);
            let ends = trace.created_at.millis_until(span.end);
            let kind = match span.kind {
                SpanKind::Internal => "internal",
                SpanKind::Client => "client",
            };
            write!(out, "{}{} [{kind}] {begins}..{ends} ms", "  ".repeat(depth(span)), span.name)
                .expect("text");
            if let Some(error) = &span.error {
                write!(out, " error={} {:?}", error.kind, error.message).expect("text");
            }
            out.push('\n');
            for (name, value) in &span.attributes {
                let value = match value {
                    Attribute::Text(text) => text.clone(),
                    Attribute::Integer(number) => number.to_string(),
                    Attribute::Flag(flag) => flag.to_string(),
                };
                writeln!(out, "{}    {name}={value}", "  ".repeat(depth(span))).expect("text");
            }
        }
    }
    shorten(&out)
}

fn check(name: &str, journal: &str, content: Content) {
    let traces = traces(&ended(journal), content);
    let found = shown(&traces);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces").join(name).with_extension("txt");
    if std::env::var_os("TENURE_WRITE_TRACES").is_some() {
        std::fs::write(&path, &found).expect("written");
    }
    assert_eq!(found, std::fs::read_to_string(&path).expect("a text"), "{}", path.display());
}

#[test]
fn a_refund_with_an_approval_retries_and_an_unknown_outcome() {
    check("refund", "refund", Content::Omitted);
}

#[test]
fn functions_of_the_client() {
    check("functions", "functions", Content::Omitted);
}

#[test]
fn turns_that_were_cancelled() {
    check("cancelled", "cancelled", Content::Omitted);
}

#[test]
fn content_is_there_when_asked_for() {
    check("functions_with_content", "functions", Content::Included);
}

#[test]
fn nothing_of_what_was_said_is_there_unless_asked_for() {
    for name in ["refund", "functions", "trimmed", "random"] {
        let found = shown(&traces(&ended(name), Content::Omitted));
        for said in
            ["Refund it", "One moment.", "refunded", "amount", "Quickly", "42", "Question", "Answer", "More"]
        {
            assert!(!found.contains(said), "{name}: {said}");
        }
    }
}

/// Whatever happened, a trace is a tree of spans within their root, the same each time.
#[test]
fn traces_are_trees() {
    for name in ["refund", "functions", "trimmed", "cancelled", "failed", "deleted", "random"] {
        let events = ended(name);
        let found = traces(&events, Content::Included);
        assert_eq!(found, traces(&events, Content::Included), "{name}");
        let ends = events.iter().filter(|recorded| matches!(recorded.event, Event::TurnEnded { .. })).count();
        assert_eq!(found.len(), ends, "{name}");
        for trace in &found {
            let ids: std::collections::BTreeSet<SpanId> = trace.spans.iter().map(|span| span.id).collect();
            assert_eq!(ids.len(), trace.spans.len(), "{name}: ids are unique");
            let root = &trace.spans[0];
            assert_eq!(root.parent, None);
            for span in &trace.spans[1..] {
                assert!(ids.contains(&span.parent.expect("a parent")), "{name}");
                assert!(root.start <= span.start && span.start <= span.end && span.end <= root.end, "{name}");
            }
        }
        // A turn's own events give the same trace as the whole journal does.
        if let Some(last) = found.last() {
            let is_creation = |recorded: &Recorded| matches!(&recorded.event, Event::TurnCreated { turn_id } if *turn_id == last.turn_id);
            let from = events.iter().position(is_creation).expect("created");
            let Event::SessionOpened(opened) = &events[0].event else { panic!("the first event opens") };
            let session = "sess_0199699e1a0070008000000000000001".parse().expect("an id");
            let mut tracer = Tracer::new(Subject::new(session, &opened.agent), Content::Omitted);
            let alone = events[from..].iter().find_map(|recorded| tracer.apply(recorded)).expect("a trace");
            assert_eq!(&alone, traces(&events, Content::Omitted).last().expect("a trace"), "{name}");
        }
    }
}

#[test]
fn otlp_is_written_as_its_specification_says() {
    let found = traces(&ended("cancelled"), Content::Omitted);
    let request = otlp::request(&found);
    let spans = request["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().expect("spans");
    let hex = |value: &serde_json::Value, digits: usize| {
        let text = value.as_str().expect("text");
        assert!(text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit()), "{text}");
    };
    assert_eq!(spans[0].get("parentSpanId"), None);
    for span in spans {
        hex(&span["traceId"], 32);
        hex(&span["spanId"], 16);
        assert!(span["startTimeUnixNano"].as_str().expect("text").ends_with("000000"));
    }
    hex(&spans[1]["parentSpanId"], 16);
    let turn = found[0].turn_id.to_string();
    assert_eq!(spans[0]["traceId"], turn.trim_start_matches("turn_"));
    assert_eq!(spans[2]["status"]["code"], 2);
    assert_eq!(spans[0]["attributes"][0]["value"], serde_json::json!({"stringValue": "invoke_agent"}));
}
