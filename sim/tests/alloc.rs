//! Clusters of the `alloc` backend: leases without packets.

use std::time::Duration;

use selvedge_sim::{Cluster, Profile};

const DUAL: &str =
    r#"{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd05::/48","Backend":{"Type":"alloc"}}"#;

#[test]
fn nodes_of_both_families_hold_their_leases_whatever_goes_wrong() {
    for profile in [Profile::Usual, Profile::Leases] {
        for seed in 0..60 {
            let mut scenario = profile.generate(seed, 5, Duration::from_mins(5));
            DUAL.clone_into(&mut scenario.config);

            let report = Cluster::of(scenario).run();

            report.assert_ok();
            assert_eq!(report.statistics().probes.sent, 0);
        }
    }
}

#[test]
fn nodes_that_start_together_and_again_keep_a_subnet_of_each_family() {
    let cluster = || Cluster::new(3).nodes(10).starting_together().config(DUAL);
    let before = cluster().run_for(Duration::from_mins(1));
    let mut restarted = cluster();
    for node in 1..=10 {
        restarted = restarted
            .crash_at(Duration::from_mins(2), node)
            .restart_at(Duration::from_mins(3), node);
    }

    let after = restarted.run_for(Duration::from_mins(5));

    after.assert_ok();
    assert_eq!(before.leases().len(), 10);
    assert_eq!(before.leases(), after.leases());
}
