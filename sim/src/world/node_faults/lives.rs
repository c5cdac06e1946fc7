//! Daemons that die, stop and start.

use crate::checker::{Verdict, contract};
use crate::fault::{NodeFault, SubnetFileFate};
use crate::node_id::NodeId;
use crate::scenario::Model;
use crate::sim_node::Input;
use crate::world::World;
use crate::world::event::Event;

impl World {
    pub(in crate::world) fn is_kept_down(&self, node: NodeId) -> bool {
        self.lasting_node_faults(node).any(NodeFault::keeps_daemon_down)
    }

    pub(super) fn crash(&mut self, node: NodeId, file: SubnetFileFate) {
        self.kill(node);
        match (file, self.nodes.get_mut(node.index())) {
            (SubnetFileFate::Lost, Some(state)) => state.linux.delete_subnet_file(),
            (SubnetFileFate::Kept, _) | (SubnetFileFate::Lost, None) => {}
        }
    }

    pub(super) fn lose_power(&mut self, node: NodeId) {
        self.kill(node);
        if let Some(state) = self.nodes.get_mut(node.index()) {
            state.reboot();
        }
        self.note_presence(node);
        self.change_attachment(node);
    }

    /// Tells a daemon to stop; one whose node stands still is killed, as a service manager does after a while.
    pub(super) fn stop(&mut self, node: NodeId) -> Verdict {
        if self.paused.contains_key(&node) || self.daemon_mut(node).is_none() {
            self.kill(node);
            return Ok(());
        }
        self.feed(node, Input::Stop)?;
        contract::check_stop(node, self.daemon_mut(node).is_none())
    }

    pub(in crate::world) fn is_told_to_stop(&self, node: NodeId) -> bool {
        self.lasting_node_faults(node)
            .any(|fault| *fault == NodeFault::Stop)
    }

    /// Sets the end of a daemon that crashes again and again, if this one does.
    pub(in crate::world) fn expect_relapse(&mut self, node: NodeId) {
        let crashes = self.crashes_again(node);
        let Some(state) = self.nodes.get_mut(node.index()).filter(|_| crashes) else {
            return;
        };
        let (life, dies_at) = (state.life, self.now + state.short_life());
        self.queue.push(dies_at, Event::Relapse { node, life });
    }

    /// Kills a daemon that crashes again and again, and starts it at once.
    pub(in crate::world) fn handle_relapse(&mut self, node: NodeId, life: u32) -> Verdict {
        if !self.crashes_again(node) || self.life(node) != life {
            return Ok(());
        }
        self.kill(node);
        self.restart(node)
    }

    /// Takes away a node's daemon with its connections; tells whether one ran.
    pub(in crate::world) fn take_down(&mut self, node: NodeId) -> bool {
        self.hang_up(node);
        let Some(state) = self.nodes.get_mut(node.index()) else {
            return false;
        };
        let ran = state.kill_daemon();
        self.reference.forget(node, state.model, self.now);
        self.note_connections();
        ran
    }

    pub(in crate::world) fn restart(&mut self, node: NodeId) -> Verdict {
        let runs = self.daemon_mut(node).is_some();
        if runs || self.is_kept_down(node) || !self.started.contains(&node) {
            return Ok(());
        }
        self.start_daemon(node)
    }

    /// Stops the daemon and starts another in its place, as an operator does who upgrades.
    pub(super) fn replace(&mut self, node: NodeId, by: Model) -> Verdict {
        let ran = self.take_down(node);
        if let Some(state) = self.nodes.get_mut(node.index()) {
            state.model = by;
        }
        if ran { self.restart(node) } else { Ok(()) }
    }

    fn crashes_again(&self, node: NodeId) -> bool {
        self.lasting_node_faults(node)
            .any(|fault| *fault == NodeFault::CrashLoop)
    }

    fn kill(&mut self, node: NodeId) {
        self.resume_dead(node);
        if !self.take_down(node) {
            self.detail(Some(node), "was not running");
        }
    }
}
