//! Whatever a client writes as a webhook's address, what is accepted is public or was allowed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenure_webhook::{Policy, Reach, SigningSecret, Target, reach};

fuzz_target!(|text: &str| {
    if let Ok(secret) = SigningSecret::parse(text) {
        assert!(!secret.hint().contains(&secret.expose()[6..]));
    }
    let literal = |target: &Target| target.url().host_str().map(|host| host.trim_matches(['[', ']']).parse());
    if let Ok(target) = Target::parse(&Policy::default(), text) {
        assert_eq!(target.url().scheme(), "https");
        assert!(target.url().username().is_empty() && target.url().password().is_none());
        if let Some(Ok(address)) = literal(&target) {
            assert_eq!(reach(address), Reach::Public, "{address}");
        }
    }
    let lenient = Policy { loopback: true, private_hosts: vec!["10.0.0.5".into(), "hooks.internal".into()] };
    if let Ok(target) = Target::parse(&lenient, text)
        && let Some(Ok(address)) = literal(&target)
    {
        assert_ne!(reach(address), Reach::Never, "{address}");
    }
});
