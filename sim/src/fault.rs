//! What goes wrong in a cluster.

use std::fmt;
use std::time::Duration;

use crate::forgery::Forgery;
use crate::junk::Junk;
use crate::node_id::NodeId;
use crate::probability::Probability;

/// A fault with its times, counted from the start of the run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TimedFault {
    /// When it begins.
    pub at: Duration,
    /// When it ends; `None` is never. Of no matter to faults that happen at once.
    pub until: Option<Duration>,
    /// What goes wrong.
    pub fault: Fault,
}

/// Something that goes wrong; most last from a beginning to an end, some happen at once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// No datagram passes between these nodes and all others, in either direction.
    Partition {
        /// The nodes on one side; the rest is on the other.
        nodes: Vec<NodeId>,
    },
    /// No datagram passes from one group to the other; the way back is open.
    OneWay {
        /// The nodes that are not heard.
        from: Vec<NodeId>,
        /// The nodes that do not hear them.
        to: Vec<NodeId>,
    },
    /// Every link loses datagrams, in addition to what the scenario's links lose.
    Loss(Probability),
    /// Every link is slower by this.
    Slow(Duration),
    /// These nodes do not reach the store.
    StoreCut {
        /// The nodes.
        nodes: Vec<NodeId>,
        /// Which way is cut.
        way: StoreWay,
    },
    /// The store is down; it keeps its content.
    StoreDown,
    /// The store is slower by this, each way.
    StoreSlow(Duration),
    /// The store is out of space: it answers, but refuses every write.
    StoreFull,
    /// A backup of the store is made at the beginning, and the store is restored from it at the end.
    StoreRestore,
    /// The store loses all its data, and an operator writes the network config again (at once).
    StoreWipe,
    /// The store forgets its history up to now (at once).
    Compaction,
    /// An operator deletes the lease of a node (at once).
    DeleteLease {
        /// The node.
        node: NodeId,
    },
    /// An operator writes something senseless among the leases (at once).
    WriteJunk(Junk),
    /// The daemon of a node dies; its end is a new start.
    Crash {
        /// The node.
        node: NodeId,
        /// What the new start finds.
        file: SubnetFileFate,
    },
    /// A node stands still, as a suspended virtual machine does.
    Pause {
        /// The node.
        node: NodeId,
    },
    /// Someone on a node changes what the daemon has set up in the kernel (at once).
    Tamper {
        /// The node.
        node: NodeId,
        /// What is changed.
        tampering: Tampering,
    },
    /// Someone sends a datagram to a node's daemon that none of the cluster sent (at once).
    Forge {
        /// The node.
        node: NodeId,
        /// What is wrong with it.
        forgery: Forgery,
    },
}

/// What someone changes on a node behind the daemon's back.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Tampering {
    /// The tunnel device is deleted.
    DeleteTunnel,
    /// The tunnel device is set down, which takes its routes.
    SetTunnelDown,
    /// The routes are flushed.
    DeleteRoutes,
}

/// Which way between a node and the store is cut.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum StoreWay {
    /// Both.
    Both,
    /// Requests get lost.
    Requests,
    /// Requests arrive and are carried out, answers get lost: the node cannot know the outcome.
    Answers,
}

/// What becomes of the subnet file when a node's daemon dies.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum SubnetFileFate {
    /// It stays.
    Kept,
    /// It is gone, as `/run` is after a reboot.
    Lost,
}

impl Fault {
    /// Tells whether the fault happens at once and has no end.
    pub const fn is_instant(&self) -> bool {
        match self {
            Self::StoreWipe
            | Self::Compaction
            | Self::DeleteLease { .. }
            | Self::WriteJunk(_)
            | Self::Tamper { .. }
            | Self::Forge { .. } => true,
            Self::Partition { .. }
            | Self::OneWay { .. }
            | Self::Loss(_)
            | Self::Slow(_)
            | Self::StoreCut { .. }
            | Self::StoreDown
            | Self::StoreSlow(_)
            | Self::StoreFull
            | Self::StoreRestore
            | Self::Crash { .. }
            | Self::Pause { .. } => false,
        }
    }

