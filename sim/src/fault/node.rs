//! What goes wrong on a node.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::duration_text;
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
    /// The machine loses its power, and with it everything but its disk: what the kernel holds, its pods, `/run`; its end
    /// is a new boot.
    PowerLoss,
    /// The daemon is told to stop, as by SIGTERM; its end is a new start.
    Stop,
    /// The daemon dies about once a second, and is started again each time.
    CrashLoop,
    /// The node stands still, as a suspended virtual machine does.
    Pause,
    /// The node does everything later by this: its kernel, its timers, what it hears.
    Slow(#[serde(with = "duration_text")] Duration),
    /// The node's clock is too fast by so many millionths; less than zero is too slow.
    Drift(i32),
    /// Another daemon takes the place of the one that runs, or starts next (at once).
    Replace {
        /// Which.
        by: Model,
    },
    /// The node's card is down, and with it the way to all others and to the store.
    UnderlayDown,
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
    /// The daemon's routes are flushed.
    DeleteRoutes,
    /// The tunnel device gets another name.
    RenameTunnel,
    /// The tunnel device gets another hardware address.
    ChangeTunnelMac,
    /// The tunnel device's MTU is lowered.
    ChangeTunnelMtu,
    /// One of the daemon's routes is lost.
    LoseRoute,
    /// One of the daemon's neighbours is lost.
    LoseNeighbour,
    /// One of the daemon's forwarding entries is lost.
    LoseFdbEntry,
    /// One of the daemon's addresses is lost.
    LoseAddress,
    /// One of the daemon's routes is changed: it leads to the router of the underlay.
    MisdirectRoute,
    /// The node's card is set down and up, which takes its routes.
    FlapUnderlay,
    /// The node gets another address in the underlay; or its first one, if it has another.
    MoveUnderlay,
    /// The MTU of the node's card is lowered; or as before, if it was.
    ChangeUnderlayMtu,
}

/// What becomes of the subnet file when a node's daemon dies.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SubnetFileFate {
    /// It stays.
    Kept,
    /// Somebody deleted it.
    Lost,
}

impl NodeFault {
    /// Tells whether no daemon runs as long as the fault lasts.
    pub(crate) const fn keeps_daemon_down(&self) -> bool {
        match self {
            Self::Crash { .. } | Self::PowerLoss | Self::Stop => true,
            Self::CrashLoop
            | Self::Pause
            | Self::Slow(_)
            | Self::Drift(_)
            | Self::UnderlayDown
            | Self::Replace { .. }
            | Self::Tamper(_)
            | Self::Forge(_) => false,
        }
    }

    /// Tells whether the end of the fault is a start of the daemon.
    pub(crate) const fn ends_with_a_start(&self) -> bool {
        match self {
            Self::CrashLoop => true,
            Self::Crash { .. }
            | Self::PowerLoss
            | Self::Stop
            | Self::Pause
            | Self::Slow(_)
            | Self::Drift(_)
            | Self::UnderlayDown
            | Self::Replace { .. }
            | Self::Tamper(_)
            | Self::Forge(_) => self.keeps_daemon_down(),
        }
    }

    /// Tells whether the fault happens at once and has no end.
    pub const fn is_instant(&self) -> bool {
        match self {
            Self::Replace { .. } | Self::Tamper(_) | Self::Forge(_) => true,
            Self::Crash { .. }
            | Self::PowerLoss
            | Self::Stop
            | Self::CrashLoop
            | Self::Pause
            | Self::Slow(_)
            | Self::Drift(_)
            | Self::UnderlayDown => false,
        }
    }

    /// Prints what goes wrong on `node`.
    pub(super) fn fmt_for(&self, node: NodeId, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash { file } => match file {
                SubnetFileFate::Kept => write!(f, "{node} crashes"),
                SubnetFileFate::Lost => write!(f, "{node} crashes and loses its subnet file"),
            },
            Self::PowerLoss => write!(f, "{node} loses its power"),
            Self::Stop => write!(f, "{node} is told to stop"),
            Self::CrashLoop => write!(f, "{node} crashes again and again"),
            Self::Pause => write!(f, "{node} stands still"),
            Self::Slow(by) => write!(f, "{node} slower by {by:?}"),
            Self::Drift(drift) => write!(f, "clock of {node} too fast by {drift} millionths"),
            Self::Replace { by } => write!(f, "{node} runs {by} from now on"),
            Self::UnderlayDown => write!(f, "card of {node} down"),
            Self::Tamper(tampering) => tampering.fmt_for(node, f),
            Self::Forge(forgery) => write!(f, "forged datagram to {node}, {forgery}"),
        }
    }
}

impl Tampering {
    /// Every kind.
    pub const ALL: [Self; Self::ChangeUnderlayMtu as usize + 1] = [
        Self::DeleteTunnel,
        Self::SetTunnelDown,
        Self::DeleteRoutes,
        Self::RenameTunnel,
        Self::ChangeTunnelMac,
        Self::ChangeTunnelMtu,
        Self::LoseRoute,
        Self::LoseNeighbour,
        Self::LoseFdbEntry,
        Self::LoseAddress,
        Self::MisdirectRoute,
        Self::FlapUnderlay,
        Self::MoveUnderlay,
        Self::ChangeUnderlayMtu,
    ];

    /// Prints what is changed on `node`.
    fn fmt_for(self, node: NodeId, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeleteTunnel => write!(f, "tunnel device of {node} deleted"),
            Self::SetTunnelDown => write!(f, "tunnel device of {node} set down"),
            Self::DeleteRoutes => write!(f, "routes of {node} flushed"),
            Self::RenameTunnel => write!(f, "tunnel device of {node} renamed"),
            Self::ChangeTunnelMac => write!(f, "hardware address of {node}'s tunnel device changed"),
            Self::ChangeTunnelMtu => write!(f, "MTU of {node}'s tunnel device lowered"),
            Self::LoseRoute => write!(f, "a route of {node} lost"),
            Self::LoseNeighbour => write!(f, "a neighbour entry of {node} lost"),
            Self::LoseFdbEntry => write!(f, "a forwarding entry of {node} lost"),
            Self::LoseAddress => write!(f, "an address of {node} lost"),
            Self::MisdirectRoute => write!(f, "a route of {node} led to the router"),
            Self::FlapUnderlay => write!(f, "card of {node} set down and up"),
            Self::MoveUnderlay => write!(f, "{node} gets another underlay address"),
            Self::ChangeUnderlayMtu => write!(f, "MTU of {node}'s card changed"),
        }
    }
}
