//! The control half: leases, peers and desired state.

mod config_reader;
mod followed_time;
mod follower;
mod health;
mod keeper;
pub(crate) mod outbox;
mod placing;
mod reporting;
mod surveying;
mod surveyor;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use self::config_reader::{ActiveConfig, ConfigReader};
use self::follower::{Follower, News};
use self::keeper::{Claim, Keeper};
use self::outbox::Outbox;
use self::surveyor::Surveyor;
use crate::action::{Action, Command, ExitReason, KernelEvent, RequestId, StoreEvent};
use crate::desired::{Failure, FailureNews, Reconciler};
use crate::event::Event;
use crate::firewall::MembershipFilter;
use crate::forwarding_table::{self, ForwardingTable};
use crate::holdings::Holdings;
use crate::kernel::{KernelError, KernelErrorKind, KernelObject, KernelOp};
use crate::lease::LeaseRecord;
use crate::peers::{Peers, Standpoint};
use crate::reject_reason::RejectReason;
use crate::rng::Rng;
use crate::setup::{Errand, Membership, Setup};
use crate::status::{Explanation, Phase, Status, Summary};
use crate::store::{StoreError, StoreResponse, WatchEnd};
use crate::subnet::Subnet;
use crate::time::Instant;
use crate::vteps::Vteps;
use crate::ways::Ways;

/// Decides about leases, peers and the kernel's state; see the crate's documentation for the contract.
///
/// # Panics
///
/// In debug builds, if the driver breaks the contract: an input before the actions of the one before were
/// drained, or a time that runs backwards.
#[derive(Debug, Deserialize, Serialize)]
pub struct Engine {
    setup: Setup,
    outbox: Outbox,
    config: ConfigReader,
    active: Option<Active>,
    follower: Follower,
    keeper: Keeper,
    reconciler: Reconciler,
    peers: Peers,
    /// The own subnet that the leases were last judged for, and where it puts this node.
    judged: Option<(Subnet, Standpoint)>,
    /// What the desired state and the table's parameters were last made from.
    placed: Option<Position>,
    rejected: BTreeMap<RejectReason, u64>,
    #[serde(with = "forwarding_table::params_alone")]
    table: Option<Arc<ForwardingTable>>,
    names_taken: u32,
    surveyor: Surveyor,
    /// The network config that waits for the first look at the node.
    found_config: Option<ActiveConfig>,
    vteps: Vteps,
    ways: Ways,
    /// Peers that the backend cannot reach because they are on no link of this node.
    off_link: BTreeSet<IpNet>,
    custody: Custody,
    /// The subnet that the node carried when it was last looked at for its sake.
    looked_for: Option<Subnet>,
    filter: MembershipFilter,
    filtering: Filtering,
    life: Life,
}

/// What the node serves, once the network config is known.
#[derive(Debug, Deserialize, Serialize)]
struct Active {
    config: ActiveConfig,
    record: LeaseRecord,
}

/// What can change about where a node is put into the overlay.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Position {
    subnet: Subnet,
    names_taken: u32,
    membership: Membership,
}

/// Whether the packet filter may drop.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum Filtering {
    /// It learns who the members are.
    Learning,
    /// It knows them.
    Enforced,
}

/// Whether the node's objects are this engine's to change. Until it carries a subnet for the first time, what an earlier
/// run left goes on carrying traffic, unless the subnet of that run is another node's by now.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum Custody {
    Untouched,
    /// They are looked at, now that it is known what is wanted.
    Claimed,
    Taken,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum Life {
    Starting,
    Ready,
    Stopped,
}

impl Engine {
    /// Makes an engine; its first actions are waiting to be polled.
    pub fn new(setup: Setup, seed: u64, now: Instant) -> Self {
        let mut outbox = Outbox::new(Rng::new(seed), now);
        let config = ConfigReader::new(setup.prefix.clone(), &mut outbox);
        Self {
            config,
            active: None,
            follower: Follower::new(setup.prefix.clone(), keeper::spare_time(setup.renew_margin)),
            keeper: Keeper::new(&setup),
            reconciler: Reconciler::default(),
            peers: Peers::new(setup.peer_grace),
            judged: None,
            placed: None,
            rejected: BTreeMap::new(),
            table: None,
            names_taken: 0,
            surveyor: Surveyor::new(),
            found_config: None,
            vteps: Vteps::new(setup.machine, setup.underlay.main_address()),
            ways: Ways::default(),
            off_link: BTreeSet::new(),
            custody: Custody::Untouched,
            looked_for: None,
            filter: MembershipFilter::default(),
            filtering: Filtering::Learning,
            life: Life::Starting,
            outbox,
            setup,
        }
    }

