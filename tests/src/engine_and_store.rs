//! Engines wired straight to the store's model: no network, no delay, so that a test decides what is lost.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv6Net;
use selvedge_engine::{
    Action, Command, Engine, Event, ExitReason, ForwardingTable, Instant, KernelEvent, KernelObject,
    KernelOp, MachineId, Page, RequestId, Setup, StoreError, StoreErrorKind, StoreEvent, StoreRequest,
    StoreResponse, Subnet, TxnOp, Underlay, WatchEnd, WatchId,
};
use selvedge_sim::{Attachment, EtcdStore, Linux, WatchMessage, WatcherId};

/// The key prefix of every test.
pub const PREFIX: &str = "/coreos.com/network";

/// A store and the engines that share it.
#[derive(Debug)]
pub struct Bench {
    /// The store.
    pub store: EtcdStore,
    /// The time that all share.
    pub now: Instant,
    /// Whether the store takes writes.
    pub room: Room,
    nodes: Vec<BenchNode>,
}

/// An engine, and what it has asked for so far.
#[derive(Debug)]
pub struct BenchNode {
    /// The engine.
    pub engine: Engine,
    /// What it told people.
    pub events: Vec<Event>,
    /// Every request it made of the store.
    pub requests: Vec<StoreRequest>,
    /// Its kernel.
    pub linux: Linux,
    /// The kernel objects that it made.
    pub kernel: Vec<KernelObject>,
    /// Its newest forwarding table.
    pub table: Option<Arc<ForwardingTable>>,
    /// Why it ended.
    pub exit: Option<ExitReason>,
    /// What happens to its requests, first come first served; then all are answered.
    pub fates: VecDeque<Fate>,
    held_back: VecDeque<(RequestId, StoreRequest)>,
    store: Reach,
    watches: BTreeMap<WatcherId, WatchId>,
}

/// Whether the store can be reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reach {
    Connected,
    CutOff,
}

/// Whether the store has room for what is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Room {
    /// It has.
    Left,
    /// It refuses everything that takes room, as etcd does after its NOSPACE alarm.
    Exhausted,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It is answered.
    Answered,
    /// It is carried out, but its answer is lost.
    AnswerLost,
    /// It never reaches the store.
    Lost,
    /// It waits until [`Bench::release`].
    HeldBack,
}

impl Bench {
    /// Makes a store with a network config and no nodes.
    pub fn new(config: &str) -> Self {
        let mut bench = Self {
            store: EtcdStore::new(1),
            now: Instant::ZERO,
            room: Room::Left,
            nodes: Vec::new(),
        };
        bench.put("config", config);
        bench
    }

    /// Adds a node with this public IP; nothing happens before [`Bench::settle`].
    pub fn add(&mut self, public_ip: [u8; 4]) -> usize {
        self.add_with(setup(public_ip))
    }

    /// Adds a node with its own setup.
    pub fn add_with(&mut self, setup: Setup) -> usize {
        let v6 = setup
            .underlay
            .public_ipv6
            .map_or(0, |address| address.segments()[7]);
        let seed = u64::from(u32::from(setup.underlay.public_ip)) ^ u64::from(v6);
        let linux = linux(&setup.underlay);
        self.nodes.push(BenchNode {
            engine: Engine::new(setup, seed, self.now),
            events: Vec::new(),
            requests: Vec::new(),
            linux,
            kernel: Vec::new(),
            table: None,
            exit: None,
            fates: VecDeque::new(),
            held_back: VecDeque::new(),
            store: Reach::Connected,
            watches: BTreeMap::new(),
        });
        self.nodes.len() - 1
    }

    /// Returns a node.
    pub fn node(&mut self, index: usize) -> &mut BenchNode {
        &mut self.nodes[index]
    }

    /// Returns the IPv4 subnet that a node carries, as text.
    pub fn subnet(&self, index: usize) -> Option<String> {
        self.nodes[index]
            .engine
            .status()
            .subnet
            .map(|subnet| subnet.to_string())
    }

