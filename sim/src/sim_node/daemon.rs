//! The daemon of a node: ours or flannel's, and what a driver has to remember for it.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;
use selvedge_engine::{
    Action, DropReason, ForwardingTable, Instant, KernelEvent, Obstacle, PacketCounters, Setup, Status,
    StoreEvent, WatchId,
};

use super::clock::Clock;
use super::handling::Handling;
use super::selvedge::Selvedge;
use crate::checker::Verdict;
use crate::checker::store_requests::OpenRequests;
use crate::flannel::{Death, Defect, Flanneld};
use crate::linux::Linux;
use crate::node_id::NodeId;
use crate::scenario::Model;
use crate::violation::Finding;

/// A running daemon.
#[derive(Debug)]
pub(crate) struct Daemon {
    program: Program,
    started_at: Instant,
    clock: Clock,
    /// How long the node stood still since then.
    slept: Duration,
    /// The requests without an answer yet.
    pub(crate) pending: OpenRequests,
    /// The open watches.
    pub(crate) watches: BTreeSet<WatchId>,
    /// When it wants to be woken up.
    pub(crate) timer: Option<Instant>,
}

#[derive(Debug)]
enum Program {
    Selvedge(Box<Selvedge>),
    Flannel(Box<Flanneld>),
}

/// Something that the daemon is told.
#[derive(Debug)]
pub(crate) enum Input {
    /// Nothing yet: its first deeds are taken.
    Start,
    Store(StoreEvent),
    Kernel(KernelEvent),
    Timeout,
    /// It shall stop.
    Stop,
}

/// Something that a daemon wants done.
#[derive(Debug)]
pub(crate) enum Deed {
    Act(Action),
    /// A line for the timeline.
    Say(String),
    /// A line for the trace alone.
    Mention(String),
    /// The process ends; nothing follows.
    Die(Death),
}

/// What the forwarder did with a packet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum PacketFate {
    /// It goes to another node.
    Send(SocketAddrV4),
    /// It goes to the kernel.
    Deliver,
    /// It is dropped, and an ICMP error goes to another node, or to the kernel if there is none.
    Reply {
        reason: DropReason,
        to: Option<SocketAddrV4>,
        error: Vec<u8>,
    },
    Drop(DropReason),
    /// There is no forwarding table yet.
    NoTable,
}

impl Daemon {
    /// Starts ours.
    pub(crate) fn selvedge(node: NodeId, setup: Setup, seed: u64, handling: Handling, now: Instant) -> Self {
        let selvedge = Selvedge::new(node, setup, seed, handling, now);
        Self::new(Program::Selvedge(Box::new(selvedge)), now)
    }

    /// Starts flannel's.
    pub(crate) fn flannel(setup: Setup, seed: u64, now: Instant) -> Self {
        Self::new(Program::Flannel(Box::new(Flanneld::new(setup, seed))), now)
    }

    const fn new(program: Program, now: Instant) -> Self {
        Self {
            program,
            started_at: now,
            clock: Clock::new(now),
            slept: Duration::ZERO,
            pending: OpenRequests::new(),
            watches: BTreeSet::new(),
            timer: None,
        }
    }

    pub(crate) const fn model(&self) -> Model {
        match &self.program {
            Program::Selvedge(_) => Model::Selvedge,
            Program::Flannel(_) => Model::Flannel,
        }
    }

    /// Takes note that its node stood still; our clock went on, flannel's did not (control-plane.md, 6).
    pub(crate) fn wake_up(&mut self, asleep_since: Instant, now: Instant) {
        self.slept += now.saturating_since(asleep_since.max(self.started_at));
    }

    /// Sets by how many millionths its clock is too fast from now on.
    pub(crate) fn set_drift(&mut self, drift: i32, now: Instant) {
        self.clock.set_drift(drift, now);
    }

    /// Returns when its clock first shows this.
    pub(crate) fn shows_at(&self, shown: Instant) -> Instant {
        self.clock.shows_at(shown)
    }

    /// Tells it something and drains what it wants done.
    pub(crate) fn feed(&mut self, input: Input, now: Instant) -> Result<Vec<Deed>, Finding> {
        let now = self.clock.show(now);
        match &mut self.program {
            Program::Selvedge(selvedge) => selvedge.feed(input, now),
            Program::Flannel(flanneld) => Ok(flanneld.feed(input, now - self.slept)),
        }
    }

