//! Tool servers that run in a session's environment.

use tenure_journal::{McpTool, McpTransport, Network, PluginServers, Tool, ToolResult};

use crate::bench::{Bench, Show, agent, call, defaults, exited, hosted, mcp, opened, root, say, shop};
use tenure_session::Attempted;

fn inside() -> Tool {
    let transport = McpTransport::Stdio {
        command: "serve".into(),
        args: Vec::new(),
        cwd: "/workspace".into(),
        env_vars: Vec::new(),
        secret: None,
    };
    Tool::Mcp(McpTool { transport, ..mcp("box") })
}

/// A session whose environment is ready and whose server was asked for its tools.
fn ready(network: Network) -> Bench {
    let mut opening = opened(agent(vec![inside()]));
    opening.environment = hosted(network);
    let mut b = Bench::open(opening, "Go", defaults(), Show::Events);
    b.environment(
        "prepared",
        Attempted::Prepared { root: root(1), skills: Vec::new(), servers: PluginServers::default() },
    );
    b.lists(shop());
    b
}

fn left(number: u8) -> ToolResult {
    ToolResult { root: Some(root(number)), ..ToolResult::inline("done".into(), false) }
}

#[test]
fn a_call_goes_in_the_lane_of_commands_and_leaves_files_as_they_do() {
    let mut b = ready(Network::Disabled);
    b.answer(vec![
        call("c1", "box__tag", "{}"),
        call("c2", "shell", r#"{"command":"ls"}"#),
        call("c3", "box__send", "{}"),
    ]);
    assert_eq!(b.session.workspace_root(), Some(root(1)));
    b.returns_as("tag", left(2));
    assert_eq!(b.session.workspace_root(), Some(root(2)), "what a call left is what is there");
    b.environment("command", Attempted::Ran(exited(0, "x", None)));
    b.returns_as("send", ToolResult::inline("the same".into(), true));
    assert_eq!(b.session.workspace_root(), Some(root(2)));
    b.answer(vec![say("Done.")]);
    b.check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          eff1 requested: prepare the environment (freely)
          eff1 attempt 1
        > prepared
          eff1 attempt 1 placed, settled
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff2 requested: list box (freely)
          eff2 attempt 1
        > listing
          eff2 attempt 1 listed 5 tools, settled
          eff3 requested: ask m, step 0 (freely)
          eff3 attempt 1
        > answer
          eff3 attempt 1 answered, settled
          turn1 item2 #0 in_progress: mcp box/tag c1 {}
          eff4 requested: call inside box/tag {} (with_key)
          turn1 item3 #1 in_progress: command c2 "ls" in /workspace
          eff5 requested: run "ls" in /workspace for 120000 ms (freely)
          turn1 item4 #2 in_progress: mcp box/send c3 {}
          eff6 requested: call inside box/send {} (never)
          eff4 attempt 1
        > tag returns
          eff4 attempt 1 returned "done", settled
          eff5 attempt 1
        > command
          eff5 attempt 1 exited 0 with the same files "x", settled
          eff6 attempt 1
        > send returns
          eff6 attempt 1 returned an error "the same", settled
          eff7 requested: ask m, step 1 (freely)
          eff7 attempt 1
        > answer
          eff7 attempt 1 answered, settled
          turn1 item5 #3 completed: message (final_answer) "Done."
          eff8 requested: publish artifacts (freely)
          eff8 attempt 1
    "#,
    );
}

#[test]
fn calls_that_were_interrupted_follow_their_own_rules() {
    let mut b = ready(Network::Disabled);
    b.answer(vec![call("c1", "box__find", "{}"), call("c2", "box__send", "{}")]);
    b.mute();
    // What only reads is asked again, with everything behind it still waiting.
    b.resumed();
    assert_eq!(b.session.files_left_by(), None);
    b.returns("find", "here");
    assert_eq!(b.session.files_left_by(), None);
    // What says nothing of itself is never asked again; the files it may have left are kept.
    b.resumed();
    assert!(b.session.files_left_by().is_some());
    b.answer(vec![call("c3", "box__tag", "{}")]);
    b.returns_as("tag", left(3));
    assert_eq!((b.session.files_left_by(), b.session.workspace_root()), (None, Some(root(3))));
}
