//! What people see of a lab: who has which subnet, and how well the pods reach each other.

use std::time::Duration;

use super::Lab;
use super::error::LabError;
use super::name::{NodeNumber, Place};
use super::probe::{Echoes, Pace, ProbeStream};
use super::stopwatch::Stopwatch;
use super::store::StoredLease;

/// Beyond this many nodes the table shows one column of round-trip times instead of one for each pod.
const WIDE: usize = 8;
/// How many pairs are probed at a time.
const BATCH: usize = 64;

/// The probes from one pod to another.
#[derive(Clone, Debug)]
pub struct PodLink {
    /// The node of the pod that sends.
    pub from: NodeNumber,
    /// The node of the pod that answers.
    pub to: NodeNumber,
    /// What became of the probes.
    pub echoes: Echoes,
}

/// Probes between two pods that are being sent.
#[derive(Debug)]
pub(super) struct RunningLink {
    pub(super) from: NodeNumber,
    pub(super) to: NodeNumber,
    pub(super) stream: ProbeStream,
}

impl Pace {
    /// Five probes within half a second: enough for a table.
    pub const QUICK: Self = Self {
        interval: Duration::from_millis(100),
        patience: Duration::from_millis(500),
        count: 5,
    };
    /// Fifty probes a second until the stream is stopped.
    pub const STEADY: Self = Self {
        interval: Duration::from_millis(20),
        patience: Duration::from_millis(300),
        count: u16::MAX,
    };
}

impl Lab {
    /// Sends probes from every pod to every other.
    ///
    /// # Errors
    ///
    /// What reading the subnet files and [`ProbeStream::start`] return.
    pub fn ping_all_pods(&self, pace: Pace) -> Result<Vec<PodLink>, LabError> {
        let mut links = Vec::new();
        for pairs in self.pairs().chunks(BATCH) {
            self.interrupt.check()?;
            let running = self.start_probes(pairs, pace)?;
            links.extend(running.into_iter().map(RunningLink::finish));
        }
        Ok(links)
    }

    /// Waits until every pod got an answer from every other.
    ///
    /// # Errors
    ///
    /// [`LabError::NotConnected`] if a pair has none after [`Lab::CONNECTED_WITHIN`].
    pub fn wait_connected(&self) -> Result<(), LabError> {
        for pairs in self.pairs().chunks(BATCH) {
            let running = self.start_probes(pairs, Pace::STEADY)?;
            let waiting = Stopwatch::start();
            while let Some(silent) = running.iter().find(|link| !link.stream.answered()) {
                if waiting.elapsed() > Self::CONNECTED_WITHIN {
                    return Err(LabError::NotConnected {
                        from: Place::Pod(silent.from),
                        to: Place::Pod(silent.to),
                        seconds: Self::CONNECTED_WITHIN.as_secs(),
                    });
                }
                self.interrupt.sleep(Duration::from_millis(10))?;
            }
            // The last probes are over before others look at the traffic.
            for link in running {
                link.stop();
            }
        }
        Ok(())
    }

    /// Draws the table of nodes with their leases and what the probes between their pods showed.
    pub fn table(&self, leases: &[StoredLease], links: &[PodLink]) -> String {
        let nodes = self.nodes();
        let wide = nodes.len() <= WIDE;
        let mut head = words(&["node", "subnet", "public IP", "backend"]);
        if wide {
            head.extend(nodes.iter().map(|number| format!("to {}", Place::Pod(*number))));
        } else {
            head.push("round trip".to_owned());
        }
        head.push("loss".to_owned());
        let mut rows = vec![head];
        for from in &nodes {
            let mut row = lease_cells(*from, leases);
            let own: Vec<&PodLink> = links.iter().filter(|link| link.from == *from).collect();
            let mut all = Echoes::default();
            for link in &own {
                all.extend(&link.echoes);
            }
            if wide {
                row.extend(nodes.iter().map(|to| {
                    own.iter()
                        .find(|link| link.to == *to)
                        .map_or_else(dash, |link| round_trip(&link.echoes))
                }));
            } else {
                row.push(round_trip(&all));
            }
            row.push(loss(&all));
            rows.push(row);
        }
        draw(&rows)
    }

    /// Returns every pair of different pods.
    pub(super) fn pairs(&self) -> Vec<(NodeNumber, NodeNumber)> {
        let nodes = self.nodes();
        let from_each = |from: NodeNumber| nodes.iter().map(move |to| (from, *to));
        nodes
            .iter()
            .flat_map(|from| from_each(*from))
            .filter(|(from, to)| from != to)
            .collect()
    }

