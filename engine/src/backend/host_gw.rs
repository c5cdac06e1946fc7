//! The `host-gw` backend: plain routes to nodes on the same link (backends.md, 5).

use alloc::string::ToString as _;
use alloc::vec;
use alloc::vec::Vec;

use ipnet::IpNet;

use super::{ConfigError, Placement, plain_record, subnet_file};
use crate::kernel::{KernelObject, NextHop, Route};
use crate::lease::LeaseRecord;
use crate::network_config::NetworkConfig;
use crate::peers::Place;
use crate::underlay::Underlay;
use crate::ways::Ways;

pub(super) const KIND: &str = "host-gw";

/// Peers send to the announced address on the link: it has to be there.
pub(super) fn check(underlay: &Underlay, network: &NetworkConfig) -> Result<(), ConfigError> {
    let is_elsewhere = network.v4.is_some() && underlay.public_ip != underlay.address;
    if is_elsewhere {
        return Err(ConfigError::PublicIpElsewhere {
            kind: KIND,
            public_ip: underlay.public_ip.into(),
            interface: underlay.interface.clone(),
            address: underlay.address.into(),
        });
    }
    match (network.v6, underlay.public_ipv6, underlay.address_v6) {
        (Some(_), Some(public_ip), Some(address)) if public_ip != address => {
            Err(ConfigError::PublicIpElsewhere {
                kind: KIND,
                public_ip: public_ip.into(),
                interface: underlay.interface.clone(),
                address: address.into(),
            })
        }
        (None | Some(_), _, _) => Ok(()),
    }
}

pub(super) fn lease_record(underlay: &Underlay, network: &NetworkConfig) -> LeaseRecord {
    LeaseRecord {
        backend_type: KIND.to_string(),
        ..plain_record(underlay, network)
    }
}

/// No device: packets are as large as the interface lets them be.
pub(super) fn desired(placement: &Placement<'_>) -> Vec<KernelObject> {
    let file = subnet_file(placement, placement.setup.underlay.mtu);
    vec![KernelObject::SubnetFile(file)]
}

/// Returns the route to a peer, if it is on a link of this node.
pub(super) fn peer_objects(net: IpNet, place: &Place, ways: &Ways) -> Option<Vec<KernelObject>> {
    let link = ways.link_to(place.public_ip)?.clone();
    let gateway = place.public_ip;
    let route = Route::new(net, NextHop::Gateway { gateway, link });
    Some(vec![KernelObject::Route(route)])
}
