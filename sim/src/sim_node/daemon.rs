//! The daemon: the engine, a forwarder, and what a driver has to remember for them.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use ipnet::Ipv4Net;
use selvedge_engine::{
    Action, DropReason, Engine, Forwarder, ForwardingTable, Inbound, Instant, KernelEvent, Outbound,
    PacketCounters, RequestId, Setup, Status, StoreEvent, WatchId,
};

use crate::checker::counters::Tally;
use crate::checker::{Verdict, contract};
use crate::node_id::NodeId;
use crate::violation::Finding;

/// A running daemon.
#[derive(Debug)]
pub(crate) struct Daemon {
    node: NodeId,
    engine: Engine,
    forwarder: Forwarder,
    tally: Tally,
    table: Option<Arc<ForwardingTable>>,
    /// The requests without an answer yet.
    pub(crate) pending: BTreeSet<RequestId>,
    /// The open watches.
    pub(crate) watches: BTreeSet<WatchId>,
    /// When the engine wants to be woken up.
    pub(crate) timer: Option<Instant>,
}

/// Something that the daemon's engine is told.
#[derive(Debug)]
pub(crate) enum Input {
    /// Nothing yet: its first actions are taken.
    Start,
    Store(StoreEvent),
    Kernel(KernelEvent),
    Timeout,
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
    /// The engine has not given a forwarding table yet.
    NoTable,
}

impl Daemon {
    pub(crate) fn start(node: NodeId, setup: Setup, seed: u64, now: Instant) -> Self {
        Self {
            node,
            engine: Engine::new(setup, seed, now),
            forwarder: Forwarder::new(),
            tally: Tally::default(),
            table: None,
            pending: BTreeSet::new(),
            watches: BTreeSet::new(),
            timer: None,
        }
    }

    /// Tells the engine something and drains what it wants done, as the contract demands.
    pub(crate) fn feed(&mut self, input: Input, now: Instant) -> Result<Vec<Action>, Finding> {
        match input {
            Input::Start => {}
            Input::Store(event) => self.engine.handle_store(event, now),
            Input::Kernel(event) => self.engine.handle_kernel(event, now),
            Input::Timeout => self.engine.handle_timeout(now),
        }
        let mut actions = Vec::new();
        while let Some(action) = self.engine.poll_action() {
            actions.push(action);
            contract::check_drain(self.node, actions.len())?;
        }
        contract::check_timeout(self.node, self.engine.poll_timeout(), now)?;
        Ok(actions)
    }

    pub(crate) fn set_table(&mut self, table: Arc<ForwardingTable>) {
        self.table = Some(table);
    }

    /// Returns when it wants to be woken up, and why.
    pub(crate) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.engine.poll_timeout()
    }

    /// Returns what it says about itself.
    pub(crate) fn status(&self) -> Status {
        self.engine.status()
    }

    /// Returns the subnet that it forwards packets for.
    pub(crate) fn carried(&self) -> Option<Ipv4Net> {
        Some(self.table.as_deref()?.params().subnet)
    }

    /// Returns the peers that it forwards to, in the order of their subnets; `None` while it forwards nothing.
    pub(crate) fn peers(&self) -> Option<impl Iterator<Item = (Ipv4Net, Ipv4Addr)>> {
        Some(self.table.as_deref()?.peers())
    }

    /// Returns what its forwarder counted.
    pub(crate) const fn counters(&self) -> &PacketCounters {
        self.forwarder.counters()
    }

    /// Forwards a packet read from the tunnel device.
    pub(crate) fn outbound(&mut self, packet: &mut [u8], now: Instant) -> PacketFate {
        let Some(table) = &self.table else {
            return PacketFate::NoTable;
        };
        let outbound = self.forwarder.outbound(table, packet, now);
        self.tally.count_outbound(&outbound);
        match outbound {
            Outbound::Send(to) => PacketFate::Send(to),
            Outbound::Reply { reason, error } => PacketFate::Reply {
                reason,
                to: None,
                error: error.to_vec(),
            },
            Outbound::Drop(reason) => PacketFate::Drop(reason),
        }
    }

    /// Forwards a datagram's payload that another host sent.
    pub(crate) fn inbound(&mut self, from: Ipv4Addr, packet: &mut [u8], now: Instant) -> PacketFate {
        let Some(table) = &self.table else {
            return PacketFate::NoTable;
        };
        let inbound = self.forwarder.inbound(table, from, packet, now);
        self.tally.count_inbound(&inbound);
        match inbound {
            Inbound::Deliver => PacketFate::Deliver,
            Inbound::Reply { reason, to, error } => PacketFate::Reply {
                reason,
                to: Some(to),
                error: error.to_vec(),
            },
            Inbound::Drop(reason) => PacketFate::Drop(reason),
        }
    }

    /// Checks that the forwarder's counters add up.
    pub(crate) fn check_counters(&self) -> Verdict {
        self.tally.check(self.node, self.forwarder.counters())
    }
}
