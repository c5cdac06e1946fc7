//! What a lab is made of.

use std::path::PathBuf;

use ipnet::Ipv4Net;
use selvedge_engine::NetworkConfig;

use super::error::LabError;
use super::name::{LabName, NodeNumber};

/// What a lab is made of.
#[derive(Clone, Debug)]
pub struct LabOptions {
    /// Its name.
    pub name: LabName,
    /// How many nodes it has, each with a pod.
    pub nodes: u8,
    /// The overlay.
    pub network: Ipv4Net,
    /// The `Backend` object of the network config, as JSON.
    pub backend: String,
    /// Where the leases are kept.
    pub store: StoreChoice,
    /// The `selvedge` executable.
    pub program: PathBuf,
    /// More flags for every node's daemon.
    pub node_flags: Vec<String>,
}

/// Where a lab's leases are kept; its nodes always reach the store at [`LabOptions::ENDPOINT`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StoreChoice {
    /// In the simulator's model of etcd, served by a process of the lab.
    Embedded,
    /// In an etcd outside the lab, at one of these `HOST:PORT`: a process of the lab passes connections on.
    Relayed(Vec<String>),
    /// In a store that the caller starts in the store's namespace.
    Provided,
}

impl LabOptions {
    /// Where the nodes reach the store.
    pub const ENDPOINT: &str = "192.0.2.250:2379";

    /// Returns the options of a lab of three nodes with the `udp` backend and an embedded store.
    pub fn new(name: LabName, program: PathBuf) -> Self {
        Self {
            name,
            nodes: 3,
            network: Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, 50, 0, 0), 16),
            backend: r#"{"Type":"udp"}"#.to_owned(),
            store: StoreChoice::Embedded,
            program,
            node_flags: Vec::new(),
        }
    }

    /// Returns the text of the network config.
    pub fn network_config(&self) -> String {
        format!(r#"{{"Network":"{}","Backend":{}}}"#, self.network, self.backend)
    }

    pub(super) fn check_node_count(&self) -> Result<(), LabError> {
        match NodeNumber::new(self.nodes) {
            Some(_) => Ok(()),
            None => Err(LabError::BadNodeCount(self.nodes)),
        }
    }

    pub(super) fn check_network_config(&self) -> Result<(), LabError> {
        let config = self.network_config();
        match NetworkConfig::parse(config.as_bytes()) {
            Ok(_) => Ok(()),
            Err(error) => Err(LabError::BadConfig {
                config,
                reason: error.to_string(),
            }),
        }
    }
}
