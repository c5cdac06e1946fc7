//! What other programs hold on a node.

use ipnet::Ipv4Net;
use selvedge_engine::LinkName;

/// Something that another program holds, so that the daemon cannot have it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Foreign {
    /// A UDP port, on every address.
    Port(u16),
    /// A device's name.
    Link(LinkName),
    /// A route for these destinations, which leads nowhere.
    Route(Ipv4Net),
}
