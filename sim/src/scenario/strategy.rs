//! Scenarios for property tests.

use std::ops::RangeInclusive;
use std::time::Duration;

use proptest::prelude::{Strategy, any};
use proptest::strategy::{NewTree, ValueTree};
use proptest::test_runner::TestRunner;

use super::Scenario;

/// Draws scenarios as [`Scenario::generate`] makes them, and shrinks them as scenarios.
#[derive(Clone, Debug)]
pub struct ScenarioStrategy {
    nodes: RangeInclusive<u32>,
    duration: Duration,
}

/// A scenario that gets smaller: it loses faults, then nodes, then what is unusual about its options.
///
/// That needs no second look at how it was drawn: what is left of a scenario is one, too.
#[derive(Clone, Debug)]
pub struct ScenarioTree {
    /// The smallest that is known to fail.
    best: Scenario,
    /// What is tried at the moment.
    current: Scenario,
    /// Smaller ones than the best that were not tried yet, the smallest last.
    untried: Vec<Scenario>,
}

impl Scenario {
    /// Returns a strategy for scenarios of so many nodes, each of this duration.
    pub fn strategy(nodes: RangeInclusive<u32>, duration: Duration) -> ScenarioStrategy {
        ScenarioStrategy { nodes, duration }
    }
}

impl Strategy for ScenarioStrategy {
    type Tree = ScenarioTree;
    type Value = Scenario;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let nodes = self.nodes.clone().new_tree(runner)?.current();
        let seed = any::<u64>().new_tree(runner)?.current();
        Ok(ScenarioTree::new(Scenario::generate(seed, nodes, self.duration)))
    }
}

impl ScenarioTree {
    fn new(scenario: Scenario) -> Self {
        Self {
            best: scenario.clone(),
            untried: smallest_last(&scenario),
            current: scenario,
        }
    }

    fn try_next(&mut self) -> bool {
        let next = self.untried.pop();
        let is_another = next.is_some();
        self.current = next.unwrap_or_else(|| self.best.clone());
        is_another
    }
}

impl ValueTree for ScenarioTree {
    type Value = Scenario;

    fn current(&self) -> Scenario {
        self.current.clone()
    }

    fn simplify(&mut self) -> bool {
        if self.current != self.best {
            self.untried = smallest_last(&self.current);
            self.best = self.current.clone();
        }
        self.try_next()
    }

    fn complicate(&mut self) -> bool {
        self.try_next()
    }
}

fn smallest_last(scenario: &Scenario) -> Vec<Scenario> {
    let mut smaller = scenario.smaller();
    smaller.reverse();
    smaller
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestError};

    use super::*;
    use crate::fault::StoreFault;

    proptest! {
        #[test]
        fn a_scenario_reads_as_it_prints(scenario in Scenario::strategy(1..=12, Duration::from_mins(10))) {
            prop_assert_eq!(Scenario::parse(&scenario.to_string()), Ok(scenario));
        }

    }

    proptest! {
        #![proptest_config(Config::with_cases(16))]

        #[test]
        fn whatever_is_smaller_reads_as_it_prints_and_is_another(
            scenario in Scenario::strategy(1..=5, Duration::from_mins(5)),
        ) {
            for smaller in scenario.smaller() {
                prop_assert_ne!(&smaller, &scenario);
                prop_assert_eq!(Scenario::parse(&smaller.to_string()), Ok(smaller));
            }
        }
    }

    #[test]
    fn what_fails_is_shrunk_to_what_it_takes() {
        let config = Config {
            cases: 2000,
            ..Config::default()
        };
        let mut runner = TestRunner::new_with_rng(config, rng());

        let outcome = runner.run(&Scenario::strategy(1..=9, Duration::from_mins(10)), |scenario| {
            let wipes = scenario
                .faults
                .iter()
                .filter(|timed| timed.fault == StoreFault::Wipe.into());
            prop_assert!(wipes.count() < 2 || scenario.nodes.len() < 3);
            Ok(())
        });

        let Err(TestError::Fail(_, smallest)) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(
            (smallest.nodes.len(), smallest.faults.len()),
            (3, 2),
            "{smallest}"
        );
        let bare = Scenario {
            faults: Vec::new(),
            ..smallest.clone()
        };
        assert_eq!(bare, Scenario::new(smallest.seed, 3, smallest.duration));
    }

    fn rng() -> proptest::test_runner::TestRng {
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha)
    }
}
