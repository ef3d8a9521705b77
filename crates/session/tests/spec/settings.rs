//! Settings, deletion, and batches of commands.

use tenure_journal::{AgentPatch, Effort, InputPart, PromptCache, SessionPatch};
use tenure_session::{Command, Input};

use crate::bench::{Bench, Show, call, function, say};

#[test]
fn settings_change_and_clear() {
    let mut b = Bench::new(vec![], "");
    b.show = Show::Nothing;
    let mut seen = |b: &mut Bench, label: &str, patch: SessionPatch| {
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
    b.check("");
}

#[test]
fn a_new_model_is_asked_from_the_next_request_on_and_sees_no_foreign_thoughts() {
    let mut b = Bench::new(vec![function("ask")], "Hi");
    b.answer(vec![crate::bench::think("hm"), call("c1", "ask", "{}")]);
    let agent = Some(AgentPatch { model: Some("n".into()), ..AgentPatch::default() });
    b.update("model", SessionPatch { agent, ..SessionPatch::default() });
    b.result("c1", "42");
    b.context();
    b.check("");
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
    b.check("");
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
    b.check("");
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
    b.check("");
}
