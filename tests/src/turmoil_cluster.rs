//! A small cluster of real host loops with the real etcd client, in turmoil's network.

mod health;
mod node;
mod ring;
mod tape;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use selvedge_engine::{EtcdLeaseId, KernelObject, KeyRange, Revision, StorePrefix, Subnet};
use selvedge_sim::grpc::{SharedStore, serve_incoming};
use turmoil::Sim;

pub use node::TurmoilNode;
pub use traffic::Loss;

use crate::turmoil_net::incoming;
use traffic::Traffic;

/// Where the members of etcd serve.
pub const ETCD_PORT: u16 = 2379;

/// What a cluster is made of.
#[derive(Clone, Copy, Debug)]
pub struct ClusterOptions {
    /// What the random choices of the network and of the nodes follow from.
    pub seed: u64,
    /// How many nodes there are.
    pub nodes: usize,
    /// How many members etcd has.
    pub members: usize,
    /// The network config.
    pub config: &'static str,
    /// How long a step of the simulation is; messages arrive at its edges.
    pub tick: Duration,
    /// How large the nodes' recordings on disk get at most in bytes, if they make any.
    pub ring_size: Option<u64>,
}

impl ClusterOptions {
    /// Returns a cluster of three nodes and one member.
    ///
    /// Its config leaves room for peers that tests write themselves, above 10.5.199.0.
    pub const fn new(seed: u64) -> Self {
        Self {
            seed,
            nodes: 3,
            members: 1,
            config: r#"{"Network":"10.5.0.0/16","SubnetMax":"10.5.199.0"}"#,
            tick: Duration::from_millis(10),
            ring_size: None,
        }
    }
}

/// etcd and its nodes.
pub struct TurmoilCluster {
    sim: Sim<'static>,
    options: ClusterOptions,
    traffic: Option<Traffic>,
    /// The store; it outlives the hosts that serve it.
    pub store: SharedStore,
    /// The nodes, `node0` first.
    pub nodes: Vec<TurmoilNode>,
}

impl TurmoilCluster {
    /// Makes a cluster in which nothing has happened yet.
    ///
    /// # Panics
    ///
    /// If the store does not take the config.
    pub fn new(options: ClusterOptions) -> Self {
        let mut sim = turmoil::Builder::new()
            .rng_seed(options.seed)
            .tick_duration(options.tick)
            .simulation_duration(Duration::from_hours(100))
            .tcp_capacity(4096)
            .udp_capacity(1024)
            .build();
        let store = SharedStore::new(1);
        store
            .act(|store, _| {
                store.put(
                    &StorePrefix::default().config_key(),
                    options.config.as_bytes(),
                    None,
                )
            })
            .expect("the empty store takes a key");

        for member in 0..options.members {
            let served = store.clone();
            sim.host(member_name(member), move || {
                let store = served.clone();
                async move {
                    let connections = incoming(ETCD_PORT).await?;
                    serve_incoming(store, connections, std::future::pending()).await?;
                    Ok(())
                }
            });
        }
        let nodes = (0..options.nodes)
            .map(|number| TurmoilNode::start(&mut sim, number, options))
            .collect();
        Self {
            sim,
            options,
            traffic: None,
            store,
            nodes,
        }
    }

    /// Runs until `wanted` holds, and returns how long that took.
    ///
    /// # Panics
    ///
    /// If it does not hold within `limit` of simulated time.
    pub fn run_until(&mut self, limit: Duration, what: &str, wanted: impl Fn(&Self) -> bool) -> Duration {
        let begin = self.sim.elapsed();
        while !wanted(self) {
            assert!(
                self.sim.elapsed() < begin + limit,
                "within {limit:?}: {what}; {:#?}",
                self.states()
            );
            self.step();
        }
        self.sim.elapsed().saturating_sub(begin)
    }

