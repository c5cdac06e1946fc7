//! Our daemon: the engine and a forwarder, as the host drives them.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use ipnet::Ipv4Net;
use selvedge_engine::{
    Command, Engine, Forwarder, ForwardingTable, Inbound, Instant, Obstacle, Outbound, PacketCounters, Setup,
    Status,
};

use super::daemon::{Deed, Input, PacketFate};
use super::handling::{Continuity, Handling};
use super::saboteur::Saboteur;
use crate::checker::amplification::{Amplification, Side};
use crate::checker::bounds::{self, Census};
use crate::checker::counters::Tally;
use crate::checker::fail_static::FailStatic;
use crate::checker::monotone::Known;
use crate::checker::{Verdict, contract, idempotence, replay};
use crate::linux::Linux;
use crate::node_id::NodeId;
use crate::violation::Finding;

/// A running daemon of ours.
#[derive(Debug)]
pub(super) struct Selvedge {
    node: NodeId,
    engine: Engine,
    forwarder: Forwarder,
    tally: Tally,
    amplification: Amplification,
    fail_static: FailStatic,
    table: Option<Arc<ForwardingTable>>,
    /// How many tables there have been.
    tables: u64,
    continuity: Continuity,
    /// How often it was told something.
    inputs: u32,
    /// How many ranges a lease of the cluster may have.
    ranges: usize,
    saboteur: Saboteur,
}

impl Selvedge {
    pub(super) fn new(node: NodeId, setup: Setup, seed: u64, handling: Handling, now: Instant) -> Self {
        let saboteur = Saboteur::new(handling.sabotage, node.public_ip());
        let fail_static = FailStatic::new(setup.peer_grace);
        let ranges = 1 + usize::from(setup.underlay.address_v6.is_some());
        Self {
            node,
            engine: Engine::new(saboteur.prepare(setup), saboteur.seed(seed), now),
            forwarder: Forwarder::new(),
            tally: Tally::default(),
            amplification: Amplification::default(),
            fail_static,
            table: None,
            tables: 0,
            continuity: handling.continuity,
            inputs: 0,
            ranges,
            saboteur,
        }
    }

    /// Tells the engine something and drains what it wants done, as the contract demands.
    pub(super) fn feed(&mut self, input: Input, now: Instant) -> Result<Vec<Deed>, Finding> {
        self.continue_from_snapshot(&input)?;
        let known = Known::before(self.engine.holdings().revision, &input);
        self.fail_static.hear(&input, now);
        match self.saboteur.hear(input, now) {
            Input::Start => {}
            Input::Store(event) => self.engine.handle_store(event, now),
            Input::Kernel(event) => self.engine.handle_kernel(event, now),
            Input::Timeout => self.engine.handle_timeout(now),
            Input::Stop => self.engine.handle_command(Command::Shutdown, now),
        }
        let mut actions = Vec::new();
        while let Some(action) = self.engine.poll_action() {
            actions.push(action);
            contract::check_drain(self.node, actions.len())?;
        }
        let actions = self.saboteur.want(actions);
        known.check(self.node, self.engine.holdings().revision, &actions)?;
        self.fail_static
            .check(self.node, &actions, self.table.as_deref(), now)?;
        let due = self.saboteur.due(self.engine.poll_timeout(), now);
        contract::check_timeout(self.node, due, now)?;
        Ok(actions.into_iter().map(Deed::Act).collect())
    }

