//! A model of `flanneld`, defects included: what the simulator has to find, and what our nodes have to live with.
//!
//! It is a state machine with the engine's vocabulary, written from the behaviour that control-plane.md (3 to 7) and
//! backends.md (3, the `udp` backend) describe. What it leaves out:
//!
//! - The time to live of a key's etcd lease costs flanneld one more request per key. Here the answer is known: the
//!   own etcd lease ends when its grant said, another's in 24 hours, and a key without one a second ago.
//! - Requests that find no connection wait for one: reads, grants and revocations are repeated until the store answers. A
//!   write that was lost on its way fails, as with etcd's client.
//! - Signals but SIGTERM, the health server, firewall rules, IPv6-only networks, and every backend but `udp`.

mod acquisition;
mod client;
mod data_path;
mod death;
mod defect;
mod key;
mod lease_watch;
mod own_watch;
mod renewal;
mod watch;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use selvedge_engine::{
    Action, Address, ExitReason, Instant, KernelEvent, KernelObject, KernelOp, KeyRange, Link, LinkKind,
    LinkName, Masquerade, NetworkConfig, NextHop, OpId, Page, Phase, PreviousSubnet, Revision, Rng, Route,
    RouteMark, Setup, Status, StoreError, StoreEvent, StorePrefix, StoreRequest, StoreResponse, Subnet,
    SubnetFile,
};

use acquisition::{Acquired, Acquisition, Progress};
use client::{Client, Purpose};
use data_path::DataPath;
pub(crate) use death::Death;
pub use defect::Defect;
use lease_watch::LeaseWatch;
use own_watch::{OwnNews, OwnWatch};
use renewal::Renewal;

use crate::sim_node::{Deed, Input, PacketFate};

/// Who the node is: what flanneld knows from its flags and from the node.
#[derive(Clone, Debug)]
struct Identity {
    public_ip: Ipv4Addr,
    public_ipv6: Option<Ipv6Addr>,
    interface: Ipv4Addr,
    mtu: u32,
    prefix: StorePrefix,
    previous: PreviousSubnet,
    renew_margin: Duration,
}

/// A running `flanneld`.
#[derive(Debug)]
pub(crate) struct Flanneld {
    identity: Identity,
    client: Client,
    /// The network config that the backend works with.
    config: Option<NetworkConfig>,
    stage: Stage,
    data_path: Option<DataPath>,
    last_op: u64,
    revision: Revision,
}

#[derive(Debug)]
enum Stage {
    /// Reading the network config, every second until it is there and valid.
    Configuring {
        again_at: Option<Instant>,
    },
    Acquiring(Acquisition),
    /// Setting up the tunnel; then the daemon is ready.
    Preparing {
        acquired: Acquired,
        waits: BTreeSet<OpId>,
    },
    Running(Box<Running>),
    Dead,
}

/// The two watches of a node that is ready, and the timer of its lease.
#[derive(Debug)]
struct Running {
    acquired: Acquired,
    leases: LeaseWatch,
    own: OwnWatch,
    renewal: Renewal,
    /// What the own watch said during a renewal: one loop does both, and the renewal blocks it.
    unheard: Vec<OwnNews>,
}

impl Flanneld {
    pub(crate) fn new(setup: Setup, seed: u64) -> Self {
        let underlay = setup.underlay;
        Self {
            identity: Identity {
                public_ip: underlay.public_ip,
                public_ipv6: underlay.public_ipv6,
                interface: underlay.address,
                mtu: underlay.mtu.saturating_sub(OVERHEAD),
                prefix: setup.prefix,
                previous: setup.previous,
                renew_margin: setup.renew_margin,
            },
            client: Client::new(Rng::new(seed)),
            config: None,
            stage: Stage::Configuring { again_at: None },
            data_path: None,
            last_op: 0,
            revision: Revision::default(),
        }
    }

    /// Tells it something, at a time of its own clock, and returns what it wants done.
    pub(crate) fn feed(&mut self, input: Input, now: Instant) -> Vec<Deed> {
        self.client.now = now;
        match input {
            Input::Start => self.read_config(),
            Input::Store(event) => self.handle_store(event),
            Input::Kernel(event) => self.handle_kernel(event),
            Input::Timeout => self.handle_timeout(),
            Input::Stop => return vec![Deed::Act(Action::Exit(ExitReason::Shutdown))],
        }
        self.client.take_deeds()
    }

