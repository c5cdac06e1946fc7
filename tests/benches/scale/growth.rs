//! How the cost of a run grows with the number of nodes.

use std::time::Duration;

use selvedge_sim::Scenario;
use serde_json::{Value, json};

use crate::clusters::run;
use crate::stopwatch::timed;

/// A healthy cluster of some size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    nodes: u32,
    took: Duration,
    events: u64,
    requests: u64,
}

impl Row {
    pub(crate) fn to_json(self) -> Value {
        json!({
            "nodes": self.nodes,
            "seconds": self.took.as_secs_f64(),
            "events": self.events,
            "store_requests": self.requests,
        })
    }
}

/// Runs healthy clusters of several sizes for ten simulated minutes each.
pub(crate) fn by_nodes() -> Vec<Row> {
    [10, 30, 100, 300, 1000].map(row).to_vec()
}

fn row(nodes: u32) -> Row {
    let (report, took) = timed(|| run(Scenario::new(1, nodes, Duration::from_mins(10))));
    report.assert_ok();
    Row {
        nodes,
        took,
        events: report.statistics().events,
        requests: report.statistics().store_requests,
    }
}

/// Prints a line for each size.
pub(crate) fn print(rows: &[Row]) {
    println!("\nhealthy nodes x 10 simulated minutes; a mark for each doubling of a millisecond");
    println!(
        "{:>6} {:>9} {:>10} {:>14}",
        "nodes", "seconds", "events", "requests/node"
    );
    for row in rows {
        println!(
            "{:>6} {:>9.2} {:>10} {:>14}  {}",
            row.nodes,
            row.took.as_secs_f64(),
            row.events,
            row.requests / u64::from(row.nodes),
            bar(row.took),
        );
    }
}

/// Draws a logarithm.
fn bar(took: Duration) -> String {
    let doublings = took.as_millis().max(1).ilog2();
    "#".repeat(usize::try_from(doublings).unwrap())
}
