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
    "#,
    );
}
