//! The keys of leases, read as leniently as flanneld reads them (control-plane.md, 3.1).

use ipnet::{Ipv4Net, Ipv6Net};
use selvedge_engine::{KeyValue, LeaseRecord, Subnet};

const MAX_V4_LENGTH: u8 = 31;
const MAX_V6_LENGTH: u8 = 127;

/// A lease that was read from the store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Listed {
    pub(super) key: Vec<u8>,
    pub(super) subnet: Subnet,
    pub(super) record: LeaseRecord,
}

impl Listed {
    /// Reads a key with its value; `None` if either is unreadable.
    pub(super) fn read(kv: &KeyValue) -> Option<Self> {
        Some(Self {
            key: kv.key.clone(),
            subnet: parse_subnet(&kv.key)?,
            record: LeaseRecord::decode(&kv.value).ok()?,
        })
    }
}

/// Reads the subnet at the end of a key. Whatever stands before it is ignored, and host bits are kept.
pub(super) fn parse_subnet(key: &[u8]) -> Option<Subnet> {
    let text = str::from_utf8(key).ok()?;
    let Some((before, v6)) = text.rsplit_once('&') else {
        return parse_v4(text).map(Subnet::V4);
    };
    let v6 = parse_v6(v6)?;
    let v4 = parse_v4(before)?;
    if v4.prefix_len() == 0 && v4.addr().is_unspecified() {
        return Some(Subnet::V6(v6));
    }
    Some(Subnet::Dual(v4, v6))
}

fn parse_v4(text: &str) -> Option<Ipv4Net> {
    let (before, length) = text.rsplit_once('-')?;
    let digits = before
        .rsplit(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .next()?;
    let groups: Vec<&str> = digits.rsplit('.').take(4).collect();
    let [d, c, b, a] = groups[..] else { return None };
    let address = format!("{a}.{b}.{c}.{d}").parse().ok()?;
    Ipv4Net::new(address, parse_length(length, MAX_V4_LENGTH)?).ok()
}

fn parse_v6(text: &str) -> Option<Ipv6Net> {
    let (address, length) = text.split_once('-')?;
    if !address
        .bytes()
        .all(|byte| matches!(byte, b'a'..=b'f' | b'0'..=b'9' | b':'))
    {
        return None;
    }
    Ipv6Net::new(address.parse().ok()?, parse_length(length, MAX_V6_LENGTH)?).ok()
}

fn parse_length(text: &str, max: u8) -> Option<u8> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|length| is_number && *length <= max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_its_end() {
        for (key, subnet) in [
            ("/net/subnets/10.5.34.0-24", "10.5.34.0-24"),
            ("/net/subnets/10.5.34.7-24", "10.5.34.7-24"),
            ("/net/subnets-old/10.5.34.0-24", "10.5.34.0-24"),
            (
                "/net/subnets/x/10.5.51.0-24&fd05:0:0:1d::-64",
                "10.5.51.0-24&fd05:0:0:1d::-64",
            ),
            ("0.0.0.0-0&fd05:0:0:18::-64", "0.0.0.0-0&fd05:0:0:18::-64"),
        ] {
            let read = parse_subnet(key.as_bytes()).map(|subnet| subnet.to_string());

            assert_eq!(read.as_deref(), Some(subnet), "{key}");
        }
    }

    #[test]
    fn what_does_not_end_in_a_subnet_is_none() {
        for key in [
            "10",
            "10.12.13.0",
            "10.12.13-24",
            "10.12.13.300-24",
            "10.12.13.0-24hi",
            "10.12.13.0-32",
            "&2001::-56",
            "10.12.13.0-24&20011::-56",
            "10.12.13.0-24&2001-56",
            "10.12.13.0-24&2001::",
            "hello world",
        ] {
            assert_eq!(parse_subnet(key.as_bytes()), None, "{key}");
        }
        assert_eq!(parse_subnet(b"\xff\xfe-24"), None);
    }
}
