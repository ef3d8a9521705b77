//! An agent that schedules wake-ups of its own session.

use tenure_journal::Tool;

use crate::bench::{Bench, call, say};

#[test]
fn an_agent_schedules_a_wake_up_once() {
    let mut b = Bench::new(vec![Tool::Automations, Tool::Automations], "Hi");
    b.context();
    b.answer(vec![call("c1", "create_automation", r#"{"instructions":"look","in_minutes":5}"#)]);
    b.resumed();
    b.returns("create_automation", r#"{"id":"auto_1"}"#);
    b.answer(vec![
        call("c2", "list_automations", "{}"),
        call("c3", "delete_automation", r#"{"id":"auto_1"}"#),
    ]);
    b.returns("list_automations", "{}");
    b.returns("delete_automation", "{}");
    b.context();
    b.answer(vec![say("Done.")]);
    b.check(
        r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
          | user: "Hi"
          | tools: create_automation, list_automations, delete_automation
        > answer
          eff1 attempt 1 answered, settled
          turn1 item2 #0 in_progress: mcp tenure/create_automation c1 {"instructions":"look","in_minutes":5}
          eff2 requested: call built-in create_automation {"instructions":"look","in_minutes":5} (with_key)
          eff2 attempt 1
        > restart
          eff2 attempt 1 unknown, again in 0 ms
          eff2 attempt 2
        > create_automation returns
          eff2 attempt 2 returned "{\"id\":\"auto_1\"}", settled
          eff3 requested: ask m, step 1 (freely)
          eff3 attempt 1
        > answer
          eff3 attempt 1 answered, settled
          turn1 item3 #1 in_progress: mcp tenure/list_automations c2 {}
          eff4 requested: call built-in list_automations {} (freely)
          eff4 attempt 1
          turn1 item4 #2 in_progress: mcp tenure/delete_automation c3 {"id":"auto_1"}
          eff5 requested: call built-in delete_automation {"id":"auto_1"} (with_key)
          eff5 attempt 1
        > list_automations returns
          eff4 attempt 1 returned "{}", settled
        > delete_automation returns
          eff5 attempt 1 returned "{}", settled
          eff6 requested: ask m, step 2 (freely)
          eff6 attempt 1
          | user: "Hi"
          | call c1: create_automation {"instructions":"look","in_minutes":5}
          | result c1: "{\"id\":\"auto_1\"}"
          | call c2: list_automations {}
          | call c3: delete_automation {"id":"auto_1"}
          | result c2: "{}"
          | result c3: "{}"
          | tools: create_automation, list_automations, delete_automation
        > answer
          eff6 attempt 1 answered, settled
          turn1 item5 #3 completed: message (final_answer) "Done."
          turn1 completed
    "#,
    );
}
