//! A node's record in the store: what it tells the others about itself (control-plane.md, 3.2).

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::json::{JsonError, Object, write_compact, write_string};
use crate::kernel::IpVersion;
use crate::reject_reason::RejectReason;

/// The longest value that is read, in bytes.
const MAX_VALUE: usize = 64 * 1024;

/// The value of a lease's key.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LeaseRecord {
    /// The node's underlay address; unspecified if it has none of this family.
    pub public_ip: Ipv4Addr,
    /// The node's IPv6 underlay address.
    pub public_ipv6: Option<Ipv6Addr>,
    /// The backend's type, empty for `udp` and `alloc`.
    pub backend_type: String,
    /// The backend's data for IPv4: raw JSON.
    pub backend_data: Option<String>,
    /// The backend's data for IPv6: raw JSON.
    pub backend_v6_data: Option<String>,
}

impl LeaseRecord {
    /// Reads a value: key names in any case, unknown keys ignored, the last of equal keys wins.
    ///
    /// A `null` counts as absent, except for `PublicIP`, which must be an address if it is there.
    ///
    /// # Errors
    ///
    /// [`RejectReason::BadValue`] if it is not JSON of the right shape, [`RejectReason::TooLarge`] above 64 KiB.
    pub fn decode(value: &[u8]) -> Result<Self, RejectReason> {
        let object = Object::parse(value, MAX_VALUE).map_err(|error| match error {
            JsonError::TooLarge { .. } => RejectReason::TooLarge,
            JsonError::TooDeep | JsonError::NotUtf8(_) | JsonError::NotAnObject | JsonError::Syntax(_) => {
                RejectReason::BadValue
            }
        })?;
        Ok(Self {
            public_ip: public_ip(&object)?,
            public_ipv6: public_ipv6(&object)?,
            backend_type: text(&object, "BackendType")?.unwrap_or_default(),
            backend_data: object.raw("BackendData").map(ToString::to_string),
            backend_v6_data: object.raw("BackendV6Data").map(ToString::to_string),
        })
    }

    /// Returns the backend's data for an IP version: raw JSON.
    pub fn data_of(&self, version: IpVersion) -> Option<&str> {
        match version {
            IpVersion::V4 => self.backend_data.as_deref(),
            IpVersion::V6 => self.backend_v6_data.as_deref(),
        }
    }

    /// Writes the value, byte for byte as flannel does.
    ///
    /// Backend data must be JSON; it loses the blanks between its tokens.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = String::from("{\"PublicIP\":");
        write_string(&mut out, &self.public_ip.to_string());
        out.push_str(",\"PublicIPv6\":");
        match self.public_ipv6 {
            Some(address) => write_string(&mut out, &address.to_string()),
            None => out.push_str("null"),
        }
        if !self.backend_type.is_empty() {
            out.push_str(",\"BackendType\":");
            write_string(&mut out, &self.backend_type);
        }
        write_data(&mut out, "BackendData", self.backend_data.as_deref());
        write_data(&mut out, "BackendV6Data", self.backend_v6_data.as_deref());
        out.push('}');
        out.into_bytes()
    }
}

fn public_ip(object: &Object<'_>) -> Result<Ipv4Addr, RejectReason> {
    if !object.has("PublicIP") {
        return Ok(Ipv4Addr::UNSPECIFIED);
    }
    let raw = object.raw("PublicIP").ok_or(RejectReason::BadValue)?;
    let text: String = serde_json::from_str(raw).map_err(|_| RejectReason::BadValue)?;
    text.parse().map_err(|_| RejectReason::BadValue)
}

fn public_ipv6(object: &Object<'_>) -> Result<Option<Ipv6Addr>, RejectReason> {
    let Some(raw) = object.raw("PublicIPv6") else {
        return Ok(None);
    };
    let text: String = serde_json::from_str(raw).map_err(|_| RejectReason::BadValue)?;
    text.parse().map(Some).map_err(|_| RejectReason::BadValue)
}

fn text(object: &Object<'_>, key: &str) -> Result<Option<String>, RejectReason> {
    object.get(key).map_err(|_| RejectReason::BadValue)
}

