//! What broke, for people: the rule, the scenario, the faults, and what the nodes involved did last.

use std::fmt;

use selvedge_engine::Instant;

use super::Report;
use super::columns::{Row, table};
use crate::fault::TimedFault;
use crate::node_id::NodeId;
use crate::scenario::Scenario;
use crate::trace::TraceLine;
use crate::violation::Violation;

impl Report {
    /// Returns what broke, with the scenario as far as it is unusual, the faults so far, and the last events of the nodes
    /// involved side by side; empty if nothing broke.
    pub fn failure(&self) -> String {
        self.violation()
            .map_or_else(String::new, |violation| self.story(violation).to_string())
    }

    fn story<'a>(&'a self, violation: &'a Violation) -> Story<'a> {
        let told = self
            .trace()
            .iter()
            .filter(|line| violation.nodes.is_empty() || line.concerns(&violation.nodes));
        let (packets, control) = told.partition::<Vec<_>, _>(|line| line.is_about_a_packet());
        let of_packets = if violation.invariant.is_about_packets() {
            LAST_STEPS
        } else {
            0
        };
        let mut events = last(&control, LAST_EVENTS - of_packets).to_vec();
        events.extend(last(&packets, of_packets));
        events.sort_by_key(|line| line.number());
        Story {
            violation,
            report: self,
            events,
        }
    }
}

struct Story<'a> {
    violation: &'a Violation,
    report: &'a Report,
    events: Vec<&'a TraceLine>,
}

impl Story<'_> {
    /// Returns the nodes that get a column: those involved, or those that did most of late if it is not known which.
    fn shown(&self) -> Vec<NodeId> {
        let mut nodes = self.violation.nodes.clone();
        if nodes.is_empty() {
            let deeds = |node: &NodeId| {
                self.events
                    .iter()
                    .filter(|line| line.node() == Some(*node))
                    .count()
            };
            nodes = self.events.iter().filter_map(|line| line.node()).collect();
            nodes.sort_unstable();
            nodes.dedup();
            nodes.sort_by_key(|node| usize::MAX - deeds(node));
        }
        nodes.truncate(MOST_COLUMNS);
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    fn write_scenario(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let without_faults = Scenario {
            faults: Vec::new(),
            ..self.report.scenario().clone()
        };
        for line in without_faults.to_string().lines().filter(|line| !line.is_empty()) {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }

    fn write_faults(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_begun = |timed: &&TimedFault| Instant::ZERO + timed.at <= self.violation.at;
        let mut faults = self.report.scenario().faults.iter().filter(has_begun).peekable();
        if faults.peek().is_none() {
            return writeln!(f, "\nno fault so far");
        }
        writeln!(f, "\nfaults so far:")?;
        faults.try_for_each(|timed| writeln!(f, "  {timed}"))
    }

    fn write_events(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.shown();
        let involved = &self.violation.nodes;
        let unshown = involved.iter().filter(|node| !shown.contains(node)).count();
        let more = match unshown {
            0 => String::new(),
            count => format!("; {count} more nodes are involved"),
        };
        let steps = self.events.iter().filter(|line| line.is_about_a_packet()).count();
        let events = self.events.len() - steps;
        let packets = match steps {
            0 => String::new(),
            steps => format!(", and last {steps} steps of packets"),
        };
        writeln!(f, "\nlast {events} events{packets}{more}:")?;
        let columns: Vec<String> = shown
            .iter()
            .map(ToString::to_string)
            .chain([ELSEWHERE.to_owned()])
            .collect();
        let rows = self.events.iter().map(|line| row(line, &shown));
        f.write_str(&table(&columns, rows))
    }
}

impl fmt::Display for Story<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.violation)?;
        self.write_scenario(f)?;
        self.write_faults(f)?;
        self.write_events(f)?;
        writeln!(f, "\ntrace hash {:016x}", self.report.trace_hash())
    }
}

fn last<T>(all: &[T], count: usize) -> &[T] {
    all.get(all.len().saturating_sub(count)..).unwrap_or_default()
}

/// Puts an event into its node's column, or with its node's name into the last one.
fn row(line: &TraceLine, shown: &[NodeId]) -> Row {
    let own = shown.iter().position(|node| line.node() == Some(*node));
    Row {
        time: line.at().to_string(),
        column: own.unwrap_or(shown.len()),
        text: match own {
            Some(_) => line.occurrence().to_string(),
            None => line.text(),
        },
    }
}

/// How many events are shown.
const LAST_EVENTS: usize = 40;
/// How many of them are steps of packets, if packets show why the rule broke.
const LAST_STEPS: usize = 12;
/// How many nodes have a column.
const MOST_COLUMNS: usize = 4;
/// The column of faults, of the store, of the cluster as a whole, and of what other nodes do to those shown.
const ELSEWHERE: &str = "elsewhere";
