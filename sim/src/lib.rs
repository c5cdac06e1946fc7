//! Whole overlay clusters in one process, one thread and no time at all.

#![forbid(unsafe_code)]

pub mod etcd_store;
mod event_queue;
mod fault;
#[cfg(feature = "grpc")]
pub mod grpc;
mod junk;
mod links;
mod linux;
mod node_id;
mod packet;
mod probability;
mod scenario;
mod store_path;

pub use etcd_store::{EtcdStore, WatchMessage, WatcherId};
pub use fault::{Fault, StoreWay, SubnetFileFate, TimedFault};
pub use junk::Junk;
pub use links::LinkOptions;
pub use linux::{Foreign, Ingress, Linux, LinuxDrop, Passage, Verdict};
pub use node_id::NodeId;
pub use probability::Probability;
pub use scenario::{NodePlan, Scenario};
pub use store_path::StorePathOptions;
