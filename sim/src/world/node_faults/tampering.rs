//! What others change on a node behind the daemon's back.

use std::time::Duration;

use selvedge_engine::{KernelEvent, KernelObject};

use crate::fault::Tampering;
use crate::node_id::NodeId;
use crate::world::World;
use crate::world::event::Event;

impl World {
    /// Changes what the daemon has set up; the kernel tells the daemon of it.
    pub(super) fn tamper(&mut self, node: NodeId, tampering: Tampering) {
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
                vec![KernelEvent::Doubted]
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
}

/// How long the kernel takes to tell of a change.
const NOTICE: Duration = Duration::from_micros(200);
