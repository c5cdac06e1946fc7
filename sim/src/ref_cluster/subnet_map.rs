//! Values by subnet, found by range.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ipnet::{Ipv4Net, Ipv6Net};

/// A map whose keys are subnets of one family, truncated.
///
/// Subnets are prefixes: one overlaps another only if it covers it or lies inside. So a search looks once at each length
/// of the shorter ones, of which there are few, and at what begins inside.
#[derive(Clone)]
pub(super) struct SubnetMap<N, V> {
    values: BTreeMap<N, V>,
    /// The lengths of all subnets that ever were in the map.
    lengths: BTreeSet<u8>,
}

/// A subnet of either family; they are ordered by their first addresses, an outer one before those within.
pub(super) trait Subnet: Copy + Ord {
    fn length(self) -> u8;

    /// Returns the subnet of this length that covers it, `None` if its own is shorter.
    fn widened(self, length: u8) -> Option<Self>;

    /// Returns the subnet of its last address alone.
    fn last(self) -> Self;
}

impl<N: Subnet, V> SubnetMap<N, V> {
    pub(super) const fn new() -> Self {
        Self {
            values: BTreeMap::new(),
            lengths: BTreeSet::new(),
        }
    }

    pub(super) fn get(&self, subnet: N) -> Option<&V> {
        self.values.get(&subnet)
    }

    pub(super) fn get_mut(&mut self, subnet: N) -> Option<&mut V> {
        self.values.get_mut(&subnet)
    }

    /// Returns the value of a subnet, and makes one if there is none.
    pub(super) fn entry(&mut self, subnet: N) -> &mut V
    where
        V: Default,
    {
        self.lengths.insert(subnet.length());
        self.values.entry(subnet).or_default()
    }

    pub(super) fn insert(&mut self, subnet: N, value: V) -> Option<V> {
        self.lengths.insert(subnet.length());
        self.values.insert(subnet, value)
    }

    pub(super) fn remove(&mut self, subnet: N) -> Option<V> {
        self.values.remove(&subnet)
    }

    /// Returns everything, in the order of the subnets.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (N, &V)> {
        self.values.iter().map(|(subnet, value)| (*subnet, value))
    }

    /// Returns the subnets that share an address with this one, in order.
    pub(super) fn overlapping(&self, subnet: N) -> impl Iterator<Item = (N, &V)> {
        let inside = self.values.range(subnet..=subnet.last());
        self.around(subnet)
            .chain(inside.map(|(inner, value)| (*inner, value)))
    }

    /// Returns the subnets that this one lies in, without itself, the outermost first.
    fn around(&self, subnet: N) -> impl Iterator<Item = (N, &V)> {
        let lengths = self.lengths.range(..subnet.length());
        lengths.filter_map(move |length| {
            let outer = subnet.widened(*length)?;
            Some((outer, self.values.get(&outer)?))
        })
    }
}

impl<N: fmt::Debug, V: fmt::Debug> fmt::Debug for SubnetMap<N, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.values).finish()
    }
}

macro_rules! impl_subnet {
    ($net:ty) => {
        impl Subnet for $net {
            fn length(self) -> u8 {
                self.prefix_len()
            }

            fn widened(self, length: u8) -> Option<Self> {
                let is_wider = length <= self.prefix_len();
                let outer = Self::new(self.network(), length).ok();
                Some(outer.filter(|_| is_wider)?.trunc())
            }

            fn last(self) -> Self {
                self.broadcast().into()
            }
        }
    };
}

impl_subnet!(Ipv4Net);
impl_subnet!(Ipv6Net);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_search_finds_what_a_look_at_every_subnet_finds(
            subnets in prop::collection::vec(subnet(), 0..20),
            wanted in subnet(),
        ) {
            let mut map = SubnetMap::new();
            for subnet in &subnets {
                map.insert(*subnet, ());
            }

            let found: Vec<Ipv4Net> = map.overlapping(wanted).map(|(subnet, ())| subnet).collect();

            let overlaps = |other: &&Ipv4Net| other.contains(&wanted) || wanted.contains(*other);
            let expected: BTreeSet<Ipv4Net> = subnets.iter().filter(overlaps).copied().collect();
            prop_assert_eq!(found, Vec::from_iter(expected));
        }
    }

    #[test]
    fn ranges_of_the_other_family_nest_as_well() {
        let mut map = SubnetMap::new();
        for text in ["fd05::/16", "fd05:0:0:1d::/64", "fd06::/64"] {
            map.insert(text.parse::<Ipv6Net>().unwrap(), text);
        }
        let found = |text: &str| -> Vec<&str> {
            let overlapping = map.overlapping(text.parse().unwrap());
            overlapping.map(|(_, text)| *text).collect()
        };

        assert_eq!(found("fd05:0:0:1d::/64"), ["fd05::/16", "fd05:0:0:1d::/64"]);
        assert_eq!(found("fd05::/32"), ["fd05::/16", "fd05:0:0:1d::/64"]);
        assert_eq!(found("fd07::/16"), Vec::<&str>::new());
    }

    /// Few addresses, so that many overlap.
    fn subnet() -> impl Strategy<Value = Ipv4Net> {
        (0..16_u8, 4..=32_u8).prop_map(|(bits, length)| {
            let address = std::net::Ipv4Addr::new(bits << 4 | bits, bits, 0, bits);
            Ipv4Net::new_assert(address, length).trunc()
        })
    }
}
