//! Nodes that exist only as leases, and the room that they need.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use selvedge_engine::{NetworkConfig, Range4, Rng};

use super::Scenario;

impl Scenario {
    /// Sets how many nodes there are that nobody runs and whose leases are in the store from the start; a network config
    /// that has no room for all nodes gives way to a usual one.
    #[must_use]
    pub fn with_hollow(mut self, hollow: u32) -> Self {
        let is_usual = self.config == Self::usual_config(self.subnet_count());
        self.hollow = hollow;
        let wanted = self.subnet_count();
        let has_room = || self.range().is_some_and(|range| room(&range) >= wanted);
        if is_usual || (hollow > 0 && !has_room()) {
            self.config = Self::usual_config(wanted);
        }
        self
    }

    /// Returns how many subnets are wanted: one for each node, hollow or not.
    pub(crate) fn subnet_count(&self) -> usize {
        self.nodes.len() + usize::try_from(self.hollow).unwrap_or(usize::MAX)
    }

    /// Draws the subnets of the hollow nodes; fewer if the network has not so many, none if it is invalid.
    pub(crate) fn hollow_subnets(&self, rng: &mut Rng) -> Vec<Ipv4Net> {
        let Some(range) = self.range() else {
            return Vec::new();
        };
        let room = room(&range);
        let count = room.min(usize::try_from(self.hollow).unwrap_or(usize::MAX));
        let mut places = BTreeSet::new();
        while places.len() < count {
            places.insert(rng.below(u64::try_from(room).unwrap_or(u64::MAX)));
        }
        let subnets = places.into_iter().filter_map(|place| subnet_at(&range, place));
        subnets.collect()
    }

    fn range(&self) -> Option<Range4> {
        NetworkConfig::parse(self.config.as_bytes()).ok()?.v4
    }
}

/// Returns how many subnets a network has.
fn room(range: &Range4) -> usize {
    let addresses = range.subnet_max.to_bits().abs_diff(range.subnet_min.to_bits());
    let subnets = u64::from(addresses >> (32 - range.subnet_len)) + 1;
    usize::try_from(subnets).unwrap_or(usize::MAX)
}

fn subnet_at(range: &Range4, place: u64) -> Option<Ipv4Net> {
    let first = u64::from(range.subnet_min.to_bits()) + (place << (32 - range.subnet_len));
    let first = u32::try_from(first).ok()?;
    Ipv4Net::new(first.into(), range.subnet_len).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_usual_network_has_room_for_every_node() {
        for (nodes, hollow) in [(3, 0), (200, 0), (201, 0), (1000, 0), (100, 9900), (1, 50_000)] {
            let scenario = Scenario::new(1, nodes, Duration::ZERO).with_hollow(hollow);

            let room = room(&scenario.range().unwrap());

            assert!(room >= scenario.subnet_count(), "{nodes} and {hollow}: {room}");
        }
    }

    #[test]
    fn a_config_with_room_stays_and_one_without_does_not() {
        let small = r#"{"Network":"10.5.0.0/16"}"#;
        let mut scenario = Scenario::new(1, 201, Duration::ZERO);
        scenario.config = small.to_owned();

        assert_eq!(scenario.clone().with_hollow(50).config, small);
        assert_ne!(scenario.with_hollow(300).config, small);
    }

    #[test]
    fn hollow_nodes_share_no_subnet_and_fill_a_network_at_most() {
        let mut scenario = Scenario::new(1, 1, Duration::ZERO).with_hollow(300);
        let all: BTreeSet<Ipv4Net> = drawn(&scenario).into_iter().collect();
        scenario.config = r#"{"Network":"10.5.0.0/16"}"#.to_owned();
        let tight: BTreeSet<Ipv4Net> = drawn(&scenario).into_iter().collect();

        assert_eq!(all.len(), 300);
        assert_eq!(tight.len(), 255);
        assert!(tight.iter().all(|subnet| subnet.prefix_len() == 24));
    }

    fn drawn(scenario: &Scenario) -> Vec<Ipv4Net> {
        scenario.hollow_subnets(&mut Rng::new(7))
    }
}
