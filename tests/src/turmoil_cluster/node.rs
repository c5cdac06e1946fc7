//! A node of the cluster.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use selvedge_engine::{
    Action, ActionHash, Command, Engine, Event, ExitReason, Input, Instant, MachineId, Phase,
    RecordingHeader, Setup, Status, Subnet, Underlay,
};
use selvedge_host::clock::Clock as _;
use selvedge_host::event_loop::{self, Observer, Parts};
use selvedge_host::store::Store;
use selvedge_host::store::endpoint::Endpoint;
use selvedge_host::tunnel::SharedTable;
use tokio::sync::mpsc;
use turmoil::Sim;

use super::ring::Ring;
use super::tape::Tape;
use super::{ClusterOptions, ETCD_PORT, member_name};
use crate::memory_tun::MemoryTun;
use crate::stub_kernel::{Objects, Pace, StubKernel};
use crate::turmoil_net::{SimClock, channel};

/// A node as the test sees it.
#[derive(Clone, Debug)]
pub struct TurmoilNode {
    /// Its name in turmoil's network.
    pub name: String,
    /// Its TUN device.
    pub tun: MemoryTun,
    /// The objects that its kernel holds.
    pub objects: Objects,
    /// How long its kernel takes for each operation.
    pub pace: Pace,
    /// Its clock.
    pub clock: SimClock,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    status: Option<Status>,
    events: Vec<Event>,
    exit: Option<ExitReason>,
    commands: Option<mpsc::Sender<Command>>,
    tape: Option<Tape>,
    ring: Option<Ring>,
}

impl TurmoilNode {
    pub(super) fn start(sim: &mut Sim<'static>, number: usize, options: ClusterOptions) -> Self {
        let node = Self {
            name: format!("node{number}"),
            tun: MemoryTun::default(),
            objects: Objects::default(),
            pace: Pace::default(),
            clock: SimClock::default(),
            state: Arc::default(),
        };
        let own = node.clone();
        let starts = AtomicU64::new(0);
        sim.host(node.name.as_str(), move || {
            let own = own.clone();
            // As in production, no two lives of a node draw the same numbers.
            let start = starts.fetch_add(1, Ordering::Relaxed);
            let seed = (options.seed << 32) ^ (start << 16) ^ number as u64;
            async move {
                let reason = own.run(seed, options).await;
                own.state().exit = Some(reason);
                Ok(())
            }
        });
        node
    }

    async fn run(&self, seed: u64, options: ClusterOptions) -> ExitReason {
        let (sender, commands) = mpsc::channel(1);
        self.state().commands = Some(sender);
        let table = SharedTable::default();
        let endpoint = |member| Endpoint::parse(&format!("http://{}:{ETCD_PORT}", member_name(member)));
        let endpoints: Vec<Endpoint> = (0..options.members)
            .map(|member| endpoint(member).expect("a URL"))
            .collect();
        let (setup, start) = (setup(&self.name), self.clock.now());
        let header = RecordingHeader::new(setup.clone(), seed, start);
        self.state().ring = options.ring_size.map(|size| Ring::start(size, header.clone()));
        self.state().tape = Some(Tape::start(header));
        let address = setup.underlay.address;
        let engine = Engine::new(setup, seed, start);
        let kernel = StubKernel::new(
            address,
            self.objects.clone(),
            self.pace.clone(),
            self.clock.clone(),
            self.tun.clone(),
            table.clone(),
        );
        let parts = Parts {
            clock: self.clock.clone(),
            kernel,
            store: Store::new(&endpoints, None, |endpoint| Ok(channel(endpoint)))
                .expect("a simulated channel needs no files"),
            commands,
            table,
            observer: self.clone(),
        };
        event_loop::run(engine, parts).await.1
    }

    /// Returns what the node's engine said last.
    pub fn status(&self) -> Option<Status> {
        self.state().status.clone()
    }

    /// Tells what the node is doing.
    pub fn phase(&self) -> Option<Phase> {
        self.status().map(|status| status.phase)
    }

    /// Returns the subnet that the node holds.
    pub fn subnet(&self) -> Option<Subnet> {
        self.status().and_then(|status| status.subnet)
    }

    /// Returns the address of a pod behind the node.
    ///
    /// # Panics
    ///
    /// If the node holds no IPv4 subnet.
    pub fn pod(&self) -> Ipv4Addr {
        let subnet = self.subnet().and_then(|subnet| subnet.v4());
        Ipv4Addr::from(u32::from(subnet.expect("the node holds a subnet").network()) + 2)
    }

    /// Returns the node's address on the underlay.
    pub fn public_ip(&self) -> Option<Ipv4Addr> {
        self.status().map(|status| status.public_ip)
    }

    /// Returns the peers that the node forwards to.
    pub fn peers(&self) -> BTreeMap<Subnet, IpAddr> {
        self.status().map(|status| status.peers).unwrap_or_default()
    }

    /// Takes what people were told since the last time.
    pub fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut self.state().events)
    }

    /// Returns the recording of the node's present life, and the hash of its actions so far.
    ///
    /// # Panics
    ///
    /// If it has not been started.
    pub fn recording(&self) -> (String, ActionHash) {
        self.state().tape.as_ref().expect("it was started").read()
    }

    /// Returns the files of the recording on disk, the newest first.
    ///
    /// # Panics
    ///
    /// If the cluster makes none, or the node has not been started.
    pub fn ring(&self) -> Vec<String> {
        self.state().ring.as_mut().expect("it records").read()
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

    /// Forgets what was seen of the node's life so far.
    pub(super) fn forget(&self) {
        *self.state() = State::default();
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for TurmoilNode {
    fn event(&mut self, event: &Event) {
        tracing::info!(node = self.name, "{event}");
        self.state().events.push(event.clone());
    }

    fn ready(&mut self) {}

    fn input(&mut self, engine: &Engine, input: &Input, now: Instant) {
        let mut state = self.state();
        if let Some(tape) = &mut state.tape {
            tape.input(input, now);
        }
        if let Some(ring) = &mut state.ring {
            ring.input(engine, input, now);
        }
    }

    fn action(&mut self, action: &Action) {
        let mut state = self.state();
        if let Some(tape) = &mut state.tape {
            tape.action(action);
        }
        if let Some(ring) = &mut state.ring {
            ring.action(action);
        }
    }

    fn settled(&mut self, engine: &Engine) {
        self.state().status = Some(engine.status());
    }
}

fn setup(name: &str) -> Setup {
    let IpAddr::V4(address) = turmoil::lookup(name) else {
        panic!("turmoil gives IPv4 addresses");
    };
    let underlay = Underlay {
        interface: "eth0".to_owned(),
        index: 2,
        mtu: 1500,
        address,
        address_v6: None,
        public_ip: address,
        public_ipv6: None,
    };
    let machine = u64::from(address.to_bits());
    Setup::new(MachineId::new(machine, machine), underlay)
}
