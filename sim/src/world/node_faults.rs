//! What goes wrong with nodes.

mod lives;
mod pace;
mod tampering;

use std::net::SocketAddrV4;

use super::World;
use super::event::Event;
use crate::checker::Verdict;
use crate::fault::NodeFault;
use crate::forgery::{Forgery, Surroundings};
use crate::links::Carriage;
use crate::node_id::NodeId;
use crate::probe::Cargo;
use crate::scenario::Backend;

impl World {
    pub(super) fn begin_node_fault(&mut self, node: NodeId, fault: &NodeFault) -> Verdict {
        match *fault {
            NodeFault::Replace { by } => return self.replace(node, by),
            NodeFault::Crash { file } => self.crash(node, file),
            NodeFault::PowerLoss => self.lose_power(node),
            NodeFault::Stop => return self.stop(node),
            NodeFault::CrashLoop => self.expect_relapse(node),
            NodeFault::Pause => self.pause(node),
            NodeFault::Slow(_) => self.change_pace(node),
            NodeFault::Drift(_) => self.change_clock(node),
            NodeFault::UnderlayDown => self.change_attachment(node),
            NodeFault::Tamper(tampering) => self.tamper(node, tampering),
            NodeFault::Forge(forgery) => self.forge(node, forgery),
        }
        Ok(())
    }

    pub(super) fn end_node_fault(&mut self, node: NodeId, fault: &NodeFault) -> Verdict {
        match fault {
            NodeFault::Crash { .. } | NodeFault::PowerLoss | NodeFault::Stop | NodeFault::CrashLoop => {
                return self.restart(node);
            }
            NodeFault::Pause => self.resume(node),
            NodeFault::Slow(_) => self.change_pace(node),
            NodeFault::Drift(_) => self.change_clock(node),
            NodeFault::UnderlayDown => self.change_attachment(node),
            NodeFault::Replace { .. } | NodeFault::Tamper(_) | NodeFault::Forge(_) => {}
        }
        Ok(())
    }

    fn pause(&mut self, node: NodeId) {
        self.paused.entry(node).or_default();
        if let Some(state) = self.nodes.get_mut(node.index()) {
            state.fall_asleep(self.now);
        }
        self.note_connections();
    }

    fn resume(&mut self, node: NodeId) {
        let is_paused = self
            .lasting_node_faults(node)
            .any(|fault| *fault == NodeFault::Pause);
        if is_paused {
            return;
        }
        for event in self.paused.remove(&node).unwrap_or_default() {
            self.queue.push(self.now, event);
        }
        if let Some(state) = self.nodes.get_mut(node.index()) {
            state.wake_up(self.now);
        }
        self.reference.disturb(node, self.now);
        self.note_connections();
    }

    /// Loses what waited for a node that stood still and is dead now.
    fn resume_dead(&mut self, node: NodeId) {
        let Some(waiting) = self.paused.get_mut(&node).map(std::mem::take) else {
            return;
        };
        for event in waiting {
            if let Event::Arrival { cargo, .. } = event.timely() {
                self.overflow(node, *cargo);
            }
        }
    }

    /// Sends a forged datagram to a node, if it has a pod and there is another to pretend to be.
    fn forge(&mut self, node: NodeId, forgery: Forgery) {
        let pod_of = |id: NodeId| self.nodes.get(id.index()).and_then(|state| state.linux.pod());
        let mut others = self
            .scenario
            .node_ids()
            .filter(|id| *id != node)
            .filter_map(|id| Some((id, pod_of(id)?)));
        let (Some(victim), Some((peer, peer_pod))) = (pod_of(node), others.next()) else {
            self.detail(Some(node), "has no pods to attack");
            return;
        };
        let known = Surroundings {
            victim,
            peer_pod,
            peer: self.address_of(peer),
            third_pod: others.next().map(|(_, pod)| pod),
        };
        let (from, packet) = forgery.datagram(known, &mut self.forger_rng);
        self.scars.attack(node);
        let Some((carriage, packet)) = self.forged(node, forgery, packet) else {
            self.detail(Some(node), "has no device to attack");
            return;
        };
        let event = Event::Arrival {
            from,
            to: node,
            carriage,
            cargo: Cargo::Forged(forgery),
            packet,
        };
        self.queue.push(self.now, event);
    }

    /// Sends a forged packet as the backend's nodes send theirs; noise is no frame either.
    fn forged(&self, node: NodeId, forgery: Forgery, packet: Vec<u8>) -> Option<(Carriage, Vec<u8>)> {
        let linux = &self.nodes.get(node.index())?.linux;
        let datagram = |port| Carriage::Datagram {
            to: SocketAddrV4::new(self.address_of(node), port),
        };
        match self.scenario.backend {
            Backend::Udp => Some((datagram(PORT), packet)),
            Backend::HostGw => Some((Carriage::Frame, packet)),
            Backend::Vxlan => {
                let (port, payload) = linux.vxlan_payload_for(&packet)?;
                let payload = if forgery == Forgery::Noise {
                    packet
                } else {
                    payload
                };
                Some((datagram(port), payload))
            }
        }
    }
}

/// The port of the `udp` backend unless the network config names another.
const PORT: u16 = 8285;
