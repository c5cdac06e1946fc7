//! Many generated scenarios, on several threads.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::cluster::Cluster;
use crate::flannel::Defect;
use crate::scenario::{Model, Profile};
use crate::statistics::Statistics;
use crate::violation::Violation;

/// A range of seeds to run; each run stays on one thread, and no run knows of another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Campaign {
    /// The first seed.
    pub first_seed: u64,
    /// How many seeds.
    pub seeds: u64,
    /// How many nodes each cluster has.
    pub nodes: u32,
    /// How long each run lasts.
    pub duration: Duration,
    /// On how many threads.
    pub jobs: NonZero<usize>,
    /// Which daemon every node runs, instead of what the scenario says.
    pub model: Option<Model>,
    /// What the scenarios are about.
    pub profile: Profile,
}

/// The outcome of a [`Campaign`].
#[derive(Clone, Debug, Default)]
pub struct CampaignReport {
    /// What broke, in the order of the seeds.
    pub failures: Vec<(u64, Violation)>,
    /// What all runs amounted to.
    pub statistics: Statistics,
    /// The trace hashes of all runs, combined: equal for equal campaigns, whatever the number of threads.
    pub trace_hash: u64,
    /// The known defects of flannel behind the failures, each with its seeds in order; `None` is none of them.
    pub defects: BTreeMap<Option<Defect>, Vec<u64>>,
}

impl Campaign {
    /// Runs every seed.
    pub fn run(&self) -> CampaignReport {
        let next = AtomicU64::new(0);
        let total = Mutex::new(CampaignReport::default());
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.get() {
                scope.spawn(|| self.work(&next, &total));
            }
        });
        let mut total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
        total.failures.sort_by_key(|(seed, _)| *seed);
        total.defects.values_mut().for_each(|seeds| seeds.sort_unstable());
        total
    }

    fn work(&self, next: &AtomicU64, total: &Mutex<CampaignReport>) {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= self.seeds {
                return;
            }
            let seed = self.first_seed.wrapping_add(index);
            let scenario = self.profile.generate(seed, self.nodes, self.duration);
            let scenario = scenario.all_run(self.model);
            let again = index.is_multiple_of(REPEATED).then(|| scenario.clone());
            let report = Cluster::of(scenario).run();
            let violation = match report.violation() {
                Some(violation) => Some(violation.clone()),
                None => {
                    again.and_then(|again| report.check_replay(&Cluster::of(again).restore_engines().run()))
                }
            };
            let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
            total.statistics.add(report.statistics());
            total.trace_hash = total.trace_hash.wrapping_add(report.trace_hash());
            if let Some(violation) = violation {
                total.failures.push((seed, violation));
                total.defects.entry(report.defect()).or_default().push(seed);
            }
        }
    }
}

/// One seed of so many is run twice, the second time with engines that are restored from snapshots.
const REPEATED: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_campaign_is_the_same_on_one_thread_and_on_several() {
        let alone = Campaign {
            first_seed: 5,
            seeds: 4,
            nodes: 3,
            duration: Duration::from_mins(2),
            jobs: NonZero::<usize>::MIN,
            model: None,
            profile: Profile::default(),
        };
        let shared = Campaign {
            jobs: NonZero::new(3).unwrap(),
            ..alone
        };

        let (alone, shared) = (alone.run(), shared.run());

        assert_eq!(alone.trace_hash, shared.trace_hash);
        assert_eq!(alone.statistics, shared.statistics);
        assert!(alone.statistics.faults.iter().count() > 0);
        assert_eq!(alone.statistics.simulated, Duration::from_secs(4 * 125));
    }
}
