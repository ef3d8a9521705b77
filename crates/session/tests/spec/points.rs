//! Decisions beside that on a call: what is done with memories, and which secret a tool server is shown. Nothing of
//! it begins without them, and a refusal is recorded as what it refuses.

use std::sync::Arc;

use tenure_journal::{
    Decision, EffectKind, Event, Integrity, Labels, MEMORY_USER_KEY, McpTool, McpTransport, MemoryScope,
    TakenProcedure, Tool, ToolTerms,
};
use tenure_policy::{PolicySet, PolicySource};

use crate::bench::{Bench, Show, agent, call, mcp, opened, say, shop};

const SHOP: &str = "https://shop.example/mcp";

fn policy(text: &str) -> Arc<PolicySet> {
    let source = PolicySource { name: "p.cedar".to_owned(), text: text.to_owned() };
    Arc::new(PolicySet::new(&[source]).expect("valid policies"))
}

/// The shop over HTTP, with a credential or without one.
fn shop_server(credential: Option<&str>) -> Tool {
    let transport = McpTransport::Http { server_url: SHOP.to_owned(), headers: [].into(), secret: None };
    Tool::Mcp(McpTool { transport, credential_id: credential.map(str::to_owned), ..mcp("shop") })
}

fn open(tools: Vec<Tool>, text: &str) -> Bench {
    Bench::open(opened(agent(tools)), "Hi", policy(text), Show::Events)
}

/// The refusals of a journal, each as action, resource and policies.
fn refusals(b: &Bench) -> Vec<String> {
    let refused = |event: &Event| {
        let Event::PolicyRefused { refusal } = event else { return None };
        Some(format!("{} {}: {}", refusal.action, refusal.resource, refusal.policies.join(",")))
    };
    b.journal.iter().filter_map(|recorded| refused(&recorded.event)).collect()
}

/// The policies of the permits of effects that `wanted` picks.
fn permits(b: &Bench, wanted: impl Fn(&EffectKind) -> bool) -> Vec<Vec<String>> {
    let permit = |event: &Event| {
        let Event::EffectRequested { effect } = event else { return None };
        wanted(&effect.kind).then(|| effect.permit.policies.clone())
    };
    b.journal.iter().filter_map(|recorded| permit(&recorded.event)).collect()
}

fn is_recall(kind: &EffectKind) -> bool {
    matches!(kind, EffectKind::ToolCall { name, .. } if name == "memory_recall")
}

fn asks_the_shop(kind: &EffectKind) -> bool {
    matches!(kind, EffectKind::ToolCall { .. } | EffectKind::ListTools { .. })
}

