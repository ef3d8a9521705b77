//! Amazon's event streams give the same events however their bytes are cut, and what is written is read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenure_model::eventstream::{Decoder, EventStreamError, encode};
use tenure_model::sse::Event;

fn read<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Event>, Result<(), EventStreamError>) {
    let mut decoder = Decoder::new();
    let mut events = Vec::new();
    for chunk in chunks {
        if let Err(error) = decoder.feed(chunk, &mut events) {
            return (events, Err(error));
        }
    }
    (events, Ok(()))
}

fuzz_target!(|bytes: &[u8]| {
    let whole = read(std::iter::once(bytes));
    assert_eq!(read(bytes.chunks(1)), whole);
    let payload = String::from_utf8_lossy(bytes);
    let frame = encode(&[(":message-type", "event"), (":event-type", "metadata")], payload.as_bytes());
    let (events, outcome) = read(std::iter::once(&frame[..]));
    assert_eq!((events.len(), outcome), (1, Ok(())));
    assert_eq!(events[0].data, payload);
});
