//! What it costs to build what a model is shown, in a session with a long past.

use std::hint::black_box;
use std::time::Instant;

use tenure_journal::{
    Event, Fresh, Input, InputId, InputPart, Item, ItemBody, ItemId, ItemStatus, Labels, ProjectId,
    SessionId, SessionKey, Timestamp, TurnEnd, TurnId,
};
use tenure_session::Session;

use super::lab::opened;
use super::{Benchmark, Row};

/// Events of the session.
const EVENTS: usize = 10_000;
/// Bytes of each message and each answer.
const TEXT_BYTES: usize = 300;
/// How often it is built.
const TIMES: usize = 50;
const GOAL: &str = "under 5 ms";

pub(super) fn measure() -> Vec<Row> {
    let session = session();
    let mut took = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let began = Instant::now();
        black_box(black_box(&session).context());
        took.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    took.sort_by(f64::total_cmp);
    let what = format!("the context of a session of {EVENTS} events of which nothing was compacted, median");
    let mut rows = vec![Row::new(Benchmark::Context, what, took[TIMES / 2], "ms").goal(GOAL)];
    let mut took = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let began = Instant::now();
        black_box(black_box(&session).shown());
        took.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    took.sort_by(f64::total_cmp);
    rows.push(Row::new(
        Benchmark::Context,
        "the same with its tokens counted, median",
        took[TIMES / 2],
        "ms",
    ));
    rows
}

/// A session of that many events: turns of a message and an answer.
fn session() -> Session {
    let at = Timestamp::from_millis(1_790_000_000_000);
    let fresh = Fresh::new(at, 7);
    let key = SessionKey { project: ProjectId::fresh(&fresh), session: SessionId::fresh(&fresh) };
    let mut session = Session::opened(key, at, &opened(key.project, &fresh));
    let text = |number: usize| {
        let words = format!("Order {number} was asked about, and the answer had some length to it. ");
        words.repeat(TEXT_BYTES / words.len() + 1)
    };
    let mut events = 1;
    let mut number = 0;
    while events < EVENTS {
        number += 1;
        let (turn_id, input_id) = (TurnId::fresh(&fresh), InputId::fresh(&fresh));
        let input = Input {
            id: input_id,
            content: vec![InputPart::text(text(number))],
            labels: Labels::NEUTRAL,
            by_agent: false,
        };
        let answer = Item {
            id: ItemId::fresh(&fresh),
            turn_id,
            status: ItemStatus::Completed,
            output_index: Some(0),
            step: Some(0),
            body: ItemBody::AssistantMessage { content: vec![text(number)], phase: None },
            labels: Labels::NEUTRAL,
        };
        let turn = [
            Event::InputAccepted { input },
            Event::TurnCreated { turn_id },
            Event::InputJoined { input_id, item_id: ItemId::fresh(&fresh), turn_id },
            Event::TurnStarted { turn_id },
            Event::ItemAdded { item: answer },
            Event::TurnEnded { turn_id, end: TurnEnd::Completed },
        ];
        events += turn.len();
        turn.iter().for_each(|event| session.apply(at, event));
    }
    session
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_has_the_events_it_says() {
        let session = session();
        assert!(session.version().0 >= EVENTS as u64);
        assert!(session.context().input.len() > 3_000);
    }
}
