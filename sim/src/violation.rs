//! What a failing run says.

use std::fmt;

use selvedge_engine::Instant;

use crate::flannel::Defect;
use crate::node_id::NodeId;

/// The rules that every run has to keep.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Invariant {
    /// No two nodes hold overlapping subnets, as far as they can know.
    SingleOwner,
    /// Where nodes stop before their leases end, no subnet has two live data paths at any instant.
    OneDataPath,
    /// Every datagram goes to the node that holds the inner destination, as the store said when the sender looked.
    RightPeer,
    /// A node accepts an inner source only from the node whose lease covers it, as far as it can know.
    SourceBinding,
    /// A change of the leases reaches every node that reaches the store within a bound.
    Convergence,
    /// A node keeps its subnet unless another was given it.
    Identity,
    /// A packet's time to live only falls, and no packet takes a way twice.
    HopLimit,
    /// No node makes more traffic than it gets; ICMP errors are limited, and only made where they are allowed.
    Amplification,
    /// A packet reaches the pod that it is for, once and unchanged, unless something excuses its loss.
    Delivery,
    /// Every datagram between nodes carries a valid IPv4 packet that fits the underlay.
    WireFormat,
    /// After a full drain the engine's next timeout lies in the future, and it ends only when asked to.
    Contract,
    /// What a daemon holds is bounded by what the cluster holds.
    Bounds,
    /// What other programs hold on a node stays as it was.
    ForeignState,
    /// Nothing that works is taken away unless the store said something.
    FailStatic,
    /// At rest there is nothing left to do, and doing all of it again changes nothing.
    Idempotence,
    /// A node's view of the store only goes forward, and what it knows already changes nothing.
    Monotone,
    /// Requests to the store have a deadline, one of each kind is open at a time, and few are made in a minute.
    StoreRequests,
    /// Every lease that a node writes can be read by all.
    StoreValues,
    /// The counters of a forwarder add up to the packets that it saw.
    Counters,
    /// A reservation stays one until an operator says otherwise.
    Reservations,
    /// Once faults are over, every node holds a lease, knows every other and reaches it.
    AtRest,
    /// A core of nodes that heals comes to rest, whatever else stays broken.
    Liveness,
    /// A scenario makes the same run every time.
    Replay,
    /// A check that the run's author added.
    Custom,
}

impl Invariant {
    /// Every rule.
    pub const ALL: [Self; Self::Custom as usize + 1] = [
        Self::SingleOwner,
        Self::OneDataPath,
        Self::RightPeer,
        Self::SourceBinding,
        Self::Convergence,
        Self::Identity,
        Self::HopLimit,
        Self::Amplification,
        Self::Delivery,
        Self::WireFormat,
        Self::Contract,
        Self::Bounds,
        Self::ForeignState,
        Self::FailStatic,
        Self::Idempotence,
        Self::Monotone,
        Self::StoreRequests,
        Self::StoreValues,
        Self::Counters,
        Self::Reservations,
        Self::AtRest,
        Self::Liveness,
        Self::Replay,
        Self::Custom,
    ];

    /// Tells whether what packets did shows why it broke, rather than what leases did.
    pub(crate) const fn is_about_packets(self) -> bool {
        match self {
            Self::RightPeer
            | Self::SourceBinding
            | Self::HopLimit
            | Self::Amplification
            | Self::Delivery
            | Self::WireFormat
            | Self::Counters => true,
            Self::SingleOwner
            | Self::OneDataPath
            | Self::Convergence
            | Self::Identity
            | Self::Contract
            | Self::Bounds
            | Self::ForeignState
            | Self::FailStatic
            | Self::Idempotence
            | Self::Monotone
            | Self::StoreRequests
            | Self::StoreValues
            | Self::Reservations
            | Self::AtRest
            | Self::Liveness
            | Self::Replay
            | Self::Custom => false,
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SingleOwner => "single owner",
            Self::OneDataPath => "one data path",
            Self::RightPeer => "right peer",
            Self::SourceBinding => "source binding",
            Self::Convergence => "convergence",
            Self::Identity => "identity",
            Self::HopLimit => "hop limit",
            Self::Amplification => "amplification",
            Self::Delivery => "delivery",
            Self::WireFormat => "wire format",
            Self::Contract => "engine contract",
            Self::Bounds => "bounds",
            Self::ForeignState => "foreign state",
            Self::FailStatic => "fail static",
            Self::Idempotence => "idempotence",
            Self::Monotone => "monotone",
            Self::StoreRequests => "store requests",
            Self::StoreValues => "store values",
            Self::Counters => "counters",
            Self::Reservations => "reservations",
            Self::AtRest => "at rest",
            Self::Liveness => "liveness",
            Self::Replay => "replay",
            Self::Custom => "custom check",
        })
    }
}

/// A broken invariant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    /// Which one.
    pub invariant: Invariant,
    /// When it was seen.
    pub at: Instant,
    /// The nodes involved.
    pub nodes: Vec<NodeId>,
    /// What happened.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} broken at {}: {}", self.invariant, self.at, self.text)
    }
}

/// What a checker finds, before it is known when.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Finding {
    pub(crate) invariant: Invariant,
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) text: String,
    /// Whose doing it is, if that is not plain from the nodes.
    pub(crate) culprit: Option<NodeId>,
    /// The defect of flannel that it shows, if that is plain from the finding alone.
    pub(crate) defect: Option<Defect>,
}

/// A broken invariant that is the doing of flannel nodes alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attributed {
    /// What broke.
    pub violation: Violation,
    /// The defect behind it, if it is a known one.
    pub defect: Option<Defect>,
}

impl Finding {
    pub(crate) fn new(invariant: Invariant, nodes: impl Into<Vec<NodeId>>, text: impl Into<String>) -> Self {
        Self {
            invariant,
            nodes: nodes.into(),
            text: text.into(),
            culprit: None,
            defect: None,
        }
    }

    /// Says whose doing it is.
    pub(crate) fn by(self, culprit: NodeId) -> Self {
        Self {
            culprit: Some(culprit),
            ..self
        }
    }

    /// Says which defect of flannel it shows.
    pub(crate) fn showing(self, defect: Defect) -> Self {
        Self {
            defect: Some(defect),
            ..self
        }
    }

    pub(crate) fn at(self, at: Instant) -> Violation {
        Violation {
            invariant: self.invariant,
            at,
            nodes: self.nodes,
            text: self.text,
        }
    }
}
