//! Drawing faults of nodes.

use super::choice::pick;
use crate::fault::{NodeFault, SubnetFileFate, Tampering};
use crate::forgery::Forgery;
use crate::scenario::draw::Draw;

/// The kinds of faults that are drawn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Crash,
    Pause,
    Tamper,
    Forge,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Crash, Self::Pause, Self::Tamper, Self::Forge];

    pub(super) fn draw(self, rng: &mut dyn Draw) -> NodeFault {
        match self {
            Self::Crash => NodeFault::Crash {
                file: *pick(rng, &[SubnetFileFate::Kept, SubnetFileFate::Lost]),
            },
            Self::Pause => NodeFault::Pause,
            Self::Tamper => NodeFault::Tamper(*pick(rng, &TAMPERINGS)),
            Self::Forge => NodeFault::Forge(*pick(rng, &Forgery::ALL)),
        }
    }
}

const TAMPERINGS: [Tampering; 3] = [
    Tampering::DeleteTunnel,
    Tampering::SetTunnelDown,
    Tampering::DeleteRoutes,
];