    /// Returns the keys below `subnets/` with their values.
    ///
    /// # Panics
    ///
    /// If the store refuses a range.
    pub fn leases(&mut self) -> Vec<(String, String)> {
        let start = format!("{PREFIX}/subnets/");
        let range = selvedge_engine::KeyRange::Prefix(start.clone().into_bytes());
        let Ok(StoreResponse::Range { kvs, .. }) = self.store.handle(
            &StoreRequest::Range {
                range,
                page: Page::default(),
                revision: None,
            },
            self.now,
        ) else {
            panic!("the store answers a range");
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        kvs.iter()
            .map(|kv| (text(&kv.key).replace(&start, ""), text(&kv.value)))
            .collect()
    }

    /// Writes a key below the prefix, without etcd lease.
    ///
    /// # Panics
    ///
    /// If the store refuses the key.
    pub fn put(&mut self, key: &str, value: &str) {
        let key = format!("{PREFIX}/{key}");
        self.store
            .put(key.as_bytes(), value.as_bytes(), None)
            .expect("the store accepts a put");
    }

    /// Deletes a key below the prefix.
    ///
    /// # Panics
    ///
    /// If the store refuses the key.
    pub fn delete(&mut self, key: &str) {
        let key = format!("{PREFIX}/{key}").into_bytes();
        self.store
            .delete(selvedge_engine::KeyRange::Key(key))
            .expect("the store accepts a delete");
    }

    /// Lets everything happen that needs no time.
    ///
    /// # Panics
    ///
    /// If the cluster does not come to rest.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            let mut moved = false;
            for index in 0..self.nodes.len() {
                moved |= self.drain(index);
            }
            while let Some((watcher, message)) = self.store.poll_watch() {
                self.deliver(watcher, message);
                moved = true;
            }
            if !moved {
                return;
            }
        }
        panic!("the cluster does not come to rest");
    }

    /// Lets time pass, and everything happen that becomes due in it.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.settle();
        while let Some(next) = self.next_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.store.handle_timeout(self.now);
            for index in 0..self.nodes.len() {
                let node = &mut self.nodes[index];
                if node.exit.is_none() && node.engine.poll_timeout().is_some_and(|(at, _)| at <= self.now) {
                    node.engine.handle_timeout(self.now);
                }
            }
            self.settle();
        }
        self.now = end;
    }

    /// Carries out the oldest request that was held back, and answers it.
    ///
    /// # Panics
    ///
    /// If none is held back.
    pub fn release(&mut self, index: usize) {
        let (id, request) = self.nodes[index]
            .held_back
            .pop_front()
            .expect("a request is held back");
        let result = self.store.handle(&request, self.now);
        self.nodes[index]
            .engine
            .handle_store(StoreEvent::Response { id, result }, self.now);
    }

    /// Breaks the watches of a node.
    pub fn break_watches(&mut self, index: usize) {
        for (watcher, id) in std::mem::take(&mut self.nodes[index].watches) {
            self.store.cancel_watch(watcher);
            self.tell(
                index,
                StoreEvent::WatchEnded {
                    id,
                    end: WatchEnd::Failed(unavailable()),
                },
            );
        }
    }

    /// Cuts a node off from the store: its requests are lost and its watches break, until it is reconnected.
    pub fn cut_off(&mut self, index: usize) {
        self.nodes[index].store = Reach::CutOff;
        self.break_watches(index);
    }

    /// Ends a node's [`Bench::cut_off`].
    pub fn reconnect(&mut self, index: usize) {
        self.nodes[index].store = Reach::Connected;
    }

    /// Kills a node: it does nothing more, and the store hears nothing of it.
    pub fn kill(&mut self, index: usize) {
        self.cut_off(index);
        self.nodes[index].exit = Some(ExitReason::Shutdown);
    }

    /// Asks a node to stop.
    pub fn shut_down(&mut self, index: usize) {
        self.drain(index);
        let now = self.now;
        self.nodes[index].engine.handle_command(Command::Shutdown, now);
        self.drain(index);
    }

    /// Tells a node what its kernel did.
    pub fn kernel_event(&mut self, index: usize, event: KernelEvent) {
        let now = self.now;
        self.nodes[index].engine.handle_kernel(event, now);
        self.drain(index);
    }

    fn next_timeout(&self) -> Option<Instant> {
        let engines = self
            .nodes
            .iter()
            .filter(|node| node.exit.is_none())
            .filter_map(|node| node.engine.poll_timeout().map(|(at, _)| at));
        engines.chain(self.store.poll_timeout()).min()
    }

    /// Drains the actions before anything is answered, as the contract asks.
    fn drain(&mut self, index: usize) -> bool {
        let mut answers = Vec::new();
        let mut moved = false;
        while let Some(action) = self.nodes[index].engine.poll_action() {
            moved = true;
            self.carry_out(index, action, &mut answers);
        }
        for answer in answers {
            match answer {
                Answer::Store(event) => self.tell(index, event),
                Answer::Kernel(event) => self.kernel_event(index, event),
            }
        }
        moved
    }

    fn carry_out(&mut self, index: usize, action: Action, answers: &mut Vec<Answer>) {
        let now = self.now;
        let node = &mut self.nodes[index];
        match action {
            Action::Request { id, request, .. } => {
                node.requests.push(request.clone());
                let fate = match node.store {
                    Reach::Connected => node.fates.pop_front().unwrap_or(Fate::Answered),
                    Reach::CutOff => Fate::Lost,
                };
                let result = match fate {
                    Fate::Answered if self.room == Room::Exhausted && takes_room(&request) => Err(no_space()),
                    Fate::Answered => self.store.handle(&request, now),
                    Fate::AnswerLost => {
                        drop(self.store.handle(&request, now));
                        Err(timed_out())
                    }
                    Fate::Lost => Err(timed_out()),
                    Fate::HeldBack => {
                        node.held_back.push_back((id, request));
                        return;
                    }
                };
                answers.push(Answer::Store(StoreEvent::Response { id, result }));
            }
            Action::Watch { id, .. } if node.store == Reach::CutOff => {
                let end = WatchEnd::Failed(unavailable());
                answers.push(Answer::Store(StoreEvent::WatchEnded { id, end }));
            }
            Action::Watch { id, range, start } => {
                let watcher = WatcherId(u64::try_from(index).expect("few nodes") << 32 | id.0);
                node.watches.insert(watcher, id);
                self.store.watch(watcher, range, Some(start));
            }
            Action::CancelWatch(id) => {
                node.watches.retain(|watcher, own| {
                    if *own == id {
                        self.store.cancel_watch(*watcher);
                    }
                    *own != id
                });
            }
            Action::Kernel { id, op } => {
                let result = node.linux.apply(&op);
                match op {
                    _ if result.is_err() => {}
                    KernelOp::Ensure(object) | KernelOp::Replace(object) => node.kernel.push(object),
                    KernelOp::Remove(object) => node.kernel.retain(|own| *own != object),
                }
                answers.push(Answer::Kernel(KernelEvent::OpDone { id, result }));
            }
            Action::Survey { id, survey } => answers.push(Answer::Kernel(KernelEvent::Surveyed {
                id,
                result: Ok(Box::new(node.linux.survey(&survey))),
            })),
            Action::Forwarding(table) => node.table = Some(table),
            Action::Reconnect | Action::Ready => {}
            Action::Event(event) => node.events.push(event),
            Action::Exit(reason) => node.exit = Some(reason),
        }
    }

    fn deliver(&mut self, watcher: WatcherId, message: WatchMessage) {
        let owner = self
            .nodes
            .iter()
            .position(|node| node.watches.contains_key(&watcher));
        let Some(index) = owner else { return };
        let id = self.nodes[index].watches[&watcher];
        let event = match message {
            WatchMessage::Created { header, .. } => StoreEvent::WatchCreated { id, header },
            WatchMessage::Events { header, events, .. } => StoreEvent::WatchBatch { id, header, events },
            WatchMessage::Cancelled => return,
            WatchMessage::Compacted { compact_revision, .. } => StoreEvent::WatchEnded {
                id,
                end: WatchEnd::Compacted(compact_revision),
            },
        };
        self.tell(index, event);
    }

    fn tell(&mut self, index: usize, event: StoreEvent) {
        if self.nodes[index].exit.is_none() {
            self.drain(index);
            let now = self.now;
            self.nodes[index].engine.handle_store(event, now);
            self.drain(index);
        }
    }
}