    /// Returns the line of the timeline for its end; a crash has none, for the new start has one.
    pub(crate) fn end(&self) -> Option<String> {
        match self {
            Self::Crash { .. } => None,
            Self::StoreRestore => Some("! store restored from the backup".to_owned()),
            Self::Partition { .. }
            | Self::OneWay { .. }
            | Self::Loss(_)
            | Self::Slow(_)
            | Self::StoreCut { .. }
            | Self::StoreDown
            | Self::StoreSlow(_)
            | Self::StoreFull
            | Self::StoreWipe
            | Self::Compaction
            | Self::DeleteLease { .. }
            | Self::WriteJunk(_)
            | Self::Pause { .. }
            | Self::Tamper { .. }
            | Self::Forge { .. } => Some(format!("^ over: {self}")),
        }
    }

    /// Tells whether the fault lies in the underlay between nodes.
    pub const fn is_underlay(&self) -> bool {
        matches!(
            self,
            Self::Partition { .. } | Self::OneWay { .. } | Self::Loss(_) | Self::Slow(_)
        )
    }

    /// Returns by how much the way to the store is slower, each way.
    pub(crate) const fn slows_store_by(&self) -> Option<Duration> {
        if let Self::StoreSlow(by) = self {
            Some(*by)
        } else {
            None
        }
    }

    /// Tells whether the fault lies in the store or in the way to it, and lasts.
    pub const fn is_store_outage(&self) -> bool {
        matches!(
            self,
            Self::StoreCut { .. } | Self::StoreDown | Self::StoreSlow(_) | Self::StoreFull
        )
    }
}

impl fmt::Display for TimedFault {
    /// Prints `10s to 20s: partition: n1 | the rest`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, until, fault } = self;
        match until {
            Some(until) if !fault.is_instant() => write!(f, "{at:?} to {until:?}: {fault}"),
            Some(_) | None if fault.is_instant() => write!(f, "{at:?}: {fault}"),
            Some(_) | None => write!(f, "from {at:?} on: {fault}"),
        }
    }
}

impl fmt::Display for Fault {
    /// Prints the line of the timeline, for example `partition: n1 n2 | the rest`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partition { nodes } => write!(f, "partition: {} | the rest", Names(nodes)),
            Self::OneWay { from, to } => {
                write!(f, "one-way partition: {} not heard by {}", Names(from), Names(to))
            }
            Self::Loss(probability) => write!(f, "links lose {probability} more"),
            Self::Slow(by) => write!(f, "links slower by {by:?}"),
            Self::StoreCut { nodes, way } => match way {
                StoreWay::Both => write!(f, "store out of reach of {}", Names(nodes)),
                StoreWay::Requests => write!(f, "store does not hear {}", Names(nodes)),
                StoreWay::Answers => write!(f, "answers of the store lost for {}", Names(nodes)),
            },
            Self::StoreDown => f.write_str("store down"),
            Self::StoreSlow(by) => write!(f, "store slower by {by:?}"),
            Self::StoreFull => f.write_str("store out of space"),
            Self::StoreRestore => f.write_str("store backed up"),
            Self::StoreWipe => f.write_str("store loses all its data"),
            Self::Compaction => f.write_str("store compacted"),
            Self::DeleteLease { node } => write!(f, "operator deletes the lease of {node}"),
            Self::WriteJunk(junk) => write!(f, "operator writes junk: {junk}"),
            Self::Crash { node, file } => match file {
                SubnetFileFate::Kept => write!(f, "{node} crashes"),
                SubnetFileFate::Lost => write!(f, "{node} crashes and loses its subnet file"),
            },
            Self::Pause { node } => write!(f, "{node} stands still"),
            Self::Tamper { node, tampering } => match tampering {
                Tampering::DeleteTunnel => write!(f, "tunnel device of {node} deleted"),
                Tampering::SetTunnelDown => write!(f, "tunnel device of {node} set down"),
                Tampering::DeleteRoutes => write!(f, "routes of {node} flushed"),
            },
            Self::Forge { node, forgery } => write!(f, "forged datagram to {node}, {forgery}"),
        }
    }
}

struct Names<'a>(&'a [NodeId]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, node) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{node}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_print_as_lines_of_a_timeline() {
        let nodes = vec![NodeId::new(1), NodeId::new(2)];
        let cut = Fault::StoreCut {
            nodes: nodes.clone(),
            way: StoreWay::Answers,
        };

        assert_eq!(
            Fault::Partition { nodes }.to_string(),
            "partition: n1 n2 | the rest"
        );
        assert_eq!(cut.to_string(), "answers of the store lost for n1 n2");
        assert_eq!(
            Fault::Loss(Probability::percent(5)).to_string(),
            "links lose 5% more"
        );
    }
}
