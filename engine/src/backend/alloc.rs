//! The `alloc` backend: a subnet and the subnet file, for those who carry the packets otherwise (backends.md, 8).

use alloc::vec;
use alloc::vec::Vec;

use super::{Placement, subnet_file};
use crate::kernel::KernelObject;

pub(super) const KIND: &str = "alloc";

/// No device, no route: packets are as large as the interface lets them be.
pub(super) fn desired(placement: &Placement<'_>) -> Vec<KernelObject> {
    let file = subnet_file(placement, placement.setup.underlay.mtu);
    vec![KernelObject::SubnetFile(file)]
}
