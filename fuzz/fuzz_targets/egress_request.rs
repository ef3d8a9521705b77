//! Whatever a sandbox writes as the target of a request, what is accepted is one name in one spelling, that
//! every reader reads as a name and not as an address, and only the listed one is allowed.
#![no_main]

use std::net::{IpAddr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use tenure_egress::{AddressGuard, HostName, Reach, Rules, Target, reach};

fuzz_target!(|text: &str| {
    if let Ok(address) = text.parse::<IpAddr>() {
        let is_public = reach(address) == Reach::Public;
        assert_eq!(AddressGuard::default().allows(SocketAddr::new(address, 443)), is_public);
    }
    // The first line as it is sent, the rest as values of `Host`.
    let mut lines = text.split('\n');
    let first = lines.next().unwrap_or_default();
    let hosts: Vec<&[u8]> = lines.map(str::as_bytes).collect();
    let target = match first.split_once("://") {
        Some((scheme, authority)) => Target::of_url(scheme, authority, &hosts),
        None => Target::of_connect(first, &hosts),
    };
    let target = match target {
        Ok(target) => target,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let name = target.host().as_str();
    assert!(name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.')), "{name}");
    assert!(
        name.len() <= 253 && name.split('.').all(|label| !label.is_empty() && label.len() <= 63),
        "{name}"
    );
    assert!(name.parse::<IpAddr>().is_err(), "{name}");
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_hexadecimal = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_number =
        last.bytes().all(|byte| byte.is_ascii_digit()) || last.strip_prefix("0x").is_some_and(is_hexadecimal);
    assert!(!is_number, "{name}");
    assert_eq!(HostName::parse(name).as_ref(), Ok(target.host()));
    assert!(hosts.len() <= 1 && target.port() != 0);
    let again = target.to_string();
    assert_eq!(Target::of_connect(&again, &[again.as_bytes()]).as_ref(), Ok(&target));
    let rules = Rules::new([HostName::parse("a.example").expect("a name")]).expect("one host");
    assert_eq!(rules.judge(&target).is_ok(), name == "a.example" && matches!(target.port(), 80 | 443 | 8443));
});
