//! Situations that show that the simulator goes where it matters.

use std::fmt;

/// Something that has to happen to some node in some run.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Situation {
    /// A node chose a free subnet.
    LeaseFresh,
    /// A node found its own lease in the store.
    LeaseReused,
    /// A node took the subnet that it had before.
    LeasePrevious,
    /// A node took a subnet that was reserved for it.
    LeaseReserved,
    /// A node lost its lease and took the same subnet again.
    LostAndReclaimed,
    /// A node lost its lease and took another subnet.
    LostAndMoved,
    /// A daemon ended because its lease was lost, and was started again.
    EndedOnLoss,
    /// A node stopped carrying packets because its lease was about to end.
    Fenced,
    /// An etcd lease ended because its time was over.
    LeaseExpired,
    /// A renewal found its etcd lease gone.
    RenewalFoundNoLease,
    /// A node revoked an etcd lease that no key hung on.
    OrphanRevoked,
    /// A node wanted a subnet while others changed the leases.
    CreateRaceLost,
    /// A write got no answer although it was carried out.
    CommitUnknownAndDone,
    /// A write got no answer and was not carried out.
    CommitUnknownAndNotDone,
    /// A node found no free subnet.
    SubnetsExhausted,
    /// A node found the history gone that it wanted to watch.
    WatchCompacted,
    /// A list of all leases told a node of a change that its watch never did.
    LostChangeRepaired,
    /// A node noticed that the history of the store was another.
    StoreRestarted,
    /// A node found no network config.
    ConfigMissing,
    /// A node found an invalid network config.
    ConfigInvalid,
    /// The network config was deleted while a node served it.
    ConfigDeletedWhileServed,
    /// Another valid network config was written while a node served one.
    ConfigChangedWhileServed,
    /// The network config became invalid while a node served it.
    ConfigInvalidWhileServed,
    /// A node made anew what somebody had taken away in its kernel.
    KernelRepaired,
    /// A node went on forwarding to peers whose leases had vanished while it could not look.
    PeersKept,
    /// A packet of a pod went to the underlay's router, which dropped it.
    DroppedByRouter,
    /// A core of nodes came to rest while others stayed broken.
    CoreAtRest,
    /// A probe arrived with the `udp` backend.
    CarriedByUdp,
    /// A probe arrived with the `vxlan` backend.
    CarriedByVxlan,
    /// A probe arrived with the `host-gw` backend.
    CarriedByHostGw,
    /// A packet went to another node of its segment as it is although others go in VXLAN datagrams.
    DirectRoute,
    /// A node made a neighbour or forwarding entry anew.
    EntryRepaired,
    /// A node made a device anew.
    DeviceRecreated,
    /// A node that keeps its subnet said in its lease that its VXLAN device has another hardware address.
    VtepAnnounced,
    /// A node that keeps its subnet said in its lease that its underlay address is another.
    AddressAnnounced,
    /// A node said that it cannot reach a peer that is on none of its links.
    OffLinkPeerTold,
    /// A node took over the VXLAN device that flannel left.
    FlannelsDeviceAdopted,
    /// A daemon was started again and found that its kernel held all that it wants.
    RestartFoundAll,
}

impl Situation {
    /// Every situation.
    pub const ALL: [Self; Self::RestartFoundAll as usize + 1] = [
        Self::LeaseFresh,
        Self::LeaseReused,
        Self::LeasePrevious,
        Self::LeaseReserved,
        Self::LostAndReclaimed,
        Self::LostAndMoved,
        Self::EndedOnLoss,
        Self::Fenced,
        Self::LeaseExpired,
        Self::RenewalFoundNoLease,
        Self::OrphanRevoked,
        Self::CreateRaceLost,
        Self::CommitUnknownAndDone,
        Self::CommitUnknownAndNotDone,
        Self::SubnetsExhausted,
        Self::WatchCompacted,
        Self::LostChangeRepaired,
        Self::StoreRestarted,
        Self::ConfigMissing,
        Self::ConfigInvalid,
        Self::ConfigDeletedWhileServed,
        Self::ConfigChangedWhileServed,
        Self::ConfigInvalidWhileServed,
        Self::KernelRepaired,
        Self::PeersKept,
        Self::DroppedByRouter,
        Self::CoreAtRest,
        Self::CarriedByUdp,
        Self::CarriedByVxlan,
        Self::CarriedByHostGw,
        Self::DirectRoute,
        Self::EntryRepaired,
        Self::DeviceRecreated,
        Self::VtepAnnounced,
        Self::AddressAnnounced,
        Self::OffLinkPeerTold,
        Self::FlannelsDeviceAdopted,
        Self::RestartFoundAll,
    ];
}

impl fmt::Display for Situation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::LeaseFresh => "a free subnet was chosen",
            Self::LeaseReused => "a node found its lease",
            Self::LeasePrevious => "a node took its earlier subnet again",
            Self::LeaseReserved => "a node took a reservation",
            Self::LostAndReclaimed => "a lease was lost and the same subnet taken",
            Self::LostAndMoved => "a lease was lost and another subnet taken",
            Self::EndedOnLoss => "a daemon ended because its lease was lost",
            Self::Fenced => "a node stopped before its lease ended",
            Self::LeaseExpired => "an etcd lease ended because its time was over",
            Self::RenewalFoundNoLease => "a renewal found its etcd lease gone",
            Self::OrphanRevoked => "an etcd lease that no key hangs on was revoked",
            Self::CreateRaceLost => "a create race was lost",
            Self::CommitUnknownAndDone => "a commit was unknown and had happened",
            Self::CommitUnknownAndNotDone => "a commit was unknown and had not happened",
            Self::SubnetsExhausted => "subnets were exhausted",
            Self::WatchCompacted => "a watch was compacted while its node was cut off",
            Self::LostChangeRepaired => "a list repaired a lost change",
            Self::StoreRestarted => "the store went back in time or became another",
            Self::ConfigMissing => "there was no network config",
            Self::ConfigInvalid => "the network config was invalid",
            Self::ConfigDeletedWhileServed => "the network config was deleted while served",
            Self::ConfigChangedWhileServed => "the network config was changed while served",
            Self::ConfigInvalidWhileServed => "the network config became invalid while served",
            Self::KernelRepaired => "a node repaired what others had changed",
            Self::PeersKept => "peers were kept whose leases had vanished",
            Self::DroppedByRouter => "a packet went astray to the router",
            Self::CoreAtRest => "a core came to rest while others stayed broken",
            Self::CarriedByUdp => "udp carried a packet",
            Self::CarriedByVxlan => "vxlan carried a packet",
            Self::CarriedByHostGw => "host-gw carried a packet",
            Self::DirectRoute => "a packet went to a neighbour as it is beside vxlan",
            Self::EntryRepaired => "a lost neighbour or forwarding entry was made again",
            Self::DeviceRecreated => "a device was made again",
            Self::VtepAnnounced => "another hardware address was announced",
            Self::AddressAnnounced => "another underlay address was announced",
            Self::OffLinkPeerTold => "a peer was told to be on no link",
            Self::FlannelsDeviceAdopted => "a device of flannel's was taken over",
            Self::RestartFoundAll => "a restart found all that it wants in the kernel",
        })
    }
}
