//! Tool servers that plugins of an environment bring along: asked, offered and called like the agent's own, behind
//! which they stand.

use std::sync::Arc;

use tenure_journal::{
    AgentPatch, Done, Effect, EffectId, EffectKind, Environment, FailureKind, Fresh, McpTool, McpTransport,
    Network, Outcome, PluginServers, RefusedServer, SessionPatch, SubagentId, SubagentRequest, Tool, ToolDef,
    limit,
};
use tenure_policy::{PolicySet, PolicySource};
use tenure_session::{Attempted, Input, ServerStanding, Session};

use crate::bench::{
    Bench, Show, agent, call, defaults, hosted, mcp, opened, root, say, self_hosted, server, shop,
};

fn program(label: &str, command: &str) -> McpTool {
    let transport = McpTransport::Stdio {
        command: command.to_owned(),
        args: Vec::new(),
        cwd: "/workspace".to_owned(),
        env_vars: Vec::new(),
        secret: None,
    };
    McpTool { transport, ..mcp(label) }
}

/// What a preparation found: servers of these labels, and one that is refused.
pub(crate) fn found(labels: &[&str]) -> PluginServers {
    let refused = RefusedServer {
        plugin: "/workspace/p".to_owned(),
        name: Some("wiki".to_owned()),
        reason: "it is no program".to_owned(),
    };
    let servers = labels.iter().map(|label| program(label, "serve")).collect();
    PluginServers { servers, refused: vec![refused] }
}

fn prepared(servers: PluginServers) -> Attempted {
    Attempted::Prepared { root: root(1), skills: Vec::new(), servers }
}

/// A session whose environment was made ready with these servers of plugins.
fn ready(tools: Vec<Tool>, labels: &[&str], policy: Arc<PolicySet>) -> Bench {
    let mut opening = opened(agent(tools));
    opening.environment = hosted(Network::Disabled);
    let mut b = Bench::open(opening, "Go", policy, Show::Events);
    b.environment("prepared", prepared(found(labels)));
    b
}

/// The servers of plugins, and what became of each.
fn standings(session: &Session) -> Vec<(String, ServerStanding)> {
    let view = session.view().plugin_servers;
    view.found.into_iter().map(|found| (found.server.server_label, found.standing)).collect()
}

fn tools(b: &mut Bench, label: &str, tools: Vec<Tool>) {
    let agent = Some(AgentPatch { tools: Some(tools), ..AgentPatch::default() });
    b.update(label, SessionPatch { agent, ..SessionPatch::default() });
}

#[test]
fn they_are_asked_offered_and_called_behind_the_agents_own() {
    let mut b = ready(vec![server("shop")], &["p-notes"], defaults());
    assert_eq!(standings(&b.session), [("p-notes".to_owned(), ServerStanding::Unasked)]);
    b.lists(shop()[..1].to_vec());
    b.lists(shop()[..2].to_vec());
    assert_eq!(standings(&b.session), [("p-notes".to_owned(), ServerStanding::Listed(2))]);
    b.context();
    b.answer(vec![call("c1", "p-notes__find", "{}")]);
    b.returns("find", "here");
    b.answer(vec![say("Done.")]);
    assert_eq!(b.session.view().agent.tools, [server("shop")], "clients see what they sent");
    assert_eq!(b.session.view().plugin_servers.refused, found(&[]).refused);
    b.check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          eff1 requested: prepare the environment (freely)
          eff1 attempt 1
        > prepared
          eff1 attempt 1 placed, server p-notes, not wiki of /workspace/p: it is no program, settled
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff2 requested: list shop (freely)
          eff2 attempt 1
          eff3 requested: list p-notes (freely)
          eff3 attempt 1
        > listing
          eff2 attempt 1 listed 1 tools, settled
        > listing
          eff3 attempt 1 listed 2 tools, settled
          eff4 requested: ask m, step 0 (freely)
          eff4 attempt 1
          | user: "Go"
          | tools: shop__find, shell, apply_patch, p-notes__find, p-notes__pay
        > answer
          eff4 attempt 1 answered, settled
          turn1 item2 #0 in_progress: mcp p-notes/find c1 {}
          eff5 requested: call inside p-notes/find {} (freely)
          eff5 attempt 1
        > find returns
          eff5 attempt 1 returned "here", settled
          eff6 requested: ask m, step 1 (freely)
          eff6 attempt 1
        > answer
          eff6 attempt 1 answered, settled
          turn1 item3 #1 completed: message (final_answer) "Done."
          eff7 requested: publish artifacts (freely)
          eff7 attempt 1
    "#,
    );
}

