//! What differs from backend to backend: a pure function to a desired set, and data for the lease.

mod alloc;
mod host_gw;
mod options;
pub(crate) mod udp;
mod vtep;
mod vxlan;

use ::alloc::string::String;
use ::alloc::vec::Vec;

use core::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use crate::firewall::{DirectTraffic, MembershipFilter};
use crate::forwarding_table::TunnelParams;
use crate::kernel::{IpVersion, KernelObject, LinkName, MacAddress};
use crate::lease::LeaseRecord;
use crate::network_config::{NetworkConfig, NetworkConfigError, Range4};
use crate::peers::Place;
use crate::reject_reason::RejectReason;
use crate::setup::Setup;
use crate::subnet::Subnet;
use crate::subnet_file::SubnetFile;
use crate::underlay::{Families, Underlay};
use crate::vteps::Vteps;
use crate::ways::Ways;

/// The way packets take between nodes, with its options.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Backend {
    /// A subnet and the subnet file, and nothing else.
    Alloc,
    /// Plain routes to nodes on the same link.
    HostGw,
    /// One inner packet per UDP datagram, forwarded in user space.
    Udp(udp::Udp),
    /// Ethernet frames in UDP, forwarded by the kernel.
    Vxlan(vxlan::Vxlan),
}

/// Why this node cannot serve a network config.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// The config breaks a rule of its own.
    #[error(transparent)]
    Network(#[from] NetworkConfigError),
    /// The backend's type is not known.
    #[error(
        "unknown backend type: {kind:?} (key Backend.Type); this node serves: alloc, host-gw, udp, vxlan"
    )]
    UnknownBackend {
        /// The type given.
        kind: String,
    },
    /// The backend does not carry the address families of the network.
    #[error("backend {kind} carries IPv4 only: set EnableIPv4 to true and give a Network")]
    NeedsIpv4 {
        /// The backend's type.
        kind: &'static str,
    },
    /// The backend's peers send to the announced address on the link, and it is none of the interface's.
    #[error(
        "backend {kind} needs the node's own address: the public IP {public_ip} is not {address} of {interface}; leave \
         --public-ip out, or choose another backend behind NAT"
    )]
    PublicIpElsewhere {
        /// The backend's type.
        kind: &'static str,
        /// The address announced.
        public_ip: IpAddr,
        /// The interface.
        interface: String,
        /// Its address.
        address: IpAddr,
    },
    /// The overlay would take addresses of the underlay.
    #[error(
        "the network {network} gives out addresses of {underlay} ({role}): nodes would lose it; choose another Network or \
         narrow SubnetMin and SubnetMax, or pass --force to go on all the same"
    )]
    OverlapsUnderlay {
        /// The overlay's network.
        network: IpNet,
        /// What it overlaps.
        underlay: IpNet,
        /// What that is to the node.
        role: String,
    },
    /// An option of the backend has a wrong type or value.
    #[error("Backend.{key} is {value}: it must be {rule}")]
    BadOption {
        /// The option.
        key: &'static str,
        /// The offending value as JSON.
        value: String,
        /// What it must be.
        rule: &'static str,
    },
}

/// A peer is on none of the node's links.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct OffLink;

/// Where a backend puts this node into the overlay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placement<'a> {
    pub(crate) setup: &'a Setup,
    pub(crate) network: &'a NetworkConfig,
    pub(crate) subnet: Subnet,
    pub(crate) vteps: &'a Vteps,
    /// How many device names are known to be taken by others.
    pub(crate) names_taken: u32,
}

/// One IP version of the overlay, and the node's part of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    pub(crate) version: IpVersion,
    pub(crate) own: IpNet,
}

impl Placement<'_> {
    /// Returns the IP versions that both the network and the node's subnet have.
    fn sides(&self) -> Vec<Side> {
        let v4 = self.network.v4.and(self.subnet.v4()).map(|own| Side {
            version: IpVersion::V4,
            own: own.into(),
        });
        let v6 = self.network.v6.and(self.subnet.v6()).map(|own| Side {
            version: IpVersion::V6,
            own: own.into(),
        });
        v4.into_iter().chain(v6).collect()
    }

    /// Returns the packets that peers on the same link send without a tunnel.
    fn direct_traffic(&self) -> DirectTraffic {
        let networks = self.sides().into_iter().filter_map(|side| {
            let network = self.network.of_version(side.version)?;
            Some((network, side.own))
        });
        DirectTraffic {
            underlay: LinkName(self.setup.underlay.interface.clone()),
            networks: networks.collect(),
        }
    }
}

impl Backend {
    /// Chooses the backend that a network config asks for.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the type is unknown, an option is wrong, or the families do not fit.
    pub(crate) fn new(network: &NetworkConfig) -> Result<Self, ConfigError> {
        match network.backend.kind.as_str() {
            alloc::KIND => Ok(Self::Alloc),
            host_gw::KIND => Ok(Self::HostGw),
            udp::KIND => Ok(Self::Udp(udp::Udp::new(network)?)),
            vxlan::KIND => Ok(Self::Vxlan(vxlan::Vxlan::new(network)?)),
            kind => Err(ConfigError::UnknownBackend { kind: kind.into() }),
        }
    }

