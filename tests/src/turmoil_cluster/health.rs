//! What a healthy cluster looks like: in every node and in the store.

use std::net::IpAddr;
use std::time::Duration;

use selvedge_engine::{LeaseRecord, Phase};

use super::{TurmoilCluster, TurmoilNode};

impl TurmoilCluster {
    /// Runs until the cluster is healthy, and returns how long that took.
    ///
    /// It is when every node runs, every node has the very lease in the store that it serves and no other, each on an
    /// etcd lease of its own, no etcd lease is without a node, and every node forwards to every other.
    ///
    /// # Panics
    ///
    /// If it is not within `limit` of simulated time.
    pub fn await_healthy(&mut self, limit: Duration) -> Duration {
        let begin = self.sim.elapsed();
        while let Some(complaint) = self.complaint() {
            assert!(
                self.sim.elapsed() < begin + limit,
                "not healthy within {limit:?}: {complaint}; {:#?}",
                self.states()
            );
            self.step();
        }
        self.sim.elapsed().saturating_sub(begin)
    }

    /// Says what is wrong with the cluster, if anything is.
    pub fn complaint(&self) -> Option<String> {
        let leases = self.leases();
        for (number, node) in self.nodes.iter().enumerate() {
            if node.phase() != Some(Phase::Running) {
                return Some(format!("{} is {:?}", node.name, node.phase()));
            }
            let (Some(subnet), Some(public_ip)) = (node.subnet(), node.public_ip()) else {
                return Some(format!("{} has no subnet", node.name));
            };
            let own = |value: &String| {
                LeaseRecord::decode(value.as_bytes()).is_ok_and(|record| record.public_ip == public_ip)
            };
            let found: Vec<_> = leases.iter().filter(|(_, value)| own(value)).collect();
            if !matches!(found.as_slice(), [(key, _)] if **key == subnet.to_string()) {
                return Some(format!("{} serves {subnet} and has {found:?}", node.name));
            }
            let etcd_lease = self.etcd_lease_of(number);
            if !etcd_lease.is_some_and(|id| self.etcd_leases().contains(&id)) {
                return Some(format!("{} is on etcd lease {etcd_lease:?}", node.name));
            }
            let unknown = |other: &&TurmoilNode| {
                other.name != node.name
                    && other.subnet().is_none_or(|subnet| {
                        node.peers().get(&subnet).copied() != other.public_ip().map(IpAddr::V4)
                    })
            };
            if let Some(other) = self.nodes.iter().find(unknown) {
                return Some(format!("{} does not forward to {}", node.name, other.name));
            }
        }
        let etcd_leases = self.etcd_leases().len();
        (etcd_leases != self.nodes.len())
            .then(|| format!("{etcd_leases} etcd leases for {} nodes", self.nodes.len()))
    }

    pub(super) fn states(&self) -> Vec<String> {
        self.nodes
            .iter()
            .map(|node| format!("{}: {:?}", node.name, node.state()))
            .collect()
    }
}
