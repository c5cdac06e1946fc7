//! What goes into the engine and what comes out of it.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::backend::ConfigError;
use crate::event::Event;
use crate::forwarding_table::ForwardingTable;
use crate::kernel::{KernelError, KernelFacts, KernelObject, KernelOp, LinkName, Survey};
use crate::store::{
    Header, KeyRange, Revision, StoreError, StoreRequest, StoreResponse, WatchEnd, WatchEvent,
};
use crate::subnet::Subnet;
use crate::time::Instant;
use crate::underlay::Families;

/// The number of a store request, unique in an engine's life.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct RequestId(pub u64);

/// The number of a watch, unique in an engine's life.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct WatchId(pub u64);

/// The number of a kernel operation, unique in an engine's life.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct OpId(pub u64);

/// What the engine wants done.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send a request to the store; answer with [`StoreEvent::Response`], at the latest at `deadline`.
    Request {
        /// Names the request in its answer.
        id: RequestId,
        /// When the driver gives up and answers [`crate::StoreErrorKind::DeadlineExceeded`].
        deadline: Instant,
        /// The request.
        request: StoreRequest,
    },
    /// Open a watch.
    Watch {
        /// Names the watch in its events.
        id: WatchId,
        /// The keys to watch.
        range: KeyRange,
        /// The first revision to report.
        start: Revision,
    },
    /// Close a watch; no event of it may follow.
    CancelWatch(WatchId),
    /// Connect to the store anew: the node has another address, and what went over a connection from the former one is never
    /// answered. Requests and watches under way fail at once as [`crate::StoreErrorKind::Unavailable`].
    Reconnect,
    /// Change the node; answer with [`KernelEvent::OpDone`]. Operations are carried out in the order given.
    Kernel {
        /// Names the operation in its answer.
        id: OpId,
        /// The operation.
        op: KernelOp,
    },
    /// Look at the node; answer with [`KernelEvent::Surveyed`]. What was to be changed before is changed then, what is to
    /// be changed afterwards is not.
    Survey {
        /// Names the survey in its answer.
        id: OpId,
        /// What to look at.
        survey: Survey,
    },
    /// Share this table with the forwarders from now on.
    Forwarding(Arc<ForwardingTable>),
    /// Tell the supervisor that the node carries traffic.
    Ready,
    /// Tell people.
    Event(Event),
    /// End the process; nothing follows.
    Exit(ExitReason),
}

/// Why the engine wants the process to end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ExitReason {
    /// It was asked to.
    Shutdown,
    /// It knows what it would do, which [`Engine::plan`](crate::Engine::plan) tells.
    Planned,
    /// The lease is lost, and the node was told to end then.
    LeaseLost {
        /// The subnet that it held.
        subnet: Subnet,
    },
    /// The interface chosen has no address of a family that the network needs.
    Underlay {
        /// The interface.
        interface: String,
        /// What the network needs.
        needed: Families,
    },
    /// The node cannot serve the network config.
    Config {
        /// Why.
        error: ConfigError,
    },
    /// The node lacks something that waiting will not bring.
    Kernel {
        /// What could not be made.
        object: KernelObject,
        /// Why.
        error: KernelError,
    },
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shutdown => f.write_str("asked to stop"),
            Self::Planned => f.write_str("the plan is made"),
            Self::LeaseLost { subnet } => write!(f, "lost the lease of {subnet}"),
            Self::Underlay { interface, needed } => {
                write!(
                    f,
                    "the network needs {needed}, and {interface} announces no such address: "
                )?;
                f.write_str("choose another with --iface, or give --public-ip or --public-ipv6")
            }
            Self::Config { error } => write!(f, "this node cannot serve the network config: {error}"),
            Self::Kernel { object, error } => write!(f, "cannot set up {object}: {error}"),
        }
    }
}

/// What the store tells the engine.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreEvent {
    /// The answer to [`Action::Request`], or its absence.
    Response {
        /// The request.
        id: RequestId,
        /// The answer.
        result: Result<StoreResponse, StoreError>,
    },
    /// A watch stands; every change from its start on will be reported.
    WatchCreated {
        /// The watch.
        id: WatchId,
        /// About the store.
        header: Header,
    },
    /// Changes, in the order of their revisions; without any it is a progress notice.
    WatchBatch {
        /// The watch.
        id: WatchId,
        /// About the store.
        header: Header,
        /// The changes.
        events: Vec<WatchEvent>,
    },
    /// A watch ended; nothing of it follows.
    WatchEnded {
        /// The watch.
        id: WatchId,
        /// Why.
        end: WatchEnd,
    },
}

/// What the node tells the engine.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KernelEvent {
    /// The answer to [`Action::Kernel`].
    OpDone {
        /// The operation.
        id: OpId,
        /// What became of it.
        result: Result<(), KernelError>,
    },
    /// The answer to [`Action::Survey`].
    Surveyed {
        /// The survey.
        id: OpId,
        /// What was found.
        result: Result<Box<KernelFacts>, KernelError>,
    },
    /// Something that the engine cares for may have changed: one of its objects, or the underlay.
    Doubted,
    /// An object that was there is gone or differs.
    Vanished(KernelObject),
    /// A device is gone, and with it its settings, addresses and routes.
    LinkVanished(LinkName),
}

/// What the operator tells the engine.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Stop and leave everything in place, as a restart wants it.
    Shutdown,
}
