//! The node that the daemon runs on, as the event loop sees it.

pub mod error;
pub mod firewall;
pub mod linux;
pub(crate) mod made;
pub(crate) mod netlink;
mod subnet_file;
mod sysctl;

use selvedge_engine::{KernelError, KernelEvent, KernelOp};

/// Something that carries out the engine's operations on a node.
pub trait Kernel {
    /// Carries out one operation; both kinds are idempotent.
    ///
    /// # Errors
    ///
    /// If the node refuses it; the message says what to do.
    fn apply(&mut self, op: KernelOp) -> impl Future<Output = Result<(), KernelError>>;

    /// Waits for something that happened to the node by itself.
    ///
    /// Nothing is lost if the future is dropped before it ends.
    fn next_event(&mut self) -> impl Future<Output = KernelEvent>;
}
