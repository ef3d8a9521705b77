//! A message that is accepted reads back as itself, and no parameters make the reader of any method panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenure_executor::location::Location;
use tenure_executor::message::{Message, Params};
use tenure_executor::protocol::{Initialize, files, http, process};

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = Message::decode(bytes) else { return };
    match &message {
        Message::Request { params, .. } | Message::Notification { params, .. } => read(params),
        Message::Response { result, .. } => read(result),
        Message::Failure { .. } => {}
    }
    let written = message.encode().expect("a message can be written");
    let again = Message::decode(&written).expect("what we write we read").encode().expect("again");
    assert_eq!(again, written);
});

fn read(params: &Params) {
    let _ = params.read::<Initialize>();
    let _ = params.read::<process::Read>();
    let _ = params.read::<process::Output>();
    let _ = params.read::<process::Wrote>();
    let _ = params.read::<http::Request>();
    let _ = params.read::<http::BodyDelta>();
    if let Ok(start) = params.read::<process::Start>() {
        check(&start.cwd);
    }
    if let Ok(read) = params.read::<files::ReadFile>() {
        check(&read.path);
    }
}

/// A path of a location is absolute and goes nowhere but down.
fn check(location: &Location) {
    if let Ok(path) = location.to_path() {
        assert!(path.is_absolute());
        assert!(path.components().all(|part| part != std::path::Component::ParentDir), "{path:?}");
    }
}
