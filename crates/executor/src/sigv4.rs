//! AWS Signature Version 4 over HTTP requests, for the direct transport.
//!
//! An executor signs its registration and the handshake of its socket with a key pair that we issued. The
//! layout is that of [AWS's description](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html)
//! for every service but S3: parts of the path are encoded once more than on the wire.
//!
//! What a signature does not do: end. A request can be repeated until its time is [`SKEW_SECONDS`] away.
//! TLS keeps others from seeing it, and a repeated registration gains nothing without the key.

use std::fmt;

use ring::digest::{SHA256, digest};
use ring::hmac;

use crate::registry::Seconds;

/// How far a request's time may be from ours, in seconds.
pub const SKEW_SECONDS: u64 = 5 * 60;
/// Headers that one signature may cover.
const SIGNED_HEADERS_MAX: usize = 64;
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A key pair.
#[derive(Clone)]
pub struct KeyPair {
    /// Names the pair; told in every request.
    pub access_key_id: String,
    secret: String,
}

/// What is signed of a request, as it was on the wire.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `GET`, `POST`.
    pub method: &'a str,
    /// The path, percent-encoded, without query.
    pub path: &'a str,
    /// The query, percent-encoded, without `?`; empty without one.
    pub query: &'a str,
    /// Names and values, as many as there were.
    pub headers: &'a [(&'a str, &'a str)],
    /// SHA-256 of the body; of nothing for the handshake of a socket.
    pub payload: PayloadHash,
}

/// SHA-256 of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadHash([u8; 32]);

/// What a valid signature says about who made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// Of which pair.
    pub access_key_id: String,
    /// For which region; ours to ignore.
    pub region: String,
}

/// Why a request is not accepted. Each is one reason for 403; the text tells the operator which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no `Authorization` of this kind.
    #[error("the request is not signed with {ALGORITHM}")]
    Missing,
    /// The header is there and cannot be read.
    #[error("the `Authorization` header cannot be read: {0}")]
    Malformed(&'static str),
    /// The pair is not one that we issued.
    #[error("the access key is not known")]
    UnknownKey,
    /// The signature is for another service.
    #[error("the signature is for another service; use `--aws-service {expected}`")]
    OtherService {
        /// The service's name.
        expected: &'static str,
    },
    /// `host` or `x-amz-date` is not part of what is signed, or a signed header is absent.
    #[error("the signature does not cover `{0}`")]
    NotCovered(&'static str),
    /// The request's time is too far from ours.
    #[error("the request's time is more than {SKEW_SECONDS} seconds away; check the clock")]
    Skewed,
    /// The signature is not that of the request.
    #[error("the signature is not that of the request")]
    Mismatch,
}

/// The service's name in signatures.
pub const SERVICE: &str = "tenure";

impl KeyPair {
    /// A pair as it was issued.
    pub fn new(access_key_id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { access_key_id: access_key_id.into(), secret: secret.into() }
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", self.access_key_id)
    }
}

impl PayloadHash {
    /// Of a body.
    pub fn of(body: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, body).as_ref());
        Self(hash)
    }
}

/// Who signed the request, if someone did with a pair that `find` knows.
///
/// # Errors
/// See [`SignatureError`]; nothing is accepted by halves.
pub fn verify(
    request: &Request<'_>,
    now: Seconds,
    find: impl FnOnce(&str) -> Option<KeyPair>,
) -> Result<Signer, SignatureError> {
    let authorization = Authorization::of(request)?;
    if authorization.service != SERVICE {
        return Err(SignatureError::OtherService { expected: SERVICE });
    }
    for required in ["host", "x-amz-date"] {
        if !authorization.signed_headers.contains(&required) {
            return Err(SignatureError::NotCovered(required));
        }
    }
    let time = header(request, "x-amz-date").ok_or(SignatureError::NotCovered("x-amz-date"))?;
    let seconds = parse_time(time).ok_or(SignatureError::Malformed("`x-amz-date` is not a time"))?;
    if seconds.abs_diff(now) > SKEW_SECONDS {
        return Err(SignatureError::Skewed);
    }
    if !time.starts_with(authorization.date) {
        return Err(SignatureError::Malformed("the scope is of another day than `x-amz-date`"));
    }
    let pair = find(authorization.access_key_id).ok_or(SignatureError::UnknownKey)?;
    let to_sign = string_to_sign(request, &authorization.signed_headers, time, &authorization.scope())?;
    let signature = unhex(authorization.signature).ok_or(SignatureError::Malformed("no signature in hex"))?;
    let key = signing_key(&pair, authorization.date, authorization.region, authorization.service);
    hmac::verify(&key, to_sign.as_bytes(), &signature).map_err(|_| SignatureError::Mismatch)?;
    Ok(Signer {
        access_key_id: authorization.access_key_id.to_owned(),
        region: authorization.region.to_owned(),
    })
}

