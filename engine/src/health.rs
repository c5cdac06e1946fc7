//! How well a node does its work, for those who watch over it.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::backend::ConfigError;
use crate::desired::Owner;
use crate::event::ConfigUnused;
use crate::kernel::{KernelError, KernelObject, ObjectKind, RulesetName};
use crate::subnet::Subnet;
use crate::time::Instant;
use crate::twin::Twin;

/// What is well with a node and what is not; [`crate::Engine::health`] works it out when asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Health {
    /// What keeps the node from being ready; empty if it carries traffic as the leases say.
    pub obstacles: Vec<Obstacle>,
    /// Whether the store answers.
    pub store: Reachability,
    /// When the lease that the node holds ends unless it is renewed; none for a reservation, which never ends.
    pub lease_until: Option<Instant>,
    /// What is wrong with the network config in the store.
    pub config_problem: Option<ConfigProblem>,
    /// How many objects of each kind the node wants.
    pub desired: BTreeMap<ObjectKind, u64>,
    /// The rulesets that it wants.
    pub rulesets: Vec<RulesetName>,
    /// The objects that could not be made or removed the last time; they are tried again.
    pub failing: Vec<FailingObject>,
}

/// A kernel object that could not be made or removed the last time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FailingObject {
    /// The object.
    pub object: KernelObject,
    /// Who wants it.
    pub owner: Owner,
    /// Why it failed.
    pub error: KernelError,
    /// How often it failed in a row.
    pub attempts: u32,
    /// When it is tried again; none while it is being tried, or waits for others.
    pub retry_at: Option<Instant>,
}

/// Whether the store answers.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Reachability {
    /// It was not heard of yet.
    Untried,
    /// It answered the last time.
    Reached,
    /// It did not answer the last time.
    Lost,
}

/// What is wrong with the network config in the store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ConfigProblem {
    /// There is none.
    Missing {
        /// Where it should be.
        key: String,
    },
    /// It cannot be served.
    Invalid {
        /// Its key.
        key: String,
        /// Why.
        error: ConfigError,
    },
    /// The node serves another one.
    Unused {
        /// Its key.
        key: String,
        /// Why.
        reason: ConfigUnused,
    },
}

/// What keeps a node from being ready.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Obstacle {
    /// The daemon ends.
    Stopping,
    /// There is no network config that it can serve.
    Config(ConfigProblem),
    /// The network config, or the node itself, has not been looked at yet.
    Looking,
    /// Another machine has the node's public IP.
    PublicIpTaken(Twin),
    /// No subnet is free.
    SubnetsExhausted,
    /// The node has no subnet yet.
    NoSubnet,
    /// The lease is lost; the subnet is carried until the node has one again.
    LeaseLost(Subnet),
    /// The lease has ended, as far as is known without the store; the subnet is carried all the same.
    LeaseEnded(Subnet),
    /// The lease could not be renewed in time, and no traffic is carried until it is.
    Fenced,
    /// Something that traffic depends on cannot be set up.
    ObjectFails {
        /// What.
        object: KernelObject,
        /// Why.
        error: KernelError,
    },
    /// So much that traffic depends on is being set up.
    ObjectsMissing(usize),
    /// The store was not heard of yet; only with another obstacle, which it explains.
    StoreUntried,
    /// The store does not answer; only with another obstacle, which it explains.
    StoreLost,
}

impl ConfigProblem {
    /// Every name that [`ConfigProblem::name`] returns.
    pub const NAMES: [&'static str; 3] = ["missing", "invalid", "unused"];

    /// Returns the name that operators see.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::Invalid { .. } => "invalid",
            Self::Unused { .. } => "unused",
        }
    }
}

impl Reachability {
    /// Returns the name that operators see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Untried => "untried",
            Self::Reached => "reached",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { key } => write!(f, "no network config at {key}"),
            Self::Invalid { key, error } => write!(f, "network config at {key} is invalid: {error}"),
            Self::Unused { key, reason } => write!(f, "network config at {key} {reason}"),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopping => f.write_str("stopping"),
            Self::Config(problem) => problem.fmt(f),
            Self::Looking => f.write_str("looking at the network config and the node"),
            Self::PublicIpTaken(Twin {
                public_ip,
                subnet,
                rival,
            }) => {
                write!(
                    f,
                    "public IP {public_ip} is taken by {rival}, which holds {subnet}"
                )
            }
            Self::SubnetsExhausted => f.write_str("no subnet is free"),
            Self::NoSubnet => f.write_str("taking a subnet"),
            Self::LeaseLost(subnet) => {
                write!(
                    f,
                    "the lease of {subnet} is lost; taking one again, carrying it meanwhile"
                )
            }
            Self::LeaseEnded(subnet) => {
                write!(
                    f,
                    "the lease of {subnet} has ended and could not be renewed; carrying it all the same"
                )
            }
            Self::Fenced => {
                f.write_str("the lease could not be renewed in time; carrying no traffic until it is")
            }
            Self::ObjectFails { object, error } => write!(f, "cannot set up {object}: {error}"),
            Self::ObjectsMissing(1) => f.write_str("an object is being set up"),
            Self::ObjectsMissing(count) => write!(f, "{count} objects are being set up"),
            Self::StoreUntried => f.write_str("etcd has not answered yet"),
            Self::StoreLost => f.write_str("etcd does not answer"),
        }
    }
}
