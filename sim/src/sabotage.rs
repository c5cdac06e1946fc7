//! Ways to break the rules on purpose.

use std::fmt;

/// A way in which every node of ours misbehaves, so that a test can show that the rule's checker notices.
///
/// The engine itself knows nothing of it: what it hears and wants, and what its forwarder makes of packets, is changed on
/// the way between it and the cluster.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Sabotage {
    /// It writes without comparing anything before.
    WriteBlindly,
    /// It goes on with the subnet that it carried first, whatever becomes of its lease.
    CarryOn,
    /// It sends packets for a pod to the node that it sent the first one to.
    SendToOldPeer,
    /// It leaves the time to live of packets as it is.
    KeepTtl,
    /// It drops some packets for pods that it knows.
    LosePackets,
    /// It sends packets with a wrong header checksum.
    BreakChecksums,
    /// It wants to be woken up at once, again and again.
    StayDue,
    /// It asks the store for everything a hundred times.
    Hammer,
    /// It opens each watch two hundred times.
    OpenManyWatches,
    /// It writes its lease in a form that other nodes write otherwise.
    WriteIllegibly,
    /// It counts a packet more than it saw.
    Miscount,
    /// It puts its key on its etcd lease again when an operator has reserved the subnet.
    EndReservations,
    /// It never asks for a lease.
    SitIdle,
}

impl Sabotage {
    /// Every way.
    pub const ALL: [Self; Self::SitIdle as usize + 1] = [
        Self::WriteBlindly,
        Self::CarryOn,
        Self::SendToOldPeer,
        Self::KeepTtl,
        Self::LosePackets,
        Self::BreakChecksums,
        Self::StayDue,
        Self::Hammer,
        Self::OpenManyWatches,
        Self::WriteIllegibly,
        Self::Miscount,
        Self::EndReservations,
        Self::SitIdle,
    ];
}

impl fmt::Display for Sabotage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WriteBlindly => "writes without comparing",
            Self::CarryOn => "carries on with a subnet that is another's",
            Self::SendToOldPeer => "sends to the old peer",
            Self::KeepTtl => "leaves the time to live as it is",
            Self::LosePackets => "drops packets for pods that it knows",
            Self::BreakChecksums => "sends packets with a wrong checksum",
            Self::StayDue => "wants to be woken up at once, always",
            Self::Hammer => "asks for everything a hundred times",
            Self::OpenManyWatches => "opens each watch two hundred times",
            Self::WriteIllegibly => "writes its lease in a form of its own",
            Self::Miscount => "counts a packet too many",
            Self::EndReservations => "ends reservations",
            Self::SitIdle => "never asks for a lease",
        })
    }
}