    /// Runs for a simulated time.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.sim.elapsed() + time;
        while self.sim.elapsed() < end {
            self.step();
        }
    }

    /// Cuts a node off from all of etcd in both directions; what is under way is lost.
    pub fn partition(&mut self, node: usize) {
        for member in 0..self.options.members {
            self.sim.partition(self.name(node), member_name(member));
        }
    }

    /// Joins a node and etcd again.
    pub fn heal(&mut self, node: usize) {
        for member in 0..self.options.members {
            self.sim.repair(self.name(node), member_name(member));
        }
    }

    /// Loses what a member says to a node; what the node says arrives.
    pub fn partition_answers(&mut self, node: usize, member: usize) {
        self.sim.partition_oneway(member_name(member), self.name(node));
    }

    /// Lets a node hear a member again.
    pub fn heal_answers(&mut self, node: usize, member: usize) {
        self.sim.repair_oneway(member_name(member), self.name(node));
    }

    /// Swallows whatever a node and a member send each other, without a word to either.
    pub fn hold(&mut self, node: usize, member: usize) {
        self.sim.hold(self.name(node), member_name(member));
    }

    /// Delivers what was held, and what follows.
    pub fn release(&mut self, node: usize, member: usize) {
        self.sim.release(self.name(node), member_name(member));
    }

    /// Kills a member; the store keeps its content.
    pub fn stop_etcd(&mut self, member: usize) {
        self.sim.crash(member_name(member));
    }

    /// Starts a member again.
    pub fn start_etcd(&mut self, member: usize) {
        self.sim.bounce(member_name(member));
    }

    /// Ends a node at once, and starts it again.
    pub fn restart(&mut self, node: usize) {
        self.nodes[node].forget();
        self.sim.bounce(self.name(node));
    }

    /// Writes the lease of a node that is not in the simulation.
    ///
    /// # Panics
    ///
    /// If the store refuses.
    pub fn put_peer(&self, subnet: &str, public_ip: Ipv4Addr) -> Subnet {
        let subnet = Subnet::parse(subnet).expect("a subnet");
        let key = StorePrefix::default().lease_key(&subnet);
        let value = format!(r#"{{"PublicIP":"{public_ip}"}}"#);
        self.store
            .act(|store, _| store.put(&key, value.as_bytes(), None))
            .expect("the store takes a key");
        subnet
    }

    /// Deletes the key of a lease and leaves its etcd lease alone.
    ///
    /// # Panics
    ///
    /// If the store refuses.
    pub fn delete_key(&self, subnet: &Subnet) {
        let key = KeyRange::Key(StorePrefix::default().lease_key(subnet));
        let deleted = self.store.act(|store, _| store.delete(key));
        assert_eq!(deleted.expect("the store deletes a key"), 1, "{subnet}");
    }

    /// Makes the store forget all history before now.
    ///
    /// # Panics
    ///
    /// If it has forgotten it already.
    pub fn compact(&self) {
        self.store
            .act(|store, _| {
                let Revision(newest) = store.header().revision;
                store.compact(Revision(newest))
            })
            .expect("there is history to forget");
    }

    /// Lets so much time pass for nodes and store as if all machines had been suspended.
    pub fn suspend(&self, time: Duration) {
        for node in &self.nodes {
            node.clock.jump(time);
        }
        self.store.act(|store, now| store.handle_timeout(now + time));
    }

    /// Lists the leases in the store: subnet and value.
    ///
    /// # Panics
    ///
    /// If the store cannot be read.
    pub fn leases(&self) -> BTreeMap<String, String> {
        let prefix = StorePrefix::default();
        let kvs = self
            .store
            .act(|store, _| store.range(&prefix.leases().into(), None))
            .expect("the newest revision can be read");
        kvs.iter()
            .map(|kv| {
                let subnet = prefix.subnet_text(&kv.key).unwrap_or_default().to_owned();
                (subnet, String::from_utf8_lossy(&kv.value).into_owned())
            })
            .collect()
    }

    /// Lists the etcd leases in the store.
    pub fn etcd_leases(&self) -> BTreeSet<EtcdLeaseId> {
        self.store.act(|store, _| store.leases().into_iter().collect())
    }

    /// Returns the etcd lease that a node's key is attached to.
    pub fn etcd_lease_of(&self, node: usize) -> Option<EtcdLeaseId> {
        let key = StorePrefix::default().lease_key(&self.nodes[node].subnet()?);
        self.store.act(|store, _| store.get(&key)?.lease)
    }

    /// Returns the subnet that each node holds, by its name.
    pub fn subnets(&self) -> BTreeMap<String, Option<Subnet>> {
        let entry = |node: &TurmoilNode| (node.name.clone(), node.subnet());
        self.nodes.iter().map(entry).collect()
    }

    /// Tells whether a node's kernel holds an object of a kind.
    pub fn has_object(&self, node: usize, kind: fn(&KernelObject) -> bool) -> bool {
        let objects = self.nodes[node].objects.lock();
        objects.is_ok_and(|objects| objects.iter().any(kind))
    }

    fn step(&mut self) {
        self.sim.step().expect("no host fails");
        if let Some(traffic) = &mut self.traffic {
            traffic.step(self.sim.elapsed(), &self.nodes);
        }
    }

    fn name(&self, node: usize) -> String {
        self.nodes[node].name.clone()
    }
}

impl std::fmt::Debug for TurmoilCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TurmoilCluster")
            .field("options", &self.options)
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}

fn member_name(member: usize) -> String {
    format!("etcd{member}")
}
