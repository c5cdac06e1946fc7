//! The choice of a free subnet (control-plane.md, 4 step 4).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use crate::network_config::{Range4, Range6};
use crate::rng::Rng;

/// Picks a subnet of `range` that overlaps none of `taken`; `None` if none is free.
///
/// Flannel chooses among the first 100 free subnets only, so nodes that start together collide; the whole range
/// is used here. Of the free subnets those come last that were `released`, which lists the oldest release first: it is
/// drawn evenly among all others, or if there are none among that half which was released first, so that nodes which start
/// together do not collide there either. Costs O(t log t) for t taken and released subnets, whatever the size of the
/// range.
pub fn pick_v4(range: &Range4, taken: &[Ipv4Net], released: &[Ipv4Net], rng: &mut Rng) -> Option<Ipv4Net> {
    let slots = Slots::new(
        range.subnet_min.to_bits().into(),
        range.subnet_max.to_bits().into(),
        32_u8.checked_sub(range.subnet_len)?,
    )?;
    let span = |net: &Ipv4Net| (net.network().to_bits().into(), net.broadcast().to_bits().into());
    let released = released.iter().filter(|net| net.prefix_len() >= range.subnet_len);
    let address = slots.pick(taken.iter().map(span), released.map(span), rng)?;
    let address = Ipv4Addr::from(u32::try_from(address).ok()?);
    Ipv4Net::new(address, range.subnet_len).ok()
}

