//! The model of `flanneld` in simulated clusters: a healthy one works, each known defect is found, and our nodes hold where
//! it fails.

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use selvedge_sim::{Campaign, Cluster, Defect, Model, Profile, Report, Scenario};

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
        model: Some(Model::Selvedge),
        profile: Profile::Leases,
    };
    let flannels = Campaign {
        model: Some(Model::Flannel),
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

#[test]
fn our_nodes_pass_the_very_scenarios_in_which_flannels_fail() {
    let told: Vec<String> = scenario_files().iter().map(|file| side_by_side(file)).collect();

    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn our_nodes_keep_their_rules_among_flannel_nodes() {
    let mut blamed = 0;
    for seed in 1..100 {
        let mut scenario = Profile::Leases.generate(seed, 5, Duration::from_mins(5));
        // In dual stack flannel nodes share a subnet, and nobody can say whose it is.
        if scenario.config.contains("IPv6") {
            continue;
        }
        for (place, plan) in scenario.nodes.iter_mut().enumerate().skip(1) {
            if seed >> place & 1 == 1 {
                plan.model = Model::Flannel;
            }
        }

        let report = Cluster::of(scenario).run();

        report.assert_ok();
        blamed += report.attributed().len();
    }
    assert!(
        blamed > 100,
        "flannel nodes did nothing wrong, so that nothing was shown"
    );
}

#[test]
fn nodes_are_replaced_one_by_one_and_back_again_and_keep_their_subnets() {
    for seed in 0..3 {
        let mut cluster = Cluster::new(seed).nodes(4).all_run(Model::Flannel);
        for node in 1..=4 {
            let at = Duration::from_mins(1) * node;
            cluster = cluster.replace_at(at, node, Model::Selvedge).replace_at(
                at + Duration::from_mins(5),
                node,
                Model::Flannel,
            );
        }
        let before = Cluster::new(seed)
            .nodes(4)
            .all_run(Model::Flannel)
            .run_for(Duration::from_secs(50));

        let report = cluster.run_for(Duration::from_mins(12));

        report.assert_ok();
        assert_eq!(report.leases(), before.leases());
        assert_eq!(report.attributed(), []);
        assert_eq!(report.statistics().starts, 12);
    }
}

fn scenario_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/scenarios/flannel");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    files.sort();
    files
}

/// Runs a scenario with both daemons and tells what became of each.
fn side_by_side(file: &Path) -> String {
    let text = fs::read_to_string(file).expect("the file can be read");
    let scenario = Scenario::parse(&text).expect("the file holds a scenario");
    let run = |model| told(&Cluster::of(scenario.clone()).all_run(model).run());
    let shows = text.lines().next().unwrap_or_default();
    let name = file.file_name().unwrap_or_default().display();
    let (flannels, ours) = (run(Model::Flannel), run(Model::Selvedge));
    format!("{name} {shows}\n  flannel:  {flannels}\n  selvedge: {ours}\n")
}

fn told(report: &Report) -> String {
    match (report.violation(), report.defect()) {
        (Some(violation), Some(defect)) => format!("{violation}\n            {defect}"),
        (Some(violation), None) => violation.to_string(),
        (None, _) => {
            let probes = &report.statistics().probes;
            format!(
                "every rule holds; {} leases; probes: {probes}",
                report.leases().len()
            )
        }
    }
}
