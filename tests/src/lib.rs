//! What the tests that cross packages share.

pub mod backend;
pub mod capture;
pub mod chaos;
pub mod disturbed_wire;
pub mod engine_and_store;
pub mod etcd;
pub mod memory_tun;
pub mod names;
pub mod packet_socket;
pub mod real_nodes;
pub mod requirement;
pub mod skip;
pub mod stub_kernel;
pub mod turmoil_cluster;
pub mod turmoil_net;
pub mod turn;
pub mod wire_audit;

/// The README's examples run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[derive(Debug)]
pub struct Readme;