    pub(super) fn start_probes(
        &self,
        pairs: &[(NodeNumber, NodeNumber)],
        pace: Pace,
    ) -> Result<Vec<RunningLink>, LabError> {
        let mut running = Vec::new();
        for (from, to) in pairs {
            let Some(address) = self.pod_network(*to)?.pod() else {
                continue;
            };
            let stream = ProbeStream::start(&self.namespace(Place::Pod(*from)), address, pace)?;
            running.push(RunningLink {
                from: *from,
                to: *to,
                stream,
            });
        }
        Ok(running)
    }
}

impl RunningLink {
    pub(super) fn finish(self) -> PodLink {
        PodLink {
            from: self.from,
            to: self.to,
            echoes: self.stream.finish(),
        }
    }

    pub(super) fn stop(self) -> PodLink {
        PodLink {
            from: self.from,
            to: self.to,
            echoes: self.stream.stop(),
        }
    }
}

/// Writes a time with three digits, in the unit that people expect.
pub(super) fn duration(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    match ms {
        ..10.0 => format!("{ms:.2} ms"),
        ..100.0 => format!("{ms:.1} ms"),
        ..1000.0 => format!("{ms:.0} ms"),
        _ => format!("{:.1} s", ms / 1e3),
    }
}

fn lease_cells(number: NodeNumber, leases: &[StoredLease]) -> Vec<String> {
    let public_ip = number.public_ip();
    let lease = leases.iter().find(|lease| lease.public_ip == public_ip);
    let (subnet, backend) = lease.map_or_else(
        || ("no lease".to_owned(), dash()),
        |lease| {
            let v4 = lease.subnet.v4().map(|net| net.to_string());
            (
                v4.unwrap_or_else(|| lease.subnet.to_string()),
                lease.backend.clone(),
            )
        },
    );
    vec![
        Place::Node(number).to_string(),
        subnet,
        public_ip.to_string(),
        backend,
    ]
}

fn round_trip(echoes: &Echoes) -> String {
    match echoes.median() {
        None if echoes.sent() == 0 => dash(),
        None => "lost".to_owned(),
        Some(time) => duration(time),
    }
}

fn loss(echoes: &Echoes) -> String {
    match echoes.sent() {
        0 => dash(),
        sent => format!("{} %", (100 * echoes.lost()).div_ceil(sent)),
    }
}

fn dash() -> String {
    "-".to_owned()
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

/// Aligns columns: the first four are words, to the left; the rest are figures, to the right.
fn draw(rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = width(column);
            if column < 4 {
                format!("{cell:<width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
        let line = cells.collect::<Vec<_>>().join("   ");
        text.push_str("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::probe::Probe;
    use crate::lab::{AtEnd, Interrupt, LabOptions};

    fn lab(nodes: u8) -> Lab {
        let options = LabOptions {
            nodes,
            ..LabOptions::new("table".parse().unwrap(), "selvedge".into())
        };
        let daemons = std::collections::BTreeMap::new();
        Lab {
            options,
            interrupt: Interrupt::never(),
            daemons,
            at_end: AtEnd::Stays,
            _lock: None,
        }
    }

    fn lease(number: u8) -> StoredLease {
        StoredLease {
            subnet: selvedge_engine::Subnet::V4(format!("10.50.{}.0/24", number * 7).parse().unwrap()),
            public_ip: NodeNumber::new(number).unwrap().public_ip(),
            backend: "udp".to_owned(),
            time_left: None,
        }
    }

    fn link(from: NodeNumber, to: NodeNumber, lost: bool) -> PodLink {
        let probe = |n: u64| Probe {
            sent_at: Duration::from_millis(n),
            round_trip: (!lost).then(|| Duration::from_micros(180 + 10 * n)),
        };
        PodLink {
            from,
            to,
            echoes: Echoes((0..5).map(probe).collect()),
        }
    }

    #[test]
    fn the_table_shows_every_pair_and_who_is_cut_off() {
        let lab = lab(3);
        let third = NodeNumber::new(3).unwrap();
        let links: Vec<PodLink> = lab
            .pairs()
            .into_iter()
            .map(|(a, b)| link(a, b, a == third || b == third))
            .collect();

        let table = lab.table(&[lease(1), lease(3)], &links);

        insta::assert_snapshot!("three_nodes", table);
    }

    #[test]
    fn a_large_lab_gets_one_column_of_times() {
        let lab = lab(9);
        let links: Vec<PodLink> = lab.pairs().into_iter().map(|(a, b)| link(a, b, false)).collect();

        let table = lab.table(&(1..=9).map(lease).collect::<Vec<_>>(), &links);

        insta::assert_snapshot!("nine_nodes", table);
    }

    #[test]
    fn times_have_three_digits() {
        let shown = [180, 1_500, 45_670, 345_678, 2_345_678].map(|us| duration(Duration::from_micros(us)));

        assert_eq!(shown, ["0.18 ms", "1.50 ms", "45.7 ms", "346 ms", "2.3 s"]);
    }
}
