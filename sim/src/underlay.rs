//! The network under the overlay: segments, and a router that joins them.
//!
//! Where all nodes are in one segment, its prefix tells who is on the link. Else each node has an address without a
//! prefix, as in many clouds, and a route to each other node of its segment; everything else goes to the router, so
//! that any nodes can share a segment and none needs another address for it.

use std::net::Ipv4Addr;

use ipnet::{Ipv4Net, Ipv6Net};
use selvedge_engine::MacAddress;

use crate::linux::Attachment;
use crate::node_id::NodeId;
use crate::scenario::Scenario;

/// The router's address on every segment; it knows where the nodes are, and nothing of pods.
pub(crate) const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 19, 255, 254);
/// The MTU of every segment in bytes.
pub(crate) const MTU: u32 = 1500;

/// Returns how a node is attached to the underlay.
pub(crate) fn attachment(scenario: &Scenario, node: NodeId) -> Attachment {
    let on_link = if scenario.is_segmented() {
        let others = neighbours(scenario, node);
        let addresses = others.flat_map(|other| [other.public_ip(), other.second_public_ip()]);
        [ROUTER].into_iter().chain(addresses).collect()
    } else {
        Vec::new()
    };
    let [b, c, d, e] = node.number().to_be_bytes();
    Attachment {
        address: net(scenario, node.public_ip()),
        address_v6: Some(Ipv6Net::new_assert(node.public_ipv6(), V6_PREFIX)),
        on_link,
        gateway: Some(ROUTER),
        mac: MacAddress::local([0x02, 0, b, c, d, e]),
        mtu: MTU,
    }
}

/// Returns an underlay address with the prefix that nodes give it.
pub(crate) fn net(scenario: &Scenario, address: Ipv4Addr) -> Ipv4Net {
    let prefix = if scenario.is_segmented() { 32 } else { FLAT_PREFIX };
    Ipv4Net::new_assert(address, prefix)
}

/// Returns the other nodes of a node's segment.
fn neighbours(scenario: &Scenario, node: NodeId) -> impl Iterator<Item = NodeId> {
    let own = scenario.segment(node);
    scenario
        .node_ids()
        .filter(move |other| *other != node && scenario.segment(*other) == own)
}

/// All addresses for measurements (RFC 2544).
const FLAT_PREFIX: u8 = 15;
const V6_PREFIX: u8 = 64;
