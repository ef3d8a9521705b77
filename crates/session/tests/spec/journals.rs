//! Journals of every release fold forever: each file under `tests/journals` is a journal as a release wrote
//! it, one event a line, beside the text of what it folds to.
//!
//! A release adds a directory of its own with `TENURE_WRITE_JOURNALS=1 cargo test -p tenure-session journals`
//! after [`RELEASE`] was changed; directories that exist are never written again.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tenure_journal::{Decision, Event, FailureKind, ProjectId, Recorded, SessionKey, Timestamp, Version};
use tenure_session::{Session, SubagentReply};

use crate::bench::{
    Bench, agent, async_function, call, deferred_function, function, opened, say, server, shop, think,
};
use crate::text;

/// The directory that the present release writes.
const RELEASE: &str = "v0_1";

#[derive(Serialize, Deserialize)]
struct Line {
    at: Timestamp,
    event: Box<RawValue>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journals")
}

/// What a journal folds to, as text.
fn folded(journal: &str) -> String {
    let mut events = Vec::new();
    for (version, line) in (1..).map(Version).zip(journal.lines()) {
        let line: Line = serde_json::from_str(line).unwrap();
        events.push(Recorded::decode(version, line.at, line.event.get().as_bytes()).unwrap());
    }
    let Event::SessionOpened(opening) = &events[0].event else { panic!("the first event opens") };
    // Neither id is part of the journal of a session.
    let session = "sess_0199699e1a0070008000000000000001".parse().unwrap();
    let project: ProjectId = opening.project_id;
    let state = Session::fold(SessionKey { project, session }, None, &events).unwrap();
    let mut names = text::Names::default();
    let mut out = String::new();
    let view = state.view();
    writeln!(out, "status: {}", view.status.as_str()).unwrap();
    writeln!(out, "deleted: {}, error: {:?}", state.is_deleted(), view.error).unwrap();
    writeln!(out, "agent: {}", serde_json::to_string(&view.agent).unwrap()).unwrap();
    writeln!(out, "metadata: {:?}, review: {:?}, spend: {:?}", view.metadata, view.review, view.spend)
        .unwrap();
    writeln!(out, "usage: {:?}", view.usage).unwrap();
    for action in &view.required_actions {
        writeln!(out, "waits for: {action:?}").unwrap();
    }
    for effect in state.pending() {
        writeln!(out, "pending: {}", serde_json::to_string(effect).unwrap()).unwrap();
    }
    for (ordinal, item) in state.items() {
        writeln!(out, "item {ordinal}: {}", text::item(item)).unwrap();
    }
    for line in text::context(&state.context()) {
        writeln!(out, "context: {line}").unwrap();
    }
    names.shorten(&out)
}

#[test]
fn journals_of_every_release_fold_to_what_they_did() {
    let mut found = 0;
    for release in std::fs::read_dir(root()).unwrap() {
        for file in std::fs::read_dir(release.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "jsonl") {
                let journal = std::fs::read_to_string(&path).unwrap();
                let expected = std::fs::read_to_string(path.with_extension("txt")).unwrap();
                assert_eq!(folded(&journal), expected, "{}", path.display());
                found += 1;
            }
        }
    }
    assert!(found >= 5, "only {found} journals were found");
}

#[test]
fn journals_of_this_release_contain_every_event() {
    let mut seen = std::collections::BTreeSet::new();
    for file in std::fs::read_dir(root().join(RELEASE)).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            for line in std::fs::read_to_string(&path).unwrap().lines() {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                seen.insert(line["event"]["type"].as_str().unwrap().to_owned());
            }
        }
    }
    assert_eq!(seen.len(), 24, "{seen:?}");
}

#[test]
fn journals_are_written_when_asked_for() {
    if std::env::var_os("TENURE_WRITE_JOURNALS").is_none() {
        return;
    }
    let directory = root().join(RELEASE);
    std::fs::create_dir_all(&directory).unwrap();
    for (name, bench) in stories() {
        let path = directory.join(name).with_extension("jsonl");
        if path.exists() {
            continue;
        }
        let mut journal = String::new();
        for recorded in &bench.journal {
            let event = String::from_utf8(Recorded::encode(&recorded.event)).unwrap();
            let line = Line { at: recorded.at, event: RawValue::from_string(event).unwrap() };
            writeln!(journal, "{}", serde_json::to_string(&line).unwrap()).unwrap();
        }
        std::fs::write(&path, &journal).unwrap();
        std::fs::write(path.with_extension("txt"), folded(&journal)).unwrap();
    }
}

