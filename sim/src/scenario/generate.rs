//! Scenarios made from seeds.

use std::time::Duration;

use selvedge_engine::Rng;

use super::Scenario;
use crate::fault::{Fault, StoreWay, SubnetFileFate, Tampering, TimedFault};
use crate::forgery::Forgery;
use crate::junk::Junk;
use crate::links::LinkOptions;
use crate::node_id::NodeId;
use crate::probability::Probability;
use crate::store_path::StorePathOptions;

impl Scenario {
    /// Makes a scenario from a seed: a network of some quality, and faults of some kinds at random times.
    ///
    /// Which kinds occur and how often differs from seed to seed, so that some runs have nothing but partitions, and
    /// others everything at once. All faults are over [`Scenario::QUIET`] before the end.
    pub fn generate(seed: u64, nodes: u32, duration: Duration) -> Self {
        let rng = Rng::new(seed).fork("scenario");
        let mut scenario = Self::new(seed, nodes, duration);
        scenario.vary_environment(&mut rng.fork("environment"));
        scenario.faults = faults(
            &mut rng.fork("faults"),
            nodes,
            duration.saturating_sub(Self::QUIET),
        );
        scenario
    }

    /// The time without faults at the end of a generated scenario: enough for every node to find back.
    pub const QUIET: Duration = Duration::from_secs(90);

    fn vary_environment(&mut self, rng: &mut Rng) {
        let slowest = *pick(rng, &DELAYS);
        let delay = rng.between(Duration::from_micros(100), slowest);
        self.links = LinkOptions {
            delay,
            jitter: rng.between(Duration::ZERO, delay * 3),
            loss: Probability::per_million(*pick(rng, &[0, 100, 5_000, 30_000])),
            duplication: Probability::per_million(*pick(rng, &[0, 0, 1_000, 10_000])),
        };
        let slowest = *pick(rng, &DELAYS);
        let store_delay = rng.between(Duration::from_micros(200), slowest);
        self.store_path = StorePathOptions {
            delay: store_delay,
            jitter: rng.between(Duration::ZERO, store_delay * 2),
            ..StorePathOptions::default()
        };
        let apart = *pick(
            rng,
            &[Duration::ZERO, Duration::from_millis(20), Duration::from_secs(3)],
        );
        for plan in &mut self.nodes {
            plan.starts_at = rng.between(Duration::ZERO, apart * 2);
        }
        let is_tight = rng.chance(500_000);
        if let Some(config) = tight_config(self.nodes.len()).filter(|_| is_tight) {
            self.config = config;
        }
        self.renew_margin = *pick(rng, &[Duration::from_hours(1), ALMOST_A_DAY]);
    }
}

/// With this margin a lease of a day is renewed every two minutes or less.
const ALMOST_A_DAY: Duration = Duration::from_mins(24 * 60 - 2);
const DELAYS: [Duration; 3] = [
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(80),
];

