//! Simulated clusters, written as a user of the simulator would.

use std::time::Duration;

use selvedge_engine::{DropReason, Phase, RejectReason};
use selvedge_sim::{Cluster, Forgery, Invariant, Junk, Probability, Report, StoreWay, Tampering};

#[test]
fn five_nodes_join_and_reach_each_other() {
    let report = Cluster::new(1)
        .nodes(5)
        .network("10.5.0.0/16")
        .run_for(minutes(2));

    report.assert_ok();
    assert_eq!(report.leases().len(), 5);
    for node in 1..=5 {
        let status = report.status(node).unwrap();
        assert_eq!((status.phase, status.peers.len()), (Phase::Running, 4), "n{node}");
    }
    assert_everything_arrived_but_excused(&report);
}

#[test]
fn twenty_nodes_that_start_together_get_a_subnet_each() {
    let report = Cluster::new(2).nodes(20).starting_together().run_for(minutes(2));

    report.assert_ok();
    assert_eq!(report.leases().len(), 20);
    assert_each_node_was_started_once(&report);
}

#[test]
fn a_partition_costs_packets_and_nothing_else() {
    let report = Cluster::new(3)
        .nodes(5)
        .partition_at(minutes(2), [1, 2])
        .check_at(minutes(3), "leases stay", |cluster| {
            expect(cluster.leases().len() == 5, "a lease is gone")
        })
        .heal_at(minutes(4))
        .run_for(minutes(6));

    report.assert_ok();
    let probes = &report.statistics().probes;
    assert!(probes.lost_on_cut_links > 100, "{probes}");
    assert_eq!(probes.lost_by_chance, 0);
    assert!(!report.timeline().contains("lost the lease"), "{report}");
}

#[test]
fn a_one_way_partition_stops_pings_and_lets_datagrams_back() {
    let report = Cluster::new(4)
        .nodes(2)
        .keep_trace()
        .one_way_partition_at(minutes(2), [1], [2])
        .heal_at(minutes(4))
        .run_for(minutes(6));

    report.assert_ok();
    let during = |what: &str, node: u32| {
        report
            .trace()
            .iter()
            .filter(|line| (120..240).contains(&(line.at().as_nanos() / 1_000_000_000)))
            .filter(|line| line.node().is_some_and(|id| id.number() == node))
            .filter(|line| line.text().contains(what))
            .count()
    };
    assert!(during("lost: the link to n2 is cut", 1) > 100);
    assert_eq!(during("lost: the link to n1 is cut", 2), 0);
    assert!(during("received by a pod", 1) > 100);
    assert_eq!(during("received by a pod", 2), 0);
}

#[test]
fn without_the_store_traffic_goes_on_as_before() {
    let report = Cluster::new(5)
        .nodes(4)
        .store_down_at(minutes(2))
        .heal_at(minutes(12))
        .run_for(minutes(15));

    report.assert_ok();
    assert_everything_arrived_but_excused(&report);
    assert!(report.timeline().contains("etcd answers again"), "{report}");
}

#[test]
fn a_node_that_starts_without_the_store_waits_and_joins_when_it_is_back() {
    let report = Cluster::new(6)
        .nodes(3)
        .store_down_at(minutes(1))
        .start_at(minutes(2), 3)
        .check_at(minutes(3), "n3 waits", |cluster| {
            let status = cluster.status(3).ok_or("n3 gave up")?;
            expect(status.phase == Phase::Configuring, "n3 has no config to go by")
        })
        .heal_at(minutes(4))
        .run_for(minutes(7));

    report.assert_ok();
    assert_eq!(report.leases().len(), 3);
}

