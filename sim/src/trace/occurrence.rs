//! What a line of the trace says.

use std::fmt;
use std::net::Ipv4Addr;

use selvedge_engine::{DropReason, RequestId};

use crate::links::LossCause;
use crate::linux::LinuxDrop;
use crate::node_id::NodeId;
use crate::probe::Cargo;

/// Something that happened.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Occurrence {
    /// Something about leases, peers, the store, the kernel or a fault; rare, so it is text.
    Control {
        weight: Weight,
        topic: Topic,
        text: Box<str>,
    },
    /// A step of a packet; frequent, so it becomes text only when someone reads it.
    Packet { cargo: Cargo, step: PacketStep },
}

/// Whether people want to see it in a timeline.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Weight {
    Milestone,
    Detail,
}

/// What a line about control is about, as far as pictures tell it apart.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Topic {
    General,
    /// A node asks the store something.
    Ask(RequestId),
    /// A node hears the store's answer.
    Answer(RequestId),
    /// A node hears that its request failed.
    Failure(RequestId),
    /// A watch of a node begins, says something or ends.
    Watch,
}

/// A step on a packet's way.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum PacketStep {
    PodSends { destination: Ipv4Addr },
    OnTheWire { to: NodeId, ttl: u8 },
    Lost { to: NodeId, cause: LossCause },
    NobodyListens,
    QueueFull,
    PodGets { ttl: u8 },
    PodRefuses,
    HostGets,
    DroppedByKernel(LinuxDrop),
    DroppedByForwarder(DropReason),
    DroppedByRouter,
    NoTable,
}

impl Occurrence {
    pub(crate) fn milestone(text: impl Into<Box<str>>) -> Self {
        Self::Control {
            weight: Weight::Milestone,
            topic: Topic::General,
            text: text.into(),
        }
    }

    pub(crate) fn detail(text: impl Into<Box<str>>) -> Self {
        Self::message(Topic::General, text)
    }

    /// Makes a detail of a known topic.
    pub(crate) fn message(topic: Topic, text: impl Into<Box<str>>) -> Self {
        Self::Control {
            weight: Weight::Detail,
            topic,
            text: text.into(),
        }
    }

    pub(super) const fn weight(&self) -> Weight {
        match self {
            Self::Control { weight, .. } => *weight,
            Self::Packet { .. } => Weight::Detail,
        }
    }

    /// Returns the other node that is involved.
    pub(super) const fn partner(&self) -> Option<NodeId> {
        match self {
            Self::Packet {
                step: PacketStep::OnTheWire { to, .. } | PacketStep::Lost { to, .. },
                ..
            } => Some(*to),
            Self::Packet { .. } | Self::Control { .. } => None,
        }
    }
}

impl fmt::Display for Occurrence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control { text, .. } => f.write_str(text),
            Self::Packet { cargo, step } => write!(f, "{cargo} {step}"),
        }
    }
}

impl fmt::Display for PacketStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PodSends { destination } => write!(f, "sent by a pod to {destination}"),
            Self::OnTheWire { to, ttl } => write!(f, "on the wire to {to}, ttl {ttl}"),
            Self::Lost { to, cause } => match cause {
                LossCause::Chance => write!(f, "lost on the link to {to}"),
                LossCause::Cut => write!(f, "lost: the link to {to} is cut"),
                LossCause::Damage => write!(f, "lost: {to} finds its UDP checksum wrong"),
                LossCause::Queue => write!(f, "lost: the link to {to} is full"),
                LossCause::TooBig => write!(f, "lost: too large for the link to {to}"),
            },
            Self::NobodyListens => f.write_str("lost: no daemon listens"),
            Self::QueueFull => f.write_str("lost: the socket's queue is full"),
            Self::PodGets { ttl } => write!(f, "received by a pod, ttl {ttl}"),
            Self::PodRefuses => f.write_str("refused by a pod: its checksum is wrong"),
            Self::HostGets => f.write_str("received by the node itself"),
            Self::DroppedByKernel(reason) => write!(f, "dropped by the kernel: {reason}"),
            Self::DroppedByForwarder(reason) => write!(f, "dropped by the forwarder: {}", reason.name()),
            Self::DroppedByRouter => {
                f.write_str("dropped by the router of the underlay, which knows no pods")
            }
            Self::NoTable => f.write_str("dropped: no forwarding table yet"),
        }
    }
}
