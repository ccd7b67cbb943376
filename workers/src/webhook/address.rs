//! Which addresses a webhook may be delivered to: those that are reachable from everywhere, and no others.
//!
//! A name is resolved by the connection itself, and what it resolves to is vetted there: between a check and a
//! connection a name may come to mean another address. An address in a URL is vetted before.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Ranges of IPv4 that are not global, or are for a purpose of their own: network and length of the prefix. IANA's
/// special-purpose registry (RFC 6890 and its successors), multicast (RFC 5771), and what is reserved (RFC 1112).
const SPECIAL_V4: [([u8; 4], u8); 16] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
    ([255, 255, 255, 255], 32),
];

/// The one block of IPv6 that global unicast addresses come from (RFC 4291, RFC 3587). Loopback, mapped, translated,
/// unique local, link-local and multicast addresses are outside of it.
const GLOBAL_V6: ([u16; 2], u8) = ([0x2000, 0], 3);

/// What is inside of it and not global: protocol assignments with Teredo and benchmarking (RFC 2928), addresses for
/// documentation (RFC 3849, RFC 9637), and 6to4, whose addresses hold any IPv4 one (RFC 7526).
const SPECIAL_V6: [([u16; 2], u8); 4] =
    [([0x2001, 0], 23), ([0x2001, 0xdb8], 32), ([0x2002, 0], 16), ([0x3fff, 0], 20)];

/// Whether an address can be reached from everywhere.
#[must_use]
pub fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_global_v4(address),
        IpAddr::V6(address) => is_global_v6(address),
    }
}

fn is_global_v4(address: Ipv4Addr) -> bool {
    let within = |(network, length): &([u8; 4], u8)| {
        let mask = u32::MAX.checked_shl(32 - u32::from(*length)).unwrap_or(0);
        u32::from(address) & mask == u32::from_be_bytes(*network)
    };
    !SPECIAL_V4.iter().any(within)
}

fn is_global_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let top = u32::from(first) << 16 | u32::from(second);
    let within = |([first, second], length): &([u16; 2], u8)| {
        let mask = u32::MAX.checked_shl(32 - u32::from(*length)).unwrap_or(0);
        top & mask == u32::from(*first) << 16 | u32::from(*second)
    };
    within(&GLOBAL_V6) && !SPECIAL_V6.iter().any(within)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The addresses on both sides of each range's edges.
    const GLOBAL: &str = "
        1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
        169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.3.0
        192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0
        198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255
        2000:: 2001:200:: 2001:db7:ffff:: 2001:db9:: 2003:: 3ffe:ffff:: 3fff:1000::";
    const OTHERS: &str = "
        0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.0
        127.255.255.255 169.254.0.0 169.254.169.254 172.16.0.0 172.31.255.255 192.0.0.0 192.0.0.255
        192.0.2.255 192.88.99.1 192.168.255.255 198.18.0.0 198.19.255.255 198.51.100.0
        203.0.113.255 224.0.0.0 239.255.255.255 240.0.0.0 255.255.255.255
        :: ::1 ::127.0.0.1 ::ffff:10.0.0.1 ::ffff:8.8.8.8 64:ff9b::7f00:1 64:ff9b:1::1 100::1
        1fff:ffff:: 2001::1 2001:1ff:ffff:: 2001:db8::1 2002:7f00:1:: 3fff::1 3fff:fff:ffff::
        4000:: 5f00::1 fc00::1 fdff::1 fe80::1 febf::1 fec0::1 ff02::1";

    #[test]
    fn the_edges_of_each_range_are_where_the_registry_has_them() {
        let global = |address: &str| is_global(address.parse().expect("an address"));
        for address in GLOBAL.split_whitespace() {
            assert!(global(address), "{address}");
        }
        for address in OTHERS.split_whitespace() {
            assert!(!global(address), "{address}");
        }
    }
}