#[test]
fn however_many_tools_they_have_those_built_in_stay() {
    let mut b = ready(vec![], &["p-notes"], defaults());
    b.mute();
    let find = shop().swap_remove(0);
    let named = |n: usize| ToolDef { name: format!("find{n}"), ..find.clone() };
    b.lists((0..limit::TOOLS_PER_REQUEST_MAX).map(named).collect());
    let names: Vec<String> = b.session.context().tools.into_iter().map(|tool| tool.name).collect();
    assert_eq!(names[..3], ["shell", "apply_patch", "p-notes__find0"]);
    assert_eq!(names.len(), limit::TOOLS_PER_REQUEST_MAX);
}

#[test]
fn an_interrupted_listing_and_call_follow_the_rules_of_any_server() {
    let mut b = ready(vec![], &["p-notes"], defaults());
    b.resumed();
    b.lists(shop());
    b.answer(vec![call("c1", "p-notes__send", "{}"), call("c2", "p-notes__find", "{}")]);
    b.mute();
    b.resumed();
    assert!(b.session.files_left_by().is_some(), "what may have been done is not done again");
    b.returns("find", "here");
    b.unmute();
    b.note("both were answered for");
    b.check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          eff1 requested: prepare the environment (freely)
          eff1 attempt 1
        > prepared
          eff1 attempt 1 placed, server p-notes, not wiki of /workspace/p: it is no program, settled
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff2 requested: list p-notes (freely)
          eff2 attempt 1
        > restart
          eff2 attempt 1 unknown, again in 0 ms
          eff2 attempt 2
        > listing
          eff2 attempt 2 listed 5 tools, settled
          eff3 requested: ask m, step 0 (freely)
          eff3 attempt 1
        > answer
          eff3 attempt 1 answered, settled
          turn1 item2 #0 in_progress: mcp p-notes/send c1 {}
          eff4 requested: call inside p-notes/send {} (never)
          turn1 item3 #1 in_progress: mcp p-notes/find c2 {}
          eff5 requested: call inside p-notes/find {} (freely)
          eff4 attempt 1
          …
          = both were answered for
    "#,
    );
}

#[test]
fn the_agents_own_label_goes_before_whenever_it_comes() {
    let own = Tool::Mcp(program("p-notes", "own"));
    let mut b = ready(vec![own.clone()], &["p-notes"], defaults());
    b.mute();
    assert_eq!(b.session.servers().count(), 1);
    b.lists(shop()[..1].to_vec());
    assert_eq!(standings(&b.session), [("p-notes".to_owned(), ServerStanding::Shadowed)]);
    b.answer(vec![say("Ok.")]);
    b.environment("published", Attempted::Published(Vec::new()));
    tools(&mut b, "none of its own", vec![]);
    assert_eq!(standings(&b.session), [("p-notes".to_owned(), ServerStanding::Unasked)], "it is another one");
    b.message("Again");
    b.lists(shop());
    b.answer(vec![say("Ok.")]);
    tools(&mut b, "its own again", vec![own]);
    b.message("Once more");
    let lists = |effect: &Effect| matches!(&effect.kind, EffectKind::ListTools { server_label, .. } if server_label == "p-notes");
    assert!(b.session.pending().any(lists), "what the plugin's listed is forgotten");
}

