//! What each kind of fault cost.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Spread;
use crate::fault::FaultKind;

/// What each kind of fault cost; [`fmt::Display`] gives a line for each.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FaultTable(BTreeMap<FaultKind, FaultStatistics>);

/// What a kind of fault cost, from the beginning of each fault to the recovery from it: when, after its end, all running
/// nodes forward as the leases say and their tunnels stand.
///
/// Faults often overlap, and then each is charged with what all of them cost. What a kind costs by itself, the faults say
/// that were alone: all was well when they began, and none began before the recovery from them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FaultStatistics {
    /// In how many runs it occurred.
    pub seeds: u64,
    /// How often it occurred.
    pub times: u64,
    /// How many were over before the end of the run without a recovery.
    pub unrecovered: u64,
    /// How long recoveries took.
    pub recovery: Spread<Duration>,
    /// How many probes were lost until then. What the links lose by chance, faults of links alone are charged with.
    pub lost: u64,
    /// How long recoveries took from those that were alone.
    pub recovery_alone: Spread<Duration>,
    /// How many probes each of these lost.
    pub lost_alone: Spread<u64>,
}

impl FaultTable {
    /// Returns what a kind cost, `None` if it did not occur.
    pub fn get(&self, kind: &FaultKind) -> Option<&FaultStatistics> {
        self.0.get(kind)
    }

    /// Returns the kinds that occurred, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&FaultKind, &FaultStatistics)> {
        self.0.iter()
    }

    /// Returns what is counted of a kind in one run.
    pub(crate) fn of_run(&mut self, kind: &FaultKind) -> &mut FaultStatistics {
        let fresh = || FaultStatistics {
            seeds: 1,
            ..FaultStatistics::default()
        };
        self.0.entry(kind.clone()).or_insert_with(fresh)
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (kind, statistics) in &other.0 {
            self.0.entry(kind.clone()).or_default().add(statistics);
        }
    }
}

impl FaultStatistics {
    fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.times += other.times;
        self.unrecovered += other.unrecovered;
        self.recovery.add(&other.recovery);
        self.lost += other.lost;
        self.recovery_alone.add(&other.recovery_alone);
        self.lost_alone.add(&other.lost_alone);
    }
}

impl fmt::Display for FaultTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.keys().map(|kind| kind.to_string().len()).max();
        let width = width.unwrap_or_default().max(FAULT.len());
        writeln!(
            f,
            "{:width$}  {:>25}  {:>19}  {:>8}   {:>6}  {:>19}  {:>15}",
            "", "", "recovered in", "probes", "alone:", "recovered in", "probes lost"
        )?;
        writeln!(
            f,
            "{FAULT:width$}  {:>7}{:>8}{:>10}  {:>9} {:>9}  {:>8}   {:>6}  {:>9} {:>9}  {:>7} {:>7}",
            "seeds",
            "times",
            "never",
            "median",
            "worst",
            "lost",
            "times",
            "median",
            "worst",
            "median",
            "worst"
        )?;
        for (kind, line) in &self.0 {
            writeln!(
                f,
                "{kind:width$}  {:>7}{:>8}{:>10}  {:>9} {:>9}  {:>8}   {:>6}  {:>9} {:>9}  {:>7} {:>7}",
                line.seeds,
                line.times,
                line.unrecovered,
                time(line.recovery.median()),
                time(line.recovery.worst()),
                line.lost,
                line.recovery_alone.count(),
                time(line.recovery_alone.median()),
                time(line.recovery_alone.worst()),
                number(line.lost_alone.median()),
                number(line.lost_alone.worst()),
            )?;
        }
        Ok(())
    }
}

const FAULT: &str = "fault";

/// Prints milliseconds below a second, and tenths of seconds above; `-` for no value.
fn time(time: Option<Duration>) -> String {
    match time {
        None => "-".to_owned(),
        Some(Duration::ZERO) => "0".to_owned(),
        Some(time) if time < Duration::from_millis(1) => "< 1 ms".to_owned(),
        Some(time) if time < Duration::from_secs(1) => format!("{} ms", time.as_millis()),
        Some(time) => format!("{:.1} s", time.as_secs_f64()),
    }
}

fn number(number: Option<u64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_for_each_kind() {
        let mut table = one_run(Duration::from_micros(1_500));
        table.add(&one_run(Duration::from_millis(2_340)));
        table.of_run(&kind("store_down")).times = 3;

        insta::assert_snapshot!(table, @r"
                                                      recovered in    probes   alone:         recovered in      probes lost
        fault         seeds   times     never     median     worst      lost    times     median     worst   median   worst
        node_crash        2       4         2       1 ms     2.3 s        34        2       1 ms     2.3 s       12      12
        store_down        1       3         0          -         -         0        0          -         -        -       -
        ");
    }

    #[test]
    fn runs_add_up_in_any_order() {
        let runs = [1, 20, 300].map(|millis| one_run(Duration::from_millis(millis)));

        let sum = |order: [usize; 3]| {
            let mut sum = FaultTable::default();
            for place in order {
                sum.add(&runs[place]);
            }
            sum
        };

        assert_eq!(sum([0, 1, 2]), sum([2, 0, 1]));
        assert_eq!(sum([0, 1, 2]).get(&kind("node_crash")).unwrap().seeds, 3);
    }

    fn one_run(recovery: Duration) -> FaultTable {
        let mut table = FaultTable::default();
        let line = table.of_run(&kind("node_crash"));
        line.times = 2;
        line.unrecovered = 1;
        line.lost = 17;
        line.recovery.record(recovery);
        line.recovery_alone.record(recovery);
        line.lost_alone.record(12);
        table
    }

    fn kind(name: &str) -> FaultKind {
        FaultKind::new(name.to_owned())
    }
}
