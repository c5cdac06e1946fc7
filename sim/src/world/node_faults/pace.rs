//! Nodes that are slow, and clocks that are wrong.

use std::time::Duration;

use crate::fault::NodeFault;
use crate::node_id::NodeId;
use crate::world::World;
use crate::world::event::Event;

impl World {
    /// Sets an event of a slow node aside until the node gets to it; `None` if it has to wait. A node that is slow no more
    /// first does what it has to do still, in its order.
    pub(in crate::world) fn delay_while_slow(&mut self, event: Event) -> Option<Event> {
        if let Event::Late(event) = event {
            return Some(*event);
        }
        let Some(node) = event.node() else {
            return Some(event);
        };
        let by = self.slowness(node);
        let busy_until = self.busy_until.get(&node).copied().unwrap_or(self.now);
        if by.is_zero() && busy_until <= self.now {
            return Some(event);
        }
        let at = (self.now + by).max(busy_until + Duration::from_nanos(1));
        self.busy_until.insert(node, at);
        if let Event::Arrival { cargo, .. } = &event {
            let cargo = *cargo;
            self.queue_probe(cargo);
        }
        self.queue.push(at, Event::Late(Box::new(event)));
        None
    }

    pub(in crate::world) fn is_slow(&self, node: NodeId) -> bool {
        !self.slowness(node).is_zero()
    }

    pub(super) fn change_pace(&mut self, node: NodeId) {
        self.reference.disturb(node, self.now);
        self.note_connections();
    }

    pub(super) fn change_clock(&mut self, node: NodeId) {
        let drift = self.lasting_node_faults(node).filter_map(|fault| {
            let NodeFault::Drift(drift) = fault else {
                return None;
            };
            Some(*drift)
        });
        let drift = drift.fold(0, i32::saturating_add);
        let now = self.now;
        if let Some(state) = self.nodes.get_mut(node.index()) {
            state.set_drift(drift, now);
        }
        self.set_timer(node);
    }

    fn slowness(&self, node: NodeId) -> Duration {
        let slower = self.lasting_node_faults(node).filter_map(|fault| {
            let NodeFault::Slow(by) = fault else {
                return None;
            };
            Some(*by)
        });
        slower.sum()
    }
}