    /// Goes on with an engine that is restored from a snapshot, every few inputs if it is handled so.
    fn continue_from_snapshot(&mut self, input: &Input) -> Verdict {
        match (self.continuity, input) {
            (Continuity::Kept, _) | (Continuity::Restored, Input::Start) => return Ok(()),
            (Continuity::Restored, Input::Store(_) | Input::Kernel(_) | Input::Timeout | Input::Stop) => {}
        }
        self.inputs += 1;
        if self.inputs.is_multiple_of(RESTORED) {
            self.engine = replay::check_snapshot(self.node, &self.engine)?;
        }
        Ok(())
    }

    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.engine.poll_timeout()
    }

    pub(super) fn status(&self) -> Status {
        self.engine.status()
    }

    pub(super) fn obstacles(&self, now: Instant) -> Vec<Obstacle> {
        self.engine.health(now).obstacles
    }

    pub(super) fn set_table(&mut self, table: Arc<ForwardingTable>) {
        self.table = Some(table);
        self.tables += 1;
    }

    pub(super) const fn tables(&self) -> u64 {
        self.tables
    }

    /// Tells whether packets pass through the daemon.
    pub(super) const fn forwards(&self) -> bool {
        self.table.is_some()
    }

    /// Returns the subnet that packets are carried for, by this daemon or, where its backend has none of them pass through
    /// it, by others.
    pub(super) fn carried(&self) -> Option<Ipv4Net> {
        match self.table.as_deref() {
            Some(table) => Some(table.params().subnet),
            None => self.engine.subnet()?.v4(),
        }
    }

    pub(super) fn peers(&self) -> Option<Box<dyn Iterator<Item = (Ipv4Net, Ipv4Addr)> + '_>> {
        if let Some(table) = self.table.as_deref() {
            return Some(Box::new(table.peers()));
        }
        self.engine.subnet()?;
        let peers = self.engine.status().peers.into_iter();
        Some(Box::new(peers.filter_map(|(subnet, owner)| match owner {
            IpAddr::V4(owner) => Some((subnet.v4()?, owner)),
            IpAddr::V6(_) => None,
        })))
    }

    pub(super) const fn counters(&self) -> &PacketCounters {
        self.forwarder.counters()
    }

    pub(super) fn outbound(&mut self, packet: &mut [u8], now: Instant) -> Result<PacketFate, Finding> {
        let Some(table) = &self.table else {
            return Ok(PacketFate::NoTable);
        };
        self.amplification.take();
        let before = self.saboteur.copy(packet);
        let outbound = self.forwarder.outbound(table, packet, now);
        self.tally.count_outbound(&outbound);
        let fate = match outbound {
            Outbound::Send(to) => PacketFate::Send(to),
            Outbound::Reply { reason, error } => PacketFate::Reply {
                reason,
                to: None,
                error: error.to_vec(),
            },
            Outbound::Drop(reason) => PacketFate::Drop(reason),
        };
        let fate = match before {
            Some(before) => self.saboteur.outbound(&before, packet, fate),
            None => fate,
        };
        self.check_answer(&fate, Side::Tunnel, packet, now)?;
        Ok(fate)
    }

    pub(super) fn inbound(
        &mut self,
        from: Ipv4Addr,
        packet: &mut [u8],
        now: Instant,
    ) -> Result<PacketFate, Finding> {
        let Some(table) = &self.table else {
            return Ok(PacketFate::NoTable);
        };
        self.amplification.take();
        let port = table.params().port;
        let inbound = self.forwarder.inbound(table, from, packet, now);
        self.tally.count_inbound(&inbound);
        let fate = match inbound {
            Inbound::Deliver => PacketFate::Deliver,
            Inbound::Reply { reason, to, error } => PacketFate::Reply {
                reason,
                to: Some(to),
                error: error.to_vec(),
            },
            Inbound::Drop(reason) => PacketFate::Drop(reason),
        };
        let fate = self.saboteur.inbound(SocketAddrV4::new(from, port), packet, fate);
        self.check_answer(&fate, Side::Underlay, packet, now)?;
        Ok(fate)
    }

    pub(super) const fn sendings(&self) -> usize {
        self.saboteur.sendings()
    }

    pub(super) fn check_datagram(&mut self) -> Verdict {
        self.amplification.send(self.node)
    }

    pub(super) fn check_bounds(&self, watches: usize, records: usize) -> Verdict {
        let census = Census {
            watches,
            records,
            ranges: records * self.ranges,
        };
        bounds::check(self.node, &self.engine.holdings(), &census)
    }

    pub(super) fn check_rest(&self, linux: &Linux) -> Verdict {
        idempotence::check(self.node, &self.engine, linux)
    }

    pub(super) fn check_counters(&self) -> Verdict {
        let counters = self.saboteur.counted(self.forwarder.counters());
        self.tally.check(self.node, &counters)
    }

    fn check_answer(&mut self, fate: &PacketFate, side: Side, offender: &[u8], now: Instant) -> Verdict {
        match fate {
            PacketFate::Reply { .. } => self.amplification.answer(self.node, side, offender, now),
            PacketFate::Send(_) | PacketFate::Deliver | PacketFate::Drop(_) | PacketFate::NoTable => Ok(()),
        }
    }
}

/// Before one input of so many the engine is restored; a prime number, so that no rhythm of the protocol hides anything.
const RESTORED: u32 = 5;
