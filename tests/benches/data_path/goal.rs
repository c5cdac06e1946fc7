//! The goals, and how far they are met.

use crate::case::{Case, Figure};
use crate::level::Level;
use crate::results::Row;

/// A figure that has to be reached, by ours at one level.
#[derive(Clone, Debug)]
pub(crate) struct Goal {
    name: &'static str,
    demand: &'static str,
    figure: Option<f64>,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    Met,
    Missed,
    NotMeasured,
}

/// Judges the last level: that by which the daemon runs by default.
pub(crate) fn all(rows: &[Row], levels: &[Level]) -> Vec<Goal> {
    let Some(level) = levels.last() else {
        return Vec::new();
    };
    let row = |case, figure| {
        let is_it = |row: &&Row| row.case == case && row.figure == figure && row.level == *level;
        rows.iter().find(is_it)
    };
    let ours = |case, figure| Some(row(case, figure)?.ours?.median);
    let ratio = |case, figure| row(case, figure)?.ratio_to_vxlan();
    let four_streams = ours(Case::Tcp4, Figure::Throughput);
    vec![
        Goal::new(
            "TCP, 1 stream",
            ">= 0.70 x vxlan",
            ratio(Case::Tcp1, Figure::Throughput),
            |ratio| ratio >= 0.70,
        ),
        Goal::new(
            "TCP, 4 streams",
            ">= 0.40 x vxlan, or >= 10 Gbit/s",
            ratio(Case::Tcp4, Figure::Throughput),
            |ratio| ratio >= 0.40 || four_streams.is_some_and(|throughput| throughput >= 10.0),
        ),
        Goal::new(
            "UDP, 1,000 B, delivered",
            ">= 0.80 x vxlan",
            ratio(Case::Udp1000, Figure::Delivered),
            |ratio| ratio >= 0.80,
        ),
        Goal::new(
            "ping, idle, median",
            "<= 80 us",
            ours(Case::PingIdle, Figure::Median),
            |median| median <= 80.0,
        ),
        Goal::new(
            "resident memory, 100 peers",
            "<= 20 MiB",
            larger(
                ours(Case::Memory100Peers, Figure::SenderMemory),
                ours(Case::Memory100Peers, Figure::ReceiverMemory),
            ),
            |resident| resident <= 20.0,
        ),
    ]
}

/// Prints a line for each goal.
pub(crate) fn print(goals: &[Goal]) {
    println!("\n{:<28} {:<34} {:>8}  met", "goal", "demand", "figure");
    for goal in goals {
        let figure = goal
            .figure
            .map_or_else(|| "-".to_owned(), |figure| format!("{figure:.2}"));
        println!(
            "{:<28} {:<34} {figure:>8}  {}",
            goal.name,
            goal.demand,
            goal.verdict.word()
        );
    }
}

impl Goal {
    fn new(
        name: &'static str,
        demand: &'static str,
        figure: Option<f64>,
        is_met: impl FnOnce(f64) -> bool,
    ) -> Self {
        let verdict = match figure.map(is_met) {
            Some(true) => Verdict::Met,
            Some(false) => Verdict::Missed,
            None => Verdict::NotMeasured,
        };
        Self {
            name,
            demand,
            figure,
            verdict,
        }
    }
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Met => "yes",
            Self::Missed => "NO",
            Self::NotMeasured => "not measured",
        }
    }
}

fn larger(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    Some(one?.max(other?))
}
