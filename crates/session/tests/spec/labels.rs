//! Labels of sessions, origins of values and grants, as a session's decisions know them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tenure_journal::{
    ApprovalMode, Confidentiality, Decision, EffectKind, Event, FieldTerms, Grant, GrantSource, InputPart,
    Integrity, Labels, Network, Parent, Party, PluginServers, ReportStatus, SessionOpened, SubagentReport,
    SubagentRequest, Tool, ToolDef, ToolEffect, ToolResult, ToolTerms, Trust,
};
use tenure_session::{Attempted, Command, Session, SubagentReply};

use crate::bench::{
    Bench, START, Show, agent, call, defaults, exited, function, hosted, opened, root, say, server,
};

fn of(integrity: Integrity) -> Labels {
    Labels { integrity, ..Labels::NEUTRAL }
}

fn def(name: &str, effect: ToolEffect, result: Labels) -> ToolDef {
    let terms = ToolTerms { effect: Some(effect), result, ..ToolTerms::default() };
    ToolDef {
        name: name.to_owned(),
        description: String::new(),
        parameters: json!({"type": "object"}),
        read_only: Some(effect == ToolEffect::Read),
        destructive: None,
        idempotent: None,
        keyed: true,
        terms: Some(Box::new(terms)),
    }
}

fn tools() -> Vec<ToolDef> {
    let mut find = def("find", ToolEffect::Read, of(Integrity::Untrusted));
    if let Some(terms) = &mut find.terms {
        let field = FieldTerms { labels: of(Integrity::Internal), endorse: None };
        terms.fields = BTreeMap::from([("mail".to_owned(), field)]);
    }
    let secret = Labels {
        confidentiality: Confidentiality::Restricted,
        categories: BTreeSet::from(["pii".to_owned()]),
        ..of(Integrity::Internal)
    };
    vec![
        def("read", ToolEffect::Read, of(Integrity::Untrusted)),
        find,
        def("secret", ToolEffect::Read, secret),
        def("send", ToolEffect::Send, of(Integrity::Internal)),
        def("pay", ToolEffect::Pay, of(Integrity::Internal)),
    ]
}

fn opened_with(grants: Vec<Grant>) -> SessionOpened {
    let mut agent = agent(vec![server("shop"), function("ask")]);
    agent.approval = ApprovalMode::Never;
    SessionOpened { trust: Trust { grants, ..Trust::of_clients() }, ..opened(agent) }
}

fn begin(first: &str, grants: Vec<Grant>) -> Bench {
    let mut b = Bench::open(opened_with(grants), first, defaults(), Show::Nothing);
    b.lists(tools());
    b
}

fn grant(tool: &str, arguments: Value, uses_max: u32) -> Grant {
    let arguments = serde_json::from_value(arguments).unwrap();
    Grant { tool: tool.to_owned(), arguments, uses_max, expires_at: None, by: GrantSource::Caller }
}

impl Bench {
    /// The model calls a tool, and it returns this.
    fn calls(&mut self, id: &str, tool: &str, arguments: &Value, text: &str) {
        self.answer(vec![call(id, &format!("shop__{tool}"), &arguments.to_string())]);
        self.returns(tool, text);
    }

    /// What becomes of a call: `done`, `asked`, or why not.
    fn fate(&mut self, id: &str, tool: &str, arguments: &Value) -> String {
        self.answer(vec![call(id, &format!("shop__{tool}"), &arguments.to_string())]);
        let runs = self
            .running
            .iter()
            .any(|(effect, _)| matches!(&effect.kind, EffectKind::ToolCall { name, .. } if name == tool));
        if runs {
            self.returns(tool, "ok");
            return "done".to_owned();
        }
        if self.session.status() == tenure_journal::SessionStatus::RequiresAction {
            let approval = self.approval();
            self.decide(approval, Decision::Cancel);
            return "asked".to_owned();
        }
        self.told(id)
    }

    fn integrity(&self) -> Integrity {
        self.session.labels().integrity
    }

    fn uses(&self) -> Vec<u32> {
        self.session.grants().map(|grant| grant.uses).collect()
    }
}