#[test]
fn a_crashed_node_comes_back_with_its_subnet() {
    for with_file in [true, false] {
        let cluster = Cluster::new(7).nodes(3);
        let before = Cluster::new(7).nodes(3).run_for(minutes(1)).subnet(2);
        let cluster = if with_file {
            cluster.crash_at(minutes(2), 2)
        } else {
            cluster.power_loss_at(minutes(2), 2)
        };

        let report = cluster.restart_at(minutes(3), 2).run_for(minutes(5));

        report.assert_ok();
        assert_eq!(report.subnet(2), before, "with the file: {with_file}");
        assert_eq!(report.node(2).unwrap().starts, 2);
    }
}

#[test]
fn a_node_whose_lease_was_deleted_while_it_was_down_takes_the_subnet_from_its_file() {
    let before = Cluster::new(8).nodes(3).run_for(minutes(1)).subnet(2);

    let report = Cluster::new(8)
        .nodes(3)
        .crash_at(minutes(2), 2)
        .delete_lease_at(minutes(3), 2)
        .check_at(minutes(4), "the lease is gone", |cluster| {
            expect(cluster.leases().len() == 2, "it is still there")
        })
        .restart_at(minutes(5), 2)
        .run_for(minutes(7));

    report.assert_ok();
    assert_eq!(report.subnet(2), before);
}

#[test]
fn a_deleted_lease_is_taken_again_at_once() {
    let report = Cluster::new(9)
        .nodes(3)
        .delete_lease_at(minutes(2), 1)
        .run_for(minutes(4));

    report.assert_ok();
    assert_eq!(report.leases().len(), 3);
    assert!(report.timeline().contains("n1 lost the lease"), "{report}");
}

#[test]
fn junk_among_the_leases_removes_nothing() {
    let cluster = Junk::ALL
        .into_iter()
        .fold(Cluster::new(10).nodes(3), |cluster, junk| {
            cluster.junk_at(minutes(2), junk)
        });

    let report = cluster.start_at(minutes(3), 3).run_for(minutes(5));

    report.assert_ok();
    for node in 1..=3 {
        let status = report.status(node).unwrap();
        assert_eq!(status.peers.len(), 2, "n{node}");
        assert_eq!(
            status.rejected.values().sum::<u64>(),
            u64::try_from(Junk::ALL.len()).unwrap(),
            "n{node}: {:?}",
            status.rejected
        );
        assert!(status.rejected.contains_key(&RejectReason::BadKey));
    }
    assert!(!report.timeline().contains("lost the lease"), "{report}");
}

#[test]
fn a_compaction_behind_a_nodes_back_does_not_hide_what_happened_before() {
    // All within five minutes: later a node lists all leases again in any case.
    let report = Cluster::new(11)
        .nodes(4)
        .store_cut_at(seconds(30), [1], StoreWay::Both)
        .start_at(seconds(60), 4)
        .compact_at(seconds(90))
        .heal_at(seconds(120))
        .run_for(seconds(200));

    report.assert_ok();
    assert_eq!(report.status(1).unwrap().peers.len(), 3);
}

#[test]
fn a_node_that_cannot_hear_the_store_does_not_take_two_subnets() {
    let report = Cluster::new(12)
        .nodes(3)
        .store_cut_at(Duration::ZERO, [1, 2, 3], StoreWay::Answers)
        .heal_at(minutes(1))
        .run_for(minutes(4));

    report.assert_ok();
    assert_eq!(report.leases().len(), 3);
}

#[test]
fn the_lease_of_a_dead_node_ends_after_a_day_and_those_of_the_living_do_not() {
    let report = Cluster::new(13)
        .nodes(3)
        .probe_every(minutes(10))
        .crash_at(minutes(10), 3)
        .run_for(hours(30));

    report.assert_ok();
    assert_eq!(report.leases().len(), 2);
    assert_eq!(report.status(1).unwrap().peers.len(), 1);
}

#[test]
fn a_node_suspended_for_longer_than_its_lease_takes_it_anew() {
    let report = Cluster::new(14)
        .nodes(3)
        .probe_every(minutes(10))
        .pause_at(minutes(10), 3)
        .resume_at(hours(26), 3)
        .run_for(hours(27));

    report.assert_ok();
    assert_eq!(report.leases().len(), 3);
    assert_eq!(report.node(3).unwrap().starts, 1);
}

