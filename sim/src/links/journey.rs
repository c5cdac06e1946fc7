//! What lasting faults do to one datagram on its link.

use std::time::Duration;

use selvedge_engine::{Instant, Rng};

use super::{Arrival, Carriage, Fate, LossCause};
use crate::fault::{Damage, LinkFault};
use crate::packet;

/// What a link remembers from one datagram to the next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LinkState {
    /// Whether it is a bad time.
    is_bad: bool,
    /// When everything that was sent so far has left.
    free_at: Instant,
}

/// A datagram on its way over a link with faults.
pub(super) struct Journey<'a> {
    pub(super) state: &'a mut LinkState,
    pub(super) carriage: Carriage,
    pub(super) payload: &'a [u8],
    pub(super) sent_at: Instant,
    pub(super) rng: Rng,
}

impl Journey<'_> {
    /// Applies the faults in their order to what the link would have done without them.
    pub(super) fn suffer(mut self, mut fate: Fate, faults: &[LinkFault]) -> Fate {
        for fault in faults {
            let Fate::Arrives { first, copies } = &mut fate else {
                return fate;
            };
            if let Some(cause) = self.apply(fault, first, copies) {
                return Fate::Lost(cause);
            }
        }
        fate
    }

    /// Applies a fault; returns why the datagram does not arrive, if it does not.
    fn apply(
        &mut self,
        fault: &LinkFault,
        first: &mut Arrival,
        copies: &mut Vec<Arrival>,
    ) -> Option<LossCause> {
        match *fault {
            LinkFault::Loss(loss) => self
                .rng
                .chance(loss.as_per_million())
                .then_some(LossCause::Chance),
            LinkFault::Bursts { begin, end, loss } => {
                let turn = if self.state.is_bad { end } else { begin };
                self.state.is_bad ^= self.rng.chance(turn.as_per_million());
                let lost = self.rng.chance(loss.as_per_million());
                (lost && self.state.is_bad).then_some(LossCause::Chance)
            }
            LinkFault::Slow(by) => {
                delay(first, copies, by);
                None
            }
            LinkFault::Late { share, by } => {
                if self.rng.chance(share.as_per_million()) {
                    first.at = first.at + self.rng.between(Duration::ZERO, by);
                }
                None
            }
            LinkFault::Repeat { share, copies: count } => {
                if self.rng.chance(share.as_per_million()) {
                    let repeated = (0..count).map(|_| Arrival {
                        at: first.at + self.rng.between(Duration::ZERO, SPREAD),
                        damaged: first.damaged.clone(),
                    });
                    copies.extend(repeated);
                }
                None
            }
            LinkFault::Damage { share, damage } => {
                if !self.rng.chance(share.as_per_million()) {
                    return None;
                }
                let damaged = self.damage(damage);
                let is_noticed = match damage {
                    Damage::Bits(_) => {
                        self.carriage.has_checksum()
                            && packet::checksum(&damaged) != packet::checksum(self.payload)
                    }
                    Damage::BitsUnnoticed(_) | Damage::Truncation => false,
                };
                first.damaged = Some(damaged).filter(|damaged| damaged != self.payload);
                is_noticed.then_some(LossCause::Damage)
            }
            LinkFault::Limit {
                bytes_per_second,
                queue,
            } => {
                let begins = self.state.free_at.max(self.sent_at);
                let wait = begins.saturating_since(self.sent_at);
                if wait > queue {
                    return Some(LossCause::Queue);
                }
                let bytes = u32::try_from(self.outer_length()).unwrap_or(u32::MAX);
                let takes = Duration::from_secs(1) * bytes / bytes_per_second.max(1);
                self.state.free_at = begins + takes;
                delay(first, copies, wait + takes);
                None
            }
            LinkFault::Mtu(mtu) => (self.outer_length() > usize::from(mtu)).then_some(LossCause::TooBig),
        }
    }

    fn outer_length(&self) -> usize {
        self.payload.len() + self.carriage.overhead()
    }

    fn damage(&mut self, damage: Damage) -> Vec<u8> {
        let mut payload = self.payload.to_vec();
        match damage {
            Damage::Bits(bits) | Damage::BitsUnnoticed(bits) => {
                for _ in 0..bits {
                    let at = index(&mut self.rng, payload.len());
                    let bit = self.rng.below(8);
                    if let Some(byte) = payload.get_mut(at) {
                        *byte ^= 1 << bit;
                    }
                }
            }
            Damage::Truncation => payload.truncate(index(&mut self.rng, self.payload.len())),
        }
        payload
    }
}

/// Within this time the copies of a repeated datagram arrive.
const SPREAD: Duration = Duration::from_millis(200);

fn delay(first: &mut Arrival, copies: &mut [Arrival], by: Duration) {
    first.at = first.at + by;
    for copy in copies {
        copy.at = copy.at + by;
    }
}