    /// Takes what the store says.
    pub fn handle_store(&mut self, event: StoreEvent, now: Instant) {
        self.begin(now);
        let news = match event {
            StoreEvent::Response { id, result } => self.handle_response(id, result),
            StoreEvent::WatchCreated { id, header } => {
                self.outbox.note_reached();
                if self.config.follows(id) {
                    self.config.handle_watch_created();
                }
                self.follower.handle_watch_created(id, &header, &mut self.outbox);
                News::None
            }
            StoreEvent::WatchBatch { id, events, .. } if self.config.follows(id) => {
                self.config.handle_watch_batch(events, &mut self.outbox);
                News::None
            }
            StoreEvent::WatchEnded { id, end } if self.config.follows(id) => {
                self.config.handle_watch_ended(&end, &mut self.outbox);
                if let WatchEnd::Failed(_) = end {
                    self.follower.handle_other_watch_ended(&mut self.outbox);
                }
                News::None
            }
            StoreEvent::WatchBatch { id, header, events } => {
                self.follower.handle_watch_batch(id, &header, events)
            }
            StoreEvent::WatchEnded { id, end } => {
                self.follower.handle_watch_ended(id, end, &mut self.outbox);
                News::None
            }
        };
        self.spread(news);
        self.settle();
    }

    /// Takes what the node says.
    pub fn handle_kernel(&mut self, event: KernelEvent, now: Instant) {
        self.begin(now);
        match event {
            KernelEvent::OpDone { id, result } => {
                if let Some(failure) = self.reconciler.handle_done(id, result, &mut self.outbox) {
                    self.handle_failure(failure);
                }
            }
            KernelEvent::Surveyed { id, result } => self.handle_surveyed(id, result),
            KernelEvent::Doubted => self.surveyor.doubt(now),
            KernelEvent::Vanished(object) => self.reconciler.handle_vanished(&object, &mut self.outbox),
            KernelEvent::LinkVanished(name) => {
                self.reconciler.handle_link_vanished(&name, &mut self.outbox);
            }
        }
        self.settle();
    }

    /// Takes what the operator says.
    pub fn handle_command(&mut self, command: Command, now: Instant) {
        self.begin(now);
        match command {
            Command::Shutdown if self.life != Life::Stopped => {
                self.keeper.release_spare(&mut self.outbox);
                self.exit(ExitReason::Shutdown);
            }
            Command::Shutdown => {}
        }
    }

