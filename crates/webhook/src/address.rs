//! Where a webhook may go.
//!
//! A server that sends to addresses of its clients' choosing must not become a way into the network around
//! it: to services that trust whoever is near, or to the address at which a cloud hands out credentials.
//! What decides is the address that is connected to, not the name, so names are judged after they were
//! resolved, and every written form of an address is the same address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Bytes of one address.
const URL_BYTES_MAX: usize = 2048;
/// The name that systems give to the loopback address.
const LOCALHOST: &str = "localhost";

/// What an operator allows beside public addresses over `https`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Whether `http` and `https` to this machine's loopback addresses are allowed.
    pub loopback: bool,
    /// Hosts, by name or address literal, that may be at private or loopback addresses.
    pub private_hosts: Vec<String>,
}

/// An address that may be used as far as its text tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    url: Url,
}

/// Why an address may not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not an absolute address with a host.
    #[error("it is not an absolute URL with a host")]
    Url,
    /// Neither `https` nor, where that is allowed, `http` to loopback.
    #[error("it must begin with `https://`")]
    Scheme,
    /// A user name or a password in it.
    #[error("it must not contain credentials")]
    Credentials,
    /// It is too long.
    #[error("it is longer than {URL_BYTES_MAX} bytes")]
    TooLong,
    /// Its host is at an address that is not public.
    #[error("its host is at an address that webhooks are not sent to")]
    Address,
}

/// How far an address reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The internet.
    Public,
    /// This machine.
    Loopback,
    /// A network of the operator's own.
    Private,
    /// Never a place for a webhook: link-local, with the address at which clouds hand out credentials,
    /// and everything unspecified, reserved, shared by many or for documentation.
    Never,
}

impl Target {
    /// Judges the text of an address.
    ///
    /// # Errors
    /// Everything that can be known without resolving the host.
    pub fn parse(policy: &Policy, text: &str) -> Result<Self, AddressError> {
        if text.len() > URL_BYTES_MAX {
            return Err(AddressError::TooLong);
        }
        let url = Url::parse(text).map_err(|_| AddressError::Url)?;
        let is_plain = match url.scheme() {
            "https" => false,
            "http" => true,
            _ => return Err(AddressError::Scheme),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressError::Credentials);
        }
        let host = url.host().ok_or(AddressError::Url)?;
        let (name, known) = match host {
            Host::Domain(name) => (name.to_owned(), name_reach(name)),
            Host::Ipv4(address) => (address.to_string(), Some(reach(IpAddr::V4(address)))),
            Host::Ipv6(address) => (address.to_string(), Some(reach(IpAddr::V6(address)))),
        };
        if is_plain && !(policy.loopback && known == Some(Reach::Loopback)) {
            return Err(AddressError::Scheme);
        }
        if known.is_some_and(|reach| !policy.allows(&name, reach)) {
            return Err(AddressError::Address);
        }
        Ok(Self { url })
    }

    /// The address as it is used.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }
}

impl Policy {
    /// Whether a host, by its name or as an address without brackets, may be at an address that reaches so
    /// far.
    #[must_use]
    pub fn allows(&self, host: &str, reach: Reach) -> bool {
        let is_listed = || {
            let host = host.trim_end_matches('.');
            self.private_hosts.iter().any(|listed| listed.eq_ignore_ascii_case(host))
        };
        match reach {
            // The name of this machine is nobody else's, whatever answers for it.
            Reach::Public => name_reach(host).is_none(),
            Reach::Loopback => {
                let is_named = name_reach(host) == Some(Reach::Loopback) || host.parse::<IpAddr>().is_ok();
                (self.loopback && is_named) || is_listed()
            }
            Reach::Private => is_listed(),
            Reach::Never => false,
        }
    }
}

/// How far a name reaches, if the name alone tells (RFC 6761, section 6.3).
fn name_reach(name: &str) -> Option<Reach> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let is_local = name.strip_suffix(LOCALHOST).is_some_and(|front| front.is_empty() || front.ends_with('.'));
    is_local.then_some(Reach::Loopback)
}