/// The `Authorization` header of a request that has `host` and `x-amz-date` among its headers. All headers
/// of `request` are signed.
///
/// # Errors
/// `NotCovered` without one of the two, `Malformed` when the time is none.
pub fn sign(request: &Request<'_>, pair: &KeyPair, region: &str) -> Result<String, SignatureError> {
    let time = header(request, "x-amz-date").ok_or(SignatureError::NotCovered("x-amz-date"))?;
    header(request, "host").ok_or(SignatureError::NotCovered("host"))?;
    parse_time(time).ok_or(SignatureError::Malformed("`x-amz-date` is not a time"))?;
    let date = &time[..8];
    let mut names: Vec<String> = request.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort_unstable();
    names.dedup();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let scope = format!("{date}/{region}/{SERVICE}/aws4_request");
    let to_sign = string_to_sign(request, &names, time, &scope)?;
    let signature = hmac::sign(&signing_key(pair, date, region, SERVICE), to_sign.as_bytes());
    Ok(format!(
        "{ALGORITHM} Credential={}/{scope}, SignedHeaders={}, Signature={}",
        pair.access_key_id,
        names.join(";"),
        hex(signature.as_ref())
    ))
}

/// `20260131T235959Z`, as `x-amz-date` has it.
pub fn format_time(seconds: Seconds) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days since 1970 to a date, after Howard Hinnant's `civil_from_days`.
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

fn parse_time(time: &str) -> Option<Seconds> {
    let bytes = time.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| -> Option<u64> {
        let digits = &bytes[range];
        digits
            .iter()
            .all(u8::is_ascii_digit)
            .then(|| digits.iter().fold(0, |n, d| n * 10 + u64::from(d - b'0')))
    };
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    let (hour, minute, second) = (number(9..11)?, number(11..13)?, number(13..15)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 {
        return None;
    }
    let shifted_year = year - u64::from(month <= 2);
    let (era, year_of_era) = (shifted_year / 400, shifted_year % 400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// The `Authorization` header, in its parts.
struct Authorization<'a> {
    access_key_id: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    fn of(request: &Request<'a>) -> Result<Self, SignatureError> {
        let text = header(request, "authorization").ok_or(SignatureError::Missing)?;
        let fields = text.strip_prefix(ALGORITHM).ok_or(SignatureError::Missing)?;
        let field = |name: &str, missing: &'static str| {
            let mut found = fields.split(',').filter_map(|field| field.trim().strip_prefix(name));
            match (found.next(), found.next()) {
                (Some(value), None) => Ok(value),
                (Some(_) | None, _) => Err(SignatureError::Malformed(missing)),
            }
        };
        let credential = field("Credential=", "no `Credential`")?;
        let parts: Vec<&str> = credential.split('/').collect();
        let &[access_key_id, date, region, service, "aws4_request"] = parts.as_slice() else {
            return Err(SignatureError::Malformed("the `Credential` has not five parts"));
        };
        let signed_headers: Vec<&str> = field("SignedHeaders=", "no `SignedHeaders`")?.split(';').collect();
        if signed_headers.len() > SIGNED_HEADERS_MAX || !signed_headers.is_sorted_by(|a, b| a < b) {
            return Err(SignatureError::Malformed("the `SignedHeaders` are not in order"));
        }
        let signature = field("Signature=", "no `Signature`")?;
        Ok(Self { access_key_id, date, region, service, signed_headers, signature })
    }

    fn scope(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }
}

fn string_to_sign(
    request: &Request<'_>,
    signed_headers: &[&str],
    time: &str,
    scope: &str,
) -> Result<String, SignatureError> {
    let mut canonical =
        format!("{}\n{}\n{}\n", request.method, canonical_path(request.path), canonical_query(request.query));
    for name in signed_headers {
        let values: Vec<String> = values(request, name).map(collapse).collect();
        if values.is_empty() {
            return Err(SignatureError::NotCovered("a header that is absent"));
        }
        canonical.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    canonical.push_str(&format!("\n{}\n{}", signed_headers.join(";"), hex(&request.payload.0)));
    let hash = digest(&SHA256, canonical.as_bytes());
    Ok(format!("{ALGORITHM}\n{time}\n{scope}\n{}", hex(hash.as_ref())))
}

/// Without `.`, `..` and empty parts, each part encoded once more.
fn canonical_path(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut out = String::from("/");
    for part in &parts {
        encode(part.as_bytes(), &mut out);
        out.push('/');
    }
    if !path.ends_with('/') && !parts.is_empty() {
        out.pop();
    }
    out
}

/// Pairs in order of their encoded names, then values.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let canonical = |text: &str| {
                let mut out = String::new();
                encode(&decode(text), &mut out);
                out
            };
            (canonical(name), canonical(value))
        })
        .collect();
    pairs.sort_unstable();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn encode(bytes: &[u8], out: &mut String) {
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

fn decode(text: &str) -> Vec<u8> {
    let (bytes, mut out, mut index) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while index < bytes.len() {
        let escaped = bytes.get(index + 1..index + 3).filter(|_| bytes[index] == b'%').and_then(unhex_byte);
        out.push(escaped.unwrap_or(bytes[index]));
        index += if escaped.is_some() { 3 } else { 1 };
    }
    out
}

/// Blanks around a value go, and those within become one.
fn collapse(value: &str) -> String {
    value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

fn values<'a>(request: &Request<'a>, wanted: &str) -> impl Iterator<Item = &'a str> {
    request.headers.iter().filter(move |(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| *value)
}

/// A header that is there once.
fn header<'a>(request: &Request<'a>, wanted: &str) -> Option<&'a str> {
    let mut values = values(request, wanted);
    values.next().filter(|_| values.next().is_none())
}

