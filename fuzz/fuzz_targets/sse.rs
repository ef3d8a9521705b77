//! The event stream reader gives the same events however its bytes are cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenure_model::sse::{Decoder, Event, SseError};

fn read<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Event>, Result<(), SseError>) {
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
    let cut = bytes.first().map_or(0, |byte| usize::from(*byte) % bytes.len());
    let (head, tail) = bytes.split_at(cut);
    assert_eq!(read([head, tail].into_iter()), whole);
});