#[test]
fn a_node_suspended_until_another_took_its_subnet_waits_for_a_free_one() {
    let report = Cluster::new(20)
        .nodes(4)
        .config(r#"{"Network":"10.5.0.0/28"}"#)
        .probe_every(minutes(10))
        .pause_at(minutes(10), 3)
        .start_at(hours(25), 4)
        .resume_at(hours(26), 3)
        .crash_at(hours(27), 4)
        .check_at(hours(28), "n3 gave its subnet up", |cluster| {
            let status = cluster.status(3).ok_or("n3 is down")?;
            expect(
                status.subnet.is_none() && cluster.leases().len() == 3,
                "it has one",
            )
        })
        .run_for(hours(53));

    report.assert_ok();
    assert_eq!(report.leases().len(), 3);
    assert_eq!(report.status(3).unwrap().phase, Phase::Running);
}

#[test]
fn a_node_without_the_store_until_another_took_its_subnet_gives_way() {
    let report = Cluster::new(26)
        .nodes(4)
        .config(r#"{"Network":"10.5.0.0/28"}"#)
        .probe_every(minutes(10))
        .store_cut_at(minutes(10), [3], StoreWay::Both)
        .start_at(hours(25), 4)
        .check_at(hours(25) + minutes(30), "n3 goes on as it was", |cluster| {
            let status = cluster.status(3).ok_or("n3 is down")?;
            expect(status.subnet.is_some(), "it gave its subnet up")
        })
        .heal_at(hours(26))
        .check_at(hours(27), "n3 gives way", |cluster| {
            let status = cluster.status(3).ok_or("n3 is down")?;
            expect(
                status.subnet.is_none() && cluster.leases().len() == 3,
                "it has one",
            )
        })
        .crash_at(hours(28), 4)
        .run_for(hours(54));

    report.assert_ok();
    assert_eq!(report.status(3).unwrap().phase, Phase::Running);
}

#[test]
fn what_others_change_on_a_node_is_mended() {
    let tampering = [
        Tampering::DeleteTunnel,
        Tampering::SetTunnelDown,
        Tampering::DeleteRoutes,
    ];

    for tampering in tampering {
        let report = Cluster::new(15)
            .nodes(3)
            .tamper_at(minutes(2), 2, tampering)
            .run_for(minutes(4));

        report.assert_ok();
        let excused = report.statistics().probes.excused;
        assert!(excused < 20, "{tampering:?}: {report}");
        assert!(report.timeline().contains("n2"), "{tampering:?}");
    }
}

#[test]
fn no_forged_datagram_reaches_a_pod() {
    let cluster = Forgery::ALL
        .into_iter()
        .fold(Cluster::new(21).nodes(3), |cluster, forgery| {
            cluster.forge_at(minutes(2), 1, forgery)
        });

    let report = cluster.run_for(minutes(4));

    report.assert_ok();
    let counters = report.node(1).unwrap().counters.as_ref().unwrap();
    let dropped: u64 = DropReason::ALL
        .iter()
        .map(|reason| counters.dropped(*reason))
        .sum();
    assert!(dropped >= 7, "{counters:?}");
    assert_eq!(counters.dropped(DropReason::UnknownSender), 1);
}

#[test]
fn a_store_that_lost_its_data_is_filled_again_with_the_same_subnets() {
    let before = Cluster::new(22).nodes(4).run_for(minutes(1));

    let report = Cluster::new(22)
        .nodes(4)
        .wipe_store_at(minutes(2))
        .run_for(minutes(5));

    report.assert_ok();
    assert_eq!(report.leases(), before.leases());
}

#[test]
fn a_store_restored_from_a_backup_gets_the_leases_that_the_backup_lacks() {
    let report = Cluster::new(23)
        .nodes(4)
        .start_at(minutes(3), 4)
        .restore_store_at(minutes(5), minutes(2))
        .run_for(minutes(8));

    report.assert_ok();
    assert_eq!(report.leases().len(), 4);
}

#[test]
fn a_store_restored_to_a_revision_beyond_the_known_one_hides_no_lease() {
    let report = Cluster::new(25)
        .nodes(4)
        .crash_at(seconds(115), 1)
        .wipe_store_at(seconds(120))
        .restore_store_at(seconds(130), seconds(110))
        .restart_at(seconds(150), 1)
        .run_for(seconds(240));

    report.assert_ok();
    assert_eq!(report.status(4).unwrap().peers.len(), 3);
}

#[test]
fn a_full_store_stops_new_nodes_only() {
    let report = Cluster::new(24)
        .nodes(3)
        .store_full_at(minutes(1))
        .start_at(minutes(2), 3)
        .check_at(minutes(3), "n3 waits, the others go on", |cluster| {
            let phase = |node: u32| cluster.status(node).map(|status| status.phase);
            expect(
                phase(3) == Some(Phase::Acquiring) && phase(1) == Some(Phase::Running),
                "they do not",
            )
        })
        .heal_at(minutes(4))
        .run_for(minutes(6));

    report.assert_ok();
    assert_eq!(report.leases().len(), 3);
}

#[test]
fn a_bad_network_loses_and_repeats_packets_but_no_lease() {
    let report = Cluster::new(16)
        .nodes(4)
        .delay(Duration::from_millis(80))
        .jitter(Duration::from_millis(200))
        .loss(Probability::percent(20))
        .duplication(Probability::percent(5))
        .run_for(minutes(5));

    report.assert_ok();
    let probes = &report.statistics().probes;
    assert!(probes.lost_by_chance > 100 && probes.repeated > 10, "{probes}");
}

#[test]
fn a_check_of_the_author_fails_the_run_with_its_text() {
    let report = Cluster::new(17)
        .nodes(2)
        .check_at(minutes(1), "three leases", |cluster| {
            expect(cluster.leases().len() == 3, "only two nodes are there")
        })
        .run_for(minutes(2));

    let violation = report.violation().unwrap();
    assert_eq!(violation.invariant, Invariant::Custom);
    assert!(
        report
            .failure()
            .contains("three leases: only two nodes are there")
    );
    assert!(report.failure().contains("seed = 17"));
}

#[test]
fn a_network_without_room_for_all_fails_at_rest() {
    let report = Cluster::new(18)
        .nodes(4)
        .config(r#"{"Network":"10.5.0.0/28"}"#)
        .run_for(minutes(3));

    let violation = report.violation().unwrap();
    assert_eq!(violation.invariant, Invariant::AtRest);
    assert_eq!(report.leases().len(), 3);
}

#[test]
fn the_timeline_of_a_partition_reads_as_a_story() {
    let report = Cluster::new(19)
        .nodes(3)
        .jitter(Duration::ZERO)
        .store_jitter(Duration::ZERO)
        .partition_at(minutes(1), [1])
        .heal_at(seconds(90))
        .crash_at(seconds(100), 2)
        .restart_at(seconds(105), 2)
        .run_for(minutes(3));

    report.assert_ok();
    insta::assert_snapshot!(report.timeline());
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn minutes(count: u64) -> Duration {
    Duration::from_mins(count)
}

const fn hours(count: u64) -> Duration {
    Duration::from_hours(count)
}

fn expect(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

/// Packets sent in the first moments, before everybody knew everybody, are excused.
fn assert_everything_arrived_but_excused(report: &Report) {
    let probes = &report.statistics().probes;
    assert_eq!(probes.sent, probes.delivered + probes.excused, "{probes}");
    assert!(probes.excused < 10, "{probes}");
}

fn assert_each_node_was_started_once(report: &Report) {
    assert!(report.nodes().iter().all(|node| node.starts == 1), "{report}");
}