/// How far an address reaches, after the registries of special-purpose addresses (RFC 6890).
#[must_use]
pub fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => reach_v6(address),
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    match address.octets() {
        // A cloud that hands out credentials in the middle of the shared range.
        [100, 100, 100, 200] => Reach::Never,
        [127, ..] => Reach::Loopback,
        [10, ..] | [192, 168, ..] | [172, 16..=31, ..] | [100, 64..=127, ..] => Reach::Private,
        // "This" network, protocol assignments, documentation, 6to4 relays, benchmarks, link-local.
        [0, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [198, 18..=19, ..]
        | [169, 254, ..] => Reach::Never,
        // Multicast, reserved, broadcast.
        [224..=255, ..] => Reach::Never,
        [..] => Reach::Public,
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    let segments = address.segments();
    let [.., high, low] = segments;
    let embedded = || reach_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Loopback,
        // IPv4-mapped, and the well-known prefix of NAT64 (RFC 6052): the address within is what is reached.
        [0, 0, 0, 0, 0, 0xffff, _, _] | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => embedded(),
        // A cloud's metadata service at a unique local address.
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254] => Reach::Never,
        [0xfc00..=0xfdff, ..] => Reach::Private,
        // Protocol assignments with Teredo, documentation, 6to4: tunnels to anywhere, or nowhere.
        [0x2001, 0..=0x01ff, ..] | [0x2001, 0x0db8, ..] | [0x2002, ..] | [0x3fff, 0..=0x0fff, ..] => {
            Reach::Never
        }
        [0x2000..=0x3fff, ..] => Reach::Public,
        // Nothing else is given to anyone: unspecified, discarded, link-local, site-local, multicast.
        [..] => Reach::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_how_far_addresses_reach() {
        for (reaches, addresses) in [
            (Reach::Public, "1.1.1.1 8.8.8.8 172.32.0.1 100.128.0.1 192.1.0.1 223.255.255.255"),
            (Reach::Public, "2606:4700::1111 ::ffff:1.1.1.1 64:ff9b::101:101"),
            (Reach::Loopback, "127.0.0.1 127.255.255.254 ::1 ::ffff:127.0.0.1 64:ff9b::7f00:1"),
            (Reach::Private, "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 100.127.255.255"),
            (Reach::Private, "fc00::1 fdff::1 ::ffff:10.0.0.1 64:ff9b::a00:1"),
            (Reach::Never, "169.254.169.254 100.100.100.200 192.0.0.192 0.0.0.0 0.1.2.3 255.255.255.255"),
            (Reach::Never, "240.0.0.1 224.0.0.1 192.0.2.1 198.51.100.1 203.0.113.1 198.18.0.1 192.88.99.1"),
            (Reach::Never, "::ffff:169.254.169.254 64:ff9b::a9fe:a9fe fd00:ec2::254 fe80::1 fec0::1 ff02::1"),
            (Reach::Never, ":: 2001::1 2001:db8::1 2002:7f00:1:: 100::1 ::127.0.0.1 ::a00:1 64:ff9b:1::1"),
            (Reach::Never, "5f00::1 4000::1 3fff::1"),
        ] {
            for address in addresses.split(' ') {
                assert_eq!(reach(address.parse().expect("an address")), reaches, "{address}");
            }
        }
    }

    #[test]
    fn only_public_addresses_over_https_unless_told_otherwise() {
        let policy = Policy::default();
        let refused = |text: &str| Target::parse(&policy, text).err();
        assert_eq!(refused("https://hooks.example/a?b=c"), None);
        assert_eq!(refused("https://1.1.1.1:8443/"), None);
        assert_eq!(refused("https://[2606:4700::1111]/"), None);
        for (text, error) in [
            ("", AddressError::Url),
            ("hooks.example", AddressError::Url),
            ("https://", AddressError::Url),
            ("http://hooks.example/", AddressError::Scheme),
            ("http://127.0.0.1/", AddressError::Scheme),
            ("ftp://hooks.example/", AddressError::Scheme),
            ("file:///etc/passwd", AddressError::Scheme),
            ("https://user@hooks.example/", AddressError::Credentials),
            ("https://user:word@hooks.example/", AddressError::Credentials),
            (&format!("https://hooks.example/{}", "a".repeat(URL_BYTES_MAX)), AddressError::TooLong),
        ] {
            assert_eq!(refused(text), Some(error), "{text}");
        }
        // Every way of writing an address is the address.
        let hosts = "127.0.0.1 127.1 2130706433 0x7f000001 0177.0.0.1 0x7f.1 localhost LOCALHOST localhost. \
            a.localhost [::1] [::ffff:127.0.0.1] [::ffff:7f00:1] [0:0:0:0:0:ffff:a9fe:a9fe] 169.254.169.254 \
            0xa9fea9fe 10.0.0.1 192.168.0.1 100.64.0.1 [fd00::1] [fe80::1] 0 0.0.0.0 [::] ①②⑦.0.0.1";
        for host in hosts.split_whitespace() {
            assert_eq!(refused(&format!("https://{host}/")), Some(AddressError::Address), "{host}");
        }
    }

    #[test]
    fn loopback_is_allowed_by_name() {
        let policy = Policy { loopback: true, private_hosts: Vec::new() };
        for (text, allowed) in [
            ("http://127.0.0.1:8080/hook", true),
            ("http://[::1]:8080/hook", true),
            ("http://localhost/hook", true),
            ("https://localhost/hook", true),
            ("http://hooks.example/", false),
            ("http://10.0.0.1/", false),
            ("https://10.0.0.1/", false),
            ("http://169.254.169.254/", false),
        ] {
            assert_eq!(Target::parse(&policy, text).is_ok(), allowed, "{text}");
        }
        // A foreign name that points here is not this machine, and this machine's name points nowhere else.
        assert!(!policy.allows("hooks.example", Reach::Loopback));
        assert!(policy.allows("localhost", Reach::Loopback));
        assert!(!policy.allows("localhost", Reach::Public));
    }

    #[test]
    fn listed_hosts_may_be_private_and_nothing_worse() {
        let private_hosts = ["hooks.internal", "10.0.0.5", "fd00::5"].map(str::to_owned).into();
        let policy = Policy { loopback: false, private_hosts };
        for (text, allowed) in [
            ("https://hooks.internal/", true),
            ("https://10.0.0.5/", true),
            ("https://[fd00::5]/", true),
            ("http://10.0.0.5/", false),
            ("https://10.0.0.6/", false),
            ("https://[fd00::6]/", false),
        ] {
            assert_eq!(Target::parse(&policy, text).is_ok(), allowed, "{text}");
        }
        for (host, reach, allowed) in [
            ("hooks.internal", Reach::Private, true),
            ("HOOKS.internal.", Reach::Loopback, true),
            ("hooks.internal", Reach::Never, false),
            ("other.internal", Reach::Private, false),
            ("x.hooks.internal", Reach::Private, false),
        ] {
            assert_eq!(policy.allows(host, reach), allowed, "{host} {reach:?}");
        }
    }
}
