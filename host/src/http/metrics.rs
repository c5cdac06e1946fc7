//! Metrics as `OpenMetrics` text.
//!
//! Labels are kinds and reasons, of which there is a fixed number; never addresses, names or subnets.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use selvedge_engine::{ConfigProblem, ObjectKind, Phase, Reachability, RejectReason};

use super::pages::{Facts, FilterCounts};
use super::report::{Report, Serving};
use super::status::{SEARCHING, phase_name};
use crate::tunnel::TunnelReport;

const PHASES: [Phase; 5] = [
    Phase::Configuring,
    Phase::Acquiring,
    Phase::Preparing,
    Phase::Running,
    Phase::Stopped,
];

/// Renders what there is to tell.
///
/// # Errors
///
/// None that is foreseen: text grows in memory.
pub(super) fn render(facts: Facts) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("selvedge");
    registry.register_collector(Box::new(facts));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Facts {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut page = Page(encoder);
        page.info("build", "The program", &[("version", env!("CARGO_PKG_VERSION"))])?;
        let is_ready = self.report.obstacles().is_empty();
        page.gauge(
            "ready",
            "Whether the node carries traffic as the leases say",
            u64::from(is_ready),
        )?;
        self.phases(&mut page)?;
        if let Report::Serving(serving) = &*self.report {
            store(&mut page, serving)?;
            leases(&mut page, serving)?;
            kernel(&mut page, serving)?;
            events(&mut page, serving)?;
        }
        if let Some(report) = &self.tunnel {
            tunnel(&mut page, report)?;
        }
        match &self.filter {
            Some(counts) => filter(&mut page, counts),
            None => Ok(()),
        }
    }
}

impl Facts {
    fn phases(&self, page: &mut Page<'_>) -> fmt::Result {
        let now = match &*self.report {
            Report::Searching(_) => SEARCHING,
            Report::Serving(serving) => phase_name(serving.status.phase),
        };
        let phases = std::iter::once(SEARCHING).chain(PHASES.map(phase_name));
        let phases = phases.map(|phase| ([("phase", phase)], u64::from(phase == now)));
        page.gauges(
            "phase",
            "What the daemon is doing: 1 for that, 0 for the others",
            phases,
        )
    }
}

fn store(page: &mut Page<'_>, serving: &Serving) -> fmt::Result {
    let Serving { status, health, .. } = serving;
    let is_connected = health.store == Reachability::Reached;
    page.gauge(
        "store_connected",
        "Whether etcd answered the last time",
        u64::from(is_connected),
    )?;
    page.gauge(
        "store_revision",
        "The newest revision of etcd up to which the node knows every change",
        u64::try_from(status.revision.0).unwrap_or_default(),
    )?;
    page.counter(
        "store_missed_changes",
        "Lists that showed other leases than the watch had told of",
        status.missed_changes,
    )?;
    let problem = health.config_problem.as_ref().map(ConfigProblem::name);
    page.gauges(
        "config_problem",
        "What is wrong with the network config in etcd: 1 for that, 0 for the others",
        ConfigProblem::NAMES.map(|name| ([("problem", name)], u64::from(problem == Some(name)))),
    )
}

fn leases(page: &mut Page<'_>, serving: &Serving) -> fmt::Result {
    let Serving {
        now,
        status,
        health,
        holdings,
        ..
    } = serving;
    if let Some(until) = health.lease_until {
        page.gauge_of(
            ("lease_remaining", Unit::Seconds),
            "Time until the node's lease ends unless it is renewed; absent without a lease and for one that never ends",
            until.saturating_since(*now).as_secs_f64(),
        )?;
    }
    page.gauge("leases", "Records of leases in etcd", wide(holdings.leases))?;
    page.gauge(
        "leases_refused",
        "Records of leases that the node does not use",
        wide(holdings.rejected),
    )?;
    page.gauge(
        "peers",
        "Ranges of peers that the node forwards to",
        wide(holdings.peers),
    )?;
    page.gauge(
        "peers_stale",
        "Those among them whose lease vanished while etcd could not be followed",
        wide(holdings.stale_peers),
    )?;
    page.gauge(
        "peers_off_link",
        "Ranges of peers that the backend cannot reach because they are on no link of the node",
        wide(status.off_link.len()),
    )?;
    let rejected = |reason: RejectReason| status.rejected.get(&reason).copied().unwrap_or_default();
    page.counters(
        "leases_rejected",
        "Times that a record of a lease was found to be of no use, by reason",
        RejectReason::ALL.map(|reason| ([("reason", reason.name())], rejected(reason))),
    )
}

