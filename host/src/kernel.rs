//! The node that the daemon runs on, as the event loop sees it.

mod addresses;
mod doubt;
pub mod error;
pub mod firewall;
mod links;
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

use selvedge_engine::{KernelError, KernelEvent, KernelFacts, KernelOp, OpId, Survey};

/// What became of an operation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It is carried out, or was refused.
    Ended(Result<(), KernelError>),
    /// It takes its time, and others go on: its end comes as a [`KernelEvent::OpDone`].
    Begun,
}

/// Something that carries out the engine's operations on a node.
pub trait Kernel {
    /// Carries out one operation, or begins it; all kinds are idempotent. The message of a refusal says what to do.
    fn apply(&mut self, id: OpId, op: KernelOp) -> impl Future<Output = Outcome>;

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
