//! Everything that an engine is told during its life.

use serde::{Deserialize, Serialize};

use crate::action::{Command, KernelEvent, StoreEvent};
use crate::engine::Engine;
use crate::time::Instant;

/// One thing that an engine is told.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// By the store.
    Store(StoreEvent),
    /// By the node.
    Kernel(KernelEvent),
    /// By the operator.
    Command(Command),
    /// By the clock: what was waited for is due.
    Timeout,
}

impl Engine {
    /// Takes an input of any kind.
    pub fn handle(&mut self, input: Input, now: Instant) {
        match input {
            Input::Store(event) => self.handle_store(event, now),
            Input::Kernel(event) => self.handle_kernel(event, now),
            Input::Command(command) => self.handle_command(command, now),
            Input::Timeout => self.handle_timeout(now),
        }
    }
}