    pub(crate) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let own = match &self.stage {
            Stage::Configuring { again_at } => again_at.map(|at| (at, "read the network config")),
            Stage::Running(running) => {
                let renewal = running.renewal.due().map(|at| (at, "renew the lease"));
                let watches = [running.leases.poll_timeout(), running.own.poll_timeout()];
                watches
                    .into_iter()
                    .flatten()
                    .map(|at| (at, "watch again"))
                    .chain(renewal)
                    .min()
            }
            Stage::Acquiring(_) | Stage::Preparing { .. } | Stage::Dead => None,
        };
        own.into_iter().chain(self.client.poll_timeout()).min()
    }

    /// Returns what it would say about itself, were it asked.
    pub(crate) fn status(&self) -> Status {
        let phase = match &self.stage {
            Stage::Configuring { .. } => Phase::Configuring,
            Stage::Acquiring(_) => Phase::Acquiring,
            Stage::Preparing { .. } => Phase::Preparing,
            Stage::Running(_) => Phase::Running,
            Stage::Dead => Phase::Stopped,
        };
        Status {
            phase,
            subnet: self.acquired().map(|acquired| acquired.subnet),
            twin: None,
            missed_changes: 0,
            failing: Vec::new(),
            off_link: Vec::new(),
            public_ip: self.identity.public_ip,
            backend: self.config.is_some().then_some("udp"),
            revision: self.revision,
            peers: self
                .peers()
                .into_iter()
                .flatten()
                .map(|(net, ip)| (Subnet::V4(net), ip.into()))
                .collect(),
            stale: std::collections::BTreeMap::new(),
            rejected: std::collections::BTreeMap::new(),
        }
    }

    /// Returns the subnet that it forwards packets for, once its tunnel is there.
    pub(crate) fn carried(&self) -> Option<Ipv4Net> {
        self.data_path.as_ref()?;
        Some(self.acquired()?.subnet.v4()?.trunc())
    }

    /// Returns the peers that it forwards to, in the order of their subnets; `None` while it forwards nothing.
    pub(crate) fn peers(&self) -> Option<std::collections::btree_map::IntoIter<Ipv4Net, Ipv4Addr>> {
        Some(self.data_path.as_ref()?.peers().into_iter())
    }

    /// Returns the defect that made its routes differ from the leases, if one did.
    pub(crate) fn wrong_routes(&self) -> Option<Defect> {
        match &self.stage {
            Stage::Running(running) => running.leases.defect().or_else(|| running.own.defect()),
            Stage::Configuring { .. } | Stage::Acquiring(_) | Stage::Preparing { .. } | Stage::Dead => None,
        }
    }

    /// Forwards a packet read from the tunnel device.
    pub(crate) fn outbound(&mut self, packet: &mut [u8]) -> PacketFate {
        match &mut self.data_path {
            Some(data_path) => data_path.outbound(packet),
            None => PacketFate::NoTable,
        }
    }

    /// Forwards a datagram's payload, whoever sent it.
    pub(crate) fn inbound(&self, packet: &mut [u8]) -> PacketFate {
        match &self.data_path {
            Some(data_path) => data_path.inbound(packet),
            None => PacketFate::NoTable,
        }
    }

    const fn acquired(&self) -> Option<&Acquired> {
        match &self.stage {
            Stage::Preparing { acquired, .. } => Some(acquired),
            Stage::Running(running) => Some(&running.acquired),
            Stage::Configuring { .. } | Stage::Acquiring(_) | Stage::Dead => None,
        }
    }

    fn handle_store(&mut self, event: StoreEvent) {
        match event {
            StoreEvent::Response { id, result } => {
                if let Some((purpose, result)) = self.client.answered(id, result) {
                    self.handle_answer(purpose, result);
                }
            }
            StoreEvent::WatchCreated { header, .. } => self.revision = self.revision.max(header.revision),
            StoreEvent::WatchBatch { id, header, events } => {
                self.revision = self.revision.max(header.revision);
                let Stage::Running(running) = &mut self.stage else {
                    return;
                };
                if running.leases.awaits(id) {
                    let changes = running.leases.handle_batch(header.revision, &events);
                    self.apply(&changes);
                } else if running.own.awaits(id) {
                    let news = running.own.handle_batch(header.revision, &events);
                    self.hear_own(news);
                }
            }
            StoreEvent::WatchEnded { id, end } => {
                let Stage::Running(running) = &mut self.stage else {
                    return;
                };
                running.leases.handle_end(id, &end, &mut self.client);
                running.own.handle_end(id, &end, &mut self.client);
            }
        }
    }

    fn handle_answer(&mut self, purpose: Purpose, result: Result<StoreResponse, StoreError>) {
        match (purpose, &mut self.stage) {
            (Purpose::Config, Stage::Configuring { .. }) => self.handle_config(result),
            (Purpose::Acquire(step), Stage::Acquiring(acquisition)) => {
                let progress = acquisition.handle_answer(step, result, &self.identity, &mut self.client);
                self.proceed(progress);
            }
            (Purpose::ListLeases, Stage::Running(running)) => {
                let changes = running.leases.handle_list(result, &mut self.client);
                self.apply(&changes);
            }
            (Purpose::ReadOwn, Stage::Running(running)) => {
                let news = running.own.handle_read(result, &mut self.client);
                self.hear_own(news);
            }
            (Purpose::Renew(step), Stage::Running(running)) => {
                let Running {
                    renewal,
                    acquired,
                    unheard,
                    ..
                } = &mut **running;
                renewal.handle_answer(step, result, acquired, &mut self.client);
                if !renewal.is_busy() {
                    let news = std::mem::take(unheard);
                    self.hear_own(news);
                }
            }
            (
                Purpose::Config
                | Purpose::Acquire(_)
                | Purpose::ListLeases
                | Purpose::ReadOwn
                | Purpose::Renew(_)
                | Purpose::Forget,
                _,
            ) => {}
        }
    }

    fn handle_timeout(&mut self) {
        self.client.handle_timeout();
        let now = self.client.now;
        match &mut self.stage {
            Stage::Configuring { again_at: Some(at) } if *at <= now => self.read_config(),
            Stage::Running(running) => {
                running.leases.handle_timeout(&mut self.client);
                running.own.handle_timeout(&mut self.client);
                running.renewal.handle_timeout(&mut self.client);
            }
            Stage::Configuring { .. } | Stage::Acquiring(_) | Stage::Preparing { .. } | Stage::Dead => {}
        }
    }

    fn read_config(&mut self) {
        self.stage = Stage::Configuring { again_at: None };
        self.client
            .ask(Purpose::Config, config_request(&self.identity.prefix));
    }

    /// An error of any kind is tried again after a second, for ever (control-plane.md, 7.1).
    fn handle_config(&mut self, result: Result<StoreResponse, StoreError>) {
        match config_of(result) {
            Ok(config) => {
                self.config = Some(config);
                self.stage = Stage::Acquiring(Acquisition::begin(&self.identity, &mut self.client));
            }
            Err(error) => {
                self.client
                    .say(format!("cannot read the network config: {error}"));
                let again_at = Some(self.client.now + CONFIG_AGAIN);
                self.stage = Stage::Configuring { again_at };
            }
        }
    }

    fn proceed(&mut self, progress: Progress) {
        match progress {
            Progress::Waits => {}
            Progress::Holds(acquired) => {
                self.client.say(format!("holds subnet {}", acquired.subnet));
                self.prepare(acquired);
            }
            Progress::Dies(death) => self.die(death),
        }
    }

    /// Sets up the tunnel and writes the subnet file (backends.md, 3.2).
    fn prepare(&mut self, acquired: Acquired) {
        let Some((config, objects)) = self.config.as_ref().and_then(|config| {
            let objects = objects(&self.identity, config, acquired.subnet)?;
            Some((config, objects))
        }) else {
            return self.die(Death::UnfitNetwork);
        };
        let network = config.v4.map(|range| range.network).unwrap_or_default();
        self.data_path = Some(DataPath::new(network, port(config), self.identity.mtu));
        let mut waits = BTreeSet::new();
        for object in objects {
            self.last_op += 1;
            let id = OpId(self.last_op);
            waits.insert(id);
            let op = KernelOp::Ensure(object);
            self.client.act(Action::Kernel { id, op });
        }
        self.stage = Stage::Preparing { acquired, waits };
    }

    fn handle_kernel(&mut self, event: KernelEvent) {
        let (Stage::Preparing { acquired, waits }, KernelEvent::OpDone { id, result }) =
            (&mut self.stage, event)
        else {
            // Nothing that happens to the device or the routes later is looked at (backends.md, 3.4).
            return;
        };
        if let Err(error) = result {
            return self.die(Death::Kernel(error));
        }
        waits.remove(&id);
        if waits.is_empty() {
            let acquired = acquired.clone();
            self.run(acquired);
        }
    }

    fn run(&mut self, acquired: Acquired) {
        self.client.act(Action::Ready);
        self.client.say("is ready".to_owned());
        let Identity {
            prefix, renew_margin, ..
        } = &self.identity;
        let leases = LeaseWatch::begin(prefix, acquired.subnet, &mut self.client);
        let own = OwnWatch::begin(acquired.key.clone(), &mut self.client);
        let renewal = Renewal::new(*renew_margin);
        self.stage = Stage::Running(Box::new(Running {
            acquired,
            leases,
            own,
            renewal,
            unheard: Vec::new(),
        }));
    }

    fn apply(&mut self, changes: &[lease_watch::Change]) {
        let Some(data_path) = &mut self.data_path else {
            return;
        };
        for change in changes {
            self.client.mention(change.to_string());
            data_path.apply(change);
        }
    }

    fn hear_own(&mut self, news: Vec<OwnNews>) {
        let Stage::Running(running) = &mut self.stage else {
            return;
        };
        let now = self.client.now;
        for news in news {
            if running.renewal.is_busy() {
                running.unheard.push(news);
                continue;
            }
            match news {
                OwnNews::Added(lease) => running.renewal.reset(running.acquired.ends_at(lease, now)),
                OwnNews::Removed => return self.die(Death::LeaseRevoked),
            }
        }
    }

    fn die(&mut self, death: Death) {
        self.stage = Stage::Dead;
        self.client.die(death);
    }
}

