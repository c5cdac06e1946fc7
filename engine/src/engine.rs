//! The control half: leases, peers and desired state.

use core::net::Ipv4Addr;

use crate::action::{Action, Command, KernelEvent, StoreEvent};
use crate::setup::Setup;
use crate::status::{Explanation, Status};
use crate::time::Instant;

/// Decides about leases, peers and the kernel's state; see the crate's documentation for the contract.
#[derive(Debug)]
pub struct Engine {}

impl Engine {
    /// Makes an engine; its first actions are waiting to be polled.
    pub fn new(_setup: Setup, _seed: u64, _now: Instant) -> Self {
        todo!()
    }

    /// Takes what the store says.
    pub fn handle_store(&mut self, _event: StoreEvent, _now: Instant) {
        todo!()
    }

    /// Takes what the node says.
    pub fn handle_kernel(&mut self, _event: KernelEvent, _now: Instant) {
        todo!()
    }

    /// Takes what the operator says.
    pub fn handle_command(&mut self, _command: Command, _now: Instant) {
        todo!()
    }

    /// Does what has become due.
    pub fn handle_timeout(&mut self, _now: Instant) {
        todo!()
    }

    /// Returns the next thing to do, `None` when all is said.
    pub fn poll_action(&mut self) -> Option<Action> {
        todo!()
    }

    /// Returns when to call [`Engine::handle_timeout`] at the latest, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        todo!()
    }

    /// Returns a view of the engine for people.
    pub fn status(&self) -> Status {
        todo!()
    }

    /// Says what becomes of a packet for `destination`, and why.
    pub fn explain(&self, _destination: Ipv4Addr) -> Explanation {
        todo!()
    }
}
