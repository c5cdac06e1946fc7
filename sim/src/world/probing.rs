//! Pods that send probes.

use std::time::Duration;

use super::World;
use super::event::Event;
use crate::checker::Verdict;
use crate::checker::delivery;
use crate::links::LossCause;
use crate::node_id::NodeId;
use crate::probe::{Cargo, Probe, ProbeFate, ProbeKind};
use crate::trace::PacketStep;
use crate::violation::Finding;

impl World {
    /// Lets the pod of a node send a probe to a pod of another, and sets the time of the next.
    pub(super) fn handle_probe(&mut self, node: NodeId) -> Verdict {
        if self.now >= self.end() {
            return Ok(());
        }
        let interval = self.scenario.probe_interval;
        let count = self.nodes.len();
        let Some(rng) = self.prober_rngs.get_mut(node.index()) else {
            return Ok(());
        };
        let wait = rng.between(interval / 2, interval * 3 / 2);
        let others = u64::try_from(count).unwrap_or(u64::MAX).saturating_sub(1);
        let choice = u32::try_from(rng.below(others)).unwrap_or_default() + 1;
        let kind = match rng.below(2) {
            0 => ProbeKind::Datagram,
            _ => ProbeKind::Ping,
        };
        let length = match rng.below(8) {
            0 => usize::try_from(rng.below(MAX_LENGTH)).unwrap_or_default(),
            _ => PING_LENGTH,
        };
        self.queue
            .push(self.now + wait.max(Duration::from_nanos(1)), Event::Probe(node));
        if others == 0 || self.paused.contains_key(&node) {
            return Ok(());
        }
        let to = NodeId::new(if choice >= node.number() {
            choice + 1
        } else {
            choice
        });
        self.send_probe(node, to, kind, length).map(|_| ())
    }

    /// Sends a probe, if both nodes have a pod; returns its id.
    ///
    /// Where a node lost its subnet to another, the pods of both have the same address until the bridge moves; the kernel
    /// never lets a packet from one to the other leave the node.
    pub(super) fn send_probe(
        &mut self,
        from: NodeId,
        to: NodeId,
        kind: ProbeKind,
        length: usize,
    ) -> Result<Option<u64>, Finding> {
        let pod_of = |id: NodeId| self.nodes.get(id.index()).and_then(|node| node.linux.pod());
        let (Some(source), Some(destination)) = (pod_of(from), pod_of(to)) else {
            return Ok(None);
        };
        if source == destination {
            return Ok(None);
        }
        let sender = self.nodes.get(from.index());
        let room = sender.map_or(0, |node| node.linux.pods_mtu().saturating_sub(HEADERS));
        let length = length.min(room);
        let mut probe = Probe {
            id: self.probes.next_id(),
            kind,
            from,
            to,
            source,
            destination,
            length,
            sent_at: self.now,
            last_arrival: self.now,
            fate: None,
            ways: 0,
            may_stray: false,
            copies: 1,
            arrivals: 0,
            queued: false,
        };
        probe.may_stray = self.may_stray(&probe);
        self.probes.insert(probe);
        self.step(from, Cargo::Probe(probe.id), PacketStep::PodSends { destination });
        self.leave_pod(from, probe.id, probe.packet())?;
        Ok(Some(probe.id))
    }

    /// A pod got a probe: it is checked, and a ping is answered.
    pub(super) fn receive_probe(&mut self, node: NodeId, id: u64, packet: &[u8]) -> Verdict {
        let Some(probe) = self.probes.get_mut(id) else {
            return Ok(());
        };
        probe.arrivals += 1;
        let probe = *probe;
        let verdict = delivery::check_arrival(&self.reference, &probe, node, packet, self.now);
        self.judge(verdict.map_err(|finding| finding.by(node)))?;
        self.probes.settle(id, ProbeFate::Delivered);
        self.mark_arrival();
        if probe.arrivals > 1 {
            return Ok(());
        }
        self.statistics.probes.count_answer(probe.kind, self.now);
        if probe.kind == ProbeKind::Ping && node == probe.to {
            let pong = ProbeKind::Pong {
                asked_at: probe.sent_at,
            };
            self.send_probe(node, probe.from, pong, probe.length)?;
        }
        Ok(())
    }

    pub(super) fn lose_packet(&mut self, node: NodeId, cargo: Cargo, to: NodeId, cause: LossCause) {
        self.step(node, cargo, PacketStep::Lost { to, cause });
        let fate = match cause {
            LossCause::Chance => ProbeFate::LostByChance,
            LossCause::Cut => ProbeFate::LostOnCutLink,
            LossCause::Queue | LossCause::TooBig => ProbeFate::LostToLimits,
            LossCause::Damage => ProbeFate::Damaged,
        };
        self.settle(cargo, fate);
    }

    /// A node that stands still has no room for a datagram.
    pub(super) fn overflow(&mut self, node: NodeId, cargo: Cargo) {
        self.step(node, cargo, PacketStep::QueueFull);
        self.settle(cargo, ProbeFate::NobodyListened);
    }

    pub(super) fn queue_probe(&mut self, cargo: Cargo) {
        if let Some(probe) = self.probe_mut(cargo) {
            probe.queued = true;
        }
    }

    pub(super) fn probe_mut(&mut self, cargo: Cargo) -> Option<&mut Probe> {
        self.probes.get_mut(cargo.probe()?)
    }

    /// Notes what became of a probe; nobody asks about other packets.
    pub(super) fn settle(&mut self, cargo: Cargo, fate: ProbeFate) {
        if let Some(id) = cargo.probe() {
            self.probes.settle(id, fate);
        }
    }

    /// Checks and counts the probes to which nothing more can happen.
    pub(super) fn judge_probes(&mut self) -> Verdict {
        while let Some(probe) = self.probes.pop_settled(self.now) {
            self.statistics.probes.count(&probe);
            self.recoveries.charge(&probe);
            self.trace.settle(&probe);
            delivery::check_fate(&probe)?;
        }
        self.recoveries
            .close(self.probes.oldest_sent_at().unwrap_or(self.now));
        Ok(())
    }

    /// Puts what became of the probes since the last report into the timeline.
    pub(super) fn report_probes(&mut self) {
        let probes = self.statistics.probes.since(&self.reported.probes);
        self.reported = self.statistics.clone();
        if probes.sent > 0 {
            self.milestone(None, format!("probes: {probes}"));
        }
        if self.now < self.end() {
            self.queue.push(self.now + super::MINUTE, Event::Minute);
        }
    }
}

/// The payload of a usual ping.
pub(super) const PING_LENGTH: usize = 48;
/// What a probe has besides its payload: the headers of IPv4 and of UDP or ICMP, and its id.
const HEADERS: usize = 20 + 8 + 8;
/// The largest payload that fits into the tunnel, with 8 bytes of id: 1500 - 28 - 20 - 8 - 8, and one more as a bound.
const MAX_LENGTH: u64 = 1437;