fn recall() -> tenure_journal::AnswerItem {
    call("c1", "memory_recall", r#"{"question":"What did we say?"}"#)
}

#[test]
fn recalling_is_decided_as_a_call_and_as_reading_memories() {
    let mut b = open(vec![Tool::Memory], "");
    b.answer(vec![recall()]);
    assert_eq!(
        permits(&b, is_recall),
        [["default.agent-effect", "default.builtin-tool", "default.unattended-tool"]]
    );

    let forbidden = r#"@id("amnesia") forbid (principal, action == Action::"memory.read", resource);"#;
    let mut b = open(vec![Tool::Memory], forbidden);
    b.answer(vec![recall()]);
    assert!(permits(&b, is_recall).is_empty());
    let [refused] = refusals(&b).try_into().expect("one refusal");
    assert!(refused.starts_with("memory.read agent/") && refused.ends_with(": amnesia"), "{refused}");
    assert!(b.transcript().contains("Policy does not allow this call"), "{}", b.transcript());
}

#[test]
fn policies_see_whose_memories_they_are() {
    let of_agents = r#"@id("of-agents") forbid (principal, action == Action::"memory.read", resource)
        when { resource.scope == "agent" };"#;
    for (user, recalls) in [(None, 0), (Some("ada"), 1)] {
        let mut opening = opened(agent(vec![Tool::Memory]));
        opening.metadata.extend(user.map(|user| (MEMORY_USER_KEY.to_owned(), user.to_owned())));
        let mut b = Bench::open(opening, "Hi", policy(of_agents), Show::Nothing);
        b.answer(vec![recall()]);
        assert_eq!(permits(&b, is_recall).len(), recalls, "{user:?}");
    }
}

#[test]
fn policies_see_for_whom_something_is_remembered() {
    let own = r#"@id("own-only") forbid (principal, action == Action::"memory.write", resource)
        when { resource.scope != "user" };"#;
    let is_write =
        |kind: &EffectKind| matches!(kind, EffectKind::ToolCall { name, .. } if name == "memory_remember");
    for (scope, resource) in [
        (r#","scope":"project""#, Some("memory.write project: own-only")),
        (r#","scope":"agent""#, Some("memory.write agent/")),
        (r#","scope":"session""#, Some("memory.write session/sess")),
        (r#","scope":"user""#, None),
        ("", None),
        (r#","scope":"nowhere""#, None),
    ] {
        let mut opening = opened(agent(vec![Tool::Memory]));
        opening.metadata.insert(MEMORY_USER_KEY.to_owned(), "ada".to_owned());
        let mut b = Bench::open(opening, "Hi", policy(own), Show::Nothing);
        let arguments = format!(r#"{{"statement":"Ada drinks tea."{scope}}}"#);
        b.answer(vec![call("c1", "memory_remember", &arguments)]);
        assert_eq!(permits(&b, is_write).len(), usize::from(resource.is_none()), "{scope}");
        let refused = refusals(&b).pop();
        let is_as_told = match (resource, &refused) {
            (Some(resource), Some(refused)) => {
                refused.starts_with(resource) && refused.ends_with(": own-only")
            }
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        assert!(is_as_told, "{scope}: {refused:?}");
    }
}

#[test]
fn a_server_with_a_credential_is_asked_only_if_its_secret_may_be_used() {
    let keep =
        r#"@id("keep") forbid (principal, action == Action::"secret.use", resource == Secret::"cred_1");"#;
    for (credential, asked) in [(None, true), (Some("cred_2"), true), (Some("cred_1"), false)] {
        let b = open(vec![shop_server(credential)], keep);
        assert_eq!(!permits(&b, asks_the_shop).is_empty(), asked, "{credential:?}");
        let expected: &[&str] = if asked { &[] } else { &["secret.use cred_1: keep"] };
        assert_eq!(refusals(&b), expected, "{credential:?}");
    }
}

/// A session that may show its secret until its model has read what anybody may have written, and has.
fn after_reading(then: &str) -> Bench {
    let text = format!(
        r#"@id("not-then") {then} forbid (principal, action == Action::"secret.use", resource)
           when {{ context.host == "{SHOP}" && context.flow.integrity == 0 }}
           unless {{ context has approval }};"#
    );
    let mut b = open(vec![shop_server(Some("cred_1"))], &text);
    let mut tools = shop();
    let result = Labels { integrity: Integrity::Untrusted, ..Labels::NEUTRAL };
    tools[0].terms = Some(Box::new(ToolTerms { result, ..ToolTerms::default() }));
    b.lists(tools);
    b.answer(vec![call("c1", "shop__find", r#"{"order":7}"#)]);
    b.returns("find", "a red bicycle, says somebody");
    assert!(refusals(&b).is_empty(), "{}", b.transcript());
    b.answer(vec![call("c2", "shop__find", r#"{"order":8}"#)]);
    b
}

#[test]
fn a_call_is_decided_as_a_call_and_as_the_use_of_its_secret() {
    let mut b = after_reading("");
    b.decide(b.approval(), Decision::Approve);
    let calls = permits(&b, |kind| matches!(kind, EffectKind::ToolCall { .. }));
    assert_eq!(calls.len(), 2, "{}", b.transcript());
    for policies in calls {
        assert!(policies.contains(&"default.agent-effect".to_owned()), "{policies:?}");
    }
}

#[test]
fn a_secret_that_nobody_approves_is_not_shown() {
    let mut b = after_reading(r#"@ask("vault-owners")"#);
    let waiting = b.session.view().required_actions;
    let Some(tenure_session::RequiredAction::Approval(approval)) = waiting.first() else {
        panic!("an approval, not {waiting:?}")
    };
    let groups = approval.ticket.as_ref().map(|ticket| ticket.groups.clone());
    assert_eq!(groups, Some(vec!["vault-owners".to_owned()]));
    b.decide(b.approval(), Decision::Deny);
    let calls = permits(&b, |kind| matches!(kind, EffectKind::ToolCall { .. }));
    assert_eq!(calls.len(), 1, "{}", b.transcript());
}

#[test]
fn where_nobody_can_be_asked_a_secret_is_refused() {
    let ask = r#"@id("ask") forbid (principal, action == Action::"secret.use", resource)
        unless { context has approval };"#;
    let b = open(vec![shop_server(Some("cred_1"))], ask);
    assert!(permits(&b, asks_the_shop).is_empty());
    assert_eq!(refusals(&b), ["secret.use cred_1: default.agent-effect"], "it would be allowed then");
}

#[test]
fn policies_see_which_procedure_is_read_and_where_one_is_proposed() {
    let sealed = r#"@id("sealed") forbid (principal, action in [Action::"memory.read", Action::"memory.write"], resource)
        when { resource.scope == "project" };"#;
    for (tool, arguments, refused) in [
        ("memory_procedure", r#"{"name":"refund-order"}"#, Some("memory.read project: sealed")),
        (
            "memory_procedure",
            r#"{"name":"refund-order","scope":"project"}"#,
            Some("memory.read project: sealed"),
        ),
        ("memory_procedure", r#"{"name":"refund-order","scope":"user"}"#, None),
        ("memory_procedure", r#"{"name":"unheard-of"}"#, None),
        (
            "memory_propose_procedure",
            r#"{"name":"a","scope":"project"}"#,
            Some("memory.write project: sealed"),
        ),
        ("memory_propose_procedure", r#"{"name":"a"}"#, None),
    ] {
        let mut opening = opened(agent(vec![Tool::Memory]));
        opening.metadata.insert(MEMORY_USER_KEY.to_owned(), "ada".to_owned());
        let mut b = Bench::open(opening, "Hi", policy(sealed), Show::Nothing);
        b.answer(vec![say("Hi!")]);
        b.procedures = Some(vec![TakenProcedure {
            scope: MemoryScope::Project,
            name: "refund-order".to_owned(),
            version: 1,
            description: "To refund.".to_owned(),
            labels: Labels::NEUTRAL,
        }]);
        b.message("Go on");
        b.answer(vec![call("c1", tool, arguments)]);
        let is_call = |kind: &EffectKind| matches!(kind, EffectKind::ToolCall { name, .. } if name == tool);
        assert_eq!(permits(&b, is_call).len(), usize::from(refused.is_none()), "{arguments}");
        assert_eq!(refusals(&b).last().map(String::as_str), refused, "{arguments}");
    }
}

#[test]
fn a_tool_of_procedures_is_a_tool_to_policies() {
    for tool in ["memory_procedure", "memory_propose_procedure"] {
        let forbidden = format!(
            r#"@id("no") forbid (principal, action == Action::"tool.call", resource == Tool::"tenure/{tool}");"#
        );
        let mut b = open(vec![Tool::Memory], &forbidden);
        b.answer(vec![call("c1", tool, r#"{"name":"a"}"#)]);
        let [refused] = refusals(&b).try_into().expect("one refusal");
        assert_eq!(refused, format!("tool.call tenure/{tool}: no"));
    }
}
