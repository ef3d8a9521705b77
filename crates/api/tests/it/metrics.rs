//! `/metrics`: who may read it, and that a strict reader of the text format accepts every line.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::json;

use crate::support::World;

/// One sample: its name, its labels, its value.
type Sample = (String, BTreeMap<String, String>, f64);

/// What a family is, and its samples.
#[derive(Debug, Default)]
struct Parsed {
    kind: String,
    samples: Vec<Sample>,
}

fn is_name(text: &str, more: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphabetic() || c == '_' || more.contains(c);
    text.starts_with(fits) && text.chars().all(|c| fits(c) || c.is_ascii_digit())
}

/// Reads the text format of Prometheus, version 0.0.4, and refuses what `promtool check metrics` would.
fn parse(text: &str) -> BTreeMap<String, Parsed> {
    assert!(text.ends_with('\n'), "the last line ends");
    let mut families: BTreeMap<String, Parsed> = BTreeMap::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let (name, help) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')).expect(line);
        assert!(is_name(name, ":") && name.starts_with("tenure_"), "{line}");
        assert!(help.ends_with('.'), "{line}");
        let kind = lines.next().expect("a type follows");
        let kind = kind.strip_prefix(&format!("# TYPE {name} ")).expect(kind);
        let mut parsed = Parsed { kind: kind.to_owned(), samples: Vec::new() };
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            parsed.samples.push(sample(line));
        }
        check(name, &parsed);
        assert!(families.insert(name.to_owned(), parsed).is_none(), "{name} is there twice");
    }
    families
}

fn sample(line: &str) -> Sample {
    let (name, mut rest) = line.split_at(line.find(['{', ' ']).expect(line));
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            rest = rest.strip_prefix(',').unwrap_or(rest);
            let (label, after) = rest.split_once("=\"").expect(line);
            assert!(is_name(label, "") && !label.starts_with("__"), "{line}");
            let (value, after) = quoted(after);
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            rest = after;
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').expect(line);
    assert!(!value.contains(' '), "no time: {line}");
    (name.to_owned(), labels, value.parse().expect(line))
}

/// A label's value up to its closing quote, and what follows.
fn quoted(text: &str) -> (String, &str) {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next().expect("an escaped character").1 {
                'n' => value.push('\n'),
                c @ ('\\' | '"') => value.push(c),
                other => panic!("`\\{other}` is no escape"),
            },
            c => value.push(c),
        }
    }
    panic!("a label's value does not end: {text}")
}

fn check(name: &str, parsed: &Parsed) {
    let mut seen = BTreeSet::new();
    for (sample, labels, value) in &parsed.samples {
        assert!(seen.insert((sample, labels)), "{sample} {labels:?} is there twice");
        assert!(*value >= 0.0, "{sample} {labels:?}");
        for value in labels.values() {
            let is_id = ["sess_", "proj_", "turn_", "eff_", "wh_", "dlv_", "key_"];
            assert!(!is_id.iter().any(|prefix| value.starts_with(prefix)), "an id in a label: {sample}");
        }
    }
    match parsed.kind.as_str() {
        "counter" => {
            assert!(name.ends_with("_total"), "{name}");
            assert!(parsed.samples.iter().all(|(sample, ..)| sample == name), "{name}");
        }
        "gauge" => {
            assert!(!name.ends_with("_total"), "{name}");
            assert!(parsed.samples.iter().all(|(sample, ..)| sample == name), "{name}");
        }
        "histogram" => check_histogram(name, parsed),
        other => panic!("{name} is of no known type: {other}"),
    }
}

/// The samples of one histogram with one set of labels.
#[derive(Default)]
struct Series {
    buckets: Vec<(f64, f64)>,
    sum: Option<f64>,
    count: Option<f64>,
}

fn check_histogram(name: &str, parsed: &Parsed) {
    let mut series: BTreeMap<BTreeMap<String, String>, Series> = BTreeMap::new();
    for (sample, labels, value) in &parsed.samples {
        let mut labels = labels.clone();
        let le = labels.remove("le");
        let one = series.entry(labels).or_default();
        match (sample.strip_prefix(name).expect(sample), le) {
            ("_bucket", Some(le)) => one.buckets.push((le.parse().expect("a bound"), *value)),
            ("_sum", None) => one.sum = Some(*value),
            ("_count", None) => one.count = Some(*value),
            (other, le) => panic!("{name}{other} {le:?}"),
        }
    }
    for Series { buckets, sum, count } in series.into_values() {
        assert!(buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1), "{name}");
        let (last, total) = *buckets.last().expect("buckets");
        assert!(last.is_infinite() && Some(total) == count && sum.is_some(), "{name}");
    }
}

