//! Settings, deletion, and batches of commands.

use tenure_journal::{AgentPatch, Effort, InputPart, PromptCache, SessionPatch};
use tenure_session::{Command, Input};

use crate::bench::{Bench, Show, call, function, say};

#[test]
fn settings_change_and_clear() {
    let mut b = Bench::new(vec![], "");
    b.show = Show::Nothing;
    let seen = |b: &mut Bench, label: &str, patch: SessionPatch| {
        b.update(label, patch);
        let view = b.session.view();
        b.note(&format!(
            "{} {:?} {:?} {:?} {:?}",
            view.agent.model,
            view.agent.reasoning.effort,
            view.metadata,
            view.review,
            view.prompt_cache.map(|cache| cache.ttl)
        ));
    };
    let agent = |agent| SessionPatch { agent: Some(agent), ..SessionPatch::default() };
    seen(&mut b, "model", agent(AgentPatch { model: Some("n".into()), ..AgentPatch::default() }));
    seen(&mut b, "effort", agent(AgentPatch { effort: Some(Some(Effort::Low)), ..AgentPatch::default() }));
    seen(&mut b, "no effort", agent(AgentPatch { effort: Some(None), ..AgentPatch::default() }));
    let metadata = Some([("a".to_owned(), "b".to_owned())].into());
    seen(&mut b, "metadata", SessionPatch { metadata, ..SessionPatch::default() });
    let review = Some(Some(tenure_journal::Review::AutoReview));
    seen(&mut b, "review", SessionPatch { review, ..SessionPatch::default() });
    seen(&mut b, "no review", SessionPatch { review: Some(None), ..SessionPatch::default() });
    let prompt_cache = Some(Some(PromptCache { ttl: "12h".into() }));
    seen(&mut b, "cache", SessionPatch { prompt_cache, ..SessionPatch::default() });
    b.check(
        r#"
        > open
          session opened for m
        > update model
          = n None {} None None
        > update effort
          = n Some(Low) {} None None
        > update no effort
          = n None {} None None
        > update metadata
          = n None {"a": "b"} None None
        > update review
          = n None {"a": "b"} Some(AutoReview) None
        > update no review
          = n None {"a": "b"} None None
        > update cache
          = n None {"a": "b"} None Some("12h")
    "#,
    );
}

#[test]
fn a_new_model_is_asked_from_the_next_request_on_and_sees_no_foreign_thoughts() {
    let mut b = Bench::new(vec![function("ask")], "Hi");
    b.answer(vec![crate::bench::think("hm"), call("c1", "ask", "{}")]);
    let agent = Some(AgentPatch { model: Some("n".into()), ..AgentPatch::default() });
    b.update("model", SessionPatch { agent, ..SessionPatch::default() });
    b.result("c1", "42");
    b.context();
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
        > answer
          eff1 attempt 1 answered, settled
          turn1 item2 #0 completed: reasoning by m sealed "hm"
          turn1 item3 #1 in_progress: function ask c1 {}
        > update model
          session updated
        > result of c1: "42"
          item3 returned "42" as item4 in turn1
          eff2 requested: ask n, step 1 (freely)
          eff2 attempt 1
          | user: "Hi"
          | call c1: ask {}
          | result c1: "42"
          | tools: ask
    "#,
    );
}

#[test]
fn only_an_idle_session_is_deleted() {
    let mut b = Bench::new(vec![function("ask")], "Hi");
    b.delete();
    b.answer(vec![call("c1", "ask", "{}")]);
    b.delete();
    b.cancel();
    b.delete();
    b.delete();
    b.message("Hello?");
    b.result("c1", "42");
    let _ = b.command("update", Command::Update { patch: Box::default() });
    b.resumed();
    b.tick();
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
        > delete
          refused: the session is busy; cancel its turn or wait until it is idle, then delete it
        > answer
          eff1 attempt 1 answered, settled
          turn1 item2 #0 in_progress: function ask c1 {}
        > delete
          refused: the session is busy; cancel its turn or wait until it is idle, then delete it
        > cancel
          item2 closed incomplete
          turn1 cancelled
        > delete
          session deleted
        > delete
          nothing
        > message "Hello?"
          refused: the session is deleted
        > result of c1: "42"
          refused: the session is deleted
        > update
          refused: the session is deleted
        > restart
          nothing
        > tick
          nothing
    "#,
    );
}

#[test]
fn a_batch_happens_whole_or_not_at_all() {
    let mut b = Bench::new(vec![], "");
    let say = |words: &str| Command::Message { content: vec![InputPart::text(words)] };
    let unknown = |b: &Bench| Command::FunctionResult {
        turn_id: tenure_journal::TurnId::fresh(&tenure_journal::Fresh::new(b.now, 5)),
        call_id: "c9".to_owned(),
        success: true,
        output: None,
        error: None,
    };
    b.crank("nothing at all", &Input::Commands(&[])).unwrap();
    let refused = [say("One"), unknown(&b)];
    let _ = b.crank("message, result nobody waits for", &Input::Commands(&refused));
    let _ = b.crank("message, delete", &Input::Commands(&[say("One"), Command::Delete]));
    b.crank("two messages", &Input::Commands(&[say("One"), say("Two")])).unwrap();
    b.crank("cancel, message", &Input::Commands(&[Command::Cancel, say("Three")])).unwrap();
    b.check(
        r#"
        > open
          session opened for m
        > nothing at all
          nothing
        > message, result nobody waits for
          refused: Unknown pending tool call: c9
        > message, delete
          refused: the session is busy; cancel its turn or wait until it is idle, then delete it
        > two messages
          inp1 accepted: "One"
          inp2 accepted: "Two"
          turn1 created
          inp1 joined turn1 as item1
          inp2 joined turn1 as item2
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
        > cancel, message
          eff1 abandoned
          turn1 cancelled
          inp3 accepted: "Three"
          turn2 created
          inp3 joined turn2 as item3
          turn2 started
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
    "#,
    );
}

#[test]
fn usage_is_counted_per_turn_and_unknown_once_any_is() {
    let mut b = Bench::new(vec![function("ask")], "Hi");
    b.show = Show::Nothing;
    b.answer(vec![call("c1", "ask", "{}")]);
    b.result("c1", "1");
    b.answer(vec![say("Ok.")]);
    let tokens = |b: &Bench| b.session.view().usage.map(|usage| usage.total_tokens());
    let (all, turn) = (tokens(&b), b.turns().next().unwrap().usage);
    b.note(&format!("{all:?} tokens, {:?} of the turn", turn.map(|usage| usage.total_tokens())));
    b.message("More");
    let mut answer = crate::bench::whole(vec![say("Ok.")]);
    answer.usage = None;
    b.answer_as(answer, None);
    let all = tokens(&b);
    b.note(&format!("{all:?}"));
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
        > answer
        > result of c1: "1"
        > answer
          = Some(30) tokens, Some(30) of the turn
        > message "More"
        > answer
          = None
    "#,
    );
}
