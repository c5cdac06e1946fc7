//! Scenarios made from seeds.

mod backend;
mod choice;
mod daemon;
mod faults;
mod identity;
mod link;
mod network;
mod node;
mod store;
mod underlay;

use std::collections::BTreeSet;
use std::time::Duration;

use selvedge_engine::{Masquerade, Membership, OnExpiry, OnLoss, Rng};

use super::draw::Draw;
use super::{Liveness, Model, Scenario};
use crate::fault::{FaultKind, StoreFault, TimedFault};
use crate::links::LinkOptions;
use crate::probability::Probability;
use crate::store_path::StorePathOptions;
use choice::{millis, pick, some_nodes};

impl Scenario {
    /// Makes a scenario from a seed: a network of some quality, perhaps some nodes that run flanneld, and
    /// faults of some kinds at random times.
    ///
    /// Which kinds occur and how often differs from seed to seed, so that some runs have nothing but partitions, and
    /// others everything at once. All faults are over [`Scenario::QUIET`] before the end.
    pub fn generate(seed: u64, nodes: u32, duration: Duration) -> Self {
        let rng = Rng::new(seed).fork("scenario");
        let mut scenario = Self::new(seed, nodes, duration);
        scenario.vary_environment(&mut rng.fork("environment"));
        scenario.vary_daemons(&mut rng.fork("daemons"));
        scenario.add_faults(&mut rng.fork("faults"));
        scenario.vary_backend(&mut rng.fork("backend"));
        scenario.vary_identities(&mut rng.fork("identities"));
        scenario
    }

    /// The time without faults at the end of a generated scenario: enough for every node to find back.
    pub const QUIET: Duration = Duration::from_secs(90);

    /// Returns the kinds of faults that generated scenarios have.
    pub(crate) fn drawn_fault_kinds() -> BTreeSet<FaultKind> {
        let mut rng = Rng::new(0);
        faults::Kind::all()
            .map(|kind| kind.draw(&mut rng, 1).kind())
            .collect()
    }

    pub(super) fn vary_environment(&mut self, rng: &mut dyn Draw) {
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
        self.config = network::draw(rng, self.nodes.len());
        self.renew_margin = *pick(rng, &[Duration::from_hours(1), ALMOST_A_DAY]);
        self.vary_policies(rng);
    }

    fn vary_policies(&mut self, rng: &mut dyn Draw) {
        self.on_expiry = *pick(rng, &[OnExpiry::Keep, OnExpiry::Keep, OnExpiry::Fence]);
        self.on_loss = *pick(
            rng,
            &[OnLoss::Reclaim, OnLoss::Reclaim, OnLoss::Reallocate, OnLoss::Exit],
        );
        self.membership = *pick(
            rng,
            &[
                Membership::Enforce,
                Membership::Enforce,
                Membership::Log,
                Membership::Off,
            ],
        );
        self.masquerade = *pick(rng, &[Masquerade::Off, Masquerade::On]);
        self.probe_interval = *pick(rng, &PROBE_INTERVALS);
    }

    pub(super) fn vary_daemons(&mut self, rng: &mut dyn Draw) {
        daemon::draw(rng, &mut self.nodes);
    }

    pub(super) fn vary_backend(&mut self, rng: &mut dyn Draw) {
        backend::draw(rng, self);
    }

    pub(super) fn vary_identities(&mut self, rng: &mut dyn Draw) {
        identity::draw(rng, self);
    }

    pub(super) fn add_faults(&mut self, rng: &mut dyn Draw) {
        let nodes = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let until = self.duration.saturating_sub(Self::QUIET);
        self.faults = faults::draw(rng, nodes, until);
        if !self.has_no_flannel() {
            // Flanneld writes its lease again whatever the config says by then, into the midst of others' subnets.
            let is_taken_in = |timed: &TimedFault| timed.fault != StoreFault::HalveSubnets.into();
            self.faults.retain(is_taken_in);
        }
        // flanneld renews a lease without a pause once its life is shorter than the margin, an hour.
        if rng.chance(200_000) && !self.faults.is_empty() && self.has_no_flannel() {
            let short_leases = TimedFault {
                at: Duration::ZERO,
                until: Some(until),
                fault: store::short_leases(rng).into(),
            };
            self.faults.insert(0, short_leases);
        }
        if rng.chance(250_000) {
            self.end_with_a_core(rng, nodes, until);
        }
    }

