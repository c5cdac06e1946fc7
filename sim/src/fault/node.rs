//! What goes wrong on a node.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::forgery::Forgery;
use crate::node_id::NodeId;
use crate::scenario::Model;

/// Something that goes wrong on a node.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum NodeFault {
    /// The daemon dies; its end is a new start.
    Crash {
        /// What the new start finds.
        file: SubnetFileFate,
    },
    /// The node stands still, as a suspended virtual machine does.
    Pause,
    /// Another daemon takes the place of the one that runs, or starts next (at once).
    Replace {
        /// Which.
        by: Model,
    },
    /// Someone changes what the daemon has set up in the kernel (at once).
    Tamper(Tampering),
    /// Someone sends a datagram to the daemon that none of the cluster sent (at once).
    Forge(Forgery),
}

/// What someone changes on a node behind the daemon's back.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tampering {
    /// The tunnel device is deleted.
    DeleteTunnel,
    /// The tunnel device is set down, which takes its routes.
    SetTunnelDown,
    /// The routes are flushed.
    DeleteRoutes,
}

/// What becomes of the subnet file when a node's daemon dies.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SubnetFileFate {
    /// It stays.
    Kept,
    /// It is gone, as `/run` is after a reboot.
    Lost,
}

impl NodeFault {
    /// Tells whether the fault happens at once and has no end.
    pub const fn is_instant(&self) -> bool {
        match self {
            Self::Replace { .. } | Self::Tamper(_) | Self::Forge(_) => true,
            Self::Crash { .. } | Self::Pause => false,
        }
    }

    /// Prints what goes wrong on `node`.
    pub(super) fn fmt_for(&self, node: NodeId, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash { file } => match file {
                SubnetFileFate::Kept => write!(f, "{node} crashes"),
                SubnetFileFate::Lost => write!(f, "{node} crashes and loses its subnet file"),
            },
            Self::Pause => write!(f, "{node} stands still"),
            Self::Replace { by } => write!(f, "{node} runs {by} from now on"),
            Self::Tamper(tampering) => match tampering {
                Tampering::DeleteTunnel => write!(f, "tunnel device of {node} deleted"),
                Tampering::SetTunnelDown => write!(f, "tunnel device of {node} set down"),
                Tampering::DeleteRoutes => write!(f, "routes of {node} flushed"),
            },
            Self::Forge(forgery) => write!(f, "forged datagram to {node}, {forgery}"),
        }
    }
}
