//! Status as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use selvedge_engine::{FailingObject, Phase, Twin};
use serde::Serialize;

use super::pages::{Facts, FilterCounts};
use super::report::{Report, Serving};
use crate::kernel::firewall::counters::FilterCount;
use crate::tunnel::TunnelReport;

/// The phase before there is an engine.
pub(super) const SEARCHING: &str = "searching";

/// Renders what there is to tell.
///
/// # Errors
///
/// None that is foreseen: every key is a text.
pub(super) fn render(facts: &Facts) -> serde_json::Result<String> {
    let mut text = serde_json::to_string_pretty(&Document::of(facts))?;
    text.push('\n');
    Ok(text)
}

/// Returns the name of a phase that operators see.
pub(super) const fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Configuring => "configuring",
        Phase::Acquiring => "acquiring",
        Phase::Preparing => "preparing",
        Phase::Running => "running",
        Phase::Stopped => "stopped",
    }
}

#[derive(Serialize)]
struct Document {
    version: &'static str,
    ready: bool,
    /// Why it is not.
    obstacles: Vec<String>,
    phase: &'static str,
    #[serde(flatten)]
    node: Option<NodeView>,
    /// None without workers: only the udp backend has them.
    packets: Option<PacketView>,
    /// None where the kernel filters nothing.
    filtered: Option<BTreeMap<&'static str, FilterView>>,
}

#[derive(Serialize)]
struct NodeView {
    public_ip: String,
    backend: Option<&'static str>,
    lease: Option<LeaseView>,
    twin: Option<TwinView>,
    store: StoreView,
    config_problem: Option<String>,
    peers: Vec<PeerView>,
    off_link: Vec<String>,
    rejected: BTreeMap<&'static str, u64>,
    objects: BTreeMap<&'static str, u64>,
    failing: Vec<FailingView>,
}

#[derive(Serialize)]
struct LeaseView {
    /// As its key names it.
    subnet: String,
    /// None if it never ends, or the node holds none and goes on carrying the subnet.
    remaining_seconds: Option<f64>,
}

#[derive(Serialize)]
struct TwinView {
    public_ip: String,
    rival: String,
    subnet: String,
    cure: &'static str,
}

#[derive(Serialize)]
struct StoreView {
    state: &'static str,
    revision: i64,
    leases: usize,
    missed_changes: u64,
}

#[derive(Serialize)]
struct PeerView {
    subnet: String,
    public_ip: String,
    /// How much longer it is kept without a lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    stale_for_seconds: Option<f64>,
}

#[derive(Serialize)]
struct FailingView {
    kind: &'static str,
    object: String,
    owner: String,
    error: &'static str,
    reason: String,
    attempts: u32,
    /// None while it is being tried, or waits for others.
    retry_in_seconds: Option<f64>,
}

#[derive(Serialize)]
struct PacketView {
    sent: u64,
    sent_bytes: u64,
    delivered: u64,
    delivered_bytes: u64,
    icmp_errors: u64,
    passed_unproven: u64,
    /// Those reasons that occurred.
    dropped: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct FilterView {
    packets: u64,
    bytes: u64,
}

impl Document {
    fn of(facts: &Facts) -> Self {
        let obstacles = facts.report.obstacles();
        let (phase, node) = match &*facts.report {
            Report::Searching(_) => (SEARCHING, None),
            Report::Serving(serving) => (phase_name(serving.status.phase), Some(NodeView::of(serving))),
        };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            ready: obstacles.is_empty(),
            obstacles,
            phase,
            node,
            packets: facts.tunnel.as_ref().map(PacketView::of),
            filtered: facts.filter.as_ref().map(filtered),
        }
    }
}

impl NodeView {
    fn of(serving: &Serving) -> Self {
        let Serving {
            now,
            status,
            health,
            holdings,
            ..
        } = serving;
        let remaining = health
            .lease_until
            .map(|until| seconds(until.saturating_since(*now)));
        let rejected = status.rejected.iter();
        let objects = health.desired.iter();
        Self {
            public_ip: status.public_ip.to_string(),
            backend: status.backend,
            lease: status.subnet.map(|subnet| LeaseView {
                subnet: subnet.to_string(),
                remaining_seconds: remaining,
            }),
            twin: status.twin.as_ref().map(TwinView::of),
            store: StoreView {
                state: health.store.name(),
                revision: status.revision.0,
                leases: holdings.leases,
                missed_changes: status.missed_changes,
            },
            config_problem: health.config_problem.as_ref().map(ToString::to_string),
            peers: peers(serving),
            off_link: status.off_link.iter().map(ToString::to_string).collect(),
            rejected: rejected.map(|(reason, count)| (reason.name(), *count)).collect(),
            objects: objects.map(|(kind, count)| (kind.name(), *count)).collect(),
            failing: failing(serving),
        }
    }
}

impl TwinView {
    fn of(twin: &Twin) -> Self {
        Self {
            public_ip: twin.public_ip.to_string(),
            rival: twin.rival.to_string(),
            subnet: twin.subnet.to_string(),
            cure: twin.cure(),
        }
    }
}

impl PacketView {
    fn of(report: &TunnelReport) -> Self {
        let packets = &report.packets;
        Self {
            sent: packets.sent,
            sent_bytes: packets.sent_bytes,
            delivered: packets.delivered,
            delivered_bytes: packets.delivered_bytes,
            icmp_errors: packets.icmp_errors,
            passed_unproven: packets.passed_unproven,
            dropped: report.dropped().filter(|(_, count)| *count > 0).collect(),
        }
    }
}

fn peers(serving: &Serving) -> Vec<PeerView> {
    let stale = &serving.status.stale;
    let peers = serving.status.peers.iter();
    let view = |(subnet, public_ip): (&selvedge_engine::Subnet, &std::net::IpAddr)| PeerView {
        subnet: subnet.to_string(),
        public_ip: public_ip.to_string(),
        stale_for_seconds: stale.get(subnet).copied().map(seconds),
    };
    peers.map(view).collect()
}

fn failing(serving: &Serving) -> Vec<FailingView> {
    let view = |failing: &FailingObject| FailingView {
        kind: failing.object.kind().name(),
        object: failing.object.to_string(),
        owner: failing.owner.to_string(),
        error: failing.error.kind.name(),
        reason: failing.error.to_string(),
        attempts: failing.attempts,
        retry_in_seconds: failing
            .retry_at
            .map(|at| seconds(at.saturating_since(serving.now))),
    };
    serving.health.failing.iter().map(view).collect()
}

fn filtered(counts: &FilterCounts) -> BTreeMap<&'static str, FilterView> {
    let view = |FilterCount { packets, bytes }| FilterView { packets, bytes };
    let counts = counts.iter();
    counts
        .map(|(counter, count)| (counter.name(), view(*count)))
        .collect()
}

/// Returns seconds with milliseconds.
fn seconds(duration: Duration) -> f64 {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)).as_secs_f64()
}