fn index(rng: &mut Rng, length: usize) -> usize {
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    usize::try_from(rng.below(length)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use super::*;
    use crate::probability::Probability;

    #[test]
    fn bursts_lose_many_in_a_row_and_spare_many_in_a_row() {
        let faults = [LinkFault::Bursts {
            begin: Probability::percent(1),
            end: Probability::percent(10),
            loss: Probability::percent(100),
        }];
        let lost: Vec<bool> = send(10_000, &faults).iter().map(is_lost).collect();

        let count = lost.iter().filter(|lost| **lost).count();
        let starts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count();

        assert!((500..1500).contains(&count), "{count}");
        assert!(count > starts * 5, "{count} losses in {starts} bursts");
    }

    #[test]
    fn a_late_datagram_is_overtaken() {
        let by = Duration::from_secs(2);
        let arrivals = arrivals(&send(
            100,
            &[LinkFault::Late {
                share: Probability::percent(20),
                by,
            }],
        ));

        let late = arrivals.iter().filter(|at| **at > Instant::ZERO).count();

        assert!((10..40).contains(&late), "{late}");
        assert!(arrivals.iter().all(|at| *at <= Instant::ZERO + by));
    }

    #[test]
    fn a_repeated_datagram_has_as_many_copies_as_asked() {
        let fates = send(
            1,
            &[LinkFault::Repeat {
                share: Probability::percent(100),
                copies: 3,
            }],
        );

        assert!(matches!(&fates[..], [Fate::Arrives { copies, .. }] if copies.len() == 3));
    }

    #[test]
    fn the_udp_checksum_notices_one_flipped_bit_always_and_two_nearly_always() {
        let caught = |damage| {
            let fault = LinkFault::Damage {
                share: Probability::percent(100),
                damage,
            };
            let fates = send(10_000, &[fault]);
            fates.iter().filter(|fate| is_lost(fate)).count()
        };

        assert_eq!(caught(Damage::Bits(1)), 10_000);
        assert!((9_500..10_000).contains(&caught(Damage::Bits(2))));
        assert_eq!(caught(Damage::BitsUnnoticed(1)), 0);
    }

    #[test]
    fn damage_changes_the_payload_as_it_says() {
        let damaged = |damage| {
            let share = Probability::percent(100);
            let fates = send(1, &[LinkFault::Damage { share, damage }]);
            match fates.into_iter().next() {
                Some(Fate::Arrives { first, .. }) => first.damaged.unwrap(),
                Some(Fate::Lost(_)) | None => panic!("it was lost"),
            }
        };

        let flipped = damaged(Damage::BitsUnnoticed(1));
        let truncated = damaged(Damage::Truncation);

        let bits: u32 = flipped
            .iter()
            .zip(PAYLOAD)
            .map(|(a, b)| (a ^ b).count_ones())
            .sum();
        assert_eq!((flipped.len(), bits), (PAYLOAD.len(), 1));
        assert!(truncated.len() < PAYLOAD.len() && PAYLOAD.starts_with(&truncated));
    }

    #[test]
    fn a_limited_link_makes_datagrams_wait_and_loses_what_would_wait_too_long() {
        let length = u32::try_from(PAYLOAD.len() + CARRIAGE.overhead()).unwrap();
        let limit = LinkFault::Limit {
            bytes_per_second: length,
            queue: Duration::from_secs(2),
        };

        let fates = send(5, &[limit]);

        let seconds: Vec<u64> = arrivals(&fates)
            .iter()
            .map(|at| at.as_nanos() / 1_000_000_000)
            .collect();
        assert_eq!(seconds, [1, 2, 3]);
        assert_eq!(fates[3], Fate::Lost(LossCause::Queue));
    }

    #[test]
    fn a_packet_larger_than_the_mtu_is_lost() {
        let fits = u16::try_from(PAYLOAD.len() + CARRIAGE.overhead()).unwrap();

        assert!(!is_lost(&send(1, &[LinkFault::Mtu(fits)])[0]));
        assert_eq!(
            send(1, &[LinkFault::Mtu(fits - 1)])[0],
            Fate::Lost(LossCause::TooBig)
        );
    }

    const CARRIAGE: Carriage = Carriage::Datagram {
        to: SocketAddrV4::new(Ipv4Addr::new(198, 18, 0, 2), 8285),
    };
    const PAYLOAD: &[u8] = b"a payload of which some bits are flipped on its way";

    /// Sends datagrams at one instant over one link that is healthy but for these faults.
    fn send(count: u64, faults: &[LinkFault]) -> Vec<Fate> {
        let mut state = LinkState::default();
        (0..count)
            .map(|number| {
                let journey = Journey {
                    state: &mut state,
                    carriage: CARRIAGE,
                    payload: PAYLOAD,
                    sent_at: Instant::ZERO,
                    rng: Rng::new(number),
                };
                journey.suffer(Fate::arrives(Instant::ZERO), faults)
            })
            .collect()
    }

    fn arrivals(fates: &[Fate]) -> Vec<Instant> {
        fates
            .iter()
            .filter_map(|fate| match fate {
                Fate::Arrives { first, .. } => Some(first.at),
                Fate::Lost(_) => None,
            })
            .collect()
    }

    fn is_lost(fate: &Fate) -> bool {
        matches!(fate, Fate::Lost(_))
    }
}
