//! What the targets of both wire formats check.

use tenure_journal::{AnswerItem, ContextItem, InputPart, ModelAnswer};
use tenure_model::codec::{chat, responses};
use tenure_model::{Delta, Wire, sse};

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
    let mut reader = sse::Decoder::new();
    let mut events = Vec::new();
    let _ = reader.feed(bytes, &mut events);
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
    let decode = match wire {
        Wire::Responses => responses::server::decode_request,
        Wire::Chat => chat::server::decode_request,
    };
    let Ok(mut request) = decode(&body) else { return };
    request.input.push(ContextItem::User { content: vec![InputPart::text("end")] });
    decode(&wire.encode(&request)).expect("our own request");
}
