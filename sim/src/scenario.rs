//! A whole run as plain data: who takes part, how the network behaves, what goes wrong and when.

mod backend;
mod bytes;
mod draw;
mod generate;
mod hollow;
mod identity;
mod legacy;
mod liveness;
mod model;
mod profile;
#[cfg(any(test, feature = "proptest"))]
mod strategy;
mod text;

use std::time::Duration;

use selvedge_engine::{Masquerade, Membership, NetworkConfig, OnExpiry, OnLoss, StorePrefix};
use serde::{Deserialize, Serialize};

use crate::duration_text;
use crate::fault::TimedFault;
use crate::links::LinkOptions;
use crate::node_id::NodeId;
use crate::store_path::StorePathOptions;
pub use backend::{Backend, DirectRouting, VxlanOptions};
pub use identity::Identity;
pub use legacy::Legacy;
pub use liveness::Liveness;
pub use model::Model;
pub use profile::Profile;
#[cfg(any(test, feature = "proptest"))]
pub use strategy::{ScenarioStrategy, ScenarioTree};
pub use text::ScenarioError;

/// Everything that a run depends on; equal scenarios make equal runs.
///
/// It prints as TOML, and [`Scenario::parse`] reads that.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Scenario {
    /// Where all randomness of the run comes from.
    pub seed: u64,
    /// The nodes, `n1` first.
    #[serde(skip)]
    pub nodes: Vec<NodePlan>,
    /// How many nodes there are besides that nobody runs: their leases are in the store from the start, renewed as those
    /// of real nodes are, and one of 64 ends.
    pub hollow: u32,
    /// The network config that is in the store before the first node starts.
    pub config: String,
    /// The backend that the config asks for, unless it says another itself.
    pub backend: Backend,
    /// The options of that backend if it is `vxlan`.
    pub vxlan: VxlanOptions,
    /// What is on the nodes before the first start of a daemon.
    pub legacy: Legacy,
    /// Where the cluster lives in the store.
    pub prefix: StorePrefix,
    /// The underlay.
    pub links: LinkOptions,
    /// The way between each node and the store.
    pub store_path: StorePathOptions,
    /// How long before the end of its lease a node renews it.
    #[serde(with = "duration_text")]
    pub renew_margin: Duration,
    /// How long a node goes on forwarding to a peer whose lease vanished while it could not follow the store.
    #[serde(with = "duration_text")]
    pub peer_grace: Duration,
    /// What nodes do when their lease ends and the store cannot be reached.
    pub on_expiry: OnExpiry,
    /// What nodes do when their lease was deleted, expired or taken; a daemon that ends is started again.
    pub on_loss: OnLoss,
    /// What nodes do with packets that no lease covers.
    pub membership: Membership,
    /// What subnet files say about masquerading.
    pub masquerade: Masquerade,
    /// How often a pod of each node sends a packet to a pod of another; zero means never.
    #[serde(with = "duration_text")]
    pub probe_interval: Duration,
    /// What goes wrong.
    #[serde(skip)]
    pub faults: Vec<TimedFault>,
    /// How the faults end, if not each at its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Liveness>,
    /// How long the run lasts.
    #[serde(with = "duration_text")]
    pub duration: Duration,
}

/// What a node does.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NodePlan {
    /// When its daemon starts for the first time.
    #[serde(with = "duration_text")]
    pub starts_at: Duration,
    /// Which daemon it runs.
    pub model: Model,
    /// Which segment of the underlay it is in; a router joins them.
    pub segment: u8,
    /// Which machine it takes itself for.
    #[serde(default, skip_serializing_if = "Identity::is_own")]
    pub identity: Identity,
}

impl Scenario {
    /// Makes a scenario of `nodes` healthy nodes that start one after the other, and nothing goes wrong.
    pub fn new(seed: u64, nodes: u32, duration: Duration) -> Self {
        let starts = (0..nodes).map(|number| NodePlan {
            starts_at: Duration::from_millis(200) * number,
            model: Model::default(),
            segment: 0,
            identity: Identity::default(),
        });
        Self {
            seed,
            config: Self::usual_config(starts.len()),
            nodes: starts.collect(),
            hollow: 0,
            backend: Backend::default(),
            vxlan: VxlanOptions::default(),
            legacy: Legacy::default(),
            prefix: StorePrefix::default(),
            links: LinkOptions::default(),
            store_path: StorePathOptions::default(),
            renew_margin: Duration::from_hours(1),
            peer_grace: Duration::from_mins(2),
            on_expiry: OnExpiry::default(),
            on_loss: OnLoss::default(),
            membership: Membership::Enforce,
            masquerade: Masquerade::default(),
            probe_interval: Duration::from_millis(500),
            faults: Vec::new(),
            liveness: None,
            duration,
        }
    }

    /// Lets every node run the daemon, if one is given.
    #[must_use]
    pub fn all_run(mut self, model: Option<Model>) -> Self {
        for plan in &mut self.nodes {
            plan.model = model.unwrap_or(plan.model);
        }
        self
    }

    /// Returns a network config with room for so many nodes: 255 subnets of 256 addresses, for many nodes four times as
    /// many subnets as nodes, and 65,535 at most.
    pub(crate) fn usual_config(nodes: usize) -> String {
        format!(r#"{{"Network":"{}"}}"#, Self::usual_network(nodes))
    }

    fn usual_network(nodes: usize) -> String {
        match (9..16).rev().find(|length| nodes * 4 < 1 << (24 - length)) {
            _ if nodes <= 200 => "10.5.0.0/16".to_owned(),
            Some(length) => format!("10.0.0.0/{length}"),
            None => "10.0.0.0/8".to_owned(),
        }
    }

    /// Tells whether the daemons carry packets: those of the `alloc` backend leave that to others.
    pub(crate) fn carries_packets(&self) -> bool {
        !NetworkConfig::parse(self.network_config().as_bytes())
            .is_ok_and(|config| config.backend.kind == "alloc")
    }

    /// Returns the segment of the underlay that a node is in.
    pub(crate) fn segment(&self, node: NodeId) -> u8 {
        self.nodes.get(node.index()).map_or(0, |plan| plan.segment)
    }

    /// Tells whether some nodes are not in the segment of the others.
    pub(crate) fn is_segmented(&self) -> bool {
        let mut segments = self.nodes.iter().map(|plan| plan.segment);
        let first = segments.next();
        segments.any(|segment| Some(segment) != first)
    }

    /// Returns the names of the nodes.
    pub fn node_ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        NodeId::first(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX))
    }
}