/// Returns a network config with little more room than the nodes need, so that they contend for subnets; `None` for
/// more nodes than one network of this kind has room for.
fn tight_config(nodes: usize) -> Option<String> {
    let subnet_len = (18..=28).find(|len| (1_usize << (len - 16)) > nodes + nodes / 4 + 1)?;
    Some(format!(r#"{{"Network":"10.5.0.0/16","SubnetLen":{subnet_len}}}"#))
}

/// The kinds of faults that are drawn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Partition,
    OneWay,
    Loss,
    Slow,
    StoreCut,
    StoreDown,
    StoreSlow,
    StoreFull,
    StoreRestore,
    StoreWipe,
    Compaction,
    DeleteLease,
    Junk,
    Crash,
    Pause,
    Tamper,
    Forge,
}

impl Kind {
    const ALL: [Self; 17] = [
        Self::Partition,
        Self::OneWay,
        Self::Loss,
        Self::Slow,
        Self::StoreCut,
        Self::StoreDown,
        Self::StoreSlow,
        Self::StoreFull,
        Self::StoreRestore,
        Self::StoreWipe,
        Self::Compaction,
        Self::DeleteLease,
        Self::Junk,
        Self::Crash,
        Self::Pause,
        Self::Tamper,
        Self::Forge,
    ];
}

fn faults(rng: &mut Rng, nodes: u32, until: Duration) -> Vec<TimedFault> {
    if until <= EARLIEST || nodes == 0 {
        return Vec::new();
    }
    let lots = weighted_kinds(rng);
    let pace = *pick(rng, &PACES);
    let count = until.saturating_sub(EARLIEST).as_nanos() / pace.as_nanos().max(1);
    let mut faults: Vec<TimedFault> = (0..count)
        .map(|_| {
            let kind = *pick(rng, &lots);
            timed(rng, kind, nodes, until)
        })
        .collect();
    faults.sort_by_key(|timed| timed.at);
    faults
}

/// Returns every kind as often as its weight says; some weigh nothing in this scenario.
fn weighted_kinds(rng: &mut Rng) -> Vec<Kind> {
    let mut lots = Vec::new();
    for kind in Kind::ALL {
        let weight = *pick(rng, &[0, 0, 1, 1, 4]);
        lots.extend(std::iter::repeat_n(kind, weight));
    }
    if lots.is_empty() {
        lots.extend(Kind::ALL);
    }
    lots
}

fn timed(rng: &mut Rng, kind: Kind, nodes: u32, latest: Duration) -> TimedFault {
    let at = millis(rng.between(EARLIEST, latest));
    let length = *pick(rng, &LENGTHS);
    let until = millis(at + rng.between(length / 10, length)).min(latest);
    let fault = fault(rng, kind, nodes);
    TimedFault {
        at,
        until: (!fault.is_instant()).then_some(until),
        fault,
    }
}

fn fault(rng: &mut Rng, kind: Kind, nodes: u32) -> Fault {
    match kind {
        Kind::Partition => Fault::Partition {
            nodes: some_nodes(rng, nodes),
        },
        Kind::OneWay => Fault::OneWay {
            from: some_nodes(rng, nodes),
            to: some_nodes(rng, nodes),
        },
        Kind::Loss => Fault::Loss(Probability::percent(*pick(rng, &[5, 20, 50]))),
        Kind::Slow => Fault::Slow(*pick(
            rng,
            &[Duration::from_millis(50), Duration::from_millis(500)],
        )),
        Kind::StoreCut => Fault::StoreCut {
            nodes: some_nodes(rng, nodes),
            way: *pick(rng, &[StoreWay::Both, StoreWay::Requests, StoreWay::Answers]),
        },
        Kind::StoreDown => Fault::StoreDown,
        Kind::StoreSlow => {
            Fault::StoreSlow(*pick(rng, &[Duration::from_millis(700), Duration::from_secs(4)]))
        }
        Kind::StoreFull => Fault::StoreFull,
        Kind::StoreRestore => Fault::StoreRestore,
        Kind::StoreWipe => Fault::StoreWipe,
        Kind::Compaction => Fault::Compaction,
        Kind::DeleteLease => Fault::DeleteLease {
            node: one_node(rng, nodes),
        },
        Kind::Junk => Fault::WriteJunk(*pick(rng, &Junk::ALL)),
        Kind::Crash => Fault::Crash {
            node: one_node(rng, nodes),
            file: *pick(rng, &[SubnetFileFate::Kept, SubnetFileFate::Lost]),
        },
        Kind::Pause => Fault::Pause {
            node: one_node(rng, nodes),
        },
        Kind::Tamper => Fault::Tamper {
            node: one_node(rng, nodes),
            tampering: *pick(rng, &TAMPERINGS),
        },
        Kind::Forge => Fault::Forge {
            node: one_node(rng, nodes),
            forgery: *pick(rng, &Forgery::ALL),
        },
    }
}

const TAMPERINGS: [Tampering; 3] = [
    Tampering::DeleteTunnel,
    Tampering::SetTunnelDown,
    Tampering::DeleteRoutes,
];
/// Faults begin after the first nodes have.
const EARLIEST: Duration = Duration::from_millis(10);
/// One fault in this time.
const PACES: [Duration; 3] = [
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(90),
];
const LENGTHS: [Duration; 3] = [
    Duration::from_secs(2),
    Duration::from_secs(20),
    Duration::from_mins(2),
];

fn one_node(rng: &mut Rng, nodes: u32) -> NodeId {
    let number = u32::try_from(rng.below(u64::from(nodes))).unwrap_or_default();
    NodeId::new(number + 1)
}

/// Returns one node or more, often few.
fn some_nodes(rng: &mut Rng, nodes: u32) -> Vec<NodeId> {
    let share = *pick(rng, &[100_000, 500_000, 900_000]);
    let mut chosen: Vec<NodeId> = NodeId::first(nodes).filter(|_| rng.chance(share)).collect();
    if chosen.is_empty() {
        chosen.push(one_node(rng, nodes));
    }
    chosen
}

fn pick<'a, T>(rng: &mut Rng, from: &'a [T]) -> &'a T {
    let length = u64::try_from(from.len()).unwrap_or(u64::MAX);
    let index = usize::try_from(rng.below(length)).unwrap_or_default();
    &from[index]
}

/// Rounds down, so that scenarios are short to write.
fn millis(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_one_scenario_and_another_seed_another() {
        assert_eq!(generated(1), generated(1));
        assert_ne!(generated(1), generated(2));
    }

    #[test]
    fn every_fault_is_over_before_the_quiet_time() {
        for seed in 0..200 {
            let scenario = generated(seed);
            let quiet = scenario.duration.saturating_sub(Scenario::QUIET);

            for timed in &scenario.faults {
                assert!(timed.at <= quiet, "{timed}");
                assert!(
                    timed.fault.is_instant() || timed.until.is_some_and(|until| until <= quiet),
                    "{timed}"
                );
            }
        }
    }

    #[test]
    fn every_kind_of_fault_occurs_in_some_scenario() {
        let faults: Vec<Fault> = (0..100)
            .flat_map(|seed| generated(seed).faults)
            .map(|timed| timed.fault)
            .collect();

        let kinds: std::collections::BTreeSet<String> = faults
            .iter()
            .map(|fault| format!("{fault:?}"))
            .filter_map(|text| text.split([' ', '(']).next().map(str::to_owned))
            .collect();

        assert_eq!(kinds.len(), Kind::ALL.len(), "{kinds:?}");
    }

    #[test]
    fn a_short_run_has_no_faults() {
        assert!(Scenario::generate(1, 5, Duration::from_mins(1)).faults.is_empty());
    }

    fn generated(seed: u64) -> Scenario {
        Scenario::generate(seed, 10, Duration::from_mins(10))
    }
}
