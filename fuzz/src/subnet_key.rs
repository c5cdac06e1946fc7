//! Subnet keys: one text for one subnet.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use selvedge_engine::Subnet;

/// Reads the bytes as a key, and makes a key out of them.
///
/// # Panics
///
/// If a key that is accepted is not the canonical one, or a canonical key is not accepted.
pub fn subnet_key(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        accepted_keys_are_canonical(text);
    }
    if let Some(subnet) = subnet_of(data) {
        assert_eq!(Subnet::parse(&subnet.to_string()), Ok(subnet));
    }
}

fn accepted_keys_are_canonical(text: &str) {
    let Ok(subnet) = Subnet::parse(text) else { return };
    assert_eq!(subnet.to_string(), text);
    assert!(subnet.overlaps(&subnet));
    assert!(subnet.v4().is_some() || subnet.v6().is_some());
    if let Some(v4) = subnet.v4() {
        assert_eq!(v4, v4.trunc());
        assert!(v4.prefix_len() <= 31);
    }
    if let Some(v6) = subnet.v6() {
        assert_eq!(v6, v6.trunc());
        assert!(v6.prefix_len() <= 127);
    }
}

/// Makes a subnet out of its family, an IPv4 address, an IPv6 address and two prefix lengths.
fn subnet_of(data: &[u8]) -> Option<Subnet> {
    let (&[family, v4_len, v6_len], rest) = data.split_first_chunk()?;
    let (v4, rest) = rest.split_first_chunk::<4>()?;
    let v6 = rest.first_chunk::<16>()?;
    let v4 = Ipv4Net::new(Ipv4Addr::from(*v4), v4_len % 32).ok()?.trunc();
    let v6 = Ipv6Net::new(Ipv6Addr::from(*v6), v6_len % 128).ok()?.trunc();
    if v6.addr().to_ipv4_mapped().is_some() {
        return None;
    }
    Some(match family % 3 {
        0 => Subnet::V4(v4),
        1 => Subnet::V6(v6),
        // Beside an IPv6 subnet, 0.0.0.0/0 stands for none.
        _ if v4.prefix_len() == 0 && v4.addr().is_unspecified() => Subnet::V6(v6),
        _ => Subnet::Dual(v4, v6),
    })
}
