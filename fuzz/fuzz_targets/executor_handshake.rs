//! No message that was not made for this executor, registration and stream begins a conversation.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenure_executor::noise::handshake::{Initiator, InitiatorRandom, receive};
use tenure_executor::noise::{Identity, IdentitySeed, Prologue};

fuzz_target!(|bytes: &[u8]| {
    let server = Identity::new(&IdentitySeed::from_bytes([1; 96]));
    let executor = Identity::new(&IdentitySeed::from_bytes([2; 96]));
    let prologue = Prologue::new("env", "registration", "stream");
    assert!(receive(&executor, &prologue, bytes).is_err());
    // A message of ours with some of its bytes replaced, from where the input's first two say.
    let random = InitiatorRandom::from_bytes([3; 128]);
    let (initiator, message) =
        Initiator::start(&server, executor.public(), &prologue, "authorized", &random).expect("starts");
    let Some((at, patch)) = bytes.split_first_chunk::<2>() else { return };
    let at = usize::from(u16::from_be_bytes(*at)) % message.len();
    let mut changed = message.clone();
    for (byte, new) in changed[at..].iter_mut().zip(patch) {
        *byte = *new;
    }
    assert_eq!(receive(&executor, &prologue, &changed).is_ok(), changed == message);
    assert!(initiator.finish(bytes).is_err());
});
