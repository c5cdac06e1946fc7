//! The choice of a free subnet (control-plane.md, 4 step 4).

use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use crate::network_config::{Range4, Range6};
use crate::rng::Rng;

/// Picks a subnet of `range` that overlaps none of `taken`, evenly among the free ones; `None` if none is free.
///
/// Flannel chooses among the first 100 free subnets only, so nodes that start together collide; the whole range
/// is used here. Costs O(t log t) for t taken subnets, whatever the size of the range.
pub fn pick_v4(range: &Range4, taken: &[Ipv4Net], rng: &mut Rng) -> Option<Ipv4Net> {
    let slots = Slots::new(
        range.subnet_min.to_bits().into(),
        range.subnet_max.to_bits().into(),
        32_u8.checked_sub(range.subnet_len)?,
    )?;
    let spans = taken
        .iter()
        .map(|net| (net.network().to_bits().into(), net.broadcast().to_bits().into()));
    let address = slots.pick(spans, rng)?;
    let address = Ipv4Addr::from(u32::try_from(address).ok()?);
    Ipv4Net::new(address, range.subnet_len).ok()
}

/// Picks an IPv6 subnet in the same way.
pub fn pick_v6(range: &Range6, taken: &[Ipv6Net], rng: &mut Rng) -> Option<Ipv6Net> {
    let slots = Slots::new(
        range.subnet_min.to_bits(),
        range.subnet_max.to_bits(),
        128_u8.checked_sub(range.subnet_len)?,
    )?;
    let spans = taken
        .iter()
        .map(|net| (net.network().to_bits(), net.broadcast().to_bits()));
    let address = slots.pick(spans, rng)?;
    Ipv6Net::new(Ipv6Addr::from(address), range.subnet_len).ok()
}

/// The subnets of a range, numbered from zero.
struct Slots {
    first_address: u128,
    size: u128,
    last_slot: u128,
}

impl Slots {
    /// Cuts the range between the addresses of its first and its last subnet into subnets of `2^host_bits`.
    fn new(min: u128, max: u128, host_bits: u8) -> Option<Self> {
        let size = 1_u128.checked_shl(host_bits.into())?;
        Some(Self {
            first_address: min,
            size,
            last_slot: max.checked_sub(min)?.checked_div(size)?,
        })
    }

    /// Picks the address of a slot that no span of addresses (first, last) touches.
    fn pick(&self, taken: impl Iterator<Item = (u128, u128)>, rng: &mut Rng) -> Option<u128> {
        let mut taken: Vec<_> = taken.filter_map(|span| self.touched(span)).collect();
        taken.sort_unstable();
        let free = self.gaps(&taken);
        let count = free.iter().map(Gap::count).sum();
        let slot = nth_slot(&free, below(rng, count)?)?;
        slot.checked_mul(self.size)?.checked_add(self.first_address)
    }

    /// Returns the first and the last slot that a span of addresses touches.
    fn touched(&self, (first, last): (u128, u128)) -> Option<(u128, u128)> {
        let last = last.checked_sub(self.first_address)?;
        let first = first.saturating_sub(self.first_address);
        let (first, last) = (first.checked_div(self.size)?, last.checked_div(self.size)?);
        (first <= self.last_slot).then_some((first, last.min(self.last_slot)))
    }

    /// Returns what the sorted spans of slots leave free, in order.
    fn gaps(&self, taken: &[(u128, u128)]) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let mut next_free = 0;
        for &(first, last) in taken {
            gaps.push(Gap {
                start: next_free,
                end: first,
            });
            next_free = next_free.max(last.saturating_add(1));
        }
        let end = self.last_slot.saturating_add(1);
        gaps.push(Gap {
            start: next_free,
            end,
        });
        gaps
    }
}

/// Free slots side by side: `start` included, `end` not; none if `end` does not lie after `start`.
struct Gap {
    start: u128,
    end: u128,
}

impl Gap {
    fn count(&self) -> u128 {
        self.end.saturating_sub(self.start)
    }
}

fn nth_slot(gaps: &[Gap], mut index: u128) -> Option<u128> {
    for gap in gaps {
        match index.checked_sub(gap.count()) {
            Some(rest) => index = rest,
            None => return gap.start.checked_add(index),
        }
    }
    None
}

