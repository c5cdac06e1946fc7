//! The `udp` backend: one inner IPv4 packet per UDP datagram, nothing added (backends.md, 3).

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddrV4};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::options::{Options, bad};
use super::{ConfigError, Placement, subnet_file, v4_of};
use crate::forwarding_table::TunnelParams;
use crate::kernel::{Address, IpVersion, KernelObject, Link, LinkKind, LinkName, NextHop, Route, Sysctl};
use crate::network_config::{BackendConfig, NetworkConfig};

pub(super) const KIND: &str = "udp";

const DEFAULT_PORT: u16 = 8285;
const PORT_RULE: &str = "a UDP port, a number from 1 to 65535";
/// 20 bytes of outer IPv4 and 8 of UDP.
const OVERHEAD: u32 = 28;
/// The kernel names TUN devices `flannel0`, `flannel1` and so on: the first free one is taken.
const NAME: &str = "flannel";
const NAMES: u32 = 10;

/// The options of the backend.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Udp {
    port: u16,
}

impl Udp {
    pub(super) fn new(network: &NetworkConfig) -> Result<Self, ConfigError> {
        if network.v4.is_none() {
            return Err(ConfigError::NeedsIpv4 { kind: KIND });
        }
        Ok(Self {
            port: port(&network.backend)?,
        })
    }

    /// The address has no room for others (/32), so that no broadcast routes appear; errors made here carry it
    /// as their source, which the kernel takes for a forgery unless `accept_local` says otherwise.
    pub(super) fn desired(&self, placement: &Placement<'_>) -> Vec<KernelObject> {
        let Some((range, subnet)) = v4_of(placement) else {
            return Vec::new();
        };
        let underlay = &placement.setup.underlay;
        let link = link_name(placement.names_taken);
        let mtu = underlay.mtu.saturating_sub(OVERHEAD);
        vec![
            KernelObject::Socket(SocketAddrV4::new(underlay.address, self.port)),
            KernelObject::Link(Link {
                name: link.clone(),
                kind: LinkKind::Tun,
                mtu,
                alias: String::new(),
            }),
            KernelObject::Sysctl(Sysctl {
                link: link.clone(),
                version: IpVersion::V4,
                key: "accept_local".into(),
                value: "1".into(),
            }),
            KernelObject::Address(Address {
                link: link.clone(),
                net: IpNet::from(IpAddr::V4(subnet.network())),
            }),
            KernelObject::Route(Route::new(range.network.into(), NextHop::Link(link))),
            KernelObject::SubnetFile(subnet_file(placement, mtu)),
        ]
    }

    pub(super) fn tunnel(&self, placement: &Placement<'_>) -> Option<TunnelParams> {
        let (range, subnet) = v4_of(placement)?;
        Some(TunnelParams {
            network: range.network,
            subnet,
            address: subnet.network(),
            mtu: placement.setup.underlay.mtu.saturating_sub(OVERHEAD),
            port: self.port,
            membership: placement.setup.membership,
        })
    }
}

/// Port 0 would let the kernel choose one that no peer knows.
fn port(backend: &BackendConfig) -> Result<u16, ConfigError> {
    match Options::of(backend).read("Port", PORT_RULE)? {
        None => Ok(DEFAULT_PORT),
        Some(0) => Err(bad("Port", &0, PORT_RULE)),
        Some(port) => Ok(port),
    }
}

/// Tells whether the backend may give a device this name.
pub(crate) fn may_be_called(link: &LinkName) -> bool {
    (0..NAMES).any(|taken| link_name(taken) == *link)
}

fn link_name(taken: u32) -> LinkName {
    let number = taken % NAMES;
    LinkName(alloc::format!("{NAME}{number}"))
}