fn write_data(out: &mut String, key: &str, data: Option<&str>) {
    let Some(data) = data else { return };
    out.push(',');
    write_string(out, key);
    out.push(':');
    write_compact(out, data);
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_written_byte_for_byte() {
        let udp = record("192.0.2.1", None, "", None, None);
        let host_gw = record("10.77.0.12", None, "host-gw", None, None);
        let dual = record("10.77.0.11", Some("fd77::11"), "host-gw", None, None);
        let vxlan = record(
            "10.77.0.11",
            None,
            "vxlan",
            Some(r#"{"VNI":1,"VtepMAC":"ae:d0:41:43:01:b0"}"#),
            None,
        );
        let wireguard = record(
            "192.0.2.1",
            Some("2001:db8:77::1"),
            "wireguard",
            Some(r#"{"PublicKey":"3qZBBgVbEL6Yl6c0xQ+Oa9xkvw0eQhYQ1vP3sYx7xUU=","Port":51820}"#),
            Some(r#"{"PublicKey":"AGtvrYrsLp0N9gP5z7Hh3n0hYw2JdfxYy5vTyT0aXBQ=","Port":51821}"#),
        );
        let extension = record("192.0.2.1", None, "extension", Some("\"a <b> & c\""), None);

        let written = [udp, host_gw, dual, vxlan, wireguard, extension].map(|record| written(&record));

        insta::assert_snapshot!(written.join("\n"));
    }

    #[test]
    fn a_reservation_needs_no_more_than_an_address() {
        let read = LeaseRecord::decode(br#"{"PublicIP":"10.77.0.14"}"#);

        assert_eq!(read, Ok(record("10.77.0.14", None, "", None, None)));
    }

    #[test]
    fn keys_are_read_in_any_case_and_unknown_ones_ignored() {
        let read = LeaseRecord::decode(
            br#"{"publicip":"10.0.0.1","X":[],"BACKENDTYPE":"vxlan","publicIPv6":"::1"}"#,
        );

        assert_eq!(read, Ok(record("10.0.0.1", Some("::1"), "vxlan", None, None)));
    }

    #[test]
    fn null_backend_data_is_absent() {
        let text = br#"{"PublicIP":"10.0.0.1","BackendType":null,"BackendData":null,"BackendV6Data":null}"#;

        assert_eq!(
            LeaseRecord::decode(text),
            Ok(record("10.0.0.1", None, "", None, None))
        );
    }

    #[test]
    fn backend_data_is_kept_as_it_stands() {
        let read = LeaseRecord::decode(br#"{"BackendData": {"VNI" : 1}, "BackendV6Data":"x"}"#);

        let expected = record("0.0.0.0", None, "", Some("{\"VNI\" : 1}"), Some("\"x\""));
        assert_eq!(read, Ok(expected));
    }

    #[test]
    fn values_of_another_shape_are_rejected() {
        for bad in [
            "",
            "null",
            "[]",
            "\"10.0.0.1\"",
            "{\"PublicIP\":null}",
            "{\"PublicIP\":\"\"}",
            "{\"PublicIP\":1}",
            "{\"PublicIP\":\"fd00::1\"}",
            "{\"PublicIP\":\"10.0.0.01\"}",
            "{\"PublicIP\":\"10.0.0.1/24\"}",
            "{\"PublicIPv6\":\"10.0.0.1\"}",
            "{\"PublicIPv6\":\"\"}",
            "{\"BackendType\":1}",
            "{\"PublicIP\":\"10.0.0.1\"} trailing",
        ] {
            assert_eq!(
                LeaseRecord::decode(bad.as_bytes()),
                Err(RejectReason::BadValue),
                "{bad}"
            );
        }
    }

    #[test]
    fn values_above_64_kib_are_too_large() {
        let value = |length: usize| format!("{{\"x\":\"{}\"}}", "a".repeat(length - 8));

        assert!(LeaseRecord::decode(value(MAX_VALUE).as_bytes()).is_ok());
        assert_eq!(
            LeaseRecord::decode(value(MAX_VALUE + 1).as_bytes()),
            Err(RejectReason::TooLarge)
        );
    }

    #[test]
    fn backend_data_of_any_type_is_kept_as_it_stands() {
        for data in ["{}", "[1,[2]]", "7", "true", "\"text\""] {
            let value = format!(r#"{{"PublicIP":"192.0.2.1","BackendData":{data},"BackendV6Data":{data}}}"#);

            let record = LeaseRecord::decode(value.as_bytes()).unwrap();

            assert_eq!(record.backend_data.as_deref(), Some(data));
            assert_eq!(record.backend_v6_data.as_deref(), Some(data));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(record in records()) {
            prop_assert_eq!(LeaseRecord::decode(&record.encode()), Ok(record));
        }

        #[test]
        fn decoding_never_panics(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _decoded = LeaseRecord::decode(&value);
        }
    }

    fn record(
        ip: &str,
        ipv6: Option<&str>,
        kind: &str,
        data: Option<&str>,
        v6_data: Option<&str>,
    ) -> LeaseRecord {
        LeaseRecord {
            public_ip: ip.parse().unwrap(),
            public_ipv6: ipv6.map(|text| text.parse().unwrap()),
            backend_type: kind.to_string(),
            backend_data: data.map(ToString::to_string),
            backend_v6_data: v6_data.map(ToString::to_string),
        }
    }

    fn written(record: &LeaseRecord) -> String {
        String::from_utf8(record.encode()).unwrap()
    }

    fn records() -> impl Strategy<Value = LeaseRecord> {
        let data = || proptest::option::of("\\{\"[a-z \\[]{0,5}\":(1|\"[ -!#-%'-;=?-Z]{0,9}\")\\}");
        let addresses = (any::<u32>(), proptest::option::of(any::<u128>()));
        (addresses, any::<String>(), data(), data()).prop_map(
            |((ip, ipv6), backend_type, backend_data, backend_v6_data)| LeaseRecord {
                public_ip: Ipv4Addr::from(ip),
                public_ipv6: ipv6.map(Ipv6Addr::from),
                backend_type,
                backend_data,
                backend_v6_data,
            },
        )
    }
}