impl BenchNode {
    /// Returns the peers in the newest forwarding table, as text.
    pub fn peers(&self) -> Vec<String> {
        let peers = self.engine.status().peers;
        peers
            .iter()
            .map(|(subnet, public_ip): (&Subnet, &IpAddr)| format!("{subnet} {public_ip}"))
            .collect()
    }

    /// Tells whether it said something that contains `text`.
    pub fn said(&self, text: &str) -> bool {
        self.events.iter().any(|event| event.to_string().contains(text))
    }
}

enum Answer {
    Store(StoreEvent),
    Kernel(KernelEvent),
}

/// Returns the setup of a node with this public IP on a machine of its own.
pub fn setup_on(machine: u64, public_ip: [u8; 4]) -> Setup {
    setup_after_boots(machine, 0, public_ip)
}

/// Returns the setup of a node with this public IP on a machine that was booted again so many times.
pub fn setup_after_boots(machine: u64, boots: u64, public_ip: [u8; 4]) -> Setup {
    Setup {
        machine: MachineId::new(machine, machine << 32 | boots),
        ..setup(public_ip)
    }
}

/// Returns the setup of a node with this public IP on `eth0`.
pub fn setup(public_ip: [u8; 4]) -> Setup {
    let address = Ipv4Addr::from(public_ip);
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

/// Returns the setup of a node with this host's address of IPv6 alone, on a machine of its own.
pub fn setup_v6(host: u16) -> Setup {
    let v4 = setup([0, 0, 0, 0]);
    let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host);
    Setup {
        machine: MachineId::new(host.into(), host.into()),
        underlay: Underlay {
            address_v6: Some(address),
            public_ipv6: Some(address),
            ..v4.underlay
        },
        ..v4
    }
}

