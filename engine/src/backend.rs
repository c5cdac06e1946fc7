//! What differs from backend to backend: a pure function to a desired set, and data for the lease.

mod alloc;
mod udp;
#[cfg_attr(not(test), expect(dead_code, reason = "no backend has a VXLAN device yet"))]
mod vtep;

use ::alloc::string::String;
use ::alloc::vec::Vec;

use core::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::forwarding_table::TunnelParams;
use crate::kernel::{IpVersion, KernelObject, MacAddress};
use crate::lease::LeaseRecord;
use crate::network_config::{NetworkConfig, NetworkConfigError, Range4};
use crate::reject_reason::RejectReason;
use crate::setup::Setup;
use crate::subnet::Subnet;
use crate::subnet_file::SubnetFile;
use crate::underlay::{Families, Underlay};

/// The way packets take between nodes, with its options.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Backend {
    /// A subnet and the subnet file, and nothing else.
    Alloc,
    /// One inner packet per UDP datagram, forwarded in user space.
    Udp(udp::Udp),
    /// Stands for any backend whose peers have a VXLAN device.
    #[cfg(test)]
    StubVtep,
}

/// Why this node cannot serve a network config.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// The config breaks a rule of its own.
    #[error(transparent)]
    Network(#[from] NetworkConfigError),
    /// The backend's type is not known.
    #[error("unknown backend type: {kind:?} (key Backend.Type); this node serves: alloc, udp")]
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

/// Where a backend puts this node into the overlay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placement<'a> {
    pub(crate) setup: &'a Setup,
    pub(crate) network: &'a NetworkConfig,
    pub(crate) subnet: Subnet,
    /// How many device names are known to be taken by others.
    pub(crate) names_taken: u32,
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
            udp::KIND => Ok(Self::Udp(udp::Udp::new(network)?)),
            kind => Err(ConfigError::UnknownBackend { kind: kind.into() }),
        }
    }

    /// Returns the type's name.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Alloc => alloc::KIND,
            Self::Udp(_) => udp::KIND,
            #[cfg(test)]
            Self::StubVtep => "vxlan",
        }
    }

    /// Tells whether a lease with this `BackendType` is one of this backend's nodes. The records of flannel's `udp` and
    /// `alloc`, and many reservations, say no type.
    pub(crate) fn understands(&self, backend_type: &str) -> bool {
        backend_type.is_empty() || backend_type.eq_ignore_ascii_case(self.kind())
    }

    /// Returns the families that the underlay must have.
    pub(crate) const fn needs(&self, network: &NetworkConfig) -> Families {
        match self {
            Self::Alloc => alloc::needs(network),
            Self::Udp(_) => Families::V4,
            #[cfg(test)]
            Self::StubVtep => alloc::needs(network),
        }
    }

    /// Returns the hardware address that packets of an IP version are sent to on their way to a lease's node, if the
    /// backend sends any that have one.
    ///
    /// # Errors
    ///
    /// [`RejectReason::BadBackendData`] if the record does not have it in the backend's form.
    #[cfg_attr(
        not(test),
        expect(
            clippy::unnecessary_wraps,
            unused_variables,
            reason = "no backend has a VXLAN device yet"
        )
    )]
    pub(crate) fn peer_data(
        &self,
        record: &LeaseRecord,
        version: IpVersion,
    ) -> Result<Option<MacAddress>, RejectReason> {
        match self {
            Self::Alloc | Self::Udp(_) => Ok(None),
            #[cfg(test)]
            Self::StubVtep => vtep::read(record.data_of(version)).map(Some),
        }
    }

    /// Returns what the node's lease says.
    pub(crate) fn lease_record(&self, underlay: &Underlay, network: &NetworkConfig) -> LeaseRecord {
        match self {
            // Flannel's `udp` and `alloc` write no `BackendType`.
            Self::Alloc | Self::Udp(_) => plain_record(underlay, network),
            #[cfg(test)]
            Self::StubVtep => plain_record(underlay, network),
        }
    }

    /// Returns the objects that ought to exist on the node.
    pub(crate) fn desired(&self, placement: &Placement<'_>) -> Vec<KernelObject> {
        match self {
            Self::Alloc => alloc::desired(placement),
            Self::Udp(udp) => udp.desired(placement),
            #[cfg(test)]
            Self::StubVtep => Vec::new(),
        }
    }

    /// Returns what the forwarding table needs besides the peers, if packets pass through the daemon.
    pub(crate) fn tunnel(&self, placement: &Placement<'_>) -> Option<TunnelParams> {
        match self {
            Self::Alloc => None,
            Self::Udp(udp) => udp.tunnel(placement),
            #[cfg(test)]
            Self::StubVtep => None,
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
