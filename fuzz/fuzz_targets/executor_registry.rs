//! Nobody but us makes a ticket, an authorization or a signature that is accepted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenure_executor::registry::{Authority, EnvironmentId};
use tenure_executor::sigv4::{self, KeyPair, PayloadHash};

fuzz_target!(|bytes: &[u8]| {
    let authority = Authority::new(&[1; 32]);
    let environment = EnvironmentId::new("env").expect("valid");
    let _ = authority.register(&environment, bytes, 1, str::to_owned);
    let _ = authority.register_direct(&environment, bytes, 1, str::to_owned);
    if let Ok(answer) = authority.validate(&environment, bytes, 1) {
        assert_eq!(answer, br#"{"valid":false}"#);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    assert!(authority.redeem(text, 1).is_err());
    let mut lines = text.lines();
    let (path, query) = (lines.next().unwrap_or("/"), lines.next().unwrap_or_default());
    let headers: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(':')).collect();
    let request =
        sigv4::Request { method: "GET", path, query, headers: &headers, payload: PayloadHash::of(b"") };
    let pair = KeyPair::new("AKID", "secret");
    assert!(sigv4::verify(&request, 1_795_642_449, |_| Some(pair.clone())).is_err());
    // What we sign of it we accept.
    let time = sigv4::format_time(1_795_642_449);
    let unsigned: [(&str, &str); 2] = [("host", path), ("x-amz-date", &time)];
    let request = sigv4::Request { headers: &unsigned, ..request };
    let authorization = sigv4::sign(&request, &pair, "local").expect("host and time are there");
    let signed = [unsigned[0], unsigned[1], ("authorization", authorization.as_str())];
    let request = sigv4::Request { headers: &signed, ..request };
    sigv4::verify(&request, 1_795_642_449, |_| Some(pair.clone())).expect("our own");
});
