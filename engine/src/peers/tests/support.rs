//! Nodes among leases.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};

use super::super::*;
use crate::lease::LeaseRecord;
use crate::leases::Extent;
use crate::network_config::NetworkConfig;
use crate::setup::StorePrefix;
use crate::store::{Header, KeyValue};

/// Three steps of the property test.
pub(super) const GRACE: Duration = Duration::from_secs(20);

pub(super) const V4: &[IpVersion] = &[IpVersion::V4];
pub(super) const V6: &[IpVersion] = &[IpVersion::V6];
pub(super) const DUAL: &[IpVersion] = &[IpVersion::V4, IpVersion::V6];

/// A node among leases.
pub(super) struct Cluster {
    pub(super) leases: Leases,
    pub(super) peers: Peers,
    pub(super) standpoint: Standpoint,
}

impl Cluster {
    /// Makes a node in an IPv4 network of `udp`.
    pub(super) fn of(leases: &[(&str, &str, i64)]) -> Self {
        let mut cluster = Self::new(standpoint(&udp(), V4, 1, 1));
        cluster.list(leases, Departure::Seen, 0);
        cluster
    }

    pub(super) fn new(standpoint: Standpoint) -> Self {
        Self {
            leases: Leases::new(StorePrefix::default()),
            peers: Peers::new(GRACE),
            standpoint,
        }
    }

    /// Replaces all leases by these, of which no more than the public IP is known.
    pub(super) fn list(
        &mut self,
        leases: &[(&str, &str, i64)],
        departure: Departure,
        second: u64,
    ) -> PeerNews {
        let values: Vec<_> = leases
            .iter()
            .map(|(subnet, public_ip, revision)| {
                (*subnet, format!(r#"{{"PublicIP":"{public_ip}"}}"#), *revision)
            })
            .collect();
        let values: Vec<_> = values
            .iter()
            .map(|(subnet, value, revision)| (*subnet, value.as_str(), *revision))
            .collect();
        self.list_values(&values, departure, second)
    }

    /// Replaces all leases by these: the subnet, the value, and when it was written.
    pub(super) fn list_values(
        &mut self,
        leases: &[(&str, &str, i64)],
        departure: Departure,
        second: u64,
    ) -> PeerNews {
        self.take(leases, departure);
        self.wait_until(second)
    }

    /// Replaces all leases by these while nobody judges.
    pub(super) fn take(&mut self, leases: &[(&str, &str, i64)], departure: Departure) {
        let kvs = leases
            .iter()
            .map(|(subnet, value, revision)| key_value(subnet, value, Revision(*revision)));
        self.leases
            .apply_list(&Header::default(), kvs.collect(), Extent::Whole, departure);
    }

    pub(super) fn wait_until(&mut self, second: u64) -> PeerNews {
        let changes = self.leases.take_changes();
        self.peers
            .judge(&changes, &self.leases, &self.standpoint, at(second))
    }

    /// Judges every lease, because the node stands elsewhere.
    pub(super) fn judge_all(&mut self, second: u64) -> PeerNews {
        let changes = self.leases.take_changes();
        self.peers
            .judge_all(&changes, &self.leases, &self.standpoint, at(second))
    }

    pub(super) fn accepted(&self) -> Vec<String> {
        accepted(&self.peers)
    }

    pub(super) fn places(&self) -> Vec<String> {
        let places = self.peers.places();
        places.map(|(net, place)| text(net, place)).collect()
    }
}

pub(super) fn at(second: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(second)
}

/// Writes a range and where it is reached.
pub(super) fn text(net: IpNet, place: Place) -> String {
    let vtep = place.vtep.map(|vtep| format!(" {vtep}")).unwrap_or_default();
    format!("{net} {}{vtep}", place.public_ip)
}

pub(super) fn udp() -> Backend {
    Backend::new(&network(V4)).unwrap()
}

/// A backend whose peers have a hardware address.
pub(super) fn vxlan() -> Backend {
    let config = br#"{"Network":"10.50.0.0/16","Backend":{"Type":"vxlan"}}"#;
    Backend::new(&NetworkConfig::parse(config).unwrap()).unwrap()
}

/// Puts a node into the overlay: `slot` is the number of its subnet, `host` that of its addresses.
pub(super) fn standpoint(backend: &Backend, versions: &[IpVersion], slot: u8, host: u8) -> Standpoint {
    let v4 = Ipv4Net::new(Ipv4Addr::new(10, 50, slot, 0), 24).unwrap();
    let v6 = Ipv6Net::new(Ipv6Addr::new(0xfd50, 0, 0, slot.into(), 0, 0, 0, 0), 64).unwrap();
    let subnet = match versions {
        [IpVersion::V4] => Subnet::V4(v4),
        [IpVersion::V6] => Subnet::V6(v6),
        _ => Subnet::Dual(v4, v6),
    };
    let own_key = key(&subnet.to_string()).into();
    let record = LeaseRecord::decode(vxlan_value(host, host, host, host).as_bytes()).unwrap();
    Standpoint::new(own_key, &subnet, &record, backend, &network(versions))
}

fn network(versions: &[IpVersion]) -> NetworkConfig {
    let (v4, v6) = (
        versions.contains(&IpVersion::V4),
        versions.contains(&IpVersion::V6),
    );
    let text = format!(
        r#"{{"Network":"10.50.0.0/16","IPv6Network":"fd50::/48","EnableIPv4":{v4},"EnableIPv6":{v6}}}"#
    );
    NetworkConfig::parse(text.as_bytes()).unwrap()
}

pub(super) fn public_ip(version: IpVersion, host: u8) -> IpAddr {
    match version {
        IpVersion::V4 => IpAddr::from([192, 0, 2, host]),
        IpVersion::V6 => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(host)]),
    }
}

