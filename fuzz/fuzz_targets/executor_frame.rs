//! A frame that is accepted has one written form, which reads back as itself and is no longer than it was.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tenure_executor::frame::{Body, Frame, RESET_REASON_BYTES_MAX, STREAM_ID_BYTES_MAX};

fuzz_target!(|bytes: &[u8]| {
    let Ok(frame) = Frame::decode(&Bytes::copy_from_slice(bytes)) else { return };
    let written = frame.encode();
    assert!(written.len() <= bytes.len());
    assert_eq!(Frame::decode(&written.into()).as_ref(), Ok(&frame));
    assert!((1..=STREAM_ID_BYTES_MAX).contains(&frame.stream.as_str().len()));
    match frame.body {
        Body::Data { payload, .. } | Body::Handshake { payload } => assert!(!payload.is_empty()),
        Body::Reset { reason } => assert!((1..=RESET_REASON_BYTES_MAX).contains(&reason.len())),
        Body::Ack | Body::Resume { .. } | Body::Heartbeat => {}
    }
});