fn signing_key(pair: &KeyPair, date: &str, region: &str, service: &str) -> hmac::Key {
    let step = |key: &[u8], data: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data.as_bytes());
    let key = step(format!("AWS4{}", pair.secret).as_bytes(), date);
    let key = step(key.as_ref(), region);
    let key = step(key.as_ref(), service);
    let key = step(key.as_ref(), "aws4_request");
    hmac::Key::new(hmac::HMAC_SHA256, key.as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    text.len().is_multiple_of(2).then(|| text.as_bytes().chunks(2).map(unhex_byte).collect())?
}

fn unhex_byte(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    match digits {
        &[high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from `codex exec-server` 0.169.0 with the pair `AKID` and `secret`.
    const RECORDED: Seconds = 1_795_642_449;

    fn recorded<'a>(headers: &'a [(&'a str, &'a str)]) -> Request<'a> {
        Request { method: "GET", path: "/ws", query: "x=1", headers, payload: PayloadHash::of(b"") }
    }

    const SOCKET: [(&str, &str); 5] = [
        ("Host", "127.0.0.1:37361"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", "b4qxLd5TXohqd68IRNsNpQ=="),
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKID/20261125/us-east-1/tenure/aws4_request, \
             SignedHeaders=host;x-amz-date, \
             Signature=8d1294ecfb9775616b3ee6295f7788c8b560f77cd7fa94792d62d0922315d047",
        ),
        ("x-amz-date", "20261125T213409Z"),
    ];

    fn find(id: &str) -> Option<KeyPair> {
        (id == "AKID").then(|| KeyPair::new("AKID", "secret"))
    }

    #[test]
    fn signatures_of_the_official_executor_are_valid() {
        let signer = verify(&recorded(&SOCKET), RECORDED, find).expect("valid");
        assert_eq!(signer, Signer { access_key_id: "AKID".into(), region: "us-east-1".into() });
        let body = br#"{"transport":"direct_jsonrpc_v1"}"#;
        let headers = [
            ("content-type", "application/json"),
            ("x-amz-date", "20261125T213409Z"),
            ("host", "127.0.0.1:37361"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKID/20261125/us-east-1/tenure/aws4_request, \
                 SignedHeaders=content-type;host;x-amz-date, \
                 Signature=f6acf2f07e83600a0fb650f9b3c880a72798be0d6267e453d3f381494f9e5d0e",
            ),
        ];
        let request = Request {
            method: "POST",
            path: "/v1/agents/api/connect/rt_1/cloud/environment/env_1/direct/register",
            query: "",
            headers: &headers,
            payload: PayloadHash::of(body),
        };
        verify(&request, RECORDED, find).expect("valid");
        let other = Request { payload: PayloadHash::of(b"{}"), ..request };
        assert_eq!(verify(&other, RECORDED, find), Err(SignatureError::Mismatch));
    }

    #[test]
    fn nothing_is_accepted_by_halves() {
        let changed = |name: &'static str, value: &'static str| {
            let mut headers = SOCKET.to_vec();
            headers.retain(|(found, _)| *found != name);
            headers.push((name, value));
            verify(&recorded(&headers), RECORDED, find).expect_err(value).to_string()
        };
        let authorization = |field: &str, value: &str| {
            let text = SOCKET[3].1.replace(field, value);
            let mut headers = SOCKET.to_vec();
            headers[3].1 = &text;
            verify(&recorded(&headers), RECORDED, find).expect_err(value).to_string()
        };
        assert_eq!(changed("Host", "other"), "the signature is not that of the request");
        assert_eq!(changed("x-amz-date", "20261125T213410Z"), "the signature is not that of the request");
        assert_eq!(
            changed("x-amz-date", "20261125"),
            "the `Authorization` header cannot be read: `x-amz-date` is not a time"
        );
        assert_eq!(changed("authorization", "Bearer x"), "the request is not signed with AWS4-HMAC-SHA256");
        assert_eq!(authorization("AKID", "OTHER"), "the access key is not known");
        assert_eq!(
            authorization("/tenure/", "/s3/"),
            "the signature is for another service; use `--aws-service tenure`"
        );
        assert_eq!(authorization("host;", ""), "the signature does not cover `host`");
        assert_eq!(
            authorization("host;x", "host;nothing;x"),
            "the signature does not cover `a header that is absent`"
        );
        assert_eq!(
            authorization("host;x-amz-date", "x-amz-date;host"),
            "the `Authorization` header cannot be read: the `SignedHeaders` are not in order"
        );
        assert_eq!(
            authorization("20261125/", "20261124/"),
            "the `Authorization` header cannot be read: the scope is of another day than `x-amz-date`"
        );
        assert_eq!(
            authorization("=8d", "=8"),
            "the `Authorization` header cannot be read: no signature in hex"
        );
        assert_eq!(authorization("=8d", "=00"), "the signature is not that of the request");
        for now in [RECORDED - SKEW_SECONDS - 1, RECORDED + SKEW_SECONDS + 1] {
            assert_eq!(verify(&recorded(&SOCKET), now, find), Err(SignatureError::Skewed));
        }
    }

    #[test]
    fn what_we_sign_we_accept() {
        let (pair, date) = (KeyPair::new("AKID", "secret"), format_time(RECORDED));
        let headers = [("host", "h:1"), ("x-amz-date", date.as_str()), ("X-More", " a   b ")];
        let request = Request {
            method: "GET",
            path: "/a//b/../ü%20/",
            query: "b=2&a=%7E&c",
            headers: &headers,
            payload: PayloadHash::of(b"x"),
        };
        let authorization = sign(&request, &pair, "eu").expect("signs");
        let headers = [headers.as_slice(), &[("authorization", authorization.as_str())]].concat();
        let signed = Request { headers: &headers, ..request };
        assert_eq!(verify(&signed, RECORDED, find).expect("valid").region, "eu");
        let reordered = Request { query: "a=~&c=&b=2", path: "/a/ü%20/", ..signed };
        assert!(verify(&reordered, RECORDED, find).is_ok(), "the same request in another notation");
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        assert_eq!(format_time(RECORDED), "20261125T213409Z");
        for seconds in [0, 951_782_400, 951_868_799, 1_709_164_800, 4_102_444_799] {
            assert_eq!(parse_time(&format_time(seconds)), Some(seconds));
        }
        for text in ["20261325T000000Z", "2026112aT000000Z", "19690101T000000Z", "20261125 000000Z"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}
