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
    /// It keeps the route of a lease that is gone.
    KeepGoneRoutes,
    /// It takes packets with a source that is not their sender's.
    TakeAnySource,
    /// It leaves the time to live of packets as it is.
    KeepTtl,
    /// It sends each datagram twice.
    SendTwice,
    /// It makes ICMP errors about datagrams that are no packets.
    AnswerNoise,
    /// It makes an ICMP error about every packet that it has no route for.
    AnswerEverything,
    /// It drops some packets for pods that it knows.
    LosePackets,
    /// It sends packets with a wrong header checksum.
    BreakChecksums,
    /// It wants to be woken up at once, again and again.
    StayDue,
    /// It deletes another program's route.
    DeleteForeignRoute,
    /// It makes a setting of its device other than it knows.
    SetOtherwise,
    /// It asks the store for everything twice.
    AskTwice,
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
        Self::KeepGoneRoutes,
        Self::TakeAnySource,
        Self::KeepTtl,
        Self::SendTwice,
        Self::AnswerNoise,
        Self::AnswerEverything,
        Self::LosePackets,
        Self::BreakChecksums,
        Self::StayDue,
        Self::DeleteForeignRoute,
        Self::SetOtherwise,
        Self::AskTwice,
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
            Self::KeepGoneRoutes => "keeps the route of a lease that is gone",
            Self::TakeAnySource => "takes packets with any source",
            Self::KeepTtl => "leaves the time to live as it is",
            Self::SendTwice => "sends each datagram twice",
            Self::AnswerNoise => "makes errors about what is no packet",
            Self::AnswerEverything => "makes any number of errors",
            Self::LosePackets => "drops packets for pods that it knows",
            Self::BreakChecksums => "sends packets with a wrong checksum",
            Self::StayDue => "wants to be woken up at once, always",
            Self::DeleteForeignRoute => "deletes another program's route",
            Self::SetOtherwise => "makes a setting other than it knows",
            Self::AskTwice => "asks for everything twice",
            Self::OpenManyWatches => "opens each watch two hundred times",
            Self::WriteIllegibly => "writes its lease in a form of its own",
            Self::Miscount => "counts a packet too many",
            Self::EndReservations => "ends reservations",
            Self::SitIdle => "never asks for a lease",
        })
    }
}
