//! Drawing faults of nodes.

use std::time::Duration;

use super::choice::pick;
use crate::fault::{NodeFault, SubnetFileFate, Tampering};
use crate::forgery::Forgery;
use crate::scenario::draw::Draw;

/// The kinds of faults that are drawn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Crash,
    PowerLoss,
    Stop,
    CrashLoop,
    Pause,
    Slow,
    Drift,
    UnderlayDown,
    Tamper,
    Forge,
}

impl Kind {
    pub(super) const ALL: [Self; 10] = [
        Self::Crash,
        Self::PowerLoss,
        Self::Stop,
        Self::CrashLoop,
        Self::Pause,
        Self::Slow,
        Self::Drift,
        Self::UnderlayDown,
        Self::Tamper,
        Self::Forge,
    ];

    pub(super) fn draw(self, rng: &mut dyn Draw) -> NodeFault {
        match self {
            Self::Crash => NodeFault::Crash {
                file: *pick(rng, &[SubnetFileFate::Kept, SubnetFileFate::Lost]),
            },
            Self::PowerLoss => NodeFault::PowerLoss,
            Self::Stop => NodeFault::Stop,
            Self::CrashLoop => NodeFault::CrashLoop,
            Self::Pause => NodeFault::Pause,
            Self::Slow => NodeFault::Slow(*pick(
                rng,
                &[Duration::from_millis(20), Duration::from_millis(800)],
            )),
            Self::Drift => NodeFault::Drift(*pick(rng, &[-10_000, -500, 500, 10_000])),
            Self::UnderlayDown => NodeFault::UnderlayDown,
            Self::Tamper => NodeFault::Tamper(*pick(rng, &Tampering::ALL)),
            Self::Forge => NodeFault::Forge(*pick(rng, &Forgery::ALL)),
        }
    }
}
