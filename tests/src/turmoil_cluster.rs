//! A small cluster of real host loops with the real etcd client, in turmoil's network.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use selvedge_engine::{
    Command, Engine, Event, ExitReason, LeasePolicy, Masquerade, Membership, Phase, PreviousSubnet, Setup,
    Status, StorePrefix, Subnet, Underlay,
};
use selvedge_host::clock::Clock as _;
use selvedge_host::event_loop::{self, Observer, Parts};
use selvedge_host::store::Store;
use selvedge_host::store::endpoint::Endpoint;
use selvedge_host::tunnel::SharedTable;
use selvedge_sim::grpc::{SharedStore, serve_incoming};
use tokio::sync::mpsc;
use turmoil::Sim;

use crate::memory_tun::MemoryTun;
use crate::stub_kernel::{Objects, StubKernel};
use crate::turmoil_net::{SimClock, channel, incoming};

/// The name of the host that serves the store.
pub const ETCD: &str = "etcd";

const ETCD_PORT: u16 = 2379;
const TICK: Duration = Duration::from_millis(10);

/// The store and its nodes.
pub struct TurmoilCluster {
    sim: Sim<'static>,
    /// The store; it outlives the host that serves it.
    pub store: SharedStore,
    /// The nodes, `node0` first.
    pub nodes: Vec<TurmoilNode>,
}

/// A node as the test sees it.
#[derive(Clone, Debug)]
pub struct TurmoilNode {
    /// Its name in turmoil's network.
    pub name: String,
    /// Its TUN device.
    pub tun: MemoryTun,
    /// The objects that its kernel holds.
    pub objects: Objects,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    status: Option<Status>,
    events: Vec<Event>,
    exit: Option<ExitReason>,
    commands: Option<mpsc::Sender<Command>>,
}

impl TurmoilCluster {
    /// Makes a cluster of `nodes` nodes that serve the network config `config`.
    ///
    /// # Panics
    ///
    /// If the store does not take the config.
    pub fn new(seed: u64, nodes: usize, config: &str) -> Self {
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed)
            .tick_duration(TICK)
            .simulation_duration(Duration::from_hours(24))
            .tcp_capacity(4096)
            .udp_capacity(1024)
            .build();
        let store = SharedStore::new(1);
        store
            .act(|store, _| store.put(&StorePrefix::default().config_key(), config.as_bytes(), None))
            .expect("the empty store takes a key");

        let served = store.clone();
        sim.host(ETCD, move || {
            let store = served.clone();
            async move {
                let connections = incoming(ETCD_PORT).await?;
                serve_incoming(store, connections, std::future::pending()).await?;
                Ok(())
            }
        });
        let nodes = (0..nodes)
            .map(|number| TurmoilNode::start(&mut sim, number, seed))
            .collect();
        Self { sim, store, nodes }
    }

    /// Runs until `wanted` holds.
    ///
    /// # Panics
    ///
    /// If it does not hold within `limit` of simulated time.
    pub fn run_until(&mut self, limit: Duration, what: &str, wanted: impl Fn(&Self) -> bool) {
        let end = self.sim.elapsed() + limit;
        while !wanted(self) {
            assert!(
                self.sim.elapsed() < end,
                "within {limit:?}: {what}; {:#?}",
                self.states()
            );
            self.step();
        }
    }

    /// Runs for a simulated time.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.sim.elapsed() + time;
        while self.sim.elapsed() < end {
            self.step();
        }
    }

    /// Cuts a node off from the store in both directions; what is under way is lost.
    pub fn partition(&mut self, node: usize) {
        self.sim.partition(self.nodes[node].name.as_str(), ETCD);
    }

    /// Joins a node and the store again.
    pub fn heal(&mut self, node: usize) {
        self.sim.repair(self.nodes[node].name.as_str(), ETCD);
    }

    /// Stops the host that serves the store; the store keeps its content.
    pub fn stop_etcd(&mut self) {
        self.sim.crash(ETCD);
    }

    /// Serves the store again.
    pub fn start_etcd(&mut self) {
        self.sim.bounce(ETCD);
    }

    /// Ends a node at once, and starts it again.
    pub fn restart(&mut self, node: usize) {
        self.sim.bounce(self.nodes[node].name.as_str());
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

    /// Tells whether every node runs and forwards to `peers` peers.
    pub fn all_have_peers(&self, peers: usize) -> bool {
        let has_peers = |status: &Status| status.phase == Phase::Running && status.peers.len() == peers;
        self.nodes
            .iter()
            .all(|node| node.status().as_ref().is_some_and(has_peers))
    }

    fn step(&mut self) {
        self.sim.step().expect("no host fails");
    }

    fn states(&self) -> Vec<String> {
        self.nodes
            .iter()
            .map(|node| format!("{}: {:?}", node.name, node.state()))
            .collect()
    }
}

