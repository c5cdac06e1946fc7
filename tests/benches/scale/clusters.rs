//! Simulated clusters: how long they take, and what they ask of the store.

use std::num::NonZero;
use std::thread::available_parallelism;
use std::time::Duration;

use selvedge_sim::{Campaign, Cluster, Fault, Profile, Report, Scenario, StoreFault};

use crate::goal::Goal;
use crate::stopwatch::timed;

const TEN_MINUTES: Duration = Duration::from_mins(10);

/// A thousand generated clusters with faults.
pub(crate) fn campaign() -> Goal {
    let campaign = Campaign {
        first_seed: 1,
        seeds: 1000,
        nodes: 10,
        duration: TEN_MINUTES,
        jobs: available_parallelism().unwrap_or(NonZero::<usize>::MIN),
        model: None,
        profile: Profile::Usual,
    };
    let (report, took) = timed(|| campaign.run());
    Goal {
        name: "1,000 seeds x 10 nodes x 10 simulated minutes".to_owned(),
        figure: took.as_secs_f64(),
        limit: 60.0,
        unit: "s",
        remark: format!(
            "{} events, {} failed, {} threads",
            report.statistics.events,
            report.failures.len(),
            campaign.jobs
        ),
    }
}

/// A generated cluster of real engines, with faults, but leases of the usual length: a thousand nodes that renew every few
/// seconds, and all lose their lease when the store is slow, are no cluster that anybody has.
pub(crate) fn thousand_engines() -> Goal {
    let mut scenario = Scenario::generate(SEED, 1000, TEN_MINUTES);
    scenario
        .faults
        .retain(|timed| !matches!(timed.fault, Fault::Store(StoreFault::GrantLess(_))));
    let (report, took) = timed(|| run(scenario));
    Goal {
        name: "1,000 engines x 10 simulated minutes".to_owned(),
        figure: took.as_secs_f64(),
        limit: 120.0,
        unit: "s",
        remark: outcome(&report),
    }
}

/// A generated cluster of 100 real engines and 9,900 hollow nodes, with faults.
pub(crate) fn ten_thousand_nodes() -> Goal {
    let scenario = Scenario::generate(SEED, 100, TEN_MINUTES).with_hollow(9900);
    let (report, took) = timed(|| run(scenario));
    Goal {
        name: "100 engines and 9,900 hollow nodes x 10 simulated minutes".to_owned(),
        figure: took.as_secs_f64(),
        limit: 60.0,
        unit: "s",
        remark: outcome(&report),
    }
}

/// What a node asks of the store while nothing happens: lists for comparison, and renewals.
pub(crate) fn requests_at_rest() -> Goal {
    let requests = |hours| {
        let cluster = Cluster::new(SEED).nodes(NODES).probe_every(Duration::ZERO);
        let report = cluster.run_for(Duration::from_hours(hours));
        report.assert_ok();
        report.statistics().store_requests
    };
    let (first_hour, two_days) = (requests(1), requests(1 + DAYS * 24));
    let node_hours = f64::from(NODES) * f64::from(u32::try_from(DAYS * 24).unwrap());
    let in_between = f64::from(u32::try_from(two_days - first_hour).unwrap());
    Goal {
        name: "requests to the store at rest, per node and hour".to_owned(),
        figure: in_between / node_hours,
        limit: 14.0,
        unit: "requests",
        remark: format!("{NODES} nodes for {DAYS} days; above 1,000 leases a list is a request per 1,000"),
    }
}

pub(crate) fn run(scenario: Scenario) -> Report {
    Cluster::of(scenario).run()
}

fn outcome(report: &Report) -> String {
    let statistics = report.statistics();
    match report.violation() {
        None => format!(
            "{} events, {} requests to the store",
            statistics.events, statistics.store_requests
        ),
        Some(violation) => format!("BROKEN: {violation}"),
    }
}

const SEED: u64 = 7;
const NODES: u32 = 10;
const DAYS: u64 = 2;
