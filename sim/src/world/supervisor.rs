//! The service manager of a node whose daemon ends by itself.

use std::time::Duration;

use super::World;
use super::event::Event;
use crate::checker::{Verdict, survival};
use crate::flannel::Death;
use crate::node_id::NodeId;

impl World {
    /// Takes note that a daemon ended. As the packages' unit says (`Restart=on-failure`, control-plane.md, 1.4), it is
    /// started again unless it claims success.
    pub(super) fn bury_daemon(&mut self, node: NodeId, death: &Death) -> Verdict {
        self.milestone(Some(node), format!("ends with {death}"));
        self.take_down(node);
        if death.exit_code() != 0 {
            self.expect_restart(node);
        }
        survival::check_death(node, death)
    }

    /// Sets the time at which a daemon that has just failed is started again.
    pub(super) fn expect_restart(&mut self, node: NodeId) {
        let life = self.life(node);
        self.queue
            .push(self.now + RESTART, Event::Supervise { node, life });
    }

    pub(super) fn handle_supervise(&mut self, node: NodeId, life: u32) -> Verdict {
        if self.life(node) != life {
            return Ok(());
        }
        self.restart(node)
    }
}

/// How long a service manager waits before it starts a daemon again (`RestartSec`).
const RESTART: Duration = Duration::from_secs(5);
