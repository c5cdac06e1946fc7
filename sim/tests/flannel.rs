//! The model of `flanneld` in simulated clusters: a healthy one works, each known defect is found, and our nodes hold where
//! it fails.

use std::num::NonZero;
use std::time::Duration;

use selvedge_sim::{Campaign, Cluster, Defect, Model, Profile};

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

#[test]
fn the_simulator_finds_flannels_defects_by_itself_and_none_in_our_nodes() {
    let ours = Campaign {
        first_seed: 1,
        seeds: 150,
        nodes: 5,
        duration: Duration::from_mins(5),
        jobs: NonZero::new(2).unwrap(),
        model: Model::Selvedge,
        profile: Profile::Leases,
    };
    let flannels = Campaign {
        model: Model::Flannel,
        ..ours
    };

    let (ours, flannels) = (ours.run(), flannels.run());

    assert_eq!(ours.failures, []);
    for defect in [
        Defect::RoutesDropped,
        Defect::EqualIpv4,
        Defect::BlindPut,
        Defect::ReservationLost,
        Defect::CreateRaceLost,
        Defect::ChangeHidden,
        Defect::Deaf,
    ] {
        assert!(flannels.defects.contains_key(&Some(defect)), "{defect}");
    }
    assert_eq!(flannels.defects.get(&None), None, "what nothing explains");
}
