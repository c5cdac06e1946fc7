//! Engines that are restored from snapshots in the middle of a run go on as those that were not.

use std::time::Duration;

use selvedge_sim::{Cluster, Profile, Scenario};

#[test]
fn a_run_whose_engines_are_restored_again_and_again_is_the_same() {
    for profile in [Profile::Usual, Profile::Leases] {
        for seed in 1..=4 {
            let scenario = profile.generate(seed, 5, Duration::from_mins(5));

            let (kept, restored) = both(&scenario);

            assert_eq!(kept, restored, "{profile}, seed {seed}");
        }
    }
}

fn both(scenario: &Scenario) -> (u64, u64) {
    let kept = Cluster::of(scenario.clone()).run();
    let restored = Cluster::of(scenario.clone()).restore_engines().run();
    kept.assert_ok();
    restored.assert_ok();
    (kept.trace_hash(), restored.trace_hash())
}
