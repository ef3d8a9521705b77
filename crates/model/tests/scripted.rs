//! The scripted model: scripts in, answers and errors out.

use std::sync::Arc;

use tenure_journal::{
    AnswerItem, ContextItem, FailureKind, FunctionOutput, InputPart, ModelRequest, Reasoning, ServiceTier,
    Stop, TextConfig, ToolSpec, Usage,
};
use tenure_model::scripted::{PlayError, Player};
use tenure_model::{Delta, Model, Script, ScriptedModel};
use tokio_util::sync::CancellationToken;

/// Builds a context: `user: …`, `note: …`, `assistant: …`, `call id tool arguments`, `result id: …`.
fn request(lines: &[&str]) -> ModelRequest {
    let input = lines.iter().map(|line| {
        let (kind, rest) = line.split_once(": ").unwrap_or((line, ""));
        let mut words = kind.split(' ');
        match words.next() {
            Some("user") => ContextItem::User { content: vec![InputPart::text(rest)] },
            Some("image") => ContextItem::User {
                content: vec![InputPart::Image { image_url: "https://x.example/i".into() }],
            },
            Some("note") => ContextItem::Note { text: rest.into() },
            Some("assistant") => ContextItem::Assistant { text: rest.into(), phase: None },
            Some("call") => ContextItem::Call {
                call_id: words.next().expect("an id").into(),
                name: words.next().expect("a tool").into(),
                arguments: rest.into(),
            },
            Some("result") => ContextItem::CallResult {
                call_id: words.next().expect("an id").into(),
                output: FunctionOutput::Text(rest.into()),
            },
            other => panic!("{other:?} is not a kind of item"),
        }
    });
    let tool = |name: &str| ToolSpec {
        name: name.into(),
        description: "Does something.".into(),
        parameters: serde_json::json!({ "type": "object" }),
    };
    ModelRequest {
        model: "demo".into(),
        instructions: Some("You help customers of Acme.".into()),
        input: input.collect(),
        tools: vec![tool("orders__get"), tool("refunds__create")],
        reasoning: Reasoning::default(),
        text: TextConfig::default(),
        service_tier: ServiceTier::Auto,
        cache_key: "sess_1".into(),
        cache_ttl: None,
        output_tokens_max: None,
    }
}

fn script(text: &str) -> Arc<Script> {
    Arc::new(Script::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}")))
}

fn play(text: &str, lines: &[&str]) -> String {
    match Player::new(script(text)).play(&request(lines)) {
        Ok(play) => {
            let items = play.answer.items.iter().map(|item| match item {
                AnswerItem::Message { content } => format!("say {}", content.join("|")),
                AnswerItem::Reasoning { summary, .. } => format!("think {}", summary.join("|")),
                AnswerItem::ToolCall { call_id, name, arguments } => format!("{call_id} {name} {arguments}"),
            });
            format!("{}: {}", play.rule, items.collect::<Vec<_>>().join("; "))
        }
        Err(PlayError::Unmatched(_)) => "unmatched".to_owned(),
        Err(error @ PlayError::Render { .. }) => error.to_string(),
    }
}

/// Plays a script of one rule with these conditions and a fixed reply.
fn holds(when: &str, lines: &[&str]) -> bool {
    match play(&format!("rules:\n- when: {when}\n  reply: [{{text: yes it does}}]\n"), lines).as_str() {
        "rules[0]: say yes it does" => true,
        "unmatched" => false,
        other => panic!("{when}: {other}"),
    }
}

const REFUND: &str = r#"
model: demo
rules:
  - name: look up
    when: { user: '(?i)refund.*order (?P<order>\d+)', no_result: true }
    reply:
      - reasoning: "The customer wants money back."
      - text: "Looking up {{ order }}."
      - call: { tool: orders__get, arguments: { id: "{{ order }}", deep: [1, { n: "{{ order | int }}" }] } }
  - name: refund
    when: { result_of: orders__get, result: '"total": *(?P<total>[0-9.]+)' }
    reply:
      - call:
          tool: refunds__create
          arguments: { order: "{{ args.id }}", amount: "{{ total | float }}", note: "for {{ user }}", all: "{{ data }}" }
  - name: confirm
    when: { result_of: refunds__create }
    reply: [{ text: "Done: {{ result }}" }]
"#;

