//! The node that the daemon runs on, as the event loop sees it.

mod addresses;
mod doubt;
pub mod error;
mod links;
pub mod firewall;
pub mod linux;
mod neighbours;
pub(crate) mod netlink;
mod routes;
mod subnet_file;
pub(crate) mod survey;
mod sysctl;
mod tunnel_ends;
mod vxlan;
mod watch;

use selvedge_engine::{KernelError, KernelEvent, KernelFacts, KernelOp, Survey};

/// Something that carries out the engine's operations on a node.
pub trait Kernel {
    /// Carries out one operation; all kinds are idempotent.
    ///
    /// # Errors
    ///
    /// If the node refuses it; the message says what to do.
    fn apply(&mut self, op: KernelOp) -> impl Future<Output = Result<(), KernelError>>;

    /// Looks at the node as it is after the operations so far.
    ///
    /// # Errors
    ///
    /// If the node does not tell.
    fn survey(&mut self, survey: &Survey) -> impl Future<Output = Result<Box<KernelFacts>, KernelError>>;

    /// Waits for something that happened to the node by itself.
    ///
    /// Nothing is lost if the future is dropped before it ends.
    fn next_event(&mut self) -> impl Future<Output = KernelEvent>;
}
