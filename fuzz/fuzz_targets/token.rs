//! Whatever is sent as a token or published as a key set, reading it ends, and nobody's key accepts it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenure_identity::{Algorithm, KeySet, Rules, Token};

/// A key that nothing here was signed with.
const KEYS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(keys) = KeySet::parse(bytes) {
        for algorithm in Algorithm::ALL {
            assert!(!keys.verifies("k", algorithm, b"message", &[0; 64]));
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(token) = Token::parse(text) else { return };
    let keys = KeySet::parse(KEYS.as_bytes()).expect("a key set");
    let rules = Rules {
        issuer: "https://id.example".to_owned(),
        audience: "tenure".to_owned(),
        algorithms: Algorithm::ALL.to_vec(),
        groups_claim: "groups".to_owned(),
    };
    assert!(rules.check(&token, &keys, 1_790_000_000).is_err());
});
