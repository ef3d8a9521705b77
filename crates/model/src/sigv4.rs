//! AWS Signature Version 4, as far as requests with a whole body need it. Pure: the time is an argument.
//!
//! The official signer would bring a runtime of its own along; what is needed of it is one hash and four
//! keyed hashes, checked against the published test suite.

use std::fmt::Write as _;

use ring::{digest, hmac};
use tenure_journal::Timestamp;

use crate::Secret;
use crate::codec::percent_encoded;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Who signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Names the key.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: Secret,
    /// What temporary keys come with.
    pub session_token: Option<Secret>,
}

/// Signs the requests to one service in one region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// Who signs.
    pub credentials: Credentials,
    /// Such as `eu-central-1`.
    pub region: String,
    /// Such as `bedrock`.
    pub service: String,
}

/// What of a request is signed.
#[derive(Debug, Clone, Copy)]
pub struct Unsigned<'a> {
    /// Such as `POST`.
    pub method: &'a str,
    /// Host, with its port where that is not the usual one.
    pub host: &'a str,
    /// The path as it is sent, percent-encoded once.
    pub path: &'a str,
    /// The query as it is sent, without its question mark.
    pub query: &'a str,
    /// The content's type.
    pub content_type: &'a str,
    /// The whole body.
    pub body: &'a [u8],
}

impl Signer {
    /// The headers that make `request` a signed one when it is sent at `now`, the values secret in part.
    #[must_use]
    pub fn sign(&self, request: &Unsigned<'_>, now: Timestamp) -> Vec<(&'static str, Secret)> {
        let time = amazon_time(now);
        let hash = hex(digest::digest(&digest::SHA256, request.body).as_ref());
        // In the order of their names, as the canonical form wants them.
        let mut headers = vec![
            ("content-type", request.content_type),
            ("host", request.host),
            ("x-amz-content-sha256", hash.as_str()),
            ("x-amz-date", time.as_str()),
        ];
        if let Some(token) = &self.credentials.session_token {
            headers.push(("x-amz-security-token", token.expose()));
        }
        let authorization =
            self.authorization(request.method, request.path, request.query, &headers, &hash, &time);
        let mut signed = vec![
            ("authorization", Secret::new(authorization)),
            ("x-amz-content-sha256", Secret::new(&*hash)),
            ("x-amz-date", Secret::new(&*time)),
        ];
        if let Some(token) = &self.credentials.session_token {
            signed.push(("x-amz-security-token", token.clone()));
        }
        signed
    }

    fn authorization(
        &self,
        method: &str,
        path: &str,
        query: &str,
        headers: &[(&str, &str)],
        body_hash: &str,
        time: &str,
    ) -> String {
        let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let mut canonical = format!("{method}\n{}\n{}\n", canonical_path(path), canonical_query(query));
        for (name, value) in headers {
            canonical.push_str(&format!("{name}:{}\n", value.trim()));
        }
        canonical.push_str(&format!("\n{names}\n{body_hash}"));
        let day = &time[..8];
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let text = format!("{ALGORITHM}\n{time}\n{scope}\n{hash}");
        let first = format!("AWS4{}", self.credentials.secret_access_key.expose());
        let key = [day, &self.region, &self.service, "aws4_request"]
            .iter()
            .fold(first.into_bytes(), |key, part| keyed(&key, part));
        let signature = hex(&keyed(&key, &text));
        let id = &self.credentials.access_key_id;
        format!("{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}")
    }
}

fn keyed(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// All services but S3 want each segment encoded once more.
fn canonical_path(path: &str) -> String {
    if path.is_empty() {
        return "/".to_owned();
    }
    path.split('/').map(percent_encoded).collect::<Vec<_>>().join("/")
}

fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<_> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    pairs.sort_unstable();
    let with_equals = |pair: &&str| if pair.contains('=') { (*pair).to_owned() } else { format!("{pair}=") };
    pairs.iter().map(with_equals).collect::<Vec<_>>().join("&")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// `20150830T123600Z`.
fn amazon_time(now: Timestamp) -> String {
    let now = jiff::Timestamp::from_millisecond(now.as_millis()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    now.strftime("%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sun, 30 Aug 2015 12:36:00 GMT.
    const NOW: Timestamp = Timestamp::from_millis(1_440_938_160_000);
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn signer() -> Signer {
        Signer {
            credentials: Credentials {
                access_key_id: "AKIDEXAMPLE".into(),
                secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
                session_token: None,
            },
            region: "us-east-1".into(),
            service: "service".into(),
        }
    }

    /// The cases `get-vanilla`, `post-vanilla` and `get-vanilla-query-order-key-case` of the published suite.
    #[test]
    fn signs_as_the_published_suite_does() {
        let cases = [
            ("GET", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("POST", "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                "GET",
                "Param2=value2&Param1=value1",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
        ];
        for (method, query, signature) in cases {
            let headers = [("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")];
            let found = signer().authorization(method, "/", query, &headers, EMPTY, &amazon_time(NOW));
            let expected = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders=host;x-amz-date, Signature={signature}"
            );
            assert_eq!(found, expected, "{method} {query}");
        }
    }

    #[test]
    fn signs_the_body_and_the_session() {
        let mut signer = signer();
        signer.credentials.session_token = Some(Secret::new("TOKEN"));
        let request = Unsigned {
            method: "POST",
            host: "bedrock-runtime.eu-central-1.amazonaws.com",
            path: "/model/anthropic.claude%3A0/converse-stream",
            query: "",
            content_type: "application/json",
            body: b"{}",
        };
        let headers = signer.sign(&request, NOW);
        let value = |name: &str| {
            headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.expose().to_owned())
        };
        assert_eq!(value("x-amz-date").as_deref(), Some("20150830T123600Z"));
        assert_eq!(value("x-amz-security-token").as_deref(), Some("TOKEN"));
        let signed = value("authorization").expect("a signature");
        assert!(
            signed.contains("content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token"),
            "{signed}"
        );
        let other = signer.sign(&Unsigned { body: b"{ }", ..request }, NOW);
        assert_ne!(other[0].1.expose(), signed, "the body is part of what is signed");
        assert!(!format!("{signer:?} {headers:?}").contains("wJalr"), "a secret shows");
        assert_eq!(canonical_path("/model/a%3A0/x"), "/model/a%253A0/x");
    }
}
