//! What people are told.

mod name;

use alloc::string::String;
use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::backend::ConfigError;
use crate::kernel::{IpVersion, KernelError, KernelObject};
use crate::leases::Holders;
use crate::network_config::UnknownKey;
use crate::reject_reason::RejectReason;
use crate::store::{Revision, StoreError};
use crate::subnet::Subnet;
use crate::twin::Twin;
use crate::underlay::Underlay;

/// Something that happened, for logs and timelines; [`fmt::Display`] gives the line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// The store does not answer; what the engine wanted is tried again.
    StoreUnreachable {
        /// What was wanted.
        wanted: &'static str,
        /// Why it failed.
        error: StoreError,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// The store answers again.
    StoreReached,
    /// There is no network config.
    ConfigMissing {
        /// Its key.
        key: String,
        /// When it is looked for again.
        retry_in: Duration,
    },
    /// The network config is refused.
    ConfigInvalid {
        /// Its key.
        key: String,
        /// Why.
        error: ConfigError,
        /// When it is read again.
        retry_in: Duration,
    },
    /// A key of the network config means nothing.
    ConfigKeyUnknown {
        /// The config's key in the store.
        key: String,
        /// The key in the config.
        unknown: UnknownKey,
    },
    /// The network config in the store is another than the one that the node serves, and is not used.
    ConfigUnused {
        /// Its key.
        key: String,
        /// Why.
        reason: ConfigUnused,
    },
    /// The node holds a subnet.
    LeaseAcquired {
        /// The subnet.
        subnet: Subnet,
        /// How it came to it.
        origin: LeaseOrigin,
    },
    /// Another node was faster; another subnet is tried.
    CreateRaceLost {
        /// The subnet that was wanted.
        subnet: Subnet,
    },
    /// No subnet is free.
    SubnetsExhausted {
        /// Who has them.
        holders: Holders,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// The lease lives on.
    LeaseRenewed {
        /// The subnet.
        subnet: Subnet,
        /// Its new time to live.
        ttl: Duration,
    },
    /// The lease is gone or another's; the node acquires one anew.
    LeaseLost {
        /// The subnet.
        subnet: Subnet,
        /// At which revision it was seen.
        revision: Revision,
        /// The address of the node that the lease is written for now, if there is one.
        to: Option<IpAddr>,
    },
    /// The node's lease was written by another machine: the node takes it unless that machine objects.
    LeaseClaimed {
        /// The subnet.
        subnet: Subnet,
        /// How long that machine has for it.
        wait: Duration,
    },
    /// The node carries the subnet of a lease that most likely is its own of old, and takes it unless another machine
    /// objects.
    LeaseResumed {
        /// The subnet.
        subnet: Subnet,
    },
    /// Another machine announces this node's public IP and wants its subnet; the node keeps it.
    PublicIpContested {
        /// That machine, and what it is about.
        twin: Twin,
    },
    /// Another machine announces this node's public IP and holds the subnet that goes with it; the node has none.
    DuplicatePublicIp {
        /// That machine, and what it is about.
        twin: Twin,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// The lease is about to end and could not be renewed; the node carries no traffic until it is.
    Fenced {
        /// The subnet.
        subnet: Subnet,
    },
    /// A peer is new or has changed.
    PeerAdded {
        /// Its subnet.
        subnet: Subnet,
        /// Where it is reached: the first of its addresses.
        public_ip: IpAddr,
    },
    /// A peer's lease is gone.
    PeerRemoved {
        /// Its subnet.
        subnet: Subnet,
    },
    /// Many peers came and went at once.
    PeersChanged {
        /// How many are new or have changed.
        added: usize,
        /// How many are gone.
        removed: usize,
        /// How many there are now.
        peers: usize,
    },
    /// The leases of peers vanished while this node could not follow the store; it goes on forwarding to them until their
    /// leases are back, another lease stands against them, or the time is over.
    PeersStale {
        /// How many.
        peers: usize,
        /// For how long at most, counted while it follows the store.
        grace: Duration,
    },
    /// A record in the store is not used.
    RecordRejected {
        /// Its key.
        key: String,
        /// The IP version that it is not used for, if not all of it is refused for this reason.
        version: Option<IpVersion>,
        /// Why.
        reason: RejectReason,
    },
    /// Many records in the store are not used.
    RecordsRejected {
        /// How many that were used before, or are new.
        count: usize,
        /// The key of the first.
        key: String,
        /// Why the first is not used.
        reason: RejectReason,
    },
    /// There are more records than are read; the rest is left out, and no new subnet is taken.
    TooManyRecords {
        /// What their keys begin with.
        prefix: String,
        /// How many are read.
        read: usize,
    },
    /// The watch ended and all leases were listed instead.
    Relisted {
        /// The revision of the list.
        revision: Revision,
        /// How many leases it has.
        leases: usize,
    },
    /// The watch had kept something back: a list shows other leases than it told of.
    ChangeMissed {
        /// The revision of the list.
        revision: Revision,
    },
    /// The store's history is another than the one followed so far: restored, wiped or replaced.
    StoreRestarted {
        /// The newest revision seen before.
        known: Revision,
        /// The revision found now.
        found: Revision,
    },
    /// A kernel object could not be made; it is tried again.
    KernelFailed {
        /// The object.
        object: KernelObject,
        /// Why.
        error: KernelError,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// The node cannot be looked at.
    SurveyFailed {
        /// Why.
        error: KernelError,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// The interface has another address, MTU, index or name, or is another.
    UnderlayChanged {
        /// What it is now.
        underlay: Underlay,
    },
    /// The backend cannot reach a peer, because it is on no link of this node.
    PeerOffLink {
        /// The peer's range.
        net: IpNet,
        /// Its node's underlay address.
        public_ip: IpAddr,
    },
    /// A kernel object was gone and is made again.
    KernelRepairing {
        /// The object.
        object: KernelObject,
    },
    /// The node carries traffic.
    Ready,
}

/// Why a network config is not used while the node serves another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ConfigUnused {
    /// It is valid, and takes effect when the node starts anew.
    Changed,
    /// It breaks a rule.
    Invalid(ConfigError),
    /// It is gone.
    Deleted,
}

/// How a node came to its subnet.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum LeaseOrigin {
    /// Chosen among the free ones.
    Fresh,
    /// The node's lease was in the store already.
    Reused,
    /// Reserved for the node in the store.
    Reserved,
    /// The one it had before.
    Previous,
    /// Taken back from another machine with the same public IP.
    Defended,
    /// The one it holds: its address or its device is another now.
    Updated,
}

/// How loud an event is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum EventLevel {
    /// A change of state.
    Info,
    /// Something to look at.
    Warn,
}

impl Event {
    /// Returns how loud the event is.
    pub const fn level(&self) -> EventLevel {
        match self {
            Self::StoreReached
            | Self::LeaseAcquired { .. }
            | Self::CreateRaceLost { .. }
            | Self::LeaseRenewed { .. }
            | Self::LeaseClaimed { .. }
            | Self::LeaseResumed { .. }
            | Self::PeerAdded { .. }
            | Self::PeerRemoved { .. }
            | Self::PeersChanged { .. }
            | Self::PeersStale { .. }
            | Self::Relisted { .. }
            | Self::Ready => EventLevel::Info,
            Self::StoreUnreachable { .. }
            | Self::ConfigMissing { .. }
            | Self::ConfigInvalid { .. }
            | Self::ConfigKeyUnknown { .. }
            | Self::ConfigUnused { .. }
            | Self::SubnetsExhausted { .. }
            | Self::LeaseLost { .. }
            | Self::PublicIpContested { .. }
            | Self::DuplicatePublicIp { .. }
            | Self::Fenced { .. }
            | Self::StoreRestarted { .. }
            | Self::RecordRejected { .. }
            | Self::RecordsRejected { .. }
            | Self::TooManyRecords { .. }
            | Self::KernelFailed { .. }
            | Self::ChangeMissed { .. }
            | Self::SurveyFailed { .. }
            | Self::UnderlayChanged { .. }
            | Self::PeerOffLink { .. }
            | Self::KernelRepairing { .. } => EventLevel::Warn,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StoreUnreachable {
                wanted,
                error,
                retry_in,
            } => {
                write!(f, "cannot {wanted}: {error}; trying again in {retry_in:.1?}")
            }
            Self::StoreReached => f.write_str("etcd answers again"),
            Self::ConfigMissing { key, retry_in } => {
                write!(f, "no network config at {key}: write one, for example ")?;
                write!(
                    f,
                    "`etcdctl put {key} '{{\"Network\":\"10.5.0.0/16\"}}'`; looking again in {retry_in:.1?}"
                )
            }
            Self::ConfigInvalid { key, error, retry_in } => {
                write!(
                    f,
                    "network config at {key} is invalid: {error}; reading it again in {retry_in:.1?}"
                )
            }
            Self::ConfigKeyUnknown { key, unknown } => write!(f, "network config at {key}: {unknown}"),
            Self::ConfigUnused { key, reason } => write!(f, "network config at {key} {reason}"),
            Self::LeaseAcquired { subnet, origin } => write!(f, "holding subnet {subnet} ({origin})"),
            Self::CreateRaceLost { subnet } => {
                write!(
                    f,
                    "another node changed the leases while {subnet} was being taken; choosing again"
                )
            }
            Self::SubnetsExhausted { holders, retry_in } => fmt_exhausted(f, holders, *retry_in),
            Self::LeaseRenewed { subnet, ttl } => write!(f, "renewed the lease of {subnet} for {ttl:?}"),
            Self::LeaseLost { subnet, revision, to } => {
                write!(f, "lost the lease of {subnet} at {revision}")?;
                if let Some(public_ip) = to {
                    write!(f, " to {public_ip}, which its key names now")?;
                }
                f.write_str("; acquiring one anew")
            }
            Self::LeaseClaimed { .. }
            | Self::LeaseResumed { .. }
            | Self::PublicIpContested { .. }
            | Self::DuplicatePublicIp { .. } => fmt_contest(self, f),
            Self::Fenced { subnet } => {
                write!(
                    f,
                    "the lease of {subnet} ends and could not be renewed: carrying no traffic until it is"
                )
            }
            Self::PeerAdded { subnet, public_ip } => write!(f, "peer {subnet} via {public_ip}"),
            Self::PeerRemoved { subnet } => write!(f, "peer {subnet} left"),
            Self::PeersChanged {
                added,
                removed,
                peers,
            } => {
                write!(f, "{added} peers came or changed, {removed} left: {peers} now")
            }
            Self::PeersStale { peers, grace } => {
                write!(f, "leases vanished while etcd could not be followed: ")?;
                write!(
                    f,
                    "forwarding to {peers} peers for up to {grace:?} until they write them again"
                )
            }
            Self::RecordRejected { .. } | Self::RecordsRejected { .. } => fmt_rejected(self, f),
            Self::TooManyRecords { prefix, read } => fmt_too_many_records(f, prefix, *read),
            Self::ChangeMissed { revision } => {
                write!(f, "a list at {revision} shows what the watch had kept back")
            }
            Self::Relisted { revision, leases } => write!(f, "listed {leases} leases at {revision}"),
            Self::KernelFailed {
                object,
                error,
                retry_in,
            } => {
                write!(
                    f,
                    "cannot set up {object}: {error}; trying again in {retry_in:.1?}"
                )
            }
            Self::SurveyFailed { error, retry_in } => {
                write!(
                    f,
                    "cannot look at the node: {error}; trying again in {retry_in:.1?}"
                )
            }
            Self::UnderlayChanged { underlay } => write!(f, "the underlay changed: now {underlay}"),
            Self::PeerOffLink { net, public_ip } => write_off_link(f, *net, *public_ip),
            Self::StoreRestarted { known, found } => {
                write!(
                    f,
                    "etcd's history went from {known} to {found}: restored or replaced; starting over"
                )
            }
            Self::KernelRepairing { object } => write!(f, "{object} was gone; making it again"),
            Self::Ready => f.write_str("ready"),
        }
    }
}

fn fmt_exhausted(f: &mut fmt::Formatter<'_>, holders: &Holders, retry_in: Duration) -> fmt::Result {
    write!(f, "no free subnet: {holders} fill the network; ")?;
    write!(
        f,
        "delete leases of dead nodes or enlarge Network; trying again in {retry_in:.1?}"
    )
}

/// Says which records are not used and why; nothing for any other event.
fn fmt_rejected(event: &Event, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if let Event::RecordRejected { key, version, reason } = event {
        f.write_str(match version {
            None => "ignoring ",
            Some(IpVersion::V4) => "ignoring the IPv4 range of ",
            Some(IpVersion::V6) => "ignoring the IPv6 range of ",
        })?;
        return write!(f, "{key}: {}", reason.name());
    }
    if let Event::RecordsRejected { count, key, reason } = event {
        let reason = reason.name();
        return write!(f, "ignoring {count} records, the first is {key}: {reason}");
    }
    Ok(())
}

fn fmt_too_many_records(f: &mut fmt::Formatter<'_>, prefix: &str, read: usize) -> fmt::Result {
    write!(f, "more than {read} records under {prefix}: ")?;
    f.write_str("the rest is not read, and no new subnet is taken; delete what is no lease")
}

/// Says what becomes of a public IP that two machines announce, and the cure; nothing for any other event.
fn fmt_contest(event: &Event, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if let Event::LeaseClaimed { subnet, wait } = event {
        return write!(
            f,
            "another machine with this public IP held {subnet}; taking it unless that objects within {wait:?}"
        );
    }
    if let Event::LeaseResumed { subnet } = event {
        return write!(
            f,
            "carrying {subnet} again, which this node had before, while it claims the lease"
        );
    }
    if let Event::PublicIpContested { twin } = event {
        let cure = twin.cure();
        let Twin {
            public_ip,
            subnet,
            rival,
        } = twin;
        return write!(
            f,
            "{rival} announces this node's public IP {public_ip} and wants {subnet}; keeping it: {cure}"
        );
    }
    if let Event::DuplicatePublicIp { twin, retry_in } = event {
        let cure = twin.cure();
        let Twin {
            public_ip,
            subnet,
            rival,
        } = twin;
        return write!(
            f,
            "public IP {public_ip} is taken: {rival} announces it and holds {subnet}; {cure}; trying again in {retry_in:.1?}"
        );
    }
    Ok(())
}

impl fmt::Display for ConfigUnused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed => {
                f.write_str("changed: restart this node to use it; until then the old one stays")
            }
            Self::Invalid(error) => write!(f, "is invalid now: {error}; the old one stays in use"),
            Self::Deleted => f.write_str("was deleted; the old one stays in use, but no node can start"),
        }
    }
}

fn write_off_link(f: &mut fmt::Formatter<'_>, net: IpNet, public_ip: IpAddr) -> fmt::Result {
    write!(
        f,
        "cannot reach {net}: its node {public_ip} is on no link of this node, and host-gw needs it there; use vxlan, or join the \
         two networks on one link"
    )
}

impl fmt::Display for LeaseOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fresh => "free one chosen",
            Self::Reused => "own lease found",
            Self::Reserved => "reserved for this node",
            Self::Previous => "held before",
            Self::Defended => "taken back",
            Self::Updated => "announced anew",
        })
    }
}