/// Returns the setup of a node with this host's addresses of both families, on a machine of its own.
pub fn setup_dual(host: u8) -> Setup {
    let v4 = setup([192, 0, 2, host]);
    Setup {
        underlay: Underlay {
            address_v6: setup_v6(host.into()).underlay.address_v6,
            public_ipv6: setup_v6(host.into()).underlay.public_ipv6,
            ..v4.underlay
        },
        ..v4
    }
}

fn linux(underlay: &Underlay) -> Linux {
    let v6 = |address| Ipv6Net::new(address, 64).expect("a prefix length");
    Linux::new(Attachment {
        address_v6: underlay.address_v6.map(v6),
        mtu: underlay.mtu,
        ..Attachment::from(underlay.address)
    })
}

fn takes_room(request: &StoreRequest) -> bool {
    match request {
        StoreRequest::LeaseGrant { .. } => true,
        StoreRequest::Txn(txn) => txn.success.iter().any(|op| matches!(op, TxnOp::Put { .. })),
        StoreRequest::Range { .. }
        | StoreRequest::LeaseKeepAlive { .. }
        | StoreRequest::LeaseRevoke { .. } => false,
    }
}

fn no_space() -> StoreError {
    StoreError {
        kind: StoreErrorKind::NoSpace,
        message: "etcdserver: mvcc: database space exceeded".to_owned(),
    }
}

fn timed_out() -> StoreError {
    StoreError {
        kind: StoreErrorKind::DeadlineExceeded,
        message: "deadline exceeded".to_owned(),
    }
}

fn unavailable() -> StoreError {
    StoreError {
        kind: StoreErrorKind::Unavailable,
        message: "connection lost".to_owned(),
    }
}
