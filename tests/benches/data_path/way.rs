//! The ways that are compared.

use std::fmt;

use crate::level::Level;

/// What carries the pods' packets from node to node.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Way {
    /// Selvedge's daemon with the `udp` backend.
    Ours(Level),
    /// The kernel's VXLAN device, set up as flannel would.
    Vxlan,
    /// Routes without a tunnel: the limit.
    Plain,
}

impl Way {
    /// Tells whether its nodes run a daemon.
    pub(crate) fn has_daemons(self) -> bool {
        match self {
            Self::Ours(_) => true,
            Self::Vxlan | Self::Plain => false,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ours(level) => f.pad(&format!("ours ({})", level.label)),
            Self::Vxlan => f.pad("vxlan"),
            Self::Plain => f.pad("plain"),
        }
    }
}
