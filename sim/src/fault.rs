//! What goes wrong in a cluster.

mod concern;
mod kind;
mod link;
mod named;
mod node;
mod remains;
mod store;
mod underlay;

use std::fmt;
use std::time::Duration;

use crate::node_id::NodeId;
pub(crate) use concern::{Concern, Part};
pub use kind::FaultKind;
pub use link::{Damage, LinkFault};
pub(crate) use named::Named;
pub use node::{NodeFault, SubnetFileFate, Tampering};
pub use store::{ConfigDamage, StoreFault, StoreWay, WriteFate};
pub use underlay::UnderlayFault;

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
///
/// In the text form the names of both variants are the `kind`, as in `store_cut`, and the fields are keys beside it; a
/// field without a name is the `value`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Between some nodes and others.
    Underlay(UnderlayFault),
    /// On every link of the underlay.
    Link(LinkFault),
    /// In the store, or on the way to it.
    Store(StoreFault),
    /// On a node.
    Node {
        /// The node.
        node: NodeId,
        /// What goes wrong there.
        fault: NodeFault,
    },
}

impl Fault {
    /// Tells whether the fault happens at once and has no end.
    pub const fn is_instant(&self) -> bool {
        match self {
            Self::Underlay(_) | Self::Link(_) => false,
            Self::Store(fault) => fault.is_instant(),
            Self::Node { fault, .. } => fault.is_instant(),
        }
    }

    /// Returns which part of the cluster the fault lies in.
    pub(crate) fn concern(&self) -> Concern {
        match self {
            Self::Underlay(fault) => fault.concern(),
            Self::Link(_) => Concern {
                part: Part::Underlay,
                nodes: Vec::new(),
            },
            Self::Store(fault) => fault.concern(),
            Self::Node { node, .. } => Concern {
                part: Part::Node,
                nodes: vec![*node],
            },
        }
    }

    /// Tells whether the fault lies in the underlay between nodes.
    pub const fn is_underlay(&self) -> bool {
        match self {
            Self::Underlay(_) | Self::Link(_) => true,
            Self::Store(_) | Self::Node { .. } => false,
        }
    }

    /// Tells whether the fault lies in the store or in the way to it, and lasts.
    pub fn is_store_outage(&self) -> bool {
        match self {
            Self::Store(fault) => fault.is_outage(),
            Self::Underlay(_) | Self::Link(_) | Self::Node { .. } => false,
        }
    }

    /// Returns the line of the timeline for its end; what keeps a daemon down has none, for the new start has one.
    pub(crate) fn end(&self) -> Option<String> {
        match self {
            Self::Store(StoreFault::Restore) => Some("! store restored from the backup".to_owned()),
            Self::Node { fault, .. } if fault.keeps_daemon_down() => None,
            Self::Underlay(_) | Self::Link(_) | Self::Store(_) | Self::Node { .. } => {
                Some(format!("^ over: {self}"))
            }
        }
    }
}

impl From<UnderlayFault> for Fault {
    fn from(fault: UnderlayFault) -> Self {
        Self::Underlay(fault)
    }
}

impl From<LinkFault> for Fault {
    fn from(fault: LinkFault) -> Self {
        Self::Link(fault)
    }
}

impl From<StoreFault> for Fault {
    fn from(fault: StoreFault) -> Self {
        Self::Store(fault)
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
            Self::Underlay(fault) => fault.fmt(f),
            Self::Link(fault) => fault.fmt(f),
            Self::Store(fault) => fault.fmt(f),
            Self::Node { node, fault } => fault.fmt_for(*node, f),
        }
    }
}

/// Prints `n1 n2`.
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
    use crate::probability::Probability;

    #[test]
    fn faults_print_as_lines_of_a_timeline() {
        let nodes = vec![NodeId::new(1), NodeId::new(2)];
        let cut = StoreFault::Cut {
            nodes: nodes.clone(),
            way: StoreWay::Answers,
        };
        let crash = Fault::Node {
            node: NodeId::new(3),
            fault: NodeFault::Crash {
                file: SubnetFileFate::Lost,
            },
        };

        assert_eq!(
            UnderlayFault::Partition { nodes }.to_string(),
            "partition: n1 n2 | the rest"
        );
        assert_eq!(cut.to_string(), "answers of the store lost for n1 n2");
        assert_eq!(crash.to_string(), "n3 crashes and loses its subnet file");
        assert_eq!(
            LinkFault::Loss(Probability::percent(5)).to_string(),
            "links lose 5% more"
        );
    }
}