#[test]
fn plays_a_conversation() {
    let mut lines = vec!["user: Please refund order 17"];
    assert_eq!(
        play(REFUND, &lines),
        r#"look up: think The customer wants money back.; say Looking up 17.; call_0_2 orders__get {"id":"17","deep":[1,{"n":17}]}"#
    );
    lines.extend([r#"call a orders__get: {"id":"17"}"#, r#"result a: {"total": 12.50}"#]);
    assert_eq!(
        play(REFUND, &lines),
        r#"refund: call_1_0 refunds__create {"order":"17","amount":12.5,"note":"for Please refund order 17","all":{"total":12.5}}"#
    );
    lines.extend(["call b refunds__create: {}", "result b: ok"]);
    assert_eq!(play(REFUND, &lines), "confirm: say Done: ok");
    lines.extend(["assistant: Done: ok", "user: thanks"]);
    assert_eq!(play(REFUND, &lines), "unmatched");
}

#[test]
fn refers_to_the_call_whose_result_matched() {
    let file = "rules:\n- when: { result: 'x(?P<n>.)' }\n  reply: [{ text: '{{ args.id }} {{ result }} {{ n }}' }]\n";
    let called = [
        "user: both",
        r#"call a look: {"id":"first"}"#,
        r#"call b look: {"id":"second"}"#,
        "result a: x1",
        "result b: y2",
    ];
    assert_eq!(play(file, &called), "rules[0]: say first x1 1");
}

#[test]
fn conditions() {
    let fresh = ["user: one", "assistant: hello", "user: two", "note: it is late"];
    let called =
        ["user: one", "call a orders__get: {}", "call b refunds__create: {}", "result a: x1", "result b: y2"];
    let cases: &[(&str, &[&str], bool)] = &[
        ("{}", &[], true),
        ("{ user: two }", &fresh, true),
        ("{ user: one }", &fresh, false),
        ("{ any_user: one }", &fresh, true),
        ("{ any_user: three }", &fresh, false),
        ("{ model: demo }", &fresh, true),
        ("{ model: other }", &fresh, false),
        ("{ instructions: 'of (?P<company>\\w+)' }", &fresh, true),
        ("{ instructions: Globex }", &fresh, false),
        ("{ has_image: true }", &fresh, false),
        ("{ has_image: true }", &["image"], true),
        ("{ has_image: false }", &["image", "user: no more"], true),
        ("{ no_result: true }", &fresh, true),
        ("{ no_result: true }", &called, false),
        ("{ no_result: false }", &called, true),
        ("{ result_of: orders__get }", &called, true),
        ("{ result_of: orders__get, result: x }", &called, true),
        ("{ result_of: orders__get, result: y }", &called, false),
        ("{ result: y }", &called, true),
        ("{ result: z }", &called, false),
        ("{ results: 2 }", &called, true),
        ("{ results: 1 }", &called, false),
        ("{ result_of: orders__get }", &[called.as_slice(), &["user: meanwhile"]].concat(), false),
        ("{ seen_result_of: orders__get }", &[called.as_slice(), &["user: meanwhile"]].concat(), true),
        ("{ seen_result_of: other }", &called, false),
        ("{ step: 0 }", &fresh, true),
        ("{ step: 1, calls: 1 }", &called, true),
        ("{ calls: 1 }", &fresh, true),
        ("{ tools: [orders__get] }", &fresh, true),
        ("{ tools: [orders__get, other] }", &fresh, false),
        ("{ without_tools: [other] }", &fresh, true),
        ("{ without_tools: [orders__get] }", &fresh, false),
    ];
    for (when, lines, expected) in cases {
        assert_eq!(holds(when, lines), *expected, "{when} {lines:?}");
    }
}

#[test]
fn renders_malformed_arguments_fixed_ids_and_errors() {
    let rule = |reply: &str| format!("rules:\n- reply: [{reply}]\n");
    let lines = ["user: hi"];
    let cases = [
        ("{ call: { tool: t, raw_arguments: '{\"id\": ' } }", "rules[0]: call_0_0 t {\"id\": "),
        ("{ call: { tool: t, raw_arguments: '{{ user }}!', id: '' } }", "rules[0]:  t hi!"),
        ("{ call: { tool: '{{ user }}_tool' } }", "rules[0]: call_0_0 hi_tool {}"),
        (
            "{ call: { tool: t, arguments: { a: '{{ user }} {{ step }}', b: '{{ step }}', c: '{{ none }}' } } }",
            r#"rules[0]: call_0_0 t {"a":"hi 0","b":0,"c":null}"#,
        ),
        (
            "{ text: '{{ missing }}' }",
            "rule `rules[0]` cannot be rendered: undefined value: `missing` is undefined",
        ),
        (
            "{ call: { tool: t, arguments: { a: '{{ missing }}' } } }",
            "rule `rules[0]` cannot be rendered: the expression has no value",
        ),
        (
            "{ text: '{{ args.id }}' }",
            "rule `rules[0]` cannot be rendered: undefined value: `args.id` is undefined",
        ),
        ("{ text: '{{ user | upper }} {% if step == 0 %}first{% endif %}' }", "rules[0]: say HI first"),
    ];
    for (reply, expected) in cases {
        assert_eq!(play(&rule(reply), &lines), expected, "{reply}");
    }
}

#[test]
fn says_what_is_wrong_with_a_script_and_where() {
    let cases = [
        ("rules:\n- whne: {}\n  reply: []\n", "line 2, column 3: unknown key `whne`; did you mean `when`?"),
        ("rules:\n- when: { usr: x }\n", "line 2, column 11: unknown key `usr`; did you mean `user`?"),
        (
            "rules:\n- reply:\n  - zzz: 1\n",
            "line 3, column 5: unknown key `zzz`; the keys here are `text`, `reasoning`, `call`",
        ),
        (
            "rules:\n- when: { user: '(' }\n  reply: []\n",
            "line 2, column 17: the pattern is not a regular expression: unclosed group",
        ),
        (
            "rules:\n- reply: [{ text: 'a {{ b' }]\n",
            "line 2, column 19: the template is not valid: syntax error: unexpected end of input, expected end of variable block",
        ),
        (
            "rules:\n- reply: [{ text: a, reasoning: b }]\n",
            "line 2, column 11: each part of a reply has exactly one of `text`, `reasoning`, `call`",
        ),
        (
            "rules:\n- reply: [{ call: { tool: t, arguments: [1] } }]\n",
            "line 2, column 41: `arguments` must be a mapping; use `raw_arguments` for malformed ones",
        ),
        ("rules:\n- when: {}\n", "line 2, column 3: the rule needs a `reply`"),
        ("rules:\n- fault: { status: 503, times: 1 }\n", "line 2, column 3: the rule needs a `reply`"),
        ("rules:\n- fault: { status: 200 }\n", "line 2, column 10: `status` must be from 400 to 599"),
        (
            "rules:\n- fault: { status: 500, disconnect: true }\n",
            "line 2, column 10: a fault has exactly one of `status`, `disconnect`, `cut_after_tokens`, `stall_ms`",
        ),
        ("rules: []\n", "the script has no rules"),
    ];
    for (text, expected) in cases {
        let error = Script::parse(text).map(|_| ()).expect_err(text);
        assert_eq!(error.to_string(), expected, "{text}");
    }
    for text in ["", "rules", "rules: [1]", "rules:\n- reply: [", "a: &a [*a]\n"] {
        Script::parse(text).map(|_| ()).expect_err(text);
    }
}

#[test]
fn scripts_that_would_cost_too_much_are_refused() {
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x, x]\n");
    for (of, name) in ('a'..='h').zip('b'..) {
        bomb.push_str(&format!("{name}: &{name} [{}]\n", vec![format!("*{of}"); 10].join(", ")));
    }
    for (what, text) in [
        ("large", format!("rules:\n- reply: [{{ text: '{}' }}]\n", "x".repeat(1 << 20))),
        ("deep", format!("rules: {}{}\n", "[".repeat(1_000), "]".repeat(1_000))),
        ("aliases", bomb),
        ("pattern", "rules:\n- when: { user: '(((a{100}){100}){100}){100}' }\n  reply: []\n".to_owned()),
        ("twice", "rules: []\nrules: []\n".to_owned()),
    ] {
        assert!(Script::parse(&text).is_err(), "{what}");
    }
}

#[test]
fn reports_what_no_rule_matched() {
    let text = "model: other\nrules: [{ reply: [{ text: hi }] }]\n";
    let lines = ["user: hello", "call a orders__get: {}", "result a: forty two"];
    let error = Player::new(script(text)).play(&request(&lines)).expect_err("another model");
    let expected = "no rule of the scripted model matches
  model: demo
  the script answers to model `other` only
  step: 1, calls: 1
  last user message: \"hello\"
  latest result of orders__get: \"forty two\"
  tools offered: orders__get, refunds__create";
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.to_failure().kind, FailureKind::InvalidRequest);
    assert!(!error.to_failure().message.contains("hello"), "a failure quotes nothing");
}

