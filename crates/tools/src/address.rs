//! Which addresses tool servers may stand at.
//!
//! A server that clients name may be anywhere, so an operator can keep this process from reaching what stands
//! beside it: the local machine, private networks, and the metadata services of clouds. Literal addresses are
//! judged as they are written, names by what they resolve to at the moment of connecting.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Host;

/// Which addresses a server may stand at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Addresses {
    /// All: who wrote it may reach them anyway.
    #[default]
    Any,
    /// Public and private ones, this machine's too, but no link-local one and none of those at which clouds hand
    /// out credentials: no tool server stands there.
    Private,
    /// Public ones.
    Public,
}

impl Addresses {
    /// Whether the host of `url` may be one of them, as far as its text tells: an address, or the local machine
    /// by name. What other names resolve to is not looked up.
    #[must_use]
    pub fn allow_url(self, url: &str) -> bool {
        let Ok(url) = Url::parse(url) else { return true };
        match url.host() {
            Some(Host::Ipv4(address)) => self.allow(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => self.allow(IpAddr::V6(address)),
            Some(Host::Domain(name)) => {
                let name = name.trim_end_matches('.');
                let is_local = name == "localhost" || name.ends_with(".localhost");
                !is_local || self != Self::Public
            }
            None => true,
        }
    }

    fn allow(self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Private => !is_link_local(address),
            Self::Public => is_public(address),
        }
    }
}

/// Whether an address is that of a neighbour on the wire, or the one at which a cloud hands out credentials.
fn is_link_local(address: IpAddr) -> bool {
    // Alibaba's and Oracle's clouds, and Amazon's for IPv6.
    const METADATA: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
    const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    let v4 = |address: Ipv4Addr| address.is_link_local() || METADATA.contains(&address);
    match address {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(address) => {
            address.is_unicast_link_local() || address == METADATA_V6 || embedded(address).is_some_and(v4)
        }
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
    if let Some(address) = embedded(address) {
        return is_public_v4(address);
    }
    match address.segments() {
        [0x64, 0xff9b, 1, ..] | [0x100, 0, 0, 0, ..] | [0x2001, 0xdb8, ..] => false,
        // Only this eighth of all addresses was ever given out.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

/// The older address that an address stands for: it reaches as far as that.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => of(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => of(high, low),
        [0x2002, high, low, ..] => of(high, low),
        _ => None,
    }
}

/// Resolves names to the addresses that are allowed.
pub(crate) struct Only(pub(crate) Addresses);

impl Resolve for Only {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|address| allowed.allow(address.ip())).collect();
            if allowed.is_empty() {
                return Err("the name has no address that is allowed".into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
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
            let url = format!("http://{host}:80/mcp");
            assert_eq!(Addresses::Public.allow_url(&url), !private, "{host}");
            assert!(Addresses::Any.allow_url(&url), "{host}");
        }
    }

    #[test]
    fn tells_metadata_from_private() {
        for (host, allowed) in [
            ("127.0.0.1", true),
            ("localhost", true),
            ("10.1.2.3", true),
            ("192.168.0.1", true),
            ("100.64.0.1", true),
            ("[::1]", true),
            ("[fd00::1]", true),
            ("example.com", true),
            ("169.254.169.254", false),
            ("0xa9fea9fe", false),
            ("169.254.0.1", false),
            ("100.100.100.200", false),
            ("192.0.0.192", false),
            ("[fe80::1]", false),
            ("[fd00:ec2::254]", false),
            ("[::ffff:169.254.169.254]", false),
            ("[64:ff9b::a9fe:a9fe]", false),
            ("[2002:a9fe:a9fe::]", false),
        ] {
            assert_eq!(Addresses::Private.allow_url(&format!("http://{host}/mcp")), allowed, "{host}");
        }
    }

    #[tokio::test]
    async fn names_of_this_machine_are_not_public() {
        let name = || "localhost".parse().expect("a name");
        assert!(Only(Addresses::Public).resolve(name()).await.is_err());
        assert!(Only(Addresses::Private).resolve(name()).await.is_ok());
    }
}