    /// Returns when it wants to be woken up, and why.
    pub(crate) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let (shown, why) = match &self.program {
            Program::Selvedge(selvedge) => selvedge.poll_timeout(),
            Program::Flannel(flanneld) => flanneld.poll_timeout().map(|(at, why)| (at + self.slept, why)),
        }?;
        Some((self.clock.shows_at(shown), why))
    }

    /// Returns what it says about itself.
    pub(crate) fn status(&self) -> Status {
        match &self.program {
            Program::Selvedge(selvedge) => selvedge.status(),
            Program::Flannel(flanneld) => flanneld.status(),
        }
    }

    /// Returns what keeps it from being ready, as far as it says so; flannel's does not.
    pub(crate) fn obstacles(&self, now: Instant) -> Vec<Obstacle> {
        match &self.program {
            Program::Selvedge(selvedge) => selvedge.obstacles(self.clock.show(now)),
            Program::Flannel(_) => Vec::new(),
        }
    }

    /// Takes the engine's table.
    pub(crate) fn set_table(&mut self, table: Arc<ForwardingTable>) {
        match &mut self.program {
            Program::Selvedge(selvedge) => selvedge.set_table(table),
            // It keeps its own routes.
            Program::Flannel(_) => {}
        }
    }

    /// Tells whether packets pass through it.
    pub(crate) const fn forwards(&self) -> bool {
        match &self.program {
            Program::Selvedge(selvedge) => selvedge.forwards(),
            Program::Flannel(_) => true,
        }
    }

    /// Returns the subnet that it forwards packets for.
    pub(crate) fn carried(&self) -> Option<Ipv4Net> {
        match &self.program {
            Program::Selvedge(selvedge) => selvedge.carried(),
            Program::Flannel(flanneld) => flanneld.carried(),
        }
    }

    /// Returns the peers that it forwards to, in the order of their subnets; `None` while it forwards nothing.
    pub(crate) fn peers(&self) -> Option<Box<dyn Iterator<Item = (Ipv4Net, Ipv4Addr)> + '_>> {
        match &self.program {
            Program::Selvedge(selvedge) => selvedge.peers(),
            Program::Flannel(flanneld) => Some(Box::new(flanneld.peers()?)),
        }
    }

    /// Returns the defect of flannel that made its routes differ from the leases, if one did.
    pub(crate) fn wrong_routes(&self) -> Option<Defect> {
        match &self.program {
            Program::Selvedge(_) => None,
            Program::Flannel(flanneld) => flanneld.wrong_routes(),
        }
    }

    /// Returns what its forwarder counted; flannel's counts nothing.
    pub(crate) fn counters(&self) -> Option<&PacketCounters> {
        match &self.program {
            Program::Selvedge(selvedge) => Some(selvedge.counters()),
            Program::Flannel(_) => None,
        }
    }

    /// Forwards a packet read from the tunnel device.
    pub(crate) fn outbound(&mut self, packet: &mut [u8], now: Instant) -> Result<PacketFate, Finding> {
        match &mut self.program {
            Program::Selvedge(selvedge) => selvedge.outbound(packet, self.clock.show(now)),
            Program::Flannel(flanneld) => Ok(flanneld.outbound(packet)),
        }
    }

    /// Forwards a datagram's payload that another host sent.
    pub(crate) fn inbound(
        &mut self,
        from: Ipv4Addr,
        packet: &mut [u8],
        now: Instant,
    ) -> Result<PacketFate, Finding> {
        match &mut self.program {
            Program::Selvedge(selvedge) => selvedge.inbound(from, packet, self.clock.show(now)),
            Program::Flannel(flanneld) => Ok(flanneld.inbound(packet)),
        }
    }

    /// Returns how many forwarding tables ours has had: the same number is the same table. Nobody counts flannel's.
    pub(crate) const fn tables(&self) -> Option<u64> {
        match &self.program {
            Program::Selvedge(selvedge) => Some(selvedge.tables()),
            Program::Flannel(_) => None,
        }
    }

    /// Returns how often it sends what its forwarder wants sent.
    pub(crate) const fn sendings(&self) -> usize {
        match &self.program {
            Program::Selvedge(selvedge) => selvedge.sendings(),
            Program::Flannel(_) => 1,
        }
    }

    /// Takes note of a datagram that it sends, and checks that there is a packet behind it.
    pub(crate) fn check_datagram(&mut self) -> Verdict {
        match &mut self.program {
            Program::Selvedge(selvedge) => selvedge.check_datagram(),
            Program::Flannel(_) => Ok(()),
        }
    }

    /// Checks what ours holds; `records` is the most that the store ever held.
    pub(crate) fn check_bounds(&self, records: usize) -> Verdict {
        match &self.program {
            Program::Selvedge(selvedge) => selvedge.check_bounds(self.watches.len(), records),
            Program::Flannel(_) => Ok(()),
        }
    }

    /// Checks that nothing is left to do on its node.
    pub(crate) fn check_rest(&self, linux: &Linux) -> Verdict {
        match &self.program {
            Program::Selvedge(selvedge) => selvedge.check_rest(linux),
            Program::Flannel(_) => Ok(()),
        }
    }

    /// Checks that the forwarder's counters add up.
    pub(crate) fn check_counters(&self) -> Verdict {
        match &self.program {
            Program::Selvedge(selvedge) => selvedge.check_counters(),
            Program::Flannel(_) => Ok(()),
        }
    }
}
