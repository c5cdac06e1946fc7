//! The decisions of an overlay network node, and nothing else.
//!
//! The crate has no sockets, no files, no clock and no hidden randomness: it is `#![no_std]`, so the compiler
//! proves it. Two drivers turn its decisions into deeds: the simulator (`selvedge-sim`) and the host
//! (`selvedge-host`).
//!
//! # The contract
//!
//! [`Engine`] decides about leases, peers and the kernel's state. After each `handle_*` call the driver drains
//! [`Engine::poll_action`] until `None`, then reads [`Engine::poll_timeout`], which then lies in the future.
//! Time is an argument everywhere and never runs backwards; randomness comes from the seed alone.
//!
//! [`Forwarder`] decides about packets: in place, without allocation, one packet in, at most one packet out.
//! Both halves share one immutable [`ForwardingTable`].
//!
//! [`Segmentation`] and [`Coalescer`] let super-packets pass between the tunnel device and the socket: they cut and
//! merge byte slices without a copy of the payload.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod action;
mod allocator;
mod backend;
mod backoff;
mod checksum;
mod counter;
mod desired;
mod drop_reason;
mod engine;
mod event;
mod firewall;
mod forwarder;
mod forwarding_table;
mod health;
mod holdings;
mod icmp;
mod input;
mod ipv4;
mod json;
mod kernel;
mod lease;
mod leases;
mod leftovers;
mod machine_id;
mod network_config;
mod offload;
mod ownership;
mod peers;
mod public_addresses;
mod recording;
mod reject_reason;
mod rng;
mod setup;
mod snapshot;
mod status;
mod store;
mod subnet;
mod subnet_file;
mod text_bytes;
mod time;
mod token_bucket;
mod twin;
mod underlay;
mod vteps;
mod ways;

pub use action::{Action, ExitReason, OpId, RequestId, WatchId};
pub use action::{Command, KernelEvent, StoreEvent};
pub use allocator::{pick_v4, pick_v6};
pub use backend::ConfigError;
pub use counter::PacketCounters;
pub use desired::Owner;
pub use drop_reason::DropReason;
pub use engine::Engine;
pub use event::{ConfigUnused, Event, EventLevel, LeaseOrigin};
pub use firewall::{
    DirectTraffic, FilterCounter, FilteredNode, ForwardRules, MembershipFilter, SourcePorts, TrafficOptions,
    TunnelTraffic, fit_iptables_script, iptables_rules_of_ours, traffic_rulesets,
};
pub use forwarder::{Forwarder, Inbound, Outbound};
pub use forwarding_table::{ForwardingTable, TunnelParams};
pub use health::{ConfigProblem, FailingObject, Health, Obstacle, Reachability};
pub use holdings::Holdings;
pub use input::Input;
pub use kernel::{
    Address, FLANNEL_ROUTE_PROTOCOL, FdbEntry, FirewallTool, FoundAddress, FoundFirewall, FoundHop,
    FoundKind, FoundLink, FoundRoute, FoundVxlan, GroupPolicy, IpVersion, KernelError, KernelErrorKind,
    KernelFacts, KernelObject, KernelOp, Learning, Link, LinkKind, LinkName, LinkState, MacAddress,
    MacAddressError, Member, Neighbour, NextHop, ObjectKind, ROUTE_PROTOCOL, Route, RouteMark, Ruleset,
    RulesetName, Survey, Sysctl, Vni, VniError, Vxlan,
};
pub use lease::LeaseRecord;
pub use leases::Holders;
pub use leftovers::leftovers;
pub use machine_id::MachineId;
pub use network_config::{
    BackendConfig, Firewall, NetworkConfig, NetworkConfigError, Range4, Range6, UnknownKey,
};
pub use offload::{
    Coalesced, Coalescer, CoalescerOptions, Ecn, Gso, GsoKind, Merging, OffloadError, PartialChecksum,
    PushError, Segmentation, SuperPacket, VnetHeader,
};
pub use recording::{
    ActionHash, Continuation, Continued, Recorded, Recorder, Recording, RecordingEnd, RecordingError,
    RecordingHeader,
};
pub use reject_reason::RejectReason;
pub use rng::Rng;
pub use setup::{Errand, LeasePolicy, Membership, OnExpiry, OnLoss, OnOverlap, Setup, StorePrefix};
pub use snapshot::{Snapshot, SnapshotError};
pub use status::{Explanation, Phase, Status, Summary};
pub use store::{
    Compare, CompareOp, CompareTarget, EtcdLeaseId, Header, KeyRange, KeyValue, Page, Revision, StoreError,
    StoreErrorKind, StoreRequest, StoreResponse, Txn, TxnOp, TxnOpResponse, TxnOutcome, WatchEnd, WatchEvent,
};
pub use subnet::Subnet;
pub use subnet_file::{Masquerade, PreviousSubnet, SubnetFile};
pub use time::Instant;
pub use twin::{Rival, Twin};
pub use underlay::{
    AddressFlags, Attachments, Families, Interface, InterfaceAddress, InterfaceChoice, Refusal, RouteLookup,
    SelectError, Selection, Underlay,
};