pub(super) const fn mac(host: u8) -> MacAddress {
    MacAddress([0x02, 0, 0, 0, 0, host])
}

/// Writes the record of a node with a VXLAN device for each version.
pub(super) fn vxlan_value(v4_host: u8, v4_mac: u8, v6_host: u8, v6_mac: u8) -> String {
    let (v4, v6) = (
        public_ip(IpVersion::V4, v4_host),
        public_ip(IpVersion::V6, v6_host),
    );
    let data = |mac| format!(r#"{{"VNI":1,"VtepMAC":"{mac}"}}"#);
    format!(
        r#"{{"PublicIP":"{v4}","PublicIPv6":"{v6}","BackendType":"vxlan","BackendData":{},"BackendV6Data":{}}}"#,
        data(mac(v4_mac)),
        data(mac(v6_mac)),
    )
}

pub(super) fn key_value(subnet: &str, value: &str, revision: Revision) -> KeyValue {
    KeyValue {
        key: key(subnet),
        value: value.as_bytes().to_vec(),
        create_revision: revision,
        mod_revision: revision,
        version: 1,
        lease: None,
    }
}

pub(super) fn key(subnet: &str) -> Vec<u8> {
    format!("/coreos.com/network/subnets/{subnet}").into_bytes()
}

pub(super) fn accepted(peers: &Peers) -> Vec<String> {
    peers
        .iter()
        .map(|(subnet, public_ip)| format!("{subnet} {public_ip}"))
        .collect()
}

pub(super) fn refusals(peers: &Peers) -> Vec<Refusal> {
    peers.rejected.values().map(|(_, refusal)| *refusal).collect()
}

/// Returns why records are refused, which are refused as a whole.
pub(super) fn reasons(peers: &Peers) -> Vec<RejectReason> {
    let refusals = refusals(peers).into_iter();
    refusals
        .map(|refusal| match refusal {
            Refusal::Whole(reason) => reason,
            Refusal::Part(..) | Refusal::Both { .. } => panic!("{refusal:?}"),
        })
        .collect()
}
