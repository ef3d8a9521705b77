//! Whatever an Anthropic server sends, streamed or whole, is an answer or a failure.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenure_model::Wire;

#[path = "../wire.rs"]
mod wire;

fuzz_target!(|bytes: &[u8]| wire::check(Wire::Anthropic, bytes));
