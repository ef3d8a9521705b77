//! However records are cut and whatever their order, a message that comes out was in.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tenure_executor::record::{Assembler, Order, cut, prefixed};

fuzz_target!(|bytes: &[u8]| {
    // As messages of our own, cut where the bytes say.
    let messages: Vec<&[u8]> = bytes.split(|byte| *byte == 0).filter(|message| !message.is_empty()).collect();
    let stream: Vec<u8> =
        messages.iter().flat_map(|message| prefixed(message).expect("short enough")).collect();
    let step = usize::from(bytes.first().copied().unwrap_or(1)).max(1);
    let (mut assembler, mut found) = (Assembler::default(), Vec::new());
    for piece in stream.chunks(step).flat_map(cut) {
        found.extend(assembler.push(piece).expect("well formed"));
    }
    assert_eq!(found, messages);
    // As records of someone else's.
    let mut assembler = Assembler::default();
    let mut length = 0;
    for piece in bytes.chunks(step) {
        match assembler.push(piece) {
            Ok(messages) => length += messages.iter().map(|message| message.len() + 4).sum::<usize>(),
            Err(_) => break,
        }
    }
    assert!(length <= bytes.len());
    // As numbers of records: each leaves once, in order.
    let (mut order, mut next) = (Order::default(), 0);
    for pair in bytes.chunks_exact(2) {
        let seq = u32::from(pair[0]) | u32::from(pair[1] & 1) << 8;
        let Ok(ready) = order.push(seq, Bytes::from(seq.to_be_bytes().to_vec())) else { return };
        for record in ready {
            assert_eq!(record[..], u32::to_be_bytes(next));
            next += 1;
        }
    }
});
