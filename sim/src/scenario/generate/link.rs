//! Drawing faults of all links.

use std::time::Duration;

use super::choice::pick;
use crate::fault::{Damage, LinkFault};
use crate::probability::Probability;
use crate::scenario::draw::Draw;

/// The kinds of faults that are drawn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Loss,
    Bursts,
    Slow,
    Late,
    Repeat,
    Damage,
    Limit,
    Mtu,
}

impl Kind {
    pub(super) const ALL: [Self; 8] = [
        Self::Loss,
        Self::Bursts,
        Self::Slow,
        Self::Late,
        Self::Repeat,
        Self::Damage,
        Self::Limit,
        Self::Mtu,
    ];

    pub(super) fn draw(self, rng: &mut dyn Draw) -> LinkFault {
        match self {
            Self::Loss => LinkFault::Loss(Probability::percent(*pick(rng, &[5, 20, 50]))),
            Self::Bursts => LinkFault::Bursts {
                begin: Probability::per_million(*pick(rng, &[1_000, 20_000])),
                end: Probability::percent(*pick(rng, &[5, 30])),
                loss: Probability::percent(*pick(rng, &[50, 100])),
            },
            Self::Slow => LinkFault::Slow(*pick(
                rng,
                &[Duration::from_millis(50), Duration::from_millis(500)],
            )),
            Self::Late => LinkFault::Late {
                share: Probability::percent(*pick(rng, &[1, 20])),
                by: *pick(rng, &[Duration::from_millis(100), Duration::from_secs(3)]),
            },
            Self::Repeat => LinkFault::Repeat {
                share: Probability::percent(*pick(rng, &[1, 30])),
                copies: *pick(rng, &[1, 5]),
            },
            Self::Damage => LinkFault::Damage {
                share: Probability::percent(*pick(rng, &[1, 30])),
                damage: damage(rng),
            },
            Self::Limit => LinkFault::Limit {
                bytes_per_second: *pick(rng, &[500, 2_000, 20_000]),
                queue: *pick(rng, &[Duration::from_millis(20), Duration::from_secs(2)]),
            },
            Self::Mtu => LinkFault::Mtu(*pick(rng, &[576, 1_280, 1_400, 1_499])),
        }
    }
}

fn damage(rng: &mut dyn Draw) -> Damage {
    let bits = *pick(rng, &[1, 2, 8]);
    *pick(
        rng,
        &[
            Damage::Bits(bits),
            Damage::BitsUnnoticed(bits),
            Damage::Truncation,
        ],
    )
}