#[test]
fn there_are_no_more_than_run_in_one_environment() {
    let own = |count: usize| -> Vec<Tool> {
        (0..count).map(|n| Tool::Mcp(program(&format!("own{n}"), "own"))).collect()
    };
    let mut b = ready(own(limit::SERVERS_INSIDE_MAX - 1), &["p-a", "p-b"], defaults());
    let standing = |b: &Bench| -> Vec<ServerStanding> {
        standings(&b.session).into_iter().map(|(_, standing)| standing).collect()
    };
    b.mute();
    for _ in 0..limit::SERVERS_INSIDE_MAX {
        b.lists(shop());
    }
    assert_eq!(standing(&b), [ServerStanding::Listed(5), ServerStanding::NoRoom]);
    b.answer(vec![say("Ok.")]);
    tools(&mut b, "as many as can be", own(limit::SERVERS_INSIDE_MAX));
    assert_eq!(standing(&b), [ServerStanding::NoRoom, ServerStanding::NoRoom]);
    assert!(b.session.server("p-a").is_none());
    tools(&mut b, "one", own(1));
    assert_eq!(standing(&b), [ServerStanding::Unasked, ServerStanding::Unasked], "asked once more");
    // What is not in the environment takes no room of it.
    tools(&mut b, "elsewhere", (0..9).map(|n| server(&format!("far{n}"))).collect());
    assert_eq!(b.session.servers().count(), 11);
}

#[test]
fn one_that_policy_does_not_let_be_asked_is_down_until_the_next_turn() {
    let text = r#"@id("no-notes") forbid (principal, action == Action::"tools.list",
        resource == Server::"p-notes");"#;
    let source = PolicySource { name: "test.cedar".into(), text: text.into() };
    let policy = Arc::new(PolicySet::new(&[source]).unwrap());
    let mut b = ready(vec![], &["p-notes", "p-other"], policy);
    assert_eq!(standings(&b.session)[0].1, ServerStanding::Down);
    b.lists(shop()[..1].to_vec());
    b.context();
    b.answer(vec![call("c1", "p-notes__find", "{}")]);
    b.answer(vec![say("Without.")]);
    b.environment("published", Attempted::Published(Vec::new()));
    b.message("Again");
    b.check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          eff1 requested: prepare the environment (freely)
          eff1 attempt 1
        > prepared
          eff1 attempt 1 placed, server p-notes, server p-other, not wiki of /workspace/p: it is no program, settled
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          policy refuses tools.list p-notes: denied (no-notes)
          eff2 requested: list p-other (freely)
          eff2 attempt 1
        > listing
          eff2 attempt 1 listed 1 tools, settled
          eff3 requested: ask m, step 0 (freely)
          eff3 attempt 1
          | user: "Go"
          | tools: shell, apply_patch, p-other__find
        > answer
          eff3 attempt 1 answered, settled
          turn1 item2 failed: internal p-notes__find c1 "{}" told "Not called: there is no tool of that name. Tools: shell, apply_patch, p-other__find."
          eff4 requested: ask m, step 1 (freely)
          eff4 attempt 1
        > answer
          eff4 attempt 1 answered, settled
          turn1 item3 #0 completed: message (final_answer) "Without."
          eff5 requested: publish artifacts (freely)
          eff5 attempt 1
        > published
          eff5 attempt 1 published , settled
          turn1 completed
        > message "Again"
          inp2 accepted: "Again"
          turn2 created
          inp2 joined turn2 as item4
          turn2 started
          policy refuses tools.list p-notes: denied (no-notes)
          eff6 requested: ask m, step 0 (freely)
          eff6 attempt 1
    "#,
    );
}

#[test]
fn policy_decides_each_call() {
    let text = r#"@id("no-send") forbid (principal, action == Action::"tool.call",
        resource == Tool::"p-notes/send");"#;
    let source = PolicySource { name: "test.cedar".into(), text: text.into() };
    let mut b = ready(vec![], &["p-notes"], Arc::new(PolicySet::new(&[source]).unwrap()));
    b.lists(shop());
    b.answer(vec![call("c1", "p-notes__send", "{}")]);
    assert!(b.transcript().contains("policy refuses tool.call p-notes/send: denied (no-send)"));
}

#[test]
fn one_that_cannot_be_started_is_down_and_the_agent_goes_on() {
    let mut b = ready(vec![], &["p-notes"], defaults());
    b.fails(FailureKind::NotFound);
    assert_eq!(standings(&b.session)[0].1, ServerStanding::Down);
    b.answer(vec![say("Without.")]);
}

