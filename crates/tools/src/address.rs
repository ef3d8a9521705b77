//! Which addresses belong to the public network.
//!
//! A server that clients name may be anywhere, so an operator can keep this process from reaching what stands
//! beside it: the local machine, private networks, and the metadata services of clouds. Literal addresses are
//! judged as they are written, names by what they resolve to at the moment of connecting.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Host;

/// Whether `url` names a host that is certainly not public: a private address, or the local machine by name.
/// What a name resolves to is not looked up.
#[must_use]
pub fn is_private_url(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    match url.host() {
        Some(Host::Ipv4(address)) => !is_public(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => !is_public(IpAddr::V6(address)),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        None => false,
    }
}

/// Whether an address can be reached by anyone (RFC 6890 and the registries it names).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = a == 0
        || a >= 240
        || (a == 100 && (b & 0xc0) == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b & 0xfe) == 18);
    !(special
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation())
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // An address that stands for an older one is as public as that.
    let low = || {
        let [a, b] = segments[6].to_be_bytes();
        let [c, d] = segments[7].to_be_bytes();
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        [0, 0, 0, 0, 0, 0 | 0xffff, _, _] | [0, 0, 0, 0, 0xffff, 0, _, _] => low(),
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => low(),
        [0x64, 0xff9b, 1, ..] | [0x100, 0, 0, 0, ..] | [0x2001, 0xdb8, ..] => false,
        [0x2002, high, next, ..] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = next.to_be_bytes();
            is_public_v4(Ipv4Addr::new(a, b, c, d))
        }
        // Only this eighth of all addresses was ever given out.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

/// Resolves names to their public addresses only.
pub(crate) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err("the name has no public address".into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_private_from_public() {
        for (host, private) in [
            ("127.0.0.1", true),
            ("127.1", true),
            ("0x7f000001", true),
            ("2130706433", true),
            ("0.0.0.0", true),
            ("10.1.2.3", true),
            ("172.16.0.1", true),
            ("172.32.0.1", false),
            ("192.168.0.1", true),
            ("169.254.169.254", true),
            ("100.64.0.1", true),
            ("198.18.0.1", true),
            ("224.0.0.1", true),
            ("255.255.255.255", true),
            ("8.8.8.8", false),
            ("[::1]", true),
            ("[::]", true),
            ("[fe80::1]", true),
            ("[fd00:ec2::254]", true),
            ("[fec0::1]", true),
            ("[ff02::1]", true),
            ("[::ffff:10.0.0.1]", true),
            ("[::ffff:8.8.8.8]", false),
            ("[64:ff9b::a9fe:a9fe]", true),
            ("[64:ff9b::808:808]", false),
            ("[2002:7f00:1::]", true),
            ("[2001:db8::1]", true),
            ("[2606:4700::1111]", false),
            ("localhost", true),
            ("LOCALHOST.", true),
            ("a.localhost", true),
            ("example.com", false),
        ] {
            assert_eq!(is_private_url(&format!("http://{host}:80/mcp")), private, "{host}");
        }
    }

    #[tokio::test]
    async fn names_of_this_machine_do_not_resolve() {
        let name: Name = "localhost".parse().expect("a name");
        assert!(PublicOnly.resolve(name).await.is_err());
    }
}
