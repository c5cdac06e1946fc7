//! Which subnets were released, and in which order.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::subnet::Subnet;

/// How many released subnets are remembered; of more than that the oldest are forgotten, and count as never used.
const MOST: usize = 4_096;

/// The subnets whose key went while this node followed the store, so that new nodes get them last: for a while other
/// programs go on believing that their addresses are those of the pods before.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(from = "Vec<Subnet>", into = "Vec<Subnet>")]
pub(super) struct Released {
    turns: BTreeMap<Subnet, u64>,
    subnets: BTreeMap<u64, Subnet>,
    last: u64,
}

impl Released {
    /// Takes note that a subnet is released.
    pub(super) fn insert(&mut self, subnet: Subnet) {
        self.remove(&subnet);
        self.last = self.last.saturating_add(1);
        self.turns.insert(subnet, self.last);
        self.subnets.insert(self.last, subnet);
        if self.subnets.len() > MOST
            && let Some((_, oldest)) = self.subnets.pop_first()
        {
            self.turns.remove(&oldest);
        }
    }

    /// Takes note that a subnet is in use.
    pub(super) fn remove(&mut self, subnet: &Subnet) {
        if let Some(turn) = self.turns.remove(subnet) {
            self.subnets.remove(&turn);
        }
    }

    /// Returns the subnets, the one that was released first at the beginning.
    pub(super) fn oldest_first(&self) -> impl Iterator<Item = Subnet> {
        self.subnets.values().copied()
    }
}

/// The order alone: one that was read from a snapshot counts anew.
impl fmt::Debug for Released {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.oldest_first()).finish()
    }
}

impl From<Vec<Subnet>> for Released {
    fn from(oldest_first: Vec<Subnet>) -> Self {
        let mut released = Self::default();
        for subnet in oldest_first {
            released.insert(subnet);
        }
        released
    }
}

impl From<Released> for Vec<Subnet> {
    fn from(released: Released) -> Self {
        released.oldest_first().collect()
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use ipnet::Ipv4Net;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_order_is_that_of_a_plain_list(steps in proptest::collection::vec((any::<bool>(), 0..8_u16), 0..60)) {
            let mut released = Released::default();
            let mut list = Vec::new();

            for (is_release, number) in steps {
                let subnet = subnet(number);
                list.retain(|other| *other != subnet);
                if is_release {
                    released.insert(subnet);
                    list.push(subnet);
                } else {
                    released.remove(&subnet);
                }
            }

            prop_assert_eq!(released.oldest_first().collect::<Vec<_>>(), list.clone());
            let restored = Released::from(Vec::from(released));
            prop_assert_eq!(restored.oldest_first().collect::<Vec<_>>(), list);
        }
    }

    #[test]
    fn of_too_many_the_oldest_are_forgotten() {
        let mut released = Released::default();

        for number in 0..5_000 {
            released.insert(subnet(number));
        }

        assert_eq!(released.oldest_first().count(), MOST);
        assert_eq!(released.turns.len(), MOST);
        assert_eq!(released.oldest_first().next(), Some(subnet(5_000 - 4_096)));
    }

    fn subnet(number: u16) -> Subnet {
        let [high, low] = number.to_be_bytes();
        Subnet::V4(Ipv4Net::new(Ipv4Addr::new(10, high, low, 0), 24).unwrap())
    }
}
