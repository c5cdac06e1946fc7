//! Scenarios made from bytes, for those who search among scenarios by changing bytes.

use std::time::Duration;

use super::Scenario;
use super::draw::{Bytes, Draw};

impl Scenario {
    /// Makes a scenario of one to five nodes and two to three minutes from any bytes, small enough to run hundreds in a
    /// second.
    ///
    /// It is what [`Scenario::generate`] would make if each of its decisions came from the next byte or two, and
    /// ends where the bytes do: fewer bytes make fewer faults, none a healthy cluster of one node.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut bytes = Bytes::new(bytes);
        let seed = bytes.below(1 << 16);
        let nodes = 1 + u32::try_from(bytes.below(MOST_NODES)).unwrap_or_default();
        let duration = Duration::from_secs(SHORTEST + bytes.below(LONGEST - SHORTEST + 1));
        let mut scenario = Self::new(seed, nodes, duration);
        scenario.vary_environment(&mut bytes);
        scenario.vary_daemons(&mut bytes);
        scenario.probe_interval *= FEWER_PROBES;
        scenario.add_faults(&mut bytes);
        scenario.vary_backend(&mut bytes);
        scenario
    }
}

const MOST_NODES: u64 = 5;
/// In seconds.
const SHORTEST: u64 = 120;
const LONGEST: u64 = 180;
/// Packets are most of the work; a quarter of them is enough to notice a wrong way.
const FEWER_PROBES: u32 = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_make_a_scenario_that_its_text_form_holds(bytes: Vec<u8>) {
            let scenario = Scenario::from_bytes(&bytes);

            prop_assert!((1..=5).contains(&scenario.nodes.len()));
            prop_assert_eq!(Scenario::parse(&scenario.to_string()), Ok(scenario));
        }

        #[test]
        fn fewer_bytes_make_fewer_faults(bytes in prop::collection::vec(any::<u8>(), 0..200), fewer in 0..200_usize) {
            let beginning = bytes.get(..fewer).unwrap_or(&bytes);

            let (all, fewer) = (Scenario::from_bytes(&bytes), Scenario::from_bytes(beginning));

            prop_assert!(fewer.faults.len() <= all.faults.len(), "{}\n{}", fewer, all);
        }
    }

    #[test]
    fn no_bytes_make_a_healthy_node() {
        let scenario = Scenario::from_bytes(&[]);

        assert_eq!(scenario.nodes.len(), 1);
        assert_eq!(scenario.faults, []);
    }
}
