//! Our daemon: the engine and a forwarder, as the host drives them.

use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;
use selvedge_engine::{
    Engine, Forwarder, ForwardingTable, Inbound, Instant, Outbound, PacketCounters, Setup, Status,
};

use super::daemon::{Deed, Input, PacketFate};
use crate::checker::counters::Tally;
use crate::checker::{Verdict, contract};
use crate::node_id::NodeId;
use crate::violation::Finding;

/// A running daemon of ours.
#[derive(Debug)]
pub(super) struct Selvedge {
    node: NodeId,
    engine: Engine,
    forwarder: Forwarder,
    tally: Tally,
    table: Option<Arc<ForwardingTable>>,
}

impl Selvedge {
    pub(super) fn new(node: NodeId, setup: Setup, seed: u64, now: Instant) -> Self {
        Self {
            node,
            engine: Engine::new(setup, seed, now),
            forwarder: Forwarder::new(),
            tally: Tally::default(),
            table: None,
        }
    }

    /// Tells the engine something and drains what it wants done, as the contract demands.
    pub(super) fn feed(&mut self, input: Input, now: Instant) -> Result<Vec<Deed>, Finding> {
        match input {
            Input::Start => {}
            Input::Store(event) => self.engine.handle_store(event, now),
            Input::Kernel(event) => self.engine.handle_kernel(event, now),
            Input::Timeout => self.engine.handle_timeout(now),
        }
        let mut deeds = Vec::new();
        while let Some(action) = self.engine.poll_action() {
            deeds.push(Deed::Act(action));
            contract::check_drain(self.node, deeds.len())?;
        }
        contract::check_timeout(self.node, self.engine.poll_timeout(), now)?;
        Ok(deeds)
    }

    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.engine.poll_timeout()
    }

    pub(super) fn status(&self) -> Status {
        self.engine.status()
    }

    pub(super) fn set_table(&mut self, table: Arc<ForwardingTable>) {
        self.table = Some(table);
    }

    pub(super) fn carried(&self) -> Option<Ipv4Net> {
        Some(self.table.as_deref()?.params().subnet)
    }

    pub(super) fn peers(&self) -> Option<impl Iterator<Item = (Ipv4Net, Ipv4Addr)>> {
        Some(self.table.as_deref()?.peers())
    }

    pub(super) const fn counters(&self) -> &PacketCounters {
        self.forwarder.counters()
    }

    pub(super) fn outbound(&mut self, packet: &mut [u8], now: Instant) -> PacketFate {
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

    pub(super) fn inbound(&mut self, from: Ipv4Addr, packet: &mut [u8], now: Instant) -> PacketFate {
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

    pub(super) fn check_counters(&self) -> Verdict {
        self.tally.check(self.node, self.forwarder.counters())
    }
}