impl std::fmt::Debug for TurmoilCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TurmoilCluster")
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}

impl TurmoilNode {
    fn start(sim: &mut Sim<'static>, number: usize, seed: u64) -> Self {
        let node = Self {
            name: format!("node{number}"),
            tun: MemoryTun::default(),
            objects: Objects::default(),
            state: Arc::default(),
        };
        let own = node.clone();
        let seed = seed.wrapping_mul(1000).wrapping_add(number as u64);
        sim.host(node.name.as_str(), move || {
            let own = own.clone();
            async move {
                let reason = own.run(seed).await;
                own.state().exit = Some(reason);
                Ok(())
            }
        });
        node
    }

    async fn run(&self, seed: u64) -> ExitReason {
        let (sender, commands) = mpsc::channel(1);
        self.state().commands = Some(sender);
        let table = SharedTable::default();
        let endpoint = Endpoint::parse(&format!("http://{ETCD}:{ETCD_PORT}")).expect("a URL");
        let engine = Engine::new(setup(&self.name), seed, SimClock.now());
        let parts = Parts {
            clock: SimClock,
            kernel: StubKernel::new(self.objects.clone(), self.tun.clone(), table.clone()),
            store: Store::new(&[endpoint], None, &channel),
            commands,
            table,
            observer: self.clone(),
        };
        event_loop::run(engine, parts).await
    }

    /// Returns what the node's engine said last.
    pub fn status(&self) -> Option<Status> {
        self.state().status.clone()
    }

    /// Returns the subnet that the node holds.
    pub fn subnet(&self) -> Option<Subnet> {
        self.status().and_then(|status| status.subnet)
    }

    /// Returns the peers that the node forwards to.
    pub fn peers(&self) -> BTreeMap<Subnet, Ipv4Addr> {
        self.status().map(|status| status.peers).unwrap_or_default()
    }

    /// Takes what people were told since the last time.
    pub fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut self.state().events)
    }

    /// Asks the node to stop.
    ///
    /// # Panics
    ///
    /// If its loop does not listen.
    pub fn stop(&self) {
        let commands = self.state().commands.take();
        if let Some(commands) = commands {
            commands.try_send(Command::Shutdown).expect("the loop listens");
        }
    }

    /// Returns why the node ended.
    pub fn exit(&self) -> Option<ExitReason> {
        self.state().exit.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for TurmoilNode {
    fn event(&mut self, event: &Event) {
        tracing::info!(node = self.name, "{event}");
        self.state().events.push(event.clone());
    }

    fn ready(&mut self) {}

    fn settled(&mut self, engine: &Engine) {
        self.state().status = Some(engine.status());
    }
}

fn setup(name: &str) -> Setup {
    let IpAddr::V4(address) = turmoil::lookup(name) else {
        panic!("turmoil gives IPv4 addresses");
    };
    Setup {
        underlay: Underlay {
            interface: "eth0".to_owned(),
            index: 2,
            mtu: 1500,
            address,
            public_ip: address,
            public_ipv6: None,
        },
        prefix: StorePrefix::default(),
        previous: PreviousSubnet::default(),
        renew_margin: Duration::from_hours(1),
        lease_policy: LeasePolicy::default(),
        masquerade: Masquerade::Off,
        membership: Membership::Enforce,
    }
}
