//! The model of `flanneld` in simulated clusters: a healthy one works, and each known defect shows.

use std::time::Duration;

use selvedge_sim::{Cluster, Model};

#[test]
fn a_healthy_cluster_of_flannel_nodes_carries_every_probe() {
    for seed in 0..5 {
        let report = Cluster::new(seed)
            .nodes(5)
            .all_run(Model::Flannel)
            .renew_margin(Duration::from_mins(24 * 60 - 2))
            .run_for(Duration::from_mins(6));

        report.assert_ok();
        let probes = &report.statistics().probes;
        assert_eq!(report.leases().len(), 5);
        assert!(probes.sent > 1_000 && probes.delivered == probes.sent - probes.excused);
        assert_eq!(report.statistics().starts, 5);
    }
}
