//! What goes wrong between nodes does to packets what it says, and nothing else.

use std::time::Duration;

use selvedge_engine::DropReason;
use selvedge_sim::{Cluster, Damage, LinkFault, Probability, Report, UnderlayFault};

#[test]
fn bursts_of_loss_cost_packets_and_nothing_else() {
    let report = healthy_then(LinkFault::Bursts {
        begin: Probability::percent(2),
        end: Probability::percent(20),
        loss: Probability::percent(100),
    });

    let probes = &report.statistics().probes;
    assert!(probes.lost_by_chance > 50, "{probes}");
    assert_eq!(probes.damaged + probes.lost_to_limits + probes.excused, 0);
}

#[test]
fn packets_that_overtake_each_other_or_arrive_six_times_all_arrive() {
    for fault in [
        LinkFault::Late {
            share: Probability::percent(30),
            by: Duration::from_secs(3),
        },
        LinkFault::Repeat {
            share: Probability::percent(30),
            copies: 5,
        },
    ] {
        let report = healthy_then(fault);

        let probes = &report.statistics().probes;
        assert_eq!(probes.sent, probes.delivered, "{fault}: {probes}");
        assert_eq!(
            probes.repeated > 0,
            matches!(fault, LinkFault::Repeat { .. }),
            "{fault}: {probes}"
        );
    }
}

#[test]
fn a_flipped_bit_that_no_card_notices_is_found_in_the_header_by_the_node_and_behind_it_by_the_pod() {
    let report = healthy_then(LinkFault::Damage {
        share: Probability::percent(50),
        damage: Damage::BitsUnnoticed(1),
    });

    let probes = &report.statistics().probes;
    assert!(probes.damaged > 100, "{probes}");
    assert!(dropped(&report, 1, DropReason::BadChecksum) > 0);
    let refused = report
        .trace()
        .iter()
        .filter(|line| line.text().contains("refused by a pod"));
    assert!(refused.count() > 100);
}

#[test]
fn the_kernel_drops_what_its_udp_checksum_finds_damaged() {
    let report = healthy_then(LinkFault::Damage {
        share: Probability::percent(50),
        damage: Damage::Bits(1),
    });

    let probes = &report.statistics().probes;
    assert!(probes.damaged > 100, "{probes}");
    for node in 1..=3 {
        assert_eq!(dropped(&report, node, DropReason::BadChecksum), 0);
    }
}

#[test]
fn a_truncated_packet_is_dropped_as_such() {
    let report = healthy_then(LinkFault::Damage {
        share: Probability::percent(50),
        damage: Damage::Truncation,
    });

    let as_short = |node| {
        dropped(&report, node, DropReason::Truncated) + dropped(&report, node, DropReason::BadTotalLength)
    };
    assert!((1..=3).map(as_short).sum::<u64>() > 100);
}

#[test]
fn a_link_that_carries_little_loses_what_does_not_fit_into_its_queue() {
    let report = healthy_then(LinkFault::Limit {
        bytes_per_second: 100,
        queue: Duration::from_millis(500),
    });

    let probes = &report.statistics().probes;
    assert!(probes.lost_to_limits > 50, "{probes}");
    assert!(probes.delivered > probes.lost_to_limits, "{probes}");
}

#[test]
fn a_black_hole_swallows_large_packets_and_lets_small_ones_pass() {
    let report = healthy_then(LinkFault::Mtu(576));

    let probes = &report.statistics().probes;
    assert!(probes.lost_to_limits > 10, "{probes}");
    assert!(probes.delivered > probes.lost_to_limits * 4, "{probes}");
}

#[test]
fn a_node_whose_port_is_blocked_hears_nobody_and_is_heard() {
    let nodes = vec![1.into()];

    let report = healthy_then(UnderlayFault::PortBlocked { nodes });

    let lost_to = |node: u32| {
        let text = format!("lost: the link to n{node} is cut");
        report
            .trace()
            .iter()
            .filter(|line| line.text().contains(&text))
            .count()
    };
    assert!(lost_to(1) > 100);
    assert_eq!(lost_to(2) + lost_to(3), 0);
}

#[test]
fn what_arrives_from_an_address_that_no_lease_has_is_dropped_by_every_node() {
    let nodes = vec![1.into()];

    let report = healthy_then(UnderlayFault::SourceChanged { nodes });

    assert!(dropped(&report, 2, DropReason::UnknownSender) > 50);
    assert!(dropped(&report, 3, DropReason::UnknownSender) > 50);
    assert_eq!(dropped(&report, 1, DropReason::UnknownSender), 0);
    let probes = &report.statistics().probes;
    assert_eq!(
        probes.disowned,
        dropped(&report, 2, DropReason::UnknownSender) + dropped(&report, 3, DropReason::UnknownSender)
    );
}

/// Runs three nodes that are healthy for a minute, have this fault for two, and are healthy for another.
fn healthy_then(fault: impl Into<selvedge_sim::Fault>) -> Report {
    let report = Cluster::new(1)
        .nodes(3)
        .keep_trace()
        .fault_at(minutes(1), fault)
        .heal_at(minutes(3))
        .run_for(minutes(4));
    report.assert_ok();
    report
}

fn dropped(report: &Report, node: u32, reason: DropReason) -> u64 {
    let counters = report.node(node).and_then(|node| node.counters.as_ref());
    counters.map_or(0, |counters| counters.dropped(reason))
}

fn minutes(count: u64) -> Duration {
    Duration::from_mins(count)
}
