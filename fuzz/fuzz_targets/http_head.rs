//! Whatever a connection begins with, a head that may pass is read by hyper's own reader in the same way, and
//! what is decided about some bytes does not depend on how they arrive.
#![no_main]

#[path = "../../crates/api/src/wire/head.rs"]
#[allow(dead_code, reason = "the gate uses the rest")]
mod head;

use libfuzzer_sys::fuzz_target;

use head::{Framing, inspect, path_of};

/// Headers that a head may have.
const HEADERS_MAX: usize = 100;

fuzz_target!(|bytes: &[u8]| {
    if let Some(path) = path_of(bytes) {
        assert!(path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    match inspect(bytes) {
        Ok(None) => check_prefixes(bytes),
        Ok(Some(head)) => {
            check_prefixes(&bytes[..head.length - 1]);
            assert_eq!(inspect(&bytes[..head.length]), Ok(Some(head)), "what follows a head changes nothing");
            assert_eq!(as_hyper(&bytes[..head.length]), Some((head.length, head.framing)));
        }
        Err(_) => {
            let longer = [bytes, b"\r\n\r\n"].concat();
            assert!(inspect(&longer).is_err(), "what was refused stays so");
        }
    }
});

/// While a head is incomplete, nothing is decided.
fn check_prefixes(bytes: &[u8]) {
    // A quadratic loop over long inputs would find nothing that some cuts do not.
    for end in (0..bytes.len()).step_by(1 + bytes.len() / 64) {
        assert_eq!(inspect(&bytes[..end]), Ok(None), "at {end}");
    }
}

/// Where hyper's reader sees the end of the head and of the body; nothing where it refuses the head.
fn as_hyper(bytes: &[u8]) -> Option<(usize, Framing)> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = request.parse(bytes).ok()? else { return None };
    let of = |name: &str| -> Vec<&[u8]> {
        let named = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value).collect()
    };
    let framing = match (&of("content-length")[..], &of("transfer-encoding")[..]) {
        ([], []) => Framing::Length(0),
        ([length], []) => Framing::Length(std::str::from_utf8(length).ok()?.parse().ok()?),
        ([], [coding]) if request.version == Some(1) && coding.eq_ignore_ascii_case(b"chunked") => {
            Framing::Chunked
        }
        _ => return None,
    };
    Some((length, framing))
}