async fn read(world: &World, headers: &[(&str, &str)]) -> (u16, String, String) {
    let mut request = Request::builder().uri("/metrics").header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (status, headers, body) = world.send(request.body(Body::empty()).expect("a request")).await;
    let bytes = body.collect().await.expect("a body").to_bytes();
    let media_type = headers["content-type"].to_str().expect("text").to_owned();
    (status.as_u16(), media_type, String::from_utf8(bytes.to_vec()).expect("UTF-8"))
}

fn value(families: &BTreeMap<String, Parsed>, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let labels: BTreeMap<String, String> =
        labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
    let family = families.iter().find(|(family, _)| name.starts_with(family.as_str()));
    let samples = &family.unwrap_or_else(|| panic!("no {name}")).1.samples;
    samples.iter().find(|(sample, found, _)| sample == name && *found == labels).map(|(.., value)| *value)
}

#[tokio::test]
async fn a_strict_reader_accepts_every_line() {
    let world = World::new().await;
    let (_, _, empty) = read(&world, &[]).await;
    parse(&empty);
    let session = |model: &str, input: &str| json!({"agent": {"model": model}, "environment": {"type": "none"}, "input": input});
    for model in ["m1", "sess_what a \"client\"\nmakes up\\"] {
        world.session(session(model, "hi")).await;
    }
    world.session(session("m1", "fail please")).await;
    let (status, media_type, text) = read(&world, &[]).await;
    assert_eq!((status, media_type.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"));
    let families = parse(&text);
    let calls = |outcome| {
        let labels = [("provider", "scripted"), ("model", "other"), ("outcome", outcome)];
        value(&families, "tenure_model_calls_total", &labels)
    };
    assert_eq!((calls("ok"), calls("invalid_request")), (Some(2.0), Some(1.0)));
    let model = [("provider", "scripted"), ("model", "other")];
    assert_eq!(value(&families, "tenure_model_call_duration_seconds_count", &model), Some(3.0));
    assert_eq!(value(&families, "tenure_model_calls_waiting", &[]), Some(0.0));
    let appends = value(&families, "tenure_appends_total", &[("outcome", "ok")]).expect("appends");
    assert!(appends >= 6.0, "{appends}");
    assert_eq!(value(&families, "tenure_append_duration_seconds_count", &[]), Some(appends));
    assert_eq!(value(&families, "tenure_http_requests_total", &[("status", "2xx")]), Some(4.0));
    let shed = [("limit", "sessions_active"), ("whose", "server")];
    assert_eq!(value(&families, "tenure_load_shed_total", &shed), Some(0.0));
    assert_eq!(value(&families, "tenure_event_streams", &[]), Some(0.0), "the streams have ended");
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    assert_eq!(value(&families, "tenure_build_info", &version), Some(1.0));
    assert!(!text.contains("makes up"), "a label holds what a client wrote");

    // Every metric is on the reference page, and the page names no other.
    let page = include_str!("../../../../docs/observability.md");
    for name in families.keys() {
        assert!(page.contains(&format!("| `{name}` |")), "docs/observability.md lacks {name}");
    }
    let listed = page.lines().filter_map(|line| line.strip_prefix("| `tenure_")?.split('`').next());
    // These two are the store's, which this test has none of.
    let ours = listed.filter(|name| !name.starts_with("store_commits") && !name.starts_with("store_writes"));
    for name in ours {
        assert!(families.contains_key(&format!("tenure_{name}")), "{name} is documented and not there");
    }
}

#[tokio::test]
async fn an_open_stream_is_counted() {
    let world = World::new().await;
    let body = json!({"agent": {"model": "m1"}, "environment": {"type": "none"}, "input": "hi"});
    let session = world.session(body).await;
    let path = format!("/v1/agents/sessions/{}/events", session["id"].as_str().expect("an id"));
    let (_, _, stream) = world.send(crate::support::request("GET", &path, None, &[])).await;
    let streams = async || value(&parse(&read(&world, &[]).await.2), "tenure_event_streams", &[]);
    assert_eq!(streams().await, Some(1.0));
    drop(stream);
    assert_eq!(streams().await, Some(0.0));
}

#[tokio::test]
async fn a_server_that_others_reach_asks_for_a_key() {
    let world = World::with(|config| config.open_metrics = false).await;
    assert_eq!(read(&world, &[]).await.0, 401);
    let bearer = |key: &str| format!("Bearer {key}");
    let reader = bearer(&world.read_only);
    assert_eq!(read(&world, &[("authorization", &reader)]).await.0, 403);
    let admin = bearer(crate::support::KEY);
    assert_eq!(read(&world, &[("authorization", &admin)]).await.0, 200);
    let open = |bind: &str| tenure_api::ApiConfig::new(bind.parse().expect("an address")).open_metrics;
    assert!(open("127.0.0.1:1") && open("[::1]:1"));
    assert!(!open("0.0.0.0:1") && !open("10.0.0.1:1"));
}
