//! The `alloc` backend: a subnet and the subnet file, for those who carry the packets otherwise (backends.md, 8).

use alloc::vec;
use alloc::vec::Vec;

use super::{Placement, subnet_file};
use crate::kernel::KernelObject;
use crate::network_config::NetworkConfig;
use crate::underlay::Families;

pub(super) const KIND: &str = "alloc";

/// Every family of the network has an address that tells the node from the others.
pub(super) const fn needs(network: &NetworkConfig) -> Families {
    match (network.v4, network.v6) {
        (Some(_), Some(_)) => Families::Dual,
        (None, Some(_)) => Families::V6,
        (Some(_) | None, None) => Families::V4,
    }
}

/// No device, no route: packets are as large as the interface lets them be.
pub(super) fn desired(placement: &Placement<'_>) -> Vec<KernelObject> {
    let file = subnet_file(placement, placement.setup.underlay.mtu);
    vec![KernelObject::SubnetFile(file)]
}
