//! Where a request wants to go, read from its first line and its `Host` header, which must agree.

use std::fmt;

use crate::host::{HostError, HostName};

/// The port of `http`.
pub const PORT_HTTP: u16 = 80;
/// The port of `https`.
pub const PORT_HTTPS: u16 = 443;

/// A host and a port of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    host: HostName,
    port: u16,
}

/// Why a request names no place to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The host is none.
    #[error("{0}")]
    Host(HostError),
    /// A user name before the host.
    #[error("the target must not contain credentials")]
    UserInfo,
    /// The port is none, or the target of `CONNECT` has none.
    #[error("the port must be a number from 1 to 65535 without leading zeros")]
    Port,
    /// Neither `CONNECT` nor a request for an `http` URL.
    #[error("ask for `http://` URLs as they are, and for `https://` with CONNECT")]
    Form,
    /// The `Host` header names another place, or there is more than one.
    #[error("the Host header must name the target, once")]
    HostHeader,
}

impl Target {
    /// The target of `CONNECT authority`, with the values of all its `Host` headers.
    ///
    /// # Errors
    /// Each of [`TargetError`] but `Form`.
    pub fn of_connect(authority: &str, host_headers: &[&[u8]]) -> Result<Self, TargetError> {
        let (host, port) = split(authority)?;
        let target = Self { host, port: port.ok_or(TargetError::Port)? };
        // Clients are not of one mind whether the port belongs there.
        target.agree(host_headers, target.port)?;
        Ok(target)
    }

    /// The target of a request for `scheme://authority...`, with the values of all its `Host` headers.
    ///
    /// # Errors
    /// Each of [`TargetError`].
    pub fn of_url(scheme: &str, authority: &str, host_headers: &[&[u8]]) -> Result<Self, TargetError> {
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(TargetError::Form);
        }
        let (host, port) = split(authority)?;
        let target = Self { host, port: port.unwrap_or(PORT_HTTP) };
        target.agree(host_headers, PORT_HTTP)?;
        Ok(target)
    }

    /// Whether the `Host` headers of a request name this target or nothing. `port_default` is what a header
    /// without a port means.
    ///
    /// # Errors
    /// `HostHeader`.
    pub fn agree(&self, host_headers: &[&[u8]], port_default: u16) -> Result<(), TargetError> {
        let named = match host_headers {
            [] => return Ok(()),
            [one] => one,
            [_, _, ..] => return Err(TargetError::HostHeader),
        };
        let text = std::str::from_utf8(named).map_err(|_| TargetError::HostHeader)?;
        let (host, port) = split(text).map_err(|_| TargetError::HostHeader)?;
        if host == self.host && port.unwrap_or(port_default) == self.port {
            Ok(())
        } else {
            Err(TargetError::HostHeader)
        }
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// As a `Host` header says it to someone who assumes `port_default`.
    #[must_use]
    pub fn to_host_header(&self, port_default: u16) -> String {
        if self.port == port_default { self.host.to_string() } else { self.to_string() }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

fn split(authority: &str) -> Result<(HostName, Option<u16>), TargetError> {
    if authority.contains('@') {
        return Err(TargetError::UserInfo);
    }
    let (host, port) = match authority.rsplit_once(':') {
        // More colons, or brackets, are an address; the name's own rules say so.
        Some((host, port)) if !authority.ends_with(']') => (host, Some(read_port(port)?)),
        Some(_) | None => (authority, None),
    };
    Ok((HostName::parse(host).map_err(TargetError::Host)?, port))
}

fn read_port(text: &str) -> Result<u16, TargetError> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if !is_plain {
        return Err(TargetError::Port);
    }
    text.parse().map_err(|_| TargetError::Port)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line: what is read of a request.
    fn read(method: &str, target: &str, hosts: &[&str]) -> String {
        let hosts: Vec<&[u8]> = hosts.iter().map(|host| host.as_bytes()).collect();
        let read = match (method, target.split_once("://")) {
            ("CONNECT", _) => Target::of_connect(target, &hosts),
            (_, Some((scheme, authority))) => Target::of_url(scheme, authority, &hosts),
            (_, None) => Err(TargetError::Form),
        };
        read.map_or_else(|error| format!("{error:?}"), |target| target.to_string())
    }

    #[test]
    fn reads_where_a_request_goes() {
        for (method, target, hosts, expected) in [
            ("CONNECT", "a.example:443", vec!["a.example:443"], "a.example:443"),
            ("CONNECT", "A.example:8443", vec!["a.EXAMPLE"], "a.example:8443"),
            ("CONNECT", "a.example:443", vec![], "a.example:443"),
            ("CONNECT", "a.example:443", vec!["b.example"], "HostHeader"),
            ("CONNECT", "a.example:443", vec!["a.example:8443"], "HostHeader"),
            ("CONNECT", "a.example:443", vec!["a.example", "a.example"], "HostHeader"),
            ("CONNECT", "a.example:443", vec![""], "HostHeader"),
            ("CONNECT", "a.example:443", vec!["a.example."], "HostHeader"),
            ("CONNECT", "a.example", vec![], "Port"),
            ("CONNECT", "a.example:", vec![], "Port"),
            ("CONNECT", "a.example:0", vec![], "Port"),
            ("CONNECT", "a.example:0443", vec![], "Port"),
            ("CONNECT", "a.example:+443", vec![], "Port"),
            ("CONNECT", "a.example:65536", vec![], "Port"),
            ("CONNECT", "a.example:443@b.example:443", vec![], "UserInfo"),
            ("CONNECT", "user:word@a.example:443", vec![], "UserInfo"),
            ("CONNECT", "127.0.0.1:443", vec![], "Host(Address)"),
            ("CONNECT", "0x7f.1:443", vec![], "Host(Address)"),
            ("CONNECT", "2130706433:443", vec![], "Host(Address)"),
            ("CONNECT", "[::ffff:127.0.0.1]:443", vec![], "Host(Address)"),
            ("CONNECT", "::1:443", vec![], "Host(Address)"),
            ("CONNECT", "[::1]", vec![], "Host(Address)"),
            ("CONNECT", "a.example.:443", vec![], "Host(FinalDot)"),
            ("CONNECT", "a.example\0.b.example:443", vec![], "Host(Character)"),
            ("GET", "http://a.example", vec!["a.example"], "a.example:80"),
            ("GET", "HTTP://a.example:8443", vec!["a.example:8443"], "a.example:8443"),
            ("GET", "http://a.example:80", vec!["a.example"], "a.example:80"),
            ("GET", "http://a.example:8443", vec!["a.example"], "HostHeader"),
            ("GET", "http://a.example", vec!["b.example"], "HostHeader"),
            ("GET", "https://a.example", vec![], "Form"),
            ("GET", "ftp://a.example", vec![], "Form"),
            ("GET", "/path", vec!["a.example"], "Form"),
            ("GET", "http://user@a.example", vec![], "UserInfo"),
            ("GET", "http://169.254.169.254", vec![], "Host(Address)"),
            ("GET", "http://localhost", vec![], "Host(OneLabel)"),
            ("GET", "http://", vec![], "Host(Empty)"),
        ] {
            assert_eq!(read(method, target, &hosts), expected, "{method} {target} {hosts:?}");
        }
    }
}