#[test]
fn lost_files_take_their_servers_along_and_what_is_found_then_counts() {
    let mut b = ready(vec![Tool::Mcp(program("own", "own"))], &["p-a", "p-b"], defaults());
    b.mute();
    (0..3).for_each(|_| b.lists(shop()));
    b.answer(vec![call("c1", "p-a__find", "{}")]);
    for _ in 0..4 {
        b.fails(FailureKind::FilesLost);
        b.wait(600_000);
    }
    assert_eq!(standings(&b.session), []);
    let mut again = found(&["p-b"]);
    again.servers.insert(0, program("p-a", "other"));
    b.environment("prepared again", prepared(again));
    let listed = |b: &Bench| standings(&b.session).into_iter().map(|(_, one)| one).collect::<Vec<_>>();
    assert_eq!(listed(&b), [ServerStanding::Unasked; 2], "both are asked again, and the agent's own is not");
    (0..2).for_each(|_| b.lists(shop()));
    assert_eq!(listed(&b), [ServerStanding::Listed(5); 2]);
    b.answer(vec![say("Done.")]);
}

#[test]
fn what_continues_an_environment_has_its_servers() {
    let mut b = ready(vec![], &["p-notes"], defaults());
    b.mute();
    b.lists(shop());
    let servers = found(&["p-notes"]);
    let fork = b.fork(b.version(), 90);
    assert_eq!(fork.session.found_servers(), &servers);
    let subagent_id = SubagentId::of_effect(EffectId::fresh(&Fresh::new(b.now, 7)));
    let request = SubagentRequest::Create {
        subagent_id,
        name: "scout".into(),
        task: "Look.".into(),
        model: None,
        effort: None,
    };
    let (opening, _) = b.session.child(&request).unwrap();
    let Environment::Hosted(hosted) = &opening.environment else { panic!("{opening:?}") };
    assert_eq!(hosted.capabilities.servers, servers);
    let child = Bench::open(opening, "Go", defaults(), Show::Nothing);
    assert_eq!(standings(&child.session), [("p-notes".to_owned(), ServerStanding::Unasked)]);
}

#[test]
fn on_a_customers_machine_they_are_found_once_its_executor_is_there() {
    let mut opening = opened(agent(Vec::new()));
    opening.environment = self_hosted();
    let Environment::SelfHosted(own) = &mut opening.environment else { unreachable!() };
    own.capability_directories = vec!["/opt/plugins".to_owned()];
    let mut b = Bench::open(opening, "Go", defaults(), Show::Events);
    b.crank("executor connects", &Input::Connected).unwrap();
    b.environment("found", Attempted::Found { skills: Vec::new(), servers: found(&["p-notes"]) });
    b.lists(shop());
    b.context();
    let told = b.transcript();
    let mut offers = told.lines().filter(|line| line.contains("| tools: "));
    assert!(offers.any(|line| line.contains("p-notes__find")), "{told}");
    let Environment::SelfHosted(own) = b.session.view().environment else { unreachable!() };
    assert_eq!(
        own.for_session(b.session.key().session).servers,
        PluginServers::default(),
        "a fork looks itself"
    );
}

/// Journals of before are read, and what has no servers is written as it was then.
#[test]
fn outcomes_without_servers_are_what_they_were() {
    let root = root(1);
    for (text, servers) in [
        (format!(r#"{{"type":"placed","root":"{root}"}}"#), PluginServers::default()),
        (r#"{"type":"found","skills":[]}"#.to_owned(), PluginServers::default()),
    ] {
        let done: Done = serde_json::from_str(&text).unwrap();
        let (Done::Placed { servers: read, .. } | Done::Found { servers: read, .. }) = &done else {
            panic!()
        };
        assert_eq!(*read, servers);
        assert_eq!(serde_json::to_string(&done).unwrap(), text);
    }
    let done = Done::Placed { root, skills: Vec::new(), servers: found(&["p-notes"]) };
    let outcome = Outcome::Done { done };
    let text = serde_json::to_string(&outcome).unwrap();
    assert_eq!(serde_json::from_str::<Outcome>(&text).unwrap(), outcome);
}
