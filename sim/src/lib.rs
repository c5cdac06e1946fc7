//! Whole overlay clusters in one process, one thread and no time at all.
//!
//! ```
//! use std::time::Duration;
//!
//! use selvedge_sim::{Cluster, Probability};
//!
//! let report = Cluster::new(42)
//!     .nodes(5)
//!     .network("10.5.0.0/16")
//!     .delay(Duration::from_millis(2))
//!     .loss(Probability::percent(1))
//!     .partition_at(Duration::from_secs(60), [1, 2])
//!     .heal_at(Duration::from_secs(90))
//!     .crash_at(Duration::from_secs(120), 3)
//!     .restart_at(Duration::from_secs(130), 3)
//!     .check_at(Duration::from_secs(100), "n1 knows everybody", |cluster| {
//!         let peers = cluster.status(1).map_or(0, |status| status.peers.len());
//!         if peers == 4 { Ok(()) } else { Err(format!("it knows {peers}")) }
//!     })
//!     .run_for(Duration::from_secs(200));
//!
//! report.assert_ok();
//! assert_eq!(report.leases().len(), 5);
//! println!("{report}");
//! ```
//!
//! Each node is the real engine and the real forwarder, the same code that the daemon runs. Around them everything
//! is a model: the store ([`EtcdStore`]), Linux ([`Linux`]), the underlay's links, the connections to the store,
//! and the clock, which jumps from one event to the next. Ten minutes of ten nodes take a few milliseconds.
//!
//! # What holds
//!
//! Pods send each other probes all the time, and a model that hears every write to the store and every fault knows what
//! has to become of each. After every event the run is checked against the rules of [`Invariant`]; the first that
//! breaks ends the run, and [`Report::assert_ok`] tells the story. A rule never counts a loss that a fault explains,
//! and never forgives one that nothing explains.
//!
//! That each rule's checker notices is shown by nodes that break it on purpose: [`Cluster::sabotage`].
//!
//! # Seeds
//!
//! A run is a function of its [`Scenario`], which is plain data: the same one gives the same
//! [`Report::trace_hash`] on every machine. [`Scenario::generate`] makes one from a seed, with faults of all
//! kinds; what a failing seed found stays true as long as the scenario is kept, whatever the generator becomes.

#![forbid(unsafe_code)]

mod campaign;
mod capture;
mod checker;
mod chronicle;
mod cluster;
mod decimal;
mod duration_text;
pub mod etcd_store;
mod event_queue;
mod fault;
mod flannel;
mod forgery;
#[cfg(feature = "grpc")]
pub mod grpc;
mod junk;
mod links;
mod linux;
mod mark;
mod node_id;
mod packet;
mod probability;
mod probe;
mod recovery;
mod ref_cluster;
mod replay;
mod report;
mod sabotage;
mod scenario;
mod shrink;
mod sim_node;
mod statistics;
mod store_path;
mod store_service;
mod timeline;
mod trace;
mod underlay;
mod violation;
mod world;

pub use campaign::{Campaign, CampaignReport};
pub use cluster::Cluster;
pub use etcd_store::{EtcdStore, WatchMessage, WatcherId};
pub use fault::{
    ConfigDamage, Damage, Fault, FaultKind, LinkFault, NodeFault, StoreFault, StoreWay, SubnetFileFate,
    Tampering, TimedFault, UnderlayFault, WriteFate,
};
pub use flannel::Defect;
pub use forgery::Forgery;
pub use junk::Junk;
pub use links::LinkOptions;
pub use linux::{Attachment, Foreign, ForeignRoute, Ingress, Linux, LinuxDrop, Lost, Passage, Verdict};
pub use mark::{Mark, Marks, Situation};
pub use node_id::{BadNodeId, NodeId};
pub use probability::{BadProbability, Probability};
pub use replay::{Replay, ReplayDetail, ReplayVerdict};
pub use report::Report;
pub use sabotage::Sabotage;
pub use scenario::{
    Backend, DirectRouting, Identity, Legacy, Liveness, Model, NodePlan, Profile, Scenario, ScenarioError,
    VxlanOptions,
};
#[cfg(any(test, feature = "proptest"))]
pub use scenario::{ScenarioStrategy, ScenarioTree};
pub use shrink::Shrunk;
pub use statistics::{FaultStatistics, FaultTable, LivenessStatistics, ProbeStatistics, Spread, Statistics};
pub use store_path::StorePathOptions;
pub use trace::TraceLine;
pub use violation::{Attributed, Invariant, Violation};
pub use world::{NodeReport, View};