/// Draws a number below `bound`; `None` if that is zero.
fn below(rng: &mut Rng, bound: u128) -> Option<u128> {
    let highest = bound.checked_sub(1)?;
    if let Ok(bound) = u64::try_from(bound) {
        return Some(rng.below(bound).into());
    }
    let mask = u128::MAX >> highest.leading_zeros();
    loop {
        let bits = (u128::from(rng.next_u64()) << 64) | u128::from(rng.next_u64());
        if bits & mask <= highest {
            return Some(bits & mask);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::{BTreeMap, BTreeSet};
    use alloc::vec;

    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn a_new_node_gets_a_free_subnet_inside_the_range() {
        let range = range4("10.3.0.0/16", 24, "10.3.1.0", "10.3.25.0");
        let taken = [
            "10.3.1.0/24",
            "10.3.2.0/24",
            "10.3.4.0/24",
            "10.3.5.0/24",
            "10.3.31.0/24",
        ]
        .map(net4);

        for seed in 0..100 {
            let picked = pick_v4(&range, &taken, &mut Rng::new(seed)).unwrap();

            assert!(range.subnet_min <= picked.addr() && picked.addr() <= range.subnet_max);
            assert!(!taken.contains(&picked));
        }
    }

    #[test]
    fn every_free_subnet_is_drawn_about_equally_often() {
        let range = range4("10.3.0.0/16", 24, "10.3.1.0", "10.3.10.0");
        let taken = ["10.3.2.0/24", "10.3.5.0/24", "10.3.6.0/24"].map(net4);
        let mut rng = Rng::new(1);
        let mut drawn = BTreeMap::<Ipv4Net, u32>::new();

        for _ in 0..7_000 {
            *drawn
                .entry(pick_v4(&range, &taken, &mut rng).unwrap())
                .or_default() += 1;
        }

        assert_eq!(drawn.len(), 7);
        assert!(
            drawn.values().all(|count| (850..1_150).contains(count)),
            "{drawn:?}"
        );
    }

    #[test]
    fn the_last_subnet_of_the_range_is_used_too() {
        let range = range4("10.3.0.0/16", 24, "10.3.1.0", "10.3.3.0");
        let taken = ["10.3.1.0/24", "10.3.2.0/24"].map(net4);

        let picked = pick_v4(&range, &taken, &mut Rng::new(1));

        assert_eq!(picked, Some(net4("10.3.3.0/24")));
    }

    #[test]
    fn nothing_is_picked_from_a_full_range() {
        let range = range4("10.3.0.0/16", 24, "10.3.1.0", "10.3.255.0");

        for full in [
            vec!["10.3.0.0/16"],
            vec!["0.0.0.0/0"],
            vec!["10.3.0.0/17", "10.3.128.0/17"],
        ] {
            let taken: Vec<_> = full.into_iter().map(net4).collect();

            assert_eq!(pick_v4(&range, &taken, &mut Rng::new(1)), None);
        }
    }

    #[test]
    fn smaller_and_foreign_subnets_take_what_they_overlap() {
        let range = range4("10.3.0.0/16", 24, "10.3.1.0", "10.3.3.0");
        let taken = ["10.3.1.7/32", "10.3.3.64/28", "192.168.0.0/16", "10.2.0.0/16"].map(net4);

        let picked = pick_v4(&range, &taken, &mut Rng::new(1));

        assert_eq!(picked, Some(net4("10.3.2.0/24")));
    }

    #[test]
    fn a_range_at_the_end_of_the_address_space_does_not_wrap() {
        let range = range4("255.0.0.0/8", 24, "255.255.254.0", "255.255.255.0");

        let picked = pick_v4(&range, &[net4("255.255.254.0/24")], &mut Rng::new(1));

        assert_eq!(picked, Some(net4("255.255.255.0/24")));
    }

    #[test]
    fn a_range_that_no_config_can_have_yields_nothing() {
        let upside_down = range4("10.3.0.0/16", 24, "10.3.9.0", "10.3.1.0");
        let mut too_long = range4("10.3.0.0/16", 24, "10.3.1.0", "10.3.9.0");
        too_long.subnet_len = 40;

        assert_eq!(pick_v4(&upside_down, &[], &mut Rng::new(1)), None);
        assert_eq!(pick_v4(&too_long, &[], &mut Rng::new(1)), None);
    }

    #[test]
    fn huge_v6_ranges_are_drawn_from_as_a_whole() {
        let range = range6(
            "fd00::/8",
            126,
            "fd00::4",
            "fdff:ffff:ffff:ffff:ffff:ffff:ffff:fffc",
        );
        let mut rng = Rng::new(5);

        let picked: BTreeSet<_> = (0..100)
            .map(|_| pick_v6(&range, &[net6("fd00::/9")], &mut rng).unwrap())
            .collect();

        assert_eq!(picked.len(), 100);
        assert!(picked.iter().all(|net| net6("fd80::/9").contains(net)));
        assert!(picked.iter().any(|net| net6("fdc0::/10").contains(net)));
        assert!(picked.iter().any(|net| net6("fd80::/10").contains(net)));
    }

    #[test]
    fn the_same_seed_picks_the_same_subnet() {
        let range = range4("10.0.0.0/8", 24, "10.0.1.0", "10.255.255.0");

        let pick = || pick_v4(&range, &[], &mut Rng::new(42));

        assert_eq!(pick(), pick());
    }

    proptest! {
        #[test]
        fn v4_picks_are_exactly_those_of_the_naive_model(
            (min, max) in (0_u32..16, 0_u32..16),
            taken in proptest::collection::vec((0_u32..0x1400, 20_u8..=32), 0..12),
            seed in any::<u64>(),
        ) {
            let base = Ipv4Addr::new(10, 3, 0, 0).to_bits();
            let address = |slot: u32| Ipv4Addr::from(base + slot * 256);
            let range = Range4 {
                network: net4("10.3.0.0/20"),
                subnet_len: 24,
                subnet_min: address(min),
                subnet_max: address(max),
            };
            let taken: Vec<_> = taken
                .into_iter()
                .map(|(offset, len)| Ipv4Net::new(Ipv4Addr::from(base - 512 + offset), len).unwrap())
                .collect();
            let free: BTreeSet<_> = (min..=max)
                .map(|slot| Ipv4Net::new(address(slot), 24).unwrap())
                .filter(|net| !taken.iter().any(|other| net.contains(other) || other.contains(net)))
                .collect();
            let mut rng = Rng::new(seed);

            let picked: BTreeSet<_> = (0..400).filter_map(|_| pick_v4(&range, &taken, &mut rng)).collect();

            prop_assert_eq!(picked, free);
        }

        #[test]
        fn v6_picks_are_exactly_those_of_the_naive_model(
            (min, max) in (0_u128..16, 0_u128..16),
            taken in proptest::collection::vec((0_u128..0x14, 60_u8..=70), 0..12),
            seed in any::<u64>(),
        ) {
            let base = "fd00::".parse::<Ipv6Addr>().unwrap().to_bits();
            let address = |slot: u128| Ipv6Addr::from(base + (slot << 64));
            let range = Range6 {
                network: net6("fd00::/60"),
                subnet_len: 64,
                subnet_min: address(min),
                subnet_max: address(max),
            };
            let taken: Vec<_> = taken
                .into_iter()
                .map(|(slot, len)| Ipv6Net::new(Ipv6Addr::from(base + (slot << 64) - (2 << 64)), len).unwrap())
                .collect();
            let free: BTreeSet<_> = (min..=max)
                .map(|slot| Ipv6Net::new(address(slot), 64).unwrap())
                .filter(|net| !taken.iter().any(|other| net.contains(other) || other.contains(net)))
                .collect();
            let mut rng = Rng::new(seed);

            let picked: BTreeSet<_> = (0..400).filter_map(|_| pick_v6(&range, &taken, &mut rng)).collect();

            prop_assert_eq!(picked, free);
        }

        #[test]
        fn draws_below_huge_bounds_stay_there(seed in any::<u64>(), bound in 1_u128..) {
            prop_assert!(below(&mut Rng::new(seed), bound).is_some_and(|drawn| drawn < bound));
        }
    }

    fn range4(network: &str, subnet_len: u8, min: &str, max: &str) -> Range4 {
        Range4 {
            network: net4(network),
            subnet_len,
            subnet_min: min.parse().unwrap(),
            subnet_max: max.parse().unwrap(),
        }
    }

    fn range6(network: &str, subnet_len: u8, min: &str, max: &str) -> Range6 {
        Range6 {
            network: net6(network),
            subnet_len,
            subnet_min: min.parse().unwrap(),
            subnet_max: max.parse().unwrap(),
        }
    }

    fn net4(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    fn net6(text: &str) -> Ipv6Net {
        text.parse().unwrap()
    }
}
