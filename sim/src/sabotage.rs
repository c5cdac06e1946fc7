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
    /// It goes on when its lease is about to end.
    IgnoreFence,
    /// It sends packets for a pod to the node that it sent the first one to.
    SendToOldPeer,
    /// It sends packets as if the pod that they are for had sent them.
    Impersonate,
    /// It keeps the route of a lease that is gone.
    KeepGoneRoutes,
    /// It does not see its own lease when it lists all, and knows nothing of an earlier life.
    ForgetItself,
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
    /// It ends as soon as it is ready.
    GiveUp,
    /// It keeps records in mind that are gone.
    Hoard,
    /// It deletes another program's route.
    DeleteForeignRoute,
    /// It forgets its peers when it loses the store.
    ForgetPeers,
    /// It forgets its peers when the store loses its history.
    ForgetPeersWithStore,
    /// It keeps a peer whose lease vanished with the store's history for an hour.
    KeepStalePeers,
    /// It says nothing of a store that has become another.
    HideRestart,
    /// It acts on what it knew already.
    ActOnOldNews,
    /// It makes a setting of its device other than it knows.
    SetOtherwise,
    /// It asks the store for everything twice.
    AskTwice,
    /// It asks the store for two more things with each list of the leases.
    AskInVain,
    /// It opens each watch two hundred times.
    OpenManyWatches,
    /// It writes its lease in a form that other nodes write otherwise.
    WriteIllegibly,
    /// It counts a packet more than it saw.
    Miscount,
    /// It puts its key on an etcd lease again when an operator has reserved the subnet.
    EndReservations,
    /// It draws what it chooses from something outside the scenario.
    DrawElsewhere,
    /// It never lists all leases again.
    NeverCompare,
    /// It carries no packets any more once it had to stop before its lease ended.
    StayFenced,
    /// It asks for no other lease once it has lost one.
    Despair,
    /// It never asks for a lease.
    SitIdle,
    /// It does not see that its underlay address is another.
    KeepOldAddress,
}

impl Sabotage {
    /// Every way.
    pub const ALL: [Self; Self::KeepOldAddress as usize + 1] = [
        Self::WriteBlindly,
        Self::CarryOn,
        Self::IgnoreFence,
        Self::SendToOldPeer,
        Self::Impersonate,
        Self::KeepGoneRoutes,
        Self::ForgetItself,
        Self::TakeAnySource,
        Self::KeepTtl,
        Self::SendTwice,
        Self::AnswerNoise,
        Self::AnswerEverything,
        Self::LosePackets,
        Self::BreakChecksums,
        Self::StayDue,
        Self::GiveUp,
        Self::Hoard,
        Self::DeleteForeignRoute,
        Self::ForgetPeers,
        Self::ForgetPeersWithStore,
        Self::KeepStalePeers,
        Self::HideRestart,
        Self::ActOnOldNews,
        Self::SetOtherwise,
        Self::AskTwice,
        Self::AskInVain,
        Self::OpenManyWatches,
        Self::WriteIllegibly,
        Self::Miscount,
        Self::EndReservations,
        Self::DrawElsewhere,
        Self::NeverCompare,
        Self::StayFenced,
        Self::Despair,
        Self::SitIdle,
        Self::KeepOldAddress,
    ];
}

impl fmt::Display for Sabotage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WriteBlindly => "writes without comparing",
            Self::CarryOn => "carries on with a subnet that is another's",
            Self::IgnoreFence => "goes on when its lease ends",
            Self::SendToOldPeer => "sends to the old peer",
            Self::Impersonate => "sends packets in the name of other pods",
            Self::KeepGoneRoutes => "keeps the route of a lease that is gone",
            Self::ForgetItself => "does not see its own lease",
            Self::TakeAnySource => "takes packets with any source",
            Self::KeepTtl => "leaves the time to live as it is",
            Self::SendTwice => "sends each datagram twice",
            Self::AnswerNoise => "makes errors about what is no packet",
            Self::AnswerEverything => "makes any number of errors",
            Self::LosePackets => "drops packets for pods that it knows",
            Self::BreakChecksums => "sends packets with a wrong checksum",
            Self::StayDue => "wants to be woken up at once, always",
            Self::GiveUp => "ends as soon as it is ready",
            Self::Hoard => "keeps records in mind that are gone",
            Self::DeleteForeignRoute => "deletes another program's route",
            Self::ForgetPeers => "forgets its peers when it loses the store",
            Self::ForgetPeersWithStore => "forgets its peers when the store loses its history",
            Self::KeepStalePeers => "keeps stale peers for an hour",
            Self::HideRestart => "says nothing of another store",
            Self::ActOnOldNews => "acts on what it knew already",
            Self::SetOtherwise => "makes a setting other than it knows",
            Self::AskTwice => "asks for everything twice",
            Self::AskInVain => "asks for two more things with each list",
            Self::OpenManyWatches => "opens each watch two hundred times",
            Self::WriteIllegibly => "writes its lease in a form of its own",
            Self::Miscount => "counts a packet too many",
            Self::EndReservations => "ends reservations",
            Self::DrawElsewhere => "draws from outside the scenario",
            Self::NeverCompare => "never lists all leases again",
            Self::StayFenced => "stays fenced",
            Self::Despair => "asks for no other lease",
            Self::SitIdle => "never asks for a lease",
            Self::KeepOldAddress => "does not see that its address is another",
        })
    }
}