async fn answer(model: &ScriptedModel, lines: &[&str]) -> (String, Result<Stop, FailureKind>, Option<u64>) {
    let mut text = String::new();
    let mut sink = |delta| {
        if let Delta::Text { delta, .. } = delta {
            text.push_str(&delta);
        }
    };
    let outcome = model.answer(&request(lines), &mut sink, &CancellationToken::new()).await;
    let wait = outcome.as_ref().err().and_then(|failure| failure.retry_after_ms);
    (text, outcome.map(|answer| answer.stop).map_err(|failure| failure.kind), wait)
}

#[tokio::test(start_paused = true)]
async fn acts_faults_out() {
    let cases = [
        ("{ status: 503, retry_after_ms: 50 }", "", Err(FailureKind::Overloaded), Some(50)),
        ("{ status: 429, code: insufficient_quota }", "", Err(FailureKind::CreditExhausted), None),
        ("{ disconnect: true }", "", Err(FailureKind::ConnectionFailed), None),
        ("{ cut_after_tokens: 2 }", "one two", Err(FailureKind::ConnectionFailed), None),
        ("{ cut_after_tokens: 99 }", "one two three", Err(FailureKind::ConnectionFailed), None),
        ("{ stall_ms: 5000 }", "one two three", Ok(Stop::MaxOutputTokens), None),
        ("{ stall_ms: 5000, stall_after_tokens: 1 }", "one two three", Ok(Stop::MaxOutputTokens), None),
    ];
    for (fault, text, outcome, wait) in cases {
        let file = format!(
            "rules:\n- fault: {fault}\n  reply: [{{ text: one two three }}]\n  stop: max_output_tokens\n"
        );
        let model = ScriptedModel::new(script(&file));
        assert_eq!(answer(&model, &["user: hi"]).await, (text.to_owned(), outcome, wait), "{fault}");
    }
}