    /// Returns the type's name.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Alloc => alloc::KIND,
            Self::HostGw => host_gw::KIND,
            Self::Udp(_) => udp::KIND,
            Self::Vxlan(_) => vxlan::KIND,
        }
    }

    /// Tells whether a lease with this `BackendType` is one of this backend's nodes. The records of flannel's `udp` and
    /// `alloc`, and many reservations, say no type.
    pub(crate) fn understands(&self, backend_type: &str) -> bool {
        match self {
            Self::Alloc | Self::Udp(_) if backend_type.is_empty() => true,
            Self::Alloc | Self::HostGw | Self::Udp(_) | Self::Vxlan(_) => {
                backend_type.eq_ignore_ascii_case(self.kind())
            }
        }
    }

    /// Says whether the node has what its backend needs besides addresses of the right families.
    pub(crate) fn check(&self, underlay: &Underlay, network: &NetworkConfig) -> Result<(), ConfigError> {
        match self {
            Self::HostGw => host_gw::check(underlay, network),
            Self::Alloc | Self::Udp(_) | Self::Vxlan(_) => Ok(()),
        }
    }

    /// Returns the devices whose neighbours and forwarding entries are the backend's.
    pub(crate) fn tunnels(&self, network: &NetworkConfig) -> Vec<LinkName> {
        match self {
            Self::Alloc | Self::HostGw | Self::Udp(_) => Vec::new(),
            Self::Vxlan(vxlan) => vxlan.tunnels(network),
        }
    }

    /// Returns the families that the underlay must have.
    pub(crate) fn needs(&self, network: &NetworkConfig) -> Families {
        match self {
            Self::Alloc | Self::HostGw | Self::Vxlan(_) => network.families(),
            Self::Udp(_) => Families::V4,
        }
    }

    /// Returns the hardware address that packets of an IP version are sent to on their way to a lease's node, if the
    /// backend sends any that have one.
    ///
    /// # Errors
    ///
    /// [`RejectReason::BadBackendData`] if the record does not have it in the backend's form.
    pub(crate) fn peer_data(
        &self,
        record: &LeaseRecord,
        version: IpVersion,
    ) -> Result<Option<MacAddress>, RejectReason> {
        match self {
            Self::Alloc | Self::HostGw | Self::Udp(_) => Ok(None),
            Self::Vxlan(_) => vtep::read(record.data_of(version)).map(Some),
        }
    }

    /// Returns what the node's lease says.
    pub(crate) fn lease_record(
        &self,
        underlay: &Underlay,
        network: &NetworkConfig,
        vteps: &Vteps,
    ) -> LeaseRecord {
        match self {
            // Flannel's `udp` and `alloc` write no `BackendType`.
            Self::Alloc | Self::Udp(_) => plain_record(underlay, network),
            Self::HostGw => host_gw::lease_record(underlay, network),
            Self::Vxlan(vxlan) => vxlan.lease_record(underlay, network, vteps),
        }
    }

    /// Returns the objects that ought to exist on the node.
    pub(crate) fn desired(&self, placement: &Placement<'_>) -> Vec<KernelObject> {
        match self {
            Self::Alloc => alloc::desired(placement),
            Self::HostGw => host_gw::desired(placement),
            Self::Udp(udp) => udp.desired(placement),
            Self::Vxlan(vxlan) => vxlan.desired(placement),
        }
    }

    /// Returns the objects that lead to a peer.
    ///
    /// # Errors
    ///
    /// [`OffLink`] if the backend reaches nodes on the own links alone, and the peer is on none.
    pub(crate) fn peer_objects(
        &self,
        net: IpNet,
        place: &Place,
        ways: &Ways,
    ) -> Result<Vec<KernelObject>, OffLink> {
        match self {
            Self::Alloc | Self::Udp(_) => Ok(Vec::new()),
            Self::HostGw => host_gw::peer_objects(net, place, ways).ok_or(OffLink),
            Self::Vxlan(vxlan) => Ok(vxlan.peer_objects(net, place, ways)),
        }
    }

    /// Returns what of the traffic from the underlay the packet filter has to judge, because no daemon does.
    pub(crate) fn filter(&self, placement: &Placement<'_>) -> MembershipFilter {
        match self {
            Self::Alloc | Self::Udp(_) => MembershipFilter::default(),
            Self::HostGw => MembershipFilter {
                tunnel: None,
                direct: Some(placement.direct_traffic()),
            },
            Self::Vxlan(vxlan) => vxlan.filter(placement),
        }
    }

    /// Returns what the forwarding table needs besides the peers, if packets pass through the daemon.
    pub(crate) fn tunnel(&self, placement: &Placement<'_>) -> Option<TunnelParams> {
        match self {
            Self::Alloc | Self::HostGw | Self::Vxlan(_) => None,
            Self::Udp(udp) => udp.tunnel(placement),
        }
    }
}

/// Returns a record without type and data, with the addresses of the network's families.
fn plain_record(underlay: &Underlay, network: &NetworkConfig) -> LeaseRecord {
    LeaseRecord {
        public_ip: match network.v4 {
            Some(_) => underlay.public_ip,
            None => Ipv4Addr::UNSPECIFIED,
        },
        public_ipv6: underlay.public_ipv6.filter(|_| network.v6.is_some()),
        backend_type: String::new(),
        backend_data: None,
        backend_v6_data: None,
    }
}

/// Returns the subnet file for an overlay with this MTU.
fn subnet_file(placement: &Placement<'_>, mtu: u32) -> SubnetFile {
    let v6 = placement.network.v6.map(|range| range.network);
    SubnetFile {
        v4: v4_of(placement).map(|(range, subnet)| (range.network, subnet)),
        v6: v6.zip(placement.subnet.v6()),
        mtu,
        masquerade: placement.setup.masquerade,
    }
}

/// Returns the IPv4 overlay and the node's part of it.
fn v4_of(placement: &Placement<'_>) -> Option<(Range4, Ipv4Net)> {
    Some((placement.network.v4?, placement.subnet.v4()?))
}

#[cfg(test)]
mod tests;