    /// Does what has become due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.begin(now);
        self.settle();
    }

    /// Returns the next thing to do, `None` when all is said.
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.outbox.pop();
        debug_assert!(
            action.is_some() || self.poll_timeout().is_none_or(|(at, _)| at > self.outbox.now),
            "after a full drain the next timeout lies in the future"
        );
        action
    }

    /// Returns when to call [`Engine::handle_timeout`] at the latest, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        if self.life == Life::Stopped {
            return None;
        }
        let config = self
            .config
            .poll_timeout()
            .map(|at| (at, "read the network config again"));
        let kernel = self
            .reconciler
            .poll_timeout()
            .map(|at| (at, "set up the kernel again"));
        let judges = self.judged.is_some();
        let stale = self
            .peers
            .first_end()
            .filter(|_| judges)
            .and_then(|end| self.follower.followed_time().when(end))
            .map(|at| (at, "let a stale peer go"));
        [
            config,
            self.follower.poll_timeout(),
            self.keeper.poll_timeout(),
            self.surveyor.poll_timeout(),
            kernel,
            stale,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Returns a view of the engine for people.
    pub fn status(&self) -> Status {
        Status {
            phase: self.phase(),
            subnet: self.keeper.carried(),
            twin: self.keeper.twin(),
            public_ip: self.setup.underlay.public_ip,
            backend: self.active.as_ref().map(|active| active.config.backend.kind()),
            revision: self.follower.leases().revision(),
            peers: self.peers.iter().collect(),
            stale: self.stale_peers(),
            rejected: self.rejected.clone(),
            missed_changes: self.follower.missed_changes(),
            failing: self.failing(),
            off_link: self.off_link.iter().copied().collect(),
        }
    }

    fn failing(&self) -> Vec<(KernelObject, KernelError)> {
        let failing = self.reconciler.failing();
        failing.map(|failing| (failing.object, failing.error)).collect()
    }

    /// Returns the subnet that the node carries; unlike [`Engine::status`] this copies nothing.
    pub const fn subnet(&self) -> Option<Subnet> {
        self.keeper.carried()
    }

    /// Says what becomes of a packet for `destination`, and why.
    pub fn explain(&self, destination: Ipv4Addr) -> Explanation {
        let Some(table) = &self.table else {
            return Explanation::NotReady;
        };
        let params = table.params();
        if !params.network.contains(&destination) {
            return Explanation::OutsideNetwork;
        }
        if params.subnet.contains(&destination) {
            return Explanation::Local;
        }
        match self.peers.holder_of(IpAddr::V4(destination)) {
            Some(peer) => Explanation::Peer {
                subnet: peer.subnet,
                public_ip: peer.place.public_ip,
            },
            None => Explanation::NoRoute,
        }
    }

    /// Returns the difference between the kernel's state as known and as desired.
    pub fn plan(&self) -> Vec<KernelOp> {
        self.reconciler.plan()
    }

    /// Returns how much the engine holds; unlike [`Engine::status`] it copies nothing.
    pub fn holdings(&self) -> Holdings {
        let (kernel_objects, kernel_operations) = self.reconciler.sizes();
        let (peers, stale_peers, rejected) = self.peers.sizes();
        Holdings {
            revision: self.follower.leases().revision(),
            leases: self.follower.leases().len(),
            peers,
            stale_peers,
            rejected,
            kernel_objects,
            kernel_operations,
        }
    }

    /// Returns the kernel objects that the node is to have.
    pub fn objects(&self) -> impl Iterator<Item = &KernelObject> {
        self.reconciler.desired()
    }

    /// Makes what a snapshot leaves out because it follows from the rest.
    pub(crate) fn derive_the_rest(&mut self) {
        self.follower.index_leases();
        self.reconciler.derive_the_rest();
        if let Some(table) = &mut self.table {
            *table = Arc::new(ForwardingTable::new(*table.params(), self.peers.v4()));
        }
    }

    fn begin(&mut self, now: Instant) {
        debug_assert!(
            self.outbox.is_empty(),
            "the driver drains all actions before the next input"
        );
        debug_assert!(now >= self.outbox.now, "time does not run backwards");
        self.outbox.now = self.outbox.now.max(now);
    }

    fn handle_response(&mut self, id: RequestId, result: Result<StoreResponse, StoreError>) -> News {
        if result.is_ok() {
            self.outbox.note_reached();
        }
        if self.config.awaits(id) {
            if let Some(config) = self.config.handle_response(result, &mut self.outbox) {
                self.serve(config);
            }
            return News::None;
        }
        if self.follower.awaits(id) {
            return self.follower.handle_response(result, &mut self.outbox);
        }
        let Some(active) = self.active.as_ref().filter(|_| self.keeper.awaits(id)) else {
            return News::None;
        };
        self.keeper
            .handle_response(result, &active.claim(), &mut self.follower, &mut self.outbox)
    }

    /// Serves a network config once the node was looked at.
    fn serve(&mut self, config: ActiveConfig) {
        self.found_config = Some(config);
        self.surveyor.begin(self.outbox.now);
    }

    fn handle_failure(&mut self, failure: Failure) {
        let Failure {
            object,
            error,
            retry_in,
            news,
        } = failure;
        if error.kind == KernelErrorKind::Taken {
            // What has the place may be flannel's: by what the node wants now, a survey tells.
            self.surveyor.doubt(self.outbox.now);
        }
        match (&object, error.kind) {
            (KernelObject::Link(_), KernelErrorKind::Taken) => self.names_taken += 1,
            (
                KernelObject::Link(_) | KernelObject::Socket(_) | KernelObject::Address(_),
                KernelErrorKind::Permission | KernelErrorKind::Unsupported,
            ) => return self.exit(ExitReason::Kernel { object, error }),
            (
                KernelObject::Link(_)
                | KernelObject::Socket(_)
                | KernelObject::Sysctl(_)
                | KernelObject::Address(_)
                | KernelObject::Ruleset(_)
                | KernelObject::Member(_)
                | KernelObject::FdbEntry(_)
                | KernelObject::Neighbour(_)
                | KernelObject::Route(_)
                | KernelObject::SubnetFile(_),
                _,
            ) => {}
        }
        if news == FailureNews::New {
            self.outbox.tell(Event::KernelFailed {
                object,
                error,
                retry_in,
            });
        }
    }

    /// Tells the keeper what the follower saw, until both are at rest.
    fn spread(&mut self, news: News) {
        let Some(active) = &self.active else { return };
        if news == News::Restarted {
            self.config.read_again(&mut self.outbox);
        }
        match (self.setup.errand, news) {
            (_, News::None) => {}
            (Errand::Serve, news) => {
                self.keeper
                    .handle_news(news, &active.claim(), &self.follower, &mut self.outbox);
            }
            (Errand::Plan, News::Listed | News::Restarted | News::Changed) => self.make_plan(),
        }
    }

    /// Brings everything up to date with the time and with each other.
    fn settle(&mut self) {
        if self.life == Life::Stopped {
            return;
        }
        self.config.handle_timeout(&mut self.outbox);
        self.follower.handle_timeout(&mut self.outbox);
        self.survey();
        if self.setup.errand == Errand::Plan {
            return;
        }
        let Some(active) = &self.active else { return };
        self.keeper
            .handle_timeout(&active.claim(), &mut self.follower, &mut self.outbox);
        if let Some(subnet) = self.keeper.given_up() {
            return self.exit(ExitReason::LeaseLost { subnet });
        }
        self.place();
        self.claim_custody();
        if self.custody == Custody::Taken {
            self.reconciler.reconcile(&mut self.outbox);
        }
        if self.life == Life::Starting && self.keeper.carried().is_some() && self.reconciler.is_settled() {
            self.life = Life::Ready;
            self.outbox.tell(Event::Ready);
            self.outbox.push(Action::Ready);
        }
    }

    /// Peers write their leases again only while the store is there: their time is counted while it can be followed.
    fn followed_now(&self) -> Instant {
        self.follower.followed_time().at(self.outbox.now)
    }

    fn stale_peers(&self) -> BTreeMap<Subnet, Duration> {
        let now = self.followed_now();
        let stale = self.peers.stale();
        stale
            .map(|(subnet, end)| (subnet, end.saturating_since(now)))
            .collect()
    }

    /// Looks at the node, now that it is known what it would have to be; then it ends.
    fn make_plan(&mut self) {
        let Some(active) = &self.active else { return };
        self.keeper
            .propose(&active.claim(), &self.follower, &mut self.outbox);
        self.place();
        self.claim_custody();
    }

    fn exit(&mut self, reason: ExitReason) {
        self.life = Life::Stopped;
        self.outbox.push(Action::Exit(reason));
    }

    /// Returns the part of [`Engine::status`] that costs nothing to tell.
    pub fn summary(&self) -> Summary {
        let Holdings {
            peers, stale_peers, ..
        } = self.holdings();
        Summary {
            phase: self.phase(),
            subnet: self.keeper.carried(),
            twin: self.keeper.twin(),
            peers,
            stale: stale_peers,
            failing: self.reconciler.failing_count(),
        }
    }

    fn phase(&self) -> Phase {
        match self.life {
            Life::Stopped => Phase::Stopped,
            Life::Starting | Life::Ready if self.active.is_none() => Phase::Configuring,
            Life::Starting | Life::Ready if self.keeper.held().is_none() => Phase::Acquiring,
            Life::Starting | Life::Ready if !self.reconciler.is_settled() => Phase::Preparing,
            Life::Starting | Life::Ready => Phase::Running,
        }
    }
}

impl Active {
    fn claim(&self) -> Claim<'_> {
        Claim {
            network: &self.config.network,
            record: &self.record,
        }
    }
}