fn kernel(page: &mut Page<'_>, serving: &Serving) -> fmt::Result {
    let Serving {
        health,
        holdings,
        counts,
        ..
    } = serving;
    let desired = |kind| health.desired.get(&kind).copied().unwrap_or_default();
    let failing = |kind| {
        let failing = health.failing.iter();
        wide(failing.filter(|failing| failing.object.kind() == kind).count())
    };
    page.gauges(
        "kernel_objects_desired",
        "Kernel objects that the node wants, by kind",
        ObjectKind::ALL.map(|kind| ([("kind", kind.name())], desired(kind))),
    )?;
    page.gauges(
        "kernel_objects_failing",
        "Kernel objects that could not be made or removed the last time, by kind; they are tried again",
        ObjectKind::ALL.map(|kind| ([("kind", kind.name())], failing(kind))),
    )?;
    page.gauge(
        "kernel_operations_under_way",
        "Kernel operations that have not ended",
        wide(holdings.kernel_operations),
    )?;
    let operations = counts.operations.iter().map(|(operation, count)| {
        let labels = [
            ("kind", operation.kind.name()),
            ("operation", operation.deed.name()),
            ("outcome", operation.outcome()),
        ];
        (labels, *count)
    });
    page.counters(
        "kernel_operations",
        "Kernel operations that ended, by kind and outcome",
        operations,
    )
}

fn events(page: &mut Page<'_>, serving: &Serving) -> fmt::Result {
    let events = serving.counts.events.iter();
    let events = events.map(|(name, count)| ([("event", *name)], *count));
    page.counters("events", "What happened and was told in the log, by kind", events)
}

fn tunnel(page: &mut Page<'_>, report: &TunnelReport) -> fmt::Result {
    let TunnelReport { packets, transport } = report;
    page.counters(
        "tunnel_packets",
        "Packets carried by the udp backend",
        [
            ([("direction", "sent")], packets.sent),
            ([("direction", "delivered")], packets.delivered),
        ],
    )?;
    page.counters_of(
        ("tunnel", Unit::Bytes),
        "Bytes of those packets, without the tunnel's headers",
        [
            ([("direction", "sent")], packets.sent_bytes),
            ([("direction", "delivered")], packets.delivered_bytes),
        ],
    )?;
    page.counters(
        "tunnel_dropped_packets",
        "Packets and datagrams of the udp backend that were dropped, by reason",
        report
            .dropped()
            .map(|(reason, count)| ([("reason", reason)], count)),
    )?;
    page.counter(
        "tunnel_unproven_packets",
        "Packets that passed although no lease covers their sender or source (--membership=log)",
        packets.passed_unproven,
    )?;
    page.counter(
        "tunnel_icmp_errors",
        "ICMP errors sent about packets",
        packets.icmp_errors,
    )?;
    page.counter(
        "tunnel_receive_errors",
        "Errors reading from the tunnel's socket",
        transport.receive_errors,
    )?;
    page.counter(
        "tunnel_split_messages",
        "Messages of many datagrams that had to be sent one by one",
        transport.split,
    )?;
    page.counter(
        "tunnel_fragmented_datagrams",
        "Datagrams that the kernel was allowed to send in fragments, because the path is narrow",
        transport.fragmented,
    )?;
    page.counters(
        "tunnel_told_errors",
        "ICMP errors heard about datagrams of the tunnel, by what they say",
        [
            ([("error", "refused")], transport.told_refused),
            ([("error", "unreachable")], transport.told_unreachable),
        ],
    )
}

fn filter(page: &mut Page<'_>, counts: &FilterCounts) -> fmt::Result {
    page.counters(
        "membership_filter_packets",
        "Packets that the kernel's membership filter counted, by reason; dropped with --membership=enforce",
        counts
            .iter()
            .map(|(counter, count)| ([("reason", counter.name())], count.packets)),
    )?;
    page.counters_of(
        ("membership_filter", Unit::Bytes),
        "Bytes of those packets",
        counts
            .iter()
            .map(|(counter, count)| ([("reason", counter.name())], count.bytes)),
    )
}

/// Where metrics are written to.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn info(&mut self, name: &str, help: &str, labels: &[(&str, &str)]) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Info)?;
        metric.encode_info(&labels)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        metric.encode_gauge(&value)
    }

    fn gauge_of(&mut self, (name, unit): (&str, Unit), help: &str, value: f64) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, Some(&unit), MetricType::Gauge)?;
        metric.encode_gauge(&value)
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        self.write_counters(name, help, None, values)
    }

    fn counters_of<L: EncodeLabelSet>(
        &mut self,
        (name, unit): (&str, Unit),
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        self.write_counters(name, help, Some(&unit), values)
    }

    fn write_counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        for (labels, value) in values {
            let mut one = metric.encode_family(&labels)?;
            one.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