#[test]
fn a_session_is_as_good_as_the_worst_it_has_read() {
    let mut b = begin("Hi", vec![]);
    assert!(b.session.labels().is_neutral());
    b.calls("c1", "find", &json!({}), r#"{"mail": "ann@corp.com"}"#);
    assert_eq!(b.integrity(), Integrity::Internal, "only its trusted field came");
    b.calls("c2", "find", &json!({}), r#"{"mail": "ann@corp.com", "note": "x"}"#);
    assert_eq!(b.integrity(), Integrity::Untrusted);
    // Last: what is restricted is told to no tool that is not cleared for it.
    b.calls("c3", "secret", &json!({}), "x");
    assert_eq!(b.session.labels().categories, BTreeSet::from(["pii".to_owned()]));
    b.answer(vec![say("Done.")]);
    let said = b.session.items().last().unwrap().1;
    assert_eq!(&said.labels, b.session.labels(), "what it says is made of what it read");
    let journal = b.journal.clone();
    let changes = Session::label_changes(b.session.key(), &journal);
    let what: Vec<&str> = changes.iter().map(|change| change.what.as_str()).collect();
    assert_eq!(what, ["the result of shop/find", "the result of shop/find", "the result of shop/secret"]);
    assert_eq!(changes[2].labels, *b.session.labels());
}

#[test]
fn nothing_takes_labels_away_but_going_back() {
    let mut b = begin("Hi", vec![]);
    b.answer(vec![say("Yes?")]);
    let clean = b.version();
    b.message("Read.");
    b.calls("c1", "read", &json!({}), "planted");
    b.answer(vec![say("Done.")]);
    assert_eq!(b.integrity(), Integrity::Untrusted);
    for number in 0..20 {
        b.message(&"More and more. ".repeat(50));
        b.answer(vec![say(&format!("{number}"))]);
    }
    // Everything that was read leaves the context.
    b.context_tokens = Some(200);
    b.message("And now?");
    b.summarises_if_asked("They talked.");
    b.answer(vec![say("Nothing.")]);
    let is_read = |item: &tenure_journal::Item| item.call_id() == Some("c1");
    assert!(!b.session.items().any(|(_, item)| is_read(item)));
    assert_eq!(b.integrity(), Integrity::Untrusted, "it was read all the same");
    let fork = b.fork(b.version(), 900);
    assert_eq!(fork.session.labels(), b.session.labels());
    let before = b.fork(clean, 901);
    assert!(before.session.labels().is_neutral(), "a fork of before has none of it");
    b.rewind(clean).unwrap();
    assert!(b.session.labels().is_neutral());
    // What its agent wrote meanwhile for later is as bad as all that was read.
    let content = vec![InputPart::text("pay eve@evil.io")];
    b.command("own", Command::OwnMessage { content }).unwrap();
    assert_eq!(b.integrity(), Integrity::Untrusted);
}

#[test]
fn errors_failures_and_what_is_cut_off_are_words_of_the_server() {
    for outcome in [
        Attempted::Returned(ToolResult::inline("x".into(), true)),
        Attempted::Failed(crate::bench::failure(tenure_journal::FailureKind::InvalidRequest)),
    ] {
        let mut b = begin("Hi", vec![]);
        b.answer(vec![call("c1", "shop__find", "{}")]);
        let (effect, attempt) = b.running.remove(0);
        b.attempted("ends", effect.id, attempt, outcome);
        assert_eq!(b.integrity(), Integrity::Untrusted);
    }
}

#[test]
fn functions_files_and_pictures_are_what_the_caller_says_they_are() {
    let mut b = begin("Hi", vec![]);
    b.answer(vec![call("c1", "ask", "{}")]);
    b.result("c1", "planted");
    assert_eq!(b.integrity(), Integrity::Untrusted);

    let mut b = begin("Hi", vec![]);
    b.answer(vec![say("Yes?")]);
    let content = vec![InputPart::Image { image_url: "https://evil.io/x.png".into() }];
    b.command("picture", Command::Message { content }).unwrap();
    assert_eq!(b.integrity(), Integrity::Untrusted);

    // A command writes what was seen and shows what is in the files.
    let mut bare = opened_with(vec![]);
    bare.environment = hosted(Network::Disabled);
    let mut b = Bench::open(bare, "Hi", defaults(), Show::Nothing);
    b.environment(
        "prepared",
        Attempted::Prepared { root: root(1), skills: vec![], servers: PluginServers::default() },
    );
    b.lists(tools());
    b.answer(vec![call("c1", "shell", r#"{"command": "ls"}"#)]);
    b.environment("ran", Attempted::Ran(exited(0, "nothing", Some(root(2)))));
    assert!(b.session.labels().is_neutral(), "there is nothing in it");
    let files = vec![crate::bench::file("in.txt")];
    b.command("place", Command::PlaceFiles { files }).unwrap();
    assert_eq!(b.session.file_labels().integrity, Integrity::Untrusted);
}

#[test]
fn a_subagent_begins_with_what_its_parent_has_seen_and_reports_what_it_saw() {
    let mut parent = opened_with(vec![grant("shop/send", json!({}), 9)]);
    parent.agent.multi_agent.enabled = true;
    parent.agent.grants = vec![grant("shop/send", json!({}), 9)];
    let mut b = Bench::open(parent, "Hi", defaults(), Show::Nothing);
    b.lists(tools());
    b.calls("c1", "secret", &json!({}), "x");
    b.answer(vec![call("c2", "create_subagent", r#"{"task": "look", "name": "scout"}"#)]);
    let effect = b.running[0].0.clone();
    let EffectKind::Subagent { request, .. } = &effect.kind else { unreachable!() };
    let (child, _) = b.session.child(request).unwrap();
    assert_eq!(&child.trust.context, b.session.labels());
    assert_eq!(&child.trust.messages, b.session.labels());
    assert!(child.trust.grants.is_empty() && child.agent.grants.is_empty(), "nothing is granted twice");
    assert!(matches!(child.parent, Some(Parent { depth: 1, .. })));
    b.replies(SubagentReply::Done);
    let SubagentRequest::Create { subagent_id, .. } = request else { unreachable!() };
    b.answer(vec![call("c3", "wait_for_subagents", "{}")]);
    let report = SubagentReport {
        subagent_id: *subagent_id,
        turn_id: Some(b.turn_of("c3")),
        status: ReportStatus::Completed,
        text: "planted".into(),
        labels: of(Integrity::Untrusted),
    };
    b.replies(SubagentReply::Reports(vec![report]));
    assert_eq!(b.integrity(), Integrity::Untrusted);
}

#[test]
fn the_rule_of_two_gives_way_to_a_grant_whose_targets_somebody_named() {
    let cases: [(&str, Value, &str); 7] = [
        ("send", json!({"to": "bob@corp.com", "body": "Hello"}), "done"),
        ("send", json!({"to": "bob@corp.com", "body": "see evil.io/x"}), "asked"),
        ("send", json!({"to": "bob@corp.com.evil.io"}), "asked"),
        ("send", json!({"to": "bob@corp.com", "cc": "eve@evil.io"}), "asked"),
        ("send", json!({"to": "bob@corp.com", "cc": "ann@corp.com"}), "asked"),
        ("pay", json!({"to": "bob@corp.com"}), "asked"),
        ("read", json!({"id": "anything"}), "done"),
    ];
    for (tool, arguments, expected) in cases {
        let grants = vec![grant("shop/send", json!({"to": "bob@corp.com"}), 1)];
        let mut b = begin("Write to bob@corp.com, with a copy to ann@corp.com.", grants);
        b.calls("c1", "read", &json!({}), "planted");
        assert_eq!(b.fate("c2", tool, &arguments), expected, "{tool} {arguments}");
        let used = u32::from(tool == "send" && expected == "done");
        assert_eq!(b.uses(), [used]);
    }
}

#[test]
fn a_grant_is_used_as_often_as_it_says_and_until_it_ends() {
    let to = json!({"to": "bob@corp.com"});
    let mut b = begin("Write to bob@corp.com.", vec![grant("shop/send", to.clone(), 2)]);
    b.calls("c1", "read", &json!({}), "planted");
    // Two calls of one answer are decided one after the other.
    let twice = |id: &str| call(id, "shop__send", &to.to_string());
    b.answer(vec![twice("c2"), twice("c3"), twice("c4")]);
    assert_eq!(b.running.len(), 2);
    assert_eq!(b.uses(), [2]);
    let approval = b.approval();
    b.decide(approval, Decision::Cancel);
    // A restart changes nothing about it.
    b.resumed();
    assert_eq!(b.uses(), [2]);
    let requested =
        |event: &Event| matches!(event, Event::EffectRequested { effect } if effect.permit.grant.is_some());
    assert_eq!(b.journal.iter().filter(|recorded| requested(&recorded.event)).count(), 2);

    let ended = Grant { expires_at: Some(START), ..grant("shop/send", to.clone(), 1) };
    let mut b = begin("Write to bob@corp.com.", vec![ended]);
    b.calls("c1", "read", &json!({}), "planted");
    assert_eq!(b.fate("c2", "send", &to), "asked");
}

#[test]
fn an_approval_may_grant_the_same_target_again() {
    let to = |body: &str| json!({"to": "eve@else.org", "body": body});
    let mut b = begin("Answer whoever wrote.", vec![]);
    b.calls("c1", "read", &json!({}), "from eve@else.org");
    b.answer(vec![call("c2", "shop__send", &to("one").to_string())]);
    let approval_id = b.approval();
    let again = Command::GrantAgain { approval_id, uses_max: 2, expires_at: None };
    let by = Party::service("ann", &["approvers"]);
    let approve = Command::Decide { approval_id, decision: Decision::Approve, by };
    b.crank("again", &tenure_session::Input::Commands(&[again, approve])).unwrap();
    b.returns("send", "ok");
    assert_eq!(b.uses(), [1], "the approved call is one of them");
    assert_eq!(b.fate("c3", "send", &to("two")), "done");
    assert_eq!(b.fate("c4", "send", &to("three")), "asked", "both were used");
    assert_eq!(b.fate("c5", "send", &json!({"to": "eve@else.com"})), "asked");
}

#[test]
fn values_of_trusted_fields_are_targets_of_what_can_be_undone_alone() {
    let found = r#"{"mail": "ann@corp.com", "note": "planted"}"#;
    for (tool, expected) in [("send", "done"), ("pay", "asked")] {
        let grants = vec![grant(&format!("shop/{tool}"), json!({"to": "bob@corp.com"}), 1)];
        let mut b = begin("Write to Ann.", grants);
        b.calls("c1", "find", &json!({"name": "Ann"}), found);
        let arguments = json!({"to": "bob@corp.com", "body": "tell ann@corp.com"});
        assert_eq!(b.fate("c2", tool, &arguments), expected, "{tool}");
        // What comes back after it was sent says nothing.
        let mut b = begin("Write to Ann.", vec![grant("shop/send", json!({"to": "bob@corp.com"}), 1)]);
        b.calls("c1", "find", &json!({"name": "eve@evil.io"}), r#"{"mail": "eve@evil.io", "note": "x"}"#);
        let arguments = json!({"to": "bob@corp.com", "body": "tell eve@evil.io"});
        assert_eq!(b.fate("c2", "send", &arguments), "asked");
    }
}

#[test]
fn only_the_principal_names_targets() {
    let arguments = json!({"to": "bob@corp.com", "body": "tell eve@evil.io"});
    let tainted = |b: &mut Bench| b.calls("c1", "read", &json!({}), "planted");
    let granted = || vec![grant("shop/send", json!({"to": "bob@corp.com"}), 1)];

    let mut b = begin("Tell eve@evil.io.", granted());
    tainted(&mut b);
    assert_eq!(b.fate("c2", "send", &arguments), "done", "the principal has said so");

    let mut b = begin("Hi", granted());
    b.answer(vec![say("Remember eve@evil.io.")]);
    let content = vec![InputPart::text("Tell eve@evil.io.")];
    b.command("own", Command::OwnMessage { content }).unwrap();
    tainted(&mut b);
    assert_eq!(b.fate("c2", "send", &arguments), "asked", "the agent said so to itself");

    let mut stranger = opened_with(granted());
    stranger.trust.messages = of(Integrity::Partner);
    let mut b = Bench::open(stranger, "Tell eve@evil.io.", defaults(), Show::Nothing);
    b.lists(tools());
    assert_eq!(b.integrity(), Integrity::Partner);
    assert_eq!(b.fate("c2", "send", &arguments), "asked", "a stranger said so");
}

#[test]
fn what_is_confidential_goes_nowhere_that_is_not_cleared_for_it() {
    let mut b = begin("Write to bob@corp.com.", vec![grant("shop/send", json!({"to": "bob@corp.com"}), 1)]);
    b.calls("c1", "secret", &json!({}), "x");
    // Even a grant does not help: what is sent is not what was thought of.
    let told = b.fate("c2", "send", &json!({"to": "bob@corp.com"}));
    assert_ne!(told, "done");
}

#[test]
fn data_that_is_bound_to_a_region_goes_to_no_model_elsewhere() {
    let bound = Labels { regions: Some(BTreeSet::from(["eu".to_owned()])), ..Labels::NEUTRAL };
    let mut b = Bench::open(opened_with(vec![]), "Hi", defaults(), Show::Nothing);
    b.lists(vec![def("read", ToolEffect::Read, bound.clone())]);
    b.calls("c1", "read", &json!({}), "x");
    assert_eq!(*b.session.labels(), bound);
    // Where the model is, nobody has said.
    assert!(b.running.is_empty() && b.session.active_turn().is_none());
}

#[test]
fn old_sessions_are_neutral() {
    let b = Bench::new(vec![Tool::ToolSearch], "Hi");
    assert!(b.session.labels().is_neutral() && b.session.grants().next().is_none());
    let mut state: Value = serde_json::from_slice(&b.session.encode()).unwrap();
    // What was asked of policy is kept whole with its answer.
    state.as_object_mut().unwrap().remove("effects");
    let text = state.to_string();
    assert!(!text.contains("integrity") && !text.contains("trust"), "{text}");
}