/// Picks an IPv6 subnet in the same way.
pub fn pick_v6(range: &Range6, taken: &[Ipv6Net], released: &[Ipv6Net], rng: &mut Rng) -> Option<Ipv6Net> {
    let slots = Slots::new(
        range.subnet_min.to_bits(),
        range.subnet_max.to_bits(),
        128_u8.checked_sub(range.subnet_len)?,
    )?;
    let span = |net: &Ipv6Net| (net.network().to_bits(), net.broadcast().to_bits());
    let released = released.iter().filter(|net| net.prefix_len() >= range.subnet_len);
    let address = slots.pick(taken.iter().map(span), released.map(span), rng)?;
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

    /// Picks the address of a slot that no span of taken addresses (first, last) touches; if there is one, of a slot that
    /// no span of released ones touches either. Of those no span is longer than a slot.
    fn pick(
        &self,
        taken: impl Iterator<Item = (u128, u128)>,
        released: impl Iterator<Item = (u128, u128)>,
        rng: &mut Rng,
    ) -> Option<u128> {
        let taken: Vec<_> = taken.filter_map(|span| self.touched(span)).collect();
        let released: Vec<_> = released.filter_map(|span| self.touched(span)).collect();
        let never_used = self.gaps(taken.iter().chain(&released).copied().collect());
        let count = never_used.iter().map(Gap::count).sum();
        let slot = match below(rng, count) {
            Some(index) => nth_slot(&never_used, index)?,
            None => longest_unused(&self.gaps(taken), &released, rng)?,
        };
        slot.checked_mul(self.size)?.checked_add(self.first_address)
    }

    /// Returns the first and the last slot that a span of addresses touches.
    fn touched(&self, (first, last): (u128, u128)) -> Option<(u128, u128)> {
        let last = last.checked_sub(self.first_address)?;
        let first = first.saturating_sub(self.first_address);
        let (first, last) = (first.checked_div(self.size)?, last.checked_div(self.size)?);
        (first <= self.last_slot).then_some((first, last.min(self.last_slot)))
    }

    /// Returns what spans of slots leave free, in order.
    fn gaps(&self, mut taken: Vec<(u128, u128)>) -> Vec<Gap> {
        taken.sort_unstable();
        let mut gaps = Vec::new();
        let mut next_free = 0;
        for (first, last) in taken {
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

/// Picks one of the free slots among the half that was released first; each slot counts by its last release.
fn longest_unused(free: &[Gap], released: &[(u128, u128)], rng: &mut Rng) -> Option<u128> {
    let mut seen = BTreeSet::new();
    let newest_first = released.iter().rev().map(|(slot, _)| *slot);
    let candidates: Vec<u128> = newest_first
        .filter(|slot| is_free(free, *slot) && seen.insert(*slot))
        .collect();
    let newer_half = candidates.len() / 2;
    let older_half = candidates.get(newer_half..)?;
    let index = below(rng, u128::try_from(older_half.len()).ok()?)?;
    older_half.get(usize::try_from(index).ok()?).copied()
}

/// Tells whether a slot lies in one of the gaps, which are in order.
fn is_free(gaps: &[Gap], slot: u128) -> bool {
    let after = gaps.partition_point(|gap| gap.start <= slot);
    let before = gaps.get(..after).unwrap_or_default();
    let mut with_slots = before.iter().rev().filter(|gap| gap.count() > 0);
    with_slots.next().is_some_and(|gap| slot < gap.end)
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
    use alloc::collections::BTreeMap;
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
            let picked = pick_v4(&range, &taken, &[], &mut Rng::new(seed)).unwrap();

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
                .entry(pick_v4(&range, &taken, &[], &mut rng).unwrap())
                .or_default() += 1;
        }

        assert_eq!(drawn.len(), 7);
        assert!(
            drawn.values().all(|count| (850..1_150).contains(count)),
            "{drawn:?}"
        );
    }

    #[test]
    fn subnets_that_were_never_used_come_first_and_then_those_that_were_released_first() {
        let range = range4("10.3.0.0/16", 24, "10.3.1.0", "10.3.5.0");
        let mut taken = [net4("10.3.1.0/24")].to_vec();
        let released = ["10.3.4.0/24", "10.3.2.0/24", "10.3.5.0/24"].map(net4);
        let mut rng = Rng::new(1);
        let mut order = Vec::new();

        while let Some(picked) = pick_v4(&range, &taken, &released, &mut rng) {
            order.push(picked);
            taken.push(picked);
        }

        assert_eq!(order.len(), 4);
        assert_eq!(order[0], net4("10.3.3.0/24"), "never used");
        assert!([net4("10.3.4.0/24"), net4("10.3.2.0/24")].contains(&order[1]));
        assert_eq!(order[3], net4("10.3.5.0/24"), "released last");
    }

    #[test]
    fn the_last_subnet_of_the_range_is_used_too() {
        let range = range4("10.3.0.0/16", 24, "10.3.1.0", "10.3.3.0");
        let taken = ["10.3.1.0/24", "10.3.2.0/24"].map(net4);

        let picked = pick_v4(&range, &taken, &[], &mut Rng::new(1));

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

            assert_eq!(pick_v4(&range, &taken, &[], &mut Rng::new(1)), None);
        }
    }

    #[test]
    fn smaller_and_foreign_subnets_take_what_they_overlap() {
        let range = range4("10.3.0.0/16", 24, "10.3.1.0", "10.3.3.0");
        let taken = ["10.3.1.7/32", "10.3.3.64/28", "192.168.0.0/16", "10.2.0.0/16"].map(net4);

        let picked = pick_v4(&range, &taken, &[], &mut Rng::new(1));

        assert_eq!(picked, Some(net4("10.3.2.0/24")));
    }

    #[test]
    fn a_range_at_the_end_of_the_address_space_does_not_wrap() {
        let range = range4("255.0.0.0/8", 24, "255.255.254.0", "255.255.255.0");

        let picked = pick_v4(&range, &[net4("255.255.254.0/24")], &[], &mut Rng::new(1));

        assert_eq!(picked, Some(net4("255.255.255.0/24")));
    }

    #[test]
    fn a_range_that_no_config_can_have_yields_nothing() {
        let upside_down = range4("10.3.0.0/16", 24, "10.3.9.0", "10.3.1.0");
        let mut too_long = range4("10.3.0.0/16", 24, "10.3.1.0", "10.3.9.0");
        too_long.subnet_len = 40;

        assert_eq!(pick_v4(&upside_down, &[], &[], &mut Rng::new(1)), None);
        assert_eq!(pick_v4(&too_long, &[], &[], &mut Rng::new(1)), None);
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
            .map(|_| pick_v6(&range, &[net6("fd00::/9")], &[], &mut rng).unwrap())
            .collect();

        assert_eq!(picked.len(), 100);
        assert!(picked.iter().all(|net| net6("fd80::/9").contains(net)));
        assert!(picked.iter().any(|net| net6("fdc0::/10").contains(net)));
        assert!(picked.iter().any(|net| net6("fd80::/10").contains(net)));
    }

    #[test]
    fn the_same_seed_picks_the_same_subnet() {
        let range = range4("10.0.0.0/8", 24, "10.0.1.0", "10.255.255.0");

        let pick = || pick_v4(&range, &[], &[], &mut Rng::new(42));

        assert_eq!(pick(), pick());
    }

    proptest! {
        #[test]
        fn v4_picks_are_exactly_those_of_the_naive_model(
            (min, max) in (0_u32..16, 0_u32..16),
            taken in proptest::collection::vec((0_u32..0x1400, 20_u8..=32), 0..12),
            released in proptest::collection::vec((0_u32..0x1400, 22_u8..=26), 0..24),
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
            let nets = |nets: Vec<(u32, u8)>| -> Vec<_> {
                nets.into_iter()
                    .map(|(offset, len)| Ipv4Net::new(Ipv4Addr::from(base - 512 + offset), len).unwrap())
                    .collect()
            };
            let (taken, released) = (nets(taken), nets(released));
            let free: Vec<_> = (min..=max)
                .map(|slot| Ipv4Net::new(address(slot), 24).unwrap())
                .filter(|net| !taken.iter().any(|other| net.contains(other) || other.contains(net)))
                .collect();
            let mut rng = Rng::new(seed);

            let picked: BTreeSet<_> =
                (0..400).filter_map(|_| pick_v4(&range, &taken, &released, &mut rng)).collect();

            prop_assert_eq!(picked, naive_choice(free, &released));
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

            let picked: BTreeSet<_> = (0..400).filter_map(|_| pick_v6(&range, &taken, &[], &mut rng)).collect();

            prop_assert_eq!(picked, free);
        }

        #[test]
        fn draws_below_huge_bounds_stay_there(seed in any::<u64>(), bound in 1_u128..) {
            prop_assert!(below(&mut Rng::new(seed), bound).is_some_and(|drawn| drawn < bound));
        }
    }

    /// Returns the free subnets that may be picked: those that were never released, else the half that was released
    /// first. What is larger than a subnet was none of this network.
    fn naive_choice(free: Vec<Ipv4Net>, released: &[Ipv4Net]) -> BTreeSet<Ipv4Net> {
        let last_release = |net: &Ipv4Net| released.iter().rposition(|other| net.contains(other));
        let never: BTreeSet<_> = free
            .iter()
            .copied()
            .filter(|net| last_release(net).is_none())
            .collect();
        if !never.is_empty() {
            return never;
        }
        let mut by_age = free;
        by_age.sort_by_key(last_release);
        by_age.truncate(by_age.len().div_ceil(2));
        by_age.into_iter().collect()
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
