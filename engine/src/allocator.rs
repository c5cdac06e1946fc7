//! The choice of a free subnet (control-plane.md, 4 step 4).

use crate::network_config::{Range4, Range6};
use crate::rng::Rng;
use ipnet::{Ipv4Net, Ipv6Net};

/// Picks a subnet of `range` that overlaps none of `taken`, evenly among the free ones; `None` if none is free.
///
/// Flannel chooses among the first 100 free subnets only, so nodes that start together collide; the whole range
/// is used here. Costs O(t log t) for t taken subnets, whatever the size of the range.
pub fn pick_v4(_range: &Range4, _taken: &[Ipv4Net], _rng: &mut Rng) -> Option<Ipv4Net> {
    todo!()
}

/// Picks an IPv6 subnet in the same way.
pub fn pick_v6(_range: &Range6, _taken: &[Ipv6Net], _rng: &mut Rng) -> Option<Ipv6Net> {
    todo!()
}