/// 20 bytes of outer IPv4 and 8 of UDP.
const OVERHEAD: u32 = 28;
const DEFAULT_PORT: u16 = 8285;
const CONFIG_AGAIN: Duration = Duration::from_secs(1);

fn config_request(prefix: &StorePrefix) -> StoreRequest {
    StoreRequest::Range {
        range: KeyRange::Key(prefix.config_key()),
        page: Page::default(),
        revision: None,
    }
}

fn config_of(result: Result<StoreResponse, StoreError>) -> Result<NetworkConfig, String> {
    let kvs = match result {
        Ok(StoreResponse::Range { kvs, .. }) => kvs,
        Ok(_) => Vec::new(),
        Err(error) => return Err(error.to_string()),
    };
    let Some(kv) = kvs.first() else {
        return Err("there is none".to_owned());
    };
    NetworkConfig::parse(&kv.value).map_err(|error| error.to_string())
}

fn objects(identity: &Identity, config: &NetworkConfig, subnet: Subnet) -> Option<Vec<KernelObject>> {
    let range = config.v4?;
    let own = subnet.v4()?;
    let name = LinkName("flannel0".to_owned());
    let file = SubnetFile {
        v4: Some((range.network, own)),
        v6: config.v6.map(|range| range.network).zip(subnet.v6()),
        mtu: identity.mtu,
        masquerade: Masquerade::Off,
    };
    Some(vec![
        KernelObject::Link(Link {
            name: name.clone(),
            kind: LinkKind::Tun,
            mtu: identity.mtu,
            alias: String::new(),
        }),
        KernelObject::Address(Address {
            link: name.clone(),
            net: IpNet::from(IpAddr::V4(own.network())),
        }),
        KernelObject::Route(Route {
            destination: range.network.into(),
            hop: NextHop::Link(name),
            mark: RouteMark::Flannel,
        }),
        KernelObject::Socket(SocketAddrV4::new(identity.interface, port(config))),
        KernelObject::SubnetFile(file),
    ])
}

/// The port comes from the backend's options, which a parsed config holds as raw JSON.
fn port(config: &NetworkConfig) -> u16 {
    let options = &config.backend.options;
    let after_key = options
        .split_once("\"Port\"")
        .map(|(_, rest)| rest.trim_start_matches([':', ' ']));
    let digits = after_key.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    digits
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(DEFAULT_PORT)
}
