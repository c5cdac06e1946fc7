//! What an engine is told when it is made.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::firewall::TrafficOptions;
use crate::machine_id::MachineId;
use crate::store::KeyRange;
use crate::subnet::Subnet;
use crate::subnet_file::{Masquerade, PreviousSubnet};
use crate::underlay::{Selection, Underlay};

/// What an engine is there for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Errand {
    /// To be a node of the cluster.
    #[default]
    Serve,
    /// To work out what it would do to this node, and to do nothing: neither the store nor the node is written to.
    Plan,
}

/// The identity and the options of a node.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Setup {
    /// What the engine is there for.
    #[serde(default)]
    pub errand: Errand,
    /// Which machine it is.
    pub machine: MachineId,
    /// Where the node is attached.
    pub underlay: Underlay,
    /// How the interface was chosen, for when it has to be chosen anew.
    #[serde(default)]
    pub selection: Selection,
    /// Where its cluster lives in the store.
    pub prefix: StorePrefix,
    /// The subnet that the node had before it was restarted, from the subnet file.
    pub previous: PreviousSubnet,
    /// The overlay's networks at that time, also from the subnet file: routes into them may be ours.
    #[serde(default)]
    pub former_networks: Vec<IpNet>,
    /// How long before the lease's end it is renewed.
    pub renew_margin: Duration,
    /// What the node does when its lease is gone or about to end.
    pub lease_policy: LeasePolicy,
    /// How long the node goes on forwarding to a peer whose lease vanished while the store lost its history or could not
    /// be reached, and that nothing stands against; counted while it follows the store. Zero means that it forgets such
    /// peers at once.
    #[serde(default = "usual_peer_grace")]
    pub peer_grace: Duration,
    /// Whether what leaves the overlay is masqueraded, and what the subnet file says about it.
    pub masquerade: Masquerade,
    /// What the node does if the overlay would take addresses of the networks that it is attached to.
    #[serde(default)]
    pub on_overlap: OnOverlap,
    /// The store's addresses, as far as they are given as such: they must not be the overlay's.
    #[serde(default)]
    pub store_addresses: Vec<IpAddr>,
    /// What the other traffic rules do.
    #[serde(default)]
    pub traffic: TrafficOptions,
    /// What happens to tunnel packets whose sender or source no lease covers.
    pub membership: Membership,
}

impl Setup {
    /// Describes a node that never ran before, with every option as it is unless somebody sets it.
    pub fn new(machine: MachineId, underlay: Underlay) -> Self {
        Self {
            errand: Errand::default(),
            machine,
            underlay,
            selection: Selection::default(),
            prefix: StorePrefix::default(),
            previous: PreviousSubnet::default(),
            former_networks: Vec::new(),
            renew_margin: Duration::from_hours(1),
            lease_policy: LeasePolicy::default(),
            peer_grace: usual_peer_grace(),
            masquerade: Masquerade::default(),
            on_overlap: OnOverlap::default(),
            store_addresses: Vec::new(),
            traffic: TrafficOptions::default(),
            membership: Membership::default(),
        }
    }
}

/// Nodes that lost the store together find back within 45 seconds; after a wipe thousands of them write one key after the
/// other.
const fn usual_peer_grace() -> Duration {
    Duration::from_mins(2)
}

/// What a node does when its lease is gone or about to end.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct LeasePolicy {
    /// When the lease was deleted, expired or taken.
    pub on_loss: OnLoss,
    /// When the lease ends without having been renewed.
    pub on_expiry: OnExpiry,
}

/// What a node does when its lease was deleted, expired or taken.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLoss {
    /// It takes the same subnet again if that is free, else another.
    #[default]
    Reclaim,
    /// It takes another subnet, and the lost one only if no other is free.
    Reallocate,
    /// It ends, so that its supervisor decides.
    Exit,
}

/// What a node does when its lease ends and the store cannot be reached.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExpiry {
    /// It goes on: a store without quorum expires nothing, and traffic outlives every outage of the store.
    #[default]
    Keep,
    /// It stops carrying traffic a hundredth of the time to live before the end, so that at no instant two nodes
    /// carry one subnet, for clocks whose rate is wrong by less than that.
    Fence,
}

/// What a node does if the overlay would take addresses of the networks that it is attached to.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnOverlap {
    /// It does not serve such an overlay: the node itself could become unreachable.
    #[default]
    Refuse,
    /// It serves it.
    Serve,
}

/// What happens to tunnel packets from hosts without a lease, or with a source outside the sender's subnet.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Membership {
    /// They pass, uncounted.
    Off,
    /// They pass and are counted.
    #[default]
    Log,
    /// They are dropped and counted.
    Enforce,
}

/// The longest alias that a device can have, in bytes.
const MAX_ALIAS: usize = 255;

/// The part of the store's key space that belongs to one cluster, without a slash at its end.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(from = "String")]
pub struct StorePrefix(String);

impl StorePrefix {
    /// Makes a prefix; like flannel it collapses double slashes and drops those at the end
    /// (control-plane.md, 1.2).
    pub fn new(text: &str) -> Self {
        let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
        Self(format!("/{}", parts.join("/")))
    }

    /// Returns the key of the network config.
    pub fn config_key(&self) -> Vec<u8> {
        format!("{}/config", self.0).into_bytes()
    }

    /// Returns the keys of all leases.
    pub fn leases(&self) -> KeyRange {
        KeyRange::Prefix(self.lease_prefix().into_bytes())
    }

    /// Returns the key of the lease of `subnet`.
    pub fn lease_key(&self, subnet: &Subnet) -> Vec<u8> {
        format!("{}{subnet}", self.lease_prefix()).into_bytes()
    }

    /// Returns the part of a lease's key after the common prefix, or `None` for a foreign key.
    pub fn subnet_text<'a>(&self, key: &'a [u8]) -> Option<&'a str> {
        core::str::from_utf8(key)
            .ok()?
            .strip_prefix(self.lease_prefix().as_str())
    }

    /// Returns the alias that marks the devices of this cluster's node (`IFLA_IFALIAS`, at most 255 bytes): several clusters
    /// may have a node on one machine.
    pub fn alias(&self) -> String {
        let mut alias = format!("selvedge:{}", self.0);
        alias.truncate(alias.floor_char_boundary(MAX_ALIAS));
        alias
    }

    /// Returns what the keys of all leases begin with.
    pub fn lease_prefix(&self) -> String {
        format!("{}/subnets/", self.0)
    }
}

impl From<String> for StorePrefix {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl Default for StorePrefix {
    fn default() -> Self {
        Self("/coreos.com/network".to_string())
    }
}
