//! A deterministic simulator of whole overlay clusters, built on the pure engine.

pub mod etcd_store;

pub use etcd_store::{EtcdStore, WatchMessage, WatcherId};
