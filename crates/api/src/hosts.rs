//! Who may be addressed, and from which web pages.
//!
//! A server on a developer's machine is reachable from every page in the developer's browser. The `Host`
//! must be one of ours, which rules out a foreign name pointed at this address, and an `Origin`, which
//! browsers add by themselves, must be ours or configured. Other clients send none.

use std::net::IpAddr;

use axum::http::{HeaderMap, StatusCode, Uri, header};

use crate::config::ApiConfig;
use crate::error::ApiError;

/// Checks `Host` and an absolute target.
pub(crate) fn check_host(config: &ApiConfig, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let refuse = |code, message: &str| Err(ApiError::invalid(message).code(code).closing());
    let host = match (hosts.next(), hosts.next()) {
        (None, _) => return refuse("host_required", "The request has no Host header."),
        (Some(_), Some(_)) => return refuse("host_duplicate", "The request has more than one Host header."),
        (Some(host), None) => host.to_str().unwrap_or_default(),
    };
    let target = uri.authority().map(axum::http::uri::Authority::as_str);
    if is_ours(config, host) && target.is_none_or(|target| is_ours(config, target)) {
        return Ok(());
    }
    let message = "This server does not answer under that host name; add it to the allowed hosts.";
    Err(ApiError::new(StatusCode::MISDIRECTED_REQUEST, message).code("host_not_allowed"))
}

/// Checks `Origin`, on reads as well: a stream can be opened by a read.
pub(crate) fn check_origin(config: &ApiConfig, headers: &HeaderMap) -> Result<(), ApiError> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let is_allowed = |origin: &str| {
        let same = ["http://", "https://"].iter().any(|scheme| origin.strip_prefix(scheme) == Some(host));
        same || config.origins.iter().any(|allowed| allowed == origin)
    };
    let mut origins = headers.get_all(header::ORIGIN).iter();
    if origins.all(|origin| origin.to_str().is_ok_and(is_allowed)) {
        return Ok(());
    }
    let message = "Web pages of that origin may not call this server.";
    Err(ApiError::new(StatusCode::FORBIDDEN, message).code("origin_not_allowed"))
}

fn is_ours(config: &ApiConfig, authority: &str) -> bool {
    let Some(host) = without_port(authority) else { return false };
    let is_address = || {
        let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        literal.parse::<IpAddr>().is_ok()
    };
    config.hosts.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(host))
        || (config.any_address && is_address())
}

/// The host of `host[:port]`; nothing for anything else, credentials included.
fn without_port(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')? + 2;
            (&authority[..end], &authority[end..])
        }
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let is_port = port.is_empty()
        || port.strip_prefix(':').is_some_and(|digits| {
            !digits.is_empty() && digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit())
        });
    (is_port && !host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(bind: &str) -> ApiConfig {
        ApiConfig::new(bind.parse().expect("an address"))
    }

    #[test]
    fn only_names_of_this_server_are_hosts() {
        let local = config("127.0.0.1:4000");
        for ours in ["localhost", "LOCALHOST:4000", "127.0.0.1:1", "[::1]:80"] {
            assert!(is_ours(&local, ours), "{ours}");
        }
        for foreign in [
            "evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "",
            ":80",
            "a@localhost",
            "localhost:x",
            "[::1",
        ] {
            assert!(!is_ours(&local, foreign), "{foreign}");
        }
        let everywhere = config("0.0.0.0:4000");
        assert!(is_ours(&everywhere, "10.0.0.7:4000") && is_ours(&everywhere, "[fe80::1]"));
        assert!(!is_ours(&everywhere, "evil.example"));
    }

    #[test]
    fn origins_are_ours_or_configured() {
        let mut local = config("127.0.0.1:4000");
        local.origins.push("https://console.example".into());
        let origin = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "localhost:4000".parse().expect("a value"));
            headers.insert(header::ORIGIN, value.parse().expect("a value"));
            check_origin(&local, &headers).is_ok()
        };
        assert!(origin("http://localhost:4000") && origin("https://console.example"));
        for foreign in ["null", "http://localhost:4001", "https://evil.example", "http://localhost:4000.evil"]
        {
            assert!(!origin(foreign), "{foreign}");
        }
    }
}
