//! What the targets of the wire formats check.

use serde_json::Value;
use tenure_journal::{AnswerItem, ContextItem, InputPart, ModelAnswer, ModelRequest};
use tenure_model::codec::server::BadRequest;
use tenure_model::codec::{Framing, anthropic, chat, converse, responses};
use tenure_model::{Delta, Wire, eventstream, sse};

pub fn check(wire: Wire, bytes: &[u8]) {
    stream(wire, bytes);
    let mut body = wire.decoder();
    if let Ok(deltas) = body.feed_body(bytes) {
        let answer = body.finish().expect("a body that was read is complete");
        check_deltas(&deltas, &answer);
    }
    request(wire, bytes);
}

fn stream(wire: Wire, bytes: &[u8]) {
    let mut events = Vec::new();
    // What comes before a broken place is read.
    match wire.framing() {
        Framing::Sse => drop(sse::Decoder::new().feed(bytes, &mut events)),
        // No fuzzer guesses checksums: a line is the name of an event and its payload.
        Framing::EventStream => {
            let _ = eventstream::Decoder::new().feed(bytes, &mut events);
            let text = String::from_utf8_lossy(bytes);
            let lines = text.lines().filter_map(|line| line.split_once(' '));
            events.extend(lines.map(|(name, data)| sse::Event { name: name.into(), data: data.into() }));
        }
    }
    let mut decoder = wire.decoder();
    let mut deltas = Vec::new();
    for event in events {
        match decoder.feed(&event) {
            Ok(more) => deltas.extend(more),
            Err(_) => return,
        }
    }
    if let Ok(answer) = decoder.finish() {
        check_deltas(&deltas, &answer);
    }
}

/// Deltas speak of items that exist, are of their kind, and are not done yet.
fn check_deltas(deltas: &[Delta], answer: &ModelAnswer) {
    let mut done = vec![false; answer.items.len()];
    for delta in deltas {
        let (index, of_message) = match delta {
            Delta::MessageStarted { index } | Delta::Text { index, .. } => (*index, Some(true)),
            Delta::ReasoningStarted { index } | Delta::Summary { index, .. } => (*index, Some(false)),
            Delta::ItemDone { index } => (*index, None),
        };
        let index = index as usize;
        match (&answer.items[index], of_message) {
            (AnswerItem::Message { .. }, None | Some(true)) => {}
            (AnswerItem::Reasoning { .. }, None | Some(false)) => {}
            (item, _) => panic!("{delta:?} is not of {item:?}"),
        }
        if matches!(delta, Delta::ItemDone { .. }) {
            assert!(!std::mem::replace(&mut done[index], true), "{index} is done twice");
        } else {
            assert!(!done[index], "{delta:?} after its item was done");
        }
    }
}

/// The server side: what it reads can be written and read again.
fn request(wire: Wire, bytes: &[u8]) {
    let Ok(body) = serde_json::from_slice(bytes) else { return };
    let Ok(mut request) = decode(wire, &body) else { return };
    request.input.push(ContextItem::User { content: vec![InputPart::text("end")] });
    decode(wire, &wire.encode(&request)).expect("our own request");
}

fn decode(wire: Wire, body: &Value) -> Result<ModelRequest, BadRequest> {
    match wire {
        Wire::Responses => responses::server::decode_request(body),
        Wire::Chat => chat::server::decode_request(body),
        Wire::Anthropic => anthropic::server::decode_request(body),
        Wire::Converse => converse::server::decode_request("m", body),
    }
}
