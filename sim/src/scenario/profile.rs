//! What a generated scenario is about.

use std::fmt;
use std::time::Duration;

use selvedge_engine::Rng;

use super::Scenario;
use crate::fault::{Fault, NodeFault, StoreFault, StoreWay, SubnetFileFate, TimedFault};
use crate::junk::Junk;
use crate::node_id::NodeId;

/// What a generated scenario is about; whichever daemon the nodes run, a seed makes the same one.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Profile {
    /// Everything that may go wrong, as [`Scenario::generate`] draws it.
    #[default]
    Usual,
    /// One story about leases, in a network that has room for one node more than there are.
    Leases,
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Usual => "usual",
            Self::Leases => "leases",
        })
    }
}

impl Profile {
    /// Makes a scenario from a seed.
    pub fn generate(self, seed: u64, nodes: u32, duration: Duration) -> Scenario {
        match self {
            Self::Usual => Scenario::generate(seed, nodes, duration),
            Self::Leases => leases(seed, nodes, duration),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Story {
    /// All start at once.
    Race,
    /// All start at once in dual stack.
    DualRace,
    /// Somebody writes something senseless.
    Junk,
    /// The store loses all its data, and a node its subnet file.
    Wipe,
    /// While a node is cut off from the store, subnets change hands and history is compacted.
    Handover,
    /// A subnet is reserved.
    Reservation,
}

const STORIES: [Story; 6] = [
    Story::Race,
    Story::DualRace,
    Story::Junk,
    Story::Wipe,
    Story::Handover,
    Story::Reservation,
];

fn leases(seed: u64, nodes: u32, duration: Duration) -> Scenario {
    let mut rng = Rng::new(seed).fork("leases");
    let mut scenario = Scenario::new(seed, nodes, duration);
    let story = pick(&mut rng, &STORIES);
    let last = nodes.saturating_add(1).min(250);
    let v4 = format!(
        r#""Network":"10.5.0.0/16","SubnetLen":24,"SubnetMin":"10.5.1.0","SubnetMax":"10.5.{last}.0""#
    );
    let is_dual = story.is_some_and(|story| matches!(story, Story::DualRace));
    scenario.config = if is_dual {
        format!(r#"{{{v4},"EnableIPv6":true,"IPv6Network":"fd05::/48"}}"#)
    } else {
        format!("{{{v4}}}")
    };
    scenario.renew_margin = RENEWED_EVERY_TWO_MINUTES;
    let is_race = story.is_some_and(|story| matches!(story, Story::Race | Story::DualRace));
    for plan in scenario.nodes.iter_mut().filter(|_| is_race) {
        plan.starts_at = rng.between(Duration::ZERO, Duration::from_millis(2));
    }
    let latest = duration.saturating_sub(Scenario::QUIET + LONGEST_STORY);
    if let Some(story) = story.filter(|_| latest > EARLIEST && nodes >= 3) {
        let at = rng.between(EARLIEST, latest);
        scenario.faults = tell(story, at, nodes, &mut rng);
        scenario.faults.sort_by_key(|timed| timed.at);
    }
    scenario
}

fn tell(story: Story, at: Duration, nodes: u32, rng: &mut Rng) -> Vec<TimedFault> {
    let first = u32::try_from(rng.below(nodes.into())).unwrap_or_default();
    let [a, b, c] = [0, 1, 2].map(|more| NodeId::new((first + more) % nodes + 1));
    let second = |seconds: u64| at + Duration::from_secs(seconds);
    match story {
        Story::Race | Story::DualRace => Vec::new(),
        Story::Junk => {
            let junk = pick(rng, &Junk::ALL).map(|junk| once(at, StoreFault::WriteJunk(junk)));
            junk.into_iter().collect()
        }
        Story::Wipe => {
            let later = second(rng.below(20) + 1);
            vec![
                once(at, StoreFault::Wipe),
                reboot(later, later + Duration::from_secs(2), a),
            ]
        }
        Story::Handover => {
            let nodes = vec![a];
            let way = StoreWay::Both;
            vec![
                lasting(at, second(50), StoreFault::Cut { nodes, way }),
                reboot(second(1), second(110), b),
                once(second(2), StoreFault::DeleteLease { node: b }),
                reboot(second(3), second(8), c),
                once(second(4), StoreFault::DeleteLease { node: c }),
                lasting(second(12), second(14), StoreFault::Down),
                once(second(45), StoreFault::Compaction),
            ]
        }
        Story::Reservation => vec![
            once(at, StoreFault::Reserve { node: a }),
            reboot(second(10), second(15), a),
        ],
    }
}

fn once(at: Duration, fault: StoreFault) -> TimedFault {
    TimedFault {
        at,
        until: None,
        fault: fault.into(),
    }
}

fn lasting(at: Duration, until: Duration, fault: StoreFault) -> TimedFault {
    TimedFault {
        at,
        until: Some(until),
        fault: fault.into(),
    }
}

fn reboot(at: Duration, until: Duration, node: NodeId) -> TimedFault {
    let file = SubnetFileFate::Lost;
    TimedFault {
        at,
        until: Some(until),
        fault: Fault::Node {
            node,
            fault: NodeFault::Crash { file },
        },
    }
}

fn pick<T: Copy>(rng: &mut Rng, choices: &[T]) -> Option<T> {
    let index = rng.below(u64::try_from(choices.len()).ok()?);
    choices.get(usize::try_from(index).ok()?).copied()
}

const RENEWED_EVERY_TWO_MINUTES: Duration = Duration::from_mins(24 * 60 - 2);
/// Every node has started by then.
const EARLIEST: Duration = Duration::from_mins(1);
const LONGEST_STORY: Duration = Duration::from_mins(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_over_before_the_quiet_time() {
        for seed in 0..300 {
            let scenario = Profile::Leases.generate(seed, 5, Duration::from_mins(5));
            let quiet = scenario.duration.saturating_sub(Scenario::QUIET);

            assert!(
                scenario
                    .faults
                    .iter()
                    .all(|timed| timed.until.unwrap_or(timed.at) <= quiet)
            );
        }
    }
}
