//! Views of the engine for people; they change nothing.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use ipnet::IpNet;

use crate::kernel::{KernelError, KernelObject};
use crate::reject_reason::RejectReason;
use crate::store::Revision;
use crate::subnet::Subnet;
use crate::twin::Twin;

/// The state of a node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Status {
    /// What the node is doing.
    pub phase: Phase,
    /// The subnet that it holds.
    pub subnet: Option<Subnet>,
    /// The other machine with the node's public IP that keeps it from a subnet.
    pub twin: Option<Twin>,
    /// Its underlay address.
    pub public_ip: Ipv4Addr,
    /// The backend's type, once the network config is known.
    pub backend: Option<&'static str>,
    /// The newest store revision that the node has seen.
    pub revision: Revision,
    /// The peers it forwards to, each with the first of the addresses that it is reached by.
    pub peers: BTreeMap<Subnet, IpAddr>,
    /// Those among them whose lease vanished while this node could not follow the store, and how much longer it keeps
    /// them; that is counted while it follows the store.
    pub stale: BTreeMap<Subnet, Duration>,
    /// How many records in the store were ignored, by reason.
    pub rejected: BTreeMap<RejectReason, u64>,
    /// How many lists showed other leases than the watch had told of; in a sound store it stays zero.
    pub missed_changes: u64,
    /// The kernel objects that could not be made or removed the last time, and why; they are tried again.
    pub failing: Vec<(KernelObject, KernelError)>,
    /// The ranges of peers that the backend cannot reach because they are on no link of this node.
    pub off_link: Vec<IpNet>,
}

/// The part of a [`Status`] that can be told at any moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Summary {
    /// What the node is doing.
    pub phase: Phase,
    /// The subnet that it carries.
    pub subnet: Option<Subnet>,
    /// The other machine with the node's public IP that keeps it from a subnet.
    pub twin: Option<Twin>,
    /// How many ranges it forwards to; a peer of both IP versions has two.
    pub peers: usize,
    /// How many of them have no lease at the moment.
    pub stale: usize,
    /// How many kernel objects could not be made or removed the last time.
    pub failing: usize,
}

/// What a node is doing.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Phase {
    /// Waiting for the network config.
    Configuring,
    /// Taking a subnet.
    Acquiring,
    /// Setting up the kernel.
    Preparing,
    /// Carrying traffic.
    Running,
    /// Asked to stop.
    Stopped,
}

/// What becomes of a packet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Explanation {
    /// The node has no table yet.
    NotReady,
    /// It is outside the overlay.
    OutsideNetwork,
    /// It is in this node's subnet.
    Local,
    /// It goes to the peer that holds the subnet.
    Peer {
        /// The subnet.
        subnet: Subnet,
        /// Where it is reached.
        public_ip: IpAddr,
    },
    /// No lease covers it.
    NoRoute,
}
