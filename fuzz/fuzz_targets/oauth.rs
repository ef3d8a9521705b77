//! Whatever a tool server, an authorization server or a browser says: a challenge, metadata, tokens or a refusal, and
//! nothing that is accepted is about another server than the one that was asked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenure_oauth::{
    Callback, Challenge, Registration, ResourceMetadata, ServerMetadata, Tokens, resource_candidates,
    server_candidates,
};

const SERVER: &str = "https://x.example/a/mcp";
const ISSUER: &str = "https://as.example/t";

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    if let Some(challenge) = Challenge::parse(&text)
        && let Ok(candidates) = resource_candidates(SERVER, challenge.resource_metadata.as_deref())
    {
        assert!(candidates.iter().all(|url| url.starts_with("http")));
    }
    let _ = server_candidates(&text);
    if let Ok(metadata) = ResourceMetadata::parse(data, SERVER) {
        assert!(metadata.resource.contains("x.example") && !metadata.authorization_servers.is_empty());
    }
    if let Ok(metadata) = ServerMetadata::parse(data, ISSUER) {
        assert_eq!(metadata.issuer, ISSUER);
    }
    let _ = Registration::answered(data);
    for status in [200, 400, 503] {
        if let Ok(tokens) = Tokens::parse(status, data) {
            assert!(status == 200 && tokens.access_token.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    if let Ok(callback) = Callback::read(pairs)
        && let Ok(code) = callback.code(ISSUER, true)
    {
        assert!(!code.is_empty());
    }
});
