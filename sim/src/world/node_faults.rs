//! What goes wrong with nodes.

use std::time::Duration;

use selvedge_engine::{KernelEvent, KernelObject};

use super::World;
use super::event::Event;
use crate::checker::Verdict;
use crate::fault::{NodeFault, SubnetFileFate, Tampering};
use crate::forgery::{Forgery, Surroundings};
use crate::node_id::NodeId;
use crate::probe::Cargo;
use crate::scenario::Model;

impl World {
    pub(super) fn begin_node_fault(&mut self, node: NodeId, fault: &NodeFault) -> Verdict {
        match *fault {
            NodeFault::Replace { by } => return self.replace(node, by),
            NodeFault::Crash { file } => self.crash(node, file),
            NodeFault::Pause => self.pause(node),
            NodeFault::Tamper(tampering) => self.tamper(node, tampering),
            NodeFault::Forge(forgery) => self.forge(node, forgery),
        }
        Ok(())
    }

    pub(super) fn end_node_fault(&mut self, node: NodeId, fault: &NodeFault) -> Verdict {
        match fault {
            NodeFault::Crash { .. } => return self.restart(node),
            NodeFault::Pause => self.resume(node),
            NodeFault::Replace { .. } | NodeFault::Tamper(_) | NodeFault::Forge(_) => {}
        }
        Ok(())
    }

    pub(super) fn is_crashed(&self, node: NodeId) -> bool {
        self.lasting_node_faults(node)
            .any(|fault| matches!(fault, NodeFault::Crash { .. }))
    }

    fn crash(&mut self, node: NodeId, file: SubnetFileFate) {
        self.resume_dead(node);
        if !self.take_down(node) {
            self.detail(Some(node), "was not running");
        }
        let state = self.nodes.get_mut(node.index());
        match (file, state) {
            (SubnetFileFate::Lost, Some(state)) => state.reboot(),
            (SubnetFileFate::Kept, _) | (SubnetFileFate::Lost, None) => {}
        }
    }

    /// Takes away a node's daemon with its connections; tells whether one ran.
    pub(super) fn take_down(&mut self, node: NodeId) -> bool {
        self.disconnect(node);
        let Some(state) = self.nodes.get_mut(node.index()) else {
            return false;
        };
        let ran = state.kill_daemon();
        self.reference.forget(node, self.now);
        self.note_connections();
        ran
    }

    pub(super) fn restart(&mut self, node: NodeId) -> Verdict {
        let runs = self.daemon_mut(node).is_some();
        if runs || self.is_crashed(node) || !self.started.contains(&node) {
            return Ok(());
        }
        self.start_daemon(node)
    }

    /// Stops the daemon and starts another in its place, as an operator does who upgrades.
    fn replace(&mut self, node: NodeId, by: Model) -> Verdict {
        let ran = self.take_down(node);
        if let Some(state) = self.nodes.get_mut(node.index()) {
            state.model = by;
        }
        if ran { self.restart(node) } else { Ok(()) }
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
            if let Event::Datagram { cargo, .. } = event {
                self.overflow(node, cargo);
            }
        }
    }

    /// Changes what the daemon has set up; the kernel tells the daemon of it.
    fn tamper(&mut self, node: NodeId, tampering: Tampering) {
        let now = self.now;
        let Some(state) = self.nodes.get_mut(node.index()) else {
            return;
        };
        let Some(link) = state.linux.tunnel().cloned() else {
            self.detail(Some(node), "has no tunnel device");
            return;
        };
        let notices = match tampering {
            Tampering::DeleteTunnel => {
                state.linux.delete_link(&link);
                vec![KernelEvent::LinkVanished(link)]
            }
            Tampering::SetTunnelDown => {
                state.linux.set_link_down(&link);
                vec![KernelEvent::LinkDown(link)]
            }
            Tampering::DeleteRoutes => {
                let routes = state.linux.delete_routes().into_iter();
                routes
                    .map(|route| KernelEvent::Vanished(KernelObject::Route(route)))
                    .collect()
            }
        };
        self.scars.tamper(node);
        let life = self.life(node);
        for event in notices {
            let event = Box::new(event);
            self.queue
                .push(now + NOTICE, Event::KernelNotice { node, life, event });
        }
        self.reference.disturb(node, now);
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
            peer: peer.public_ip(),
            third_pod: others.next().map(|(_, pod)| pod),
        };
        let (from, packet) = forgery.datagram(known, &mut self.forger_rng);
        self.scars.attack(node);
        let event = Event::Datagram {
            from,
            to: (PORT, node),
            cargo: Cargo::Forged(forgery),
            packet,
        };
        self.queue.push(self.now, event);
    }
}

/// How long the kernel takes to tell of a change.
const NOTICE: Duration = Duration::from_micros(200);
/// The port of the `udp` backend unless the network config names another.
const PORT: u16 = 8285;