#[tokio::test]
async fn counts_faults_for_each_request() {
    let file = "rules:\n- fault: { status: 500, times: 2 }\n  reply: [{ text: fine }]\n";
    let model = ScriptedModel::new(script(file));
    for lines in [["user: one"], ["user: two"]] {
        for expected in [Err(FailureKind::ServerError), Err(FailureKind::ServerError), Ok(Stop::Complete)] {
            // A note that tells the time differs from attempt to attempt.
            let noted = [lines.as_slice(), &["note: now"]].concat();
            assert_eq!(answer(&model, &noted).await.1, expected, "{lines:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn waits_between_tokens_and_stops_when_cancelled() {
    let file = "token_delay_ms: 1000\nrules:\n- reply: [{ text: a b c }]\n";
    let model = ScriptedModel::new(script(file));
    let start = tokio::time::Instant::now();
    assert_eq!(answer(&model, &["user: hi"]).await.0, "a b c");
    assert_eq!(start.elapsed().as_millis(), 3000);
    let cancel = CancellationToken::new();
    let mut sink = |delta| {
        if matches!(delta, Delta::Text { .. }) {
            cancel.cancel();
        }
    };
    let outcome = model.answer(&request(&["user: hi"]), &mut sink, &cancel).await;
    assert_eq!(outcome.expect_err("cancelled").kind, FailureKind::ConnectionFailed);
}

#[test]
fn counts_tokens_the_same_way_every_time() {
    let file = "rules:\n- reply: [{ reasoning: a b }, { text: c d e }]\n";
    let player = Player::new(script(file));
    let usage = || player.play(&request(&["user: hi"])).expect("a match").answer.usage.expect("counted");
    let counted = usage();
    assert_eq!((counted.output_tokens, counted.reasoning_tokens, counted.cached_tokens), (5, 2, 0));
    assert_eq!(counted, usage());
    let file = "rules:\n- reply: [{ text: c }]\n  usage: { input_tokens: 7, output_tokens: 8 }\n";
    let play = Player::new(script(file)).play(&request(&["user: hi"])).expect("a match");
    assert_eq!(play.answer.usage, Some(Usage { input_tokens: 7, output_tokens: 8, ..Usage::default() }));
}