fn stories() -> Vec<(&'static str, Bench)> {
    let mut stories = vec![("refund", refund()), ("functions", functions()), ("trimmed", trimmed())];
    stories.push(("deleted", {
        let mut b = Bench::new(vec![], "");
        b.delete();
        b
    }));
    stories.push(("cancelled", {
        let mut b = Bench::new(vec![function("ask")], "Hi");
        b.answer(vec![call("c1", "ask", "{}")]);
        b.cancel();
        b
    }));
    stories.push(("failed", {
        let mut b = Bench::new(vec![], "Hi");
        b.cancel();
        let event = Event::SessionFailed { message: "it cannot go on".into() };
        let version = Version(b.journal.len() as u64 + 1);
        b.journal.push(Recorded { version, at: b.now, event });
        b
    }));
    stories.push(("shortened", shortened()));
    stories.push(("subagents", subagents()));
    stories.push(("random", crate::random::history(7, 40)));
    stories
}

fn refund() -> Bench {
    let mut opening = opened(agent(vec![server("shop")]));
    opening.spend_limit = Some(tenure_journal::SpendLimit { limit: Some(100) });
    let mut b = Bench::open(opening, "Refund it", crate::bench::defaults(), crate::bench::Show::Nothing);
    b.lists(shop());
    b.fails(FailureKind::Overloaded);
    b.wait(1_000);
    b.answer(vec![think("hm"), say("One moment."), call("c1", "shop__refund", r#"{"amount":5}"#)]);
    let approval = b.approval();
    b.decide(approval, Decision::Approve);
    b.resumed();
    b.returns("refund", "refunded");
    b.answer(vec![call("c2", "shop__send", "{}"), call("c3", "shop__find", "{}")]);
    b.resumed();
    b.returns("find", "found");
    b
}

fn subagents() -> Bench {
    let mut opening = opened(agent(vec![]));
    opening.agent.multi_agent =
        tenure_journal::MultiAgent { enabled: true, max_concurrent_subagents: Some(2) };
    opening.spend_limit = Some(tenure_journal::SpendLimit { limit: Some(100) });
    let mut b = Bench::open(opening, "", crate::bench::defaults(), crate::bench::Show::Nothing);
    let price =
        tenure_session::Price { input_nano_usd: 1_000, output_nano_usd: 1_000, output_tokens_max: 10 };
    b.prices.insert("m".to_owned(), price);
    b.message("Go");
    b.answer(vec![call("c1", "create_subagent", r#"{"task":"Look.","name":"scout"}"#)]);
    b.replies(SubagentReply::Done);
    b.answer(vec![call("c2", "wait_for_subagents", "{}")]);
    let scout = b.session.subagents().next().unwrap().id;
    let turn_id = Some("turn_0199699e1a0070008000000000000002".parse().unwrap());
    let (status, text) = (tenure_journal::ReportStatus::Completed, "Found it.".to_owned());
    let report = tenure_journal::SubagentReport {
        subagent_id: scout,
        turn_id,
        status,
        text,
        labels: tenure_journal::Labels::NEUTRAL,
    };
    b.replies(SubagentReply::Reports(vec![report]));
    b.answer(vec![call("c3", "close_subagent", r#"{"subagent":"scout"}"#)]);
    b.replies(SubagentReply::Done);
    b.answer(vec![
        call("c4", "resume_subagent", r#"{"subagent":"scout"}"#),
        call("c5", "send_subagent_input", r#"{"subagent":"scout","input":"More."}"#),
    ]);
    b.cancel();
    b
}

fn functions() -> Bench {
    let mut b =
        Bench::new(vec![function("ask"), async_function("report"), deferred_function("weather")], "Go");
    b.answer(vec![call("c1", "ask", "{}"), call("c2", "report", "{}"), call("c3", "nothing", "{")]);
    b.message("Quickly");
    b.result("c1", "42");
    b.answer(vec![call("c4", "tool_search", r#"{"query":"weather"}"#)]);
    let metadata = Some([("order".to_owned(), "7".to_owned())].into());
    b.update("metadata", tenure_journal::SessionPatch { metadata, ..Default::default() });
    b.answer(vec![call("c5", "weather", "{}")]);
    b
}

fn trimmed() -> Bench {
    let mut b = Bench::new(vec![], "Hi");
    for n in 0..4 {
        b.answer(vec![say(&format!("Answer {n}"))]);
        b.message(&format!("Question {n}"));
    }
    b.fails(FailureKind::ContextTooLong);
    b.cancel();
    b
}

fn shortened() -> Bench {
    let mut b = Bench::new(vec![server("shop"), function("ask")], "Go");
    b.lists(shop());
    b.answer(vec![call("c1", "shop__find", "{}"), call("c2", "ask", "{}")]);
    b.returns("find", &"found ".repeat(300));
    b.result("c2", &"asked ".repeat(200));
    b.fails(FailureKind::ContextTooLong);
    b.fails(FailureKind::ContextTooLong);
    b
}
