//! Which addresses a name may lead to.
//!
//! A name is anybody's to point anywhere, so what is judged is the address it resolved to, at the moment of
//! connecting, and the connection goes to that address and no other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The addresses that may be dialled: public ones, and single others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressGuard {
    others: Vec<SocketAddr>,
}

impl AddressGuard {
    /// Public addresses, and `others`: an internal registry, say. Link-local addresses, metadata services and
    /// everything that is nobody's stay refused.
    #[must_use]
    pub fn public_and(others: &[SocketAddr]) -> Self {
        Self { others: others.to_vec() }
    }

    /// Whether an address may be dialled.
    #[must_use]
    pub fn allows(&self, address: SocketAddr) -> bool {
        match reach(address.ip()) {
            Reach::Public => true,
            Reach::Near => self.others.contains(&address),
            Reach::Never => false,
        }
    }
}

/// How far an address reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The internet.
    Public,
    /// This machine, or the networks around it: loopback, private, shared by carriers, unique local.
    Near,
    /// No place for a request: link-local, metadata services of clouds, multicast, documentation, reserved.
    Never,
}

/// How far an address reaches, after the registries of special-purpose addresses (RFC 6890). The first line
/// that holds decides.
#[must_use]
pub fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => reach_v6(address),
    }
}

/// Network, bits of its prefix, reach.
const NETWORKS_V4: &[([u8; 4], u32, Reach)] = &[
    // Services of clouds at addresses that look like others.
    ([100, 100, 100, 200], 32, Reach::Never),
    ([168, 63, 129, 16], 32, Reach::Never),
    ([10, 0, 0, 0], 8, Reach::Near),
    ([100, 64, 0, 0], 10, Reach::Near),
    ([127, 0, 0, 0], 8, Reach::Near),
    ([172, 16, 0, 0], 12, Reach::Near),
    ([192, 168, 0, 0], 16, Reach::Near),
    ([0, 0, 0, 0], 8, Reach::Never),
    // Link-local, with the metadata services of most clouds.
    ([169, 254, 0, 0], 16, Reach::Never),
    // Protocol assignments, documentation, relays of 6to4, benchmarks.
    ([192, 0, 0, 0], 24, Reach::Never),
    ([192, 0, 2, 0], 24, Reach::Never),
    ([192, 88, 99, 0], 24, Reach::Never),
    ([198, 18, 0, 0], 15, Reach::Never),
    ([198, 51, 100, 0], 24, Reach::Never),
    ([203, 0, 113, 0], 24, Reach::Never),
    // Multicast, reserved, broadcast.
    ([224, 0, 0, 0], 3, Reach::Never),
    ([0, 0, 0, 0], 0, Reach::Public),
];

/// The first two segments after which IPv6 networks are told apart, bits of the prefix, reach.
const NETWORKS_V6: &[([u16; 2], u32, Reach)] = &[
    ([0xfc00, 0], 7, Reach::Near),
    // Protocol assignments with Teredo, documentation, 6to4: tunnels to anywhere, or nowhere.
    ([0x2001, 0], 23, Reach::Never),
    ([0x2001, 0x0db8], 32, Reach::Never),
    ([0x2002, 0], 16, Reach::Never),
    ([0x3fff, 0], 20, Reach::Never),
    ([0x2000, 0], 3, Reach::Public),
    // Nothing else is given to anyone: unspecified, discarded, link-local, site-local, multicast.
    ([0, 0], 0, Reach::Never),
];

fn reach_v4(address: Ipv4Addr) -> Reach {
    let is_in = |network: [u8; 4], bits| shares(u32::from_be_bytes(network), address.to_bits(), bits);
    let found = NETWORKS_V4.iter().find(|(network, bits, _)| is_in(*network, *bits));
    found.map_or(Reach::Never, |(_, _, reach)| *reach)
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    // An address that stands for an older one reaches as far as that: IPv4-mapped, and the well-known prefix
    // of NAT64 (RFC 6052).
    let embedded = || {
        let [.., a, b, c, d] = address.octets();
        reach_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, _, _] | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => return embedded(),
        [0, 0, 0, 0, 0, 0, 0, 1] => return Reach::Near,
        // Metadata services of clouds at unique local addresses.
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254] | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254] => {
            return Reach::Never;
        }
        [..] => {}
    }
    let [first, second, ..] = address.segments();
    let high = |[first, second]: [u16; 2]| (u32::from(first) << 16) | u32::from(second);
    let is_in = |network, bits| shares(high(network), high([first, second]), bits);
    let found = NETWORKS_V6.iter().find(|(network, bits, _)| is_in(*network, *bits));
    found.map_or(Reach::Never, |(_, _, reach)| *reach)
}

/// Whether the first `bits` of two numbers are equal.
fn shares(one: u32, other: u32, bits: u32) -> bool {
    (one ^ other).checked_shr(u32::BITS - bits).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_how_far_addresses_reach() {
        for (expected, addresses) in [
            (
                Reach::Public,
                "1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 172.15.255.255 172.32.0.1 100.63.255.255",
            ),
            (Reach::Public, "100.128.0.1 192.1.0.1 198.17.255.255 198.20.0.0 223.255.255.255 128.0.0.1"),
            (
                Reach::Public,
                "2606:4700::1111 2001:4860:4860::8888 2001:200::1 ::ffff:1.1.1.1 64:ff9b::101:101",
            ),
            (
                Reach::Near,
                "127.0.0.1 127.255.255.254 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1",
            ),
            (
                Reach::Near,
                "100.127.255.255 ::1 fc00::1 fdff::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::a00:1",
            ),
            (Reach::Never, "169.254.169.254 169.254.0.1 100.100.100.200 168.63.129.16 192.0.0.192 0.0.0.0"),
            (
                Reach::Never,
                "0.1.2.3 255.255.255.255 240.0.0.1 224.0.0.1 239.255.255.255 192.0.2.1 198.51.100.1",
            ),
            (Reach::Never, "203.0.113.1 198.18.0.1 198.19.255.255 192.88.99.1 ::ffff:169.254.169.254"),
            (
                Reach::Never,
                "64:ff9b::a9fe:a9fe fd00:ec2::254 fd20:ce::254 fe80::1 fec0::1 ff02::1 :: 2001::1",
            ),
            (
                Reach::Never,
                "2001:1ff::1 2001:db8::1 2002:7f00:1:: 3fff:fff::1 100::1 ::127.0.0.1 64:ff9b:1::1",
            ),
            (Reach::Never, "4000::1 5f00::1"),
        ] {
            for address in addresses.split(' ') {
                assert_eq!(reach(address.parse().expect("an address")), expected, "{address}");
            }
        }
    }

    #[test]
    fn a_single_address_may_be_added_and_the_worst_may_not() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let guard = AddressGuard::public_and(&["127.0.0.1:9", "169.254.169.254:80"].map(address));
        for (text, allowed, allowed_by_default) in [
            ("1.1.1.1:443", true, true),
            ("127.0.0.1:9", true, false),
            ("127.0.0.1:10", false, false),
            ("127.0.0.2:9", false, false),
            ("[::ffff:127.0.0.1]:9", false, false),
            ("169.254.169.254:80", false, false),
        ] {
            assert_eq!(guard.allows(address(text)), allowed, "{text}");
            assert_eq!(AddressGuard::default().allows(address(text)), allowed_by_default, "{text}");
        }
    }
}
