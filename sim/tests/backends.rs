//! Clusters of every backend: pods reach each other, the kernels hold what is wanted and nothing else, and a daemon that is
//! started again costs no packet.

use std::time::Duration;

use selvedge_sim::{Backend, Cluster, DirectRouting, Report, Scenario, Tampering};

#[test]
fn all_pods_of_five_nodes_reach_each_other_whatever_the_backend() {
    for kind in Kind::ALL {
        let report = Cluster::of(kind.scenario(5, seconds(120))).run();

        report.assert_ok();
        assert!(
            report
                .timeline()
                .contains("at rest: 20 pairs of nodes reach each other"),
            "{kind:?}: {report}"
        );
    }
}

#[test]
fn a_daemon_that_is_started_again_costs_no_packet_where_the_kernel_carries_them() {
    for kind in Kind::ALL {
        let mut cluster = Cluster::of(kind.scenario(3, seconds(180))).probe_every(Duration::from_millis(20));
        for (number, at) in (1..=3_u32).zip([60, 80, 100]) {
            cluster = cluster
                .crash_at(seconds(at), number)
                .restart_at(seconds(at + 2), number)
                .stop_at(seconds(at + 10), number)
                .restart_at(seconds(at + 12), number);
        }
        let at_first = lost_until(kind, seconds(55));
        let report = cluster.run();

        report.assert_ok();
        assert_eq!(lost(&report), at_first, "{kind:?}: {report}");
    }
}

#[test]
fn a_daemon_that_is_started_again_finds_nothing_to_do_where_the_kernel_carries_packets() {
    for kind in Kind::ALL {
        let report = Cluster::of(kind.scenario(3, seconds(180)))
            .crash_at(seconds(60), 2)
            .restart_at(seconds(62), 2)
            .keep_trace()
            .run();

        report.assert_ok();
        let done: Vec<String> = report
            .trace()
            .iter()
            .map(selvedge_sim::TraceLine::text)
            .skip_while(|text| !text.contains("n2 crashes"))
            .filter(|text| text.contains("kernel has"))
            .collect();
        assert!(!done.is_empty(), "{kind:?}: its subnet file is written");
        let changes: Vec<&String> = done
            .iter()
            // What a setting and a ruleset say only their maker knows: they are written again, in place.
            .filter(|text| {
                ["subnet file", "setting", "chains", "table"]
                    .iter()
                    .all(|word| !text.contains(word))
            })
            .collect();
        assert_eq!(changes, Vec::<&String>::new(), "{kind:?}");
    }
}

#[test]
fn a_node_that_gets_another_address_keeps_its_subnet_and_is_reached_there() {
    for kind in [Kind::Udp, Kind::Vxlan, Kind::DirectRouting, Kind::HostGw] {
        let report = Cluster::of(kind.scenario(3, seconds(240)))
            .tamper_at(seconds(60), 2, Tampering::MoveUnderlay)
            .run();

        report.assert_ok();
        let subnets: Vec<_> = report.leases().values().copied().collect();
        assert_eq!(subnets.len(), 3, "{kind:?}: {report}");
        assert!(
            subnets.contains(&selvedge_sim::NodeId::new(2).second_public_ip()),
            "{kind:?}: {report}"
        );
        assert!(
            report
                .timeline()
                .contains("at rest: 6 pairs of nodes reach each other"),
            "{kind:?}: {report}"
        );
    }
}

#[test]
fn every_tampering_is_repaired_whatever_the_backend() {
    for kind in [Kind::Udp, Kind::Vxlan, Kind::DirectRouting, Kind::HostGw] {
        for tampering in Tampering::ALL {
            let report = Cluster::of(kind.scenario(4, seconds(240)))
                .tamper_at(seconds(60), 2, tampering)
                .run();

            assert!(report.violation().is_none(), "{kind:?} {tampering:?}: {report}");
        }
    }
}

/// A backend with an underlay for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Udp,
    Vxlan,
    /// VXLAN over two segments, within which packets go as they are.
    DirectRouting,
    HostGw,
}

impl Kind {
    /// Those with which kernels carry packets.
    const ALL: [Self; 3] = [Self::Vxlan, Self::DirectRouting, Self::HostGw];

    fn scenario(self, nodes: u32, duration: Duration) -> Scenario {
        let mut scenario = Scenario::new(1, nodes, duration);
        scenario.backend = match self {
            Self::Udp => Backend::Udp,
            Self::Vxlan | Self::DirectRouting => Backend::Vxlan,
            Self::HostGw => Backend::HostGw,
        };
        if self == Self::DirectRouting {
            scenario.vxlan.direct_routing = DirectRouting::On;
            for (number, plan) in scenario.nodes.iter_mut().enumerate() {
                plan.segment = u8::from(number % 2 == 1);
            }
        }
        scenario
    }
}

/// Returns how many probes get lost before the nodes have found each other.
fn lost_until(kind: Kind, end: Duration) -> u64 {
    let cluster = Cluster::of(kind.scenario(3, end)).probe_every(Duration::from_millis(20));
    lost(&cluster.run())
}

fn lost(report: &Report) -> u64 {
    let probes = &report.statistics().probes;
    probes.sent - probes.delivered
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