    fn has_no_flannel(&self) -> bool {
        self.nodes.iter().all(|plan| plan.model == Model::Selvedge)
    }

    /// Lets some faults last until the core heals, or for ever.
    fn end_with_a_core(&mut self, rng: &mut dyn Draw, nodes: u32, until: Duration) {
        let heals_at = millis(rng.between(until / 4, until));
        self.liveness = Some(Liveness {
            at: heals_at,
            core: some_nodes(rng, nodes),
        });
        for timed in &mut self.faults {
            if rng.chance(300_000) {
                timed.until = None;
            }
        }
    }
}

/// With this margin a lease of a day is renewed every two minutes or less.
const ALMOST_A_DAY: Duration = Duration::from_mins(24 * 60 - 2);
const DELAYS: [Duration; 3] = [
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(80),
];
/// Two probes a second on average.
const PROBE_INTERVALS: [Duration; 5] = [
    Duration::from_millis(500),
    Duration::from_millis(500),
    Duration::from_millis(200),
    Duration::from_secs(2),
    Duration::from_secs(10),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Identity;

    #[test]
    fn a_seed_makes_one_scenario_and_another_seed_another() {
        assert_eq!(generated(1), generated(1));
        assert_ne!(generated(1), generated(2));
    }

    #[test]
    fn every_fault_is_over_before_the_quiet_time() {
        let scenarios = (0..200).map(generated);
        for scenario in scenarios.filter(|scenario| scenario.liveness.is_none()) {
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
    fn a_core_heals_early_enough_and_some_faults_last_until_then() {
        let scenarios: Vec<Scenario> = (0..200).map(generated).collect();
        let mut lasting = 0;

        for scenario in &scenarios {
            let Some(Liveness { at, core }) = &scenario.liveness else {
                continue;
            };
            assert!(!core.is_empty() && *at + Liveness::BOUND <= scenario.duration);
            let present = |timed: &&TimedFault| timed.at < *at && timed.until.is_none_or(|until| until > *at);
            lasting += scenario.faults.iter().filter(present).count();
        }

        assert!(lasting > 20, "{lasting}");
    }

    #[test]
    fn every_kind_of_fault_occurs_in_some_scenario() {
        let faults = (0..100).flat_map(|seed| generated(seed).faults);

        let kinds: BTreeSet<FaultKind> = faults.map(|timed| timed.fault.kind()).collect();

        assert_eq!(kinds, Scenario::drawn_fault_kinds());
    }

    #[test]
    fn twins_occur_and_start_when_the_first_is_up() {
        let mut identities = BTreeSet::new();

        for scenario in (0..1000).map(generated) {
            for plan in &scenario.nodes {
                let Some(original) = plan.identity.original() else {
                    continue;
                };
                let first = &scenario.nodes[original.index()];
                assert!(first.identity.is_own() && first.starts_at.is_zero());
                assert!(plan.starts_at >= Duration::from_secs(30));
                identities.insert(match plan.identity {
                    Identity::Own => "own",
                    Identity::TwinOf(_) => "twin",
                    Identity::CopyOf(_) => "copy",
                });
            }
        }

        assert_eq!(identities, BTreeSet::from(["copy", "twin"]));
    }

    #[test]
    fn a_short_run_has_no_faults() {
        assert!(Scenario::generate(1, 5, Duration::from_mins(1)).faults.is_empty());
    }

    fn generated(seed: u64) -> Scenario {
        Scenario::generate(seed, 10, Duration::from_mins(10))
    }
}
