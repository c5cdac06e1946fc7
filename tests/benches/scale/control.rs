//! What the change of one lease costs a node, in clusters of several sizes.
//!
//! The store's model is part of what is measured; a change costs it O(log n) steps, too.

use selvedge_tests::engine_and_store::Bench;

use crate::allocations::{Allocated, allocated};
use crate::goal::Goal;
use crate::stopwatch::timed;

const SIZES: [u32; 3] = [100, 1000, 10_000];
const ROUNDS: u32 = 20;
const CHANGES: u32 = 100;
/// How much dearer a change may be among 10,000 leases than among 100: their logarithms differ by 2.
const GROWTH: f64 = 3.0;

/// Measures the sizes in turn, round by round, so that whatever disturbs one disturbs the others as well.
pub(crate) fn cost_of_a_change() -> Vec<Goal> {
    let mut subjects = SIZES.map(Subject::new);
    for round in 0..ROUNDS {
        for subject in &mut subjects {
            subject.measure(round);
        }
    }
    let costs = subjects.map(Subject::cost);
    let [few, _, many] = costs;
    let shown = |of: fn(&Cost) -> f64, unit: &str| {
        let figures = SIZES.iter().zip(&costs);
        let figures: Vec<String> = figures
            .map(|(size, cost)| format!("{:.1} {unit} at {size}", of(cost)))
            .collect();
        figures.join(", ")
    };
    vec![
        Goal {
            name: "memory for a lease's change, 10,000 leases : 100".to_owned(),
            figure: many.bytes / few.bytes,
            limit: GROWTH,
            unit: "times",
            remark: shown(|cost| cost.bytes / 1024.0, "KiB"),
        },
        Goal {
            name: "time for a lease's change, 10,000 leases : 100".to_owned(),
            figure: many.micros / few.micros,
            limit: GROWTH,
            unit: "times",
            remark: shown(|cost| cost.micros, "us"),
        },
        Goal {
            name: "requests to the store for a lease's change".to_owned(),
            figure: costs.iter().map(|cost| cost.requests).sum(),
            limit: 0.0,
            unit: "requests",
            remark: "no list, no time to live".to_owned(),
        },
    ]
}

/// A node among leases.
struct Subject {
    bench: Bench,
    leases: u32,
    /// Of each round, per change.
    micros: Vec<f64>,
    bytes: Vec<f64>,
    requests: usize,
}

/// What a change costs.
#[derive(Clone, Copy, Debug)]
struct Cost {
    micros: f64,
    bytes: f64,
    requests: f64,
}

impl Subject {
    fn new(leases: u32) -> Self {
        let mut bench = Bench::new(r#"{"Network":"10.0.0.0/8"}"#);
        for number in 0..leases {
            write_lease(&mut bench, number, 0);
        }
        bench.add([198, 18, 0, 1]);
        bench.settle();
        bench.run_for(std::time::Duration::from_mins(1));
        let peers = bench.node(0).table.as_ref().map(|table| table.len());
        assert_eq!(peers, usize::try_from(leases).ok());
        Self {
            bench,
            leases,
            micros: Vec::new(),
            bytes: Vec::new(),
            requests: 0,
        }
    }

    /// Moves some leases, spread over all, to other nodes.
    fn measure(&mut self, round: u32) {
        let before = self.bench.node(0).requests.len();
        let (Allocated { bytes, .. }, took) = timed(|| {
            allocated(|| {
                for change in 0..CHANGES {
                    let number = (round * CHANGES + change) * STRIDE % self.leases;
                    write_lease(&mut self.bench, number, 1 + round);
                    self.bench.settle();
                }
            })
        });
        self.micros.push(took.as_secs_f64() * 1e6 / f64::from(CHANGES));
        self.bytes
            .push(f64::from(u32::try_from(bytes).unwrap()) / f64::from(CHANGES));
        self.requests += self.bench.node(0).requests.len() - before;
        self.bench.node(0).events.clear();
    }

    fn cost(self) -> Cost {
        Cost {
            micros: median(self.micros),
            bytes: median(self.bytes),
            requests: f64::from(u32::try_from(self.requests).unwrap()),
        }
    }
}

/// A number without a factor in common with any size.
const STRIDE: u32 = 37;

fn write_lease(bench: &mut Bench, number: u32, owner: u32) {
    let (high, low) = (number / 200, number % 200);
    let key = format!("subnets/10.{}.{low}.0-24", 100 + high);
    let value = format!(r#"{{"PublicIP":"198.19.{owner}.{low}","PublicIPv6":null}}"#);
    bench.put(&key, &value);
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
