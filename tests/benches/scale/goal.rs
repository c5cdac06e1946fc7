//! A goal, and how far it is met.

use serde_json::{Value, json};

/// A figure that may not be exceeded.
#[derive(Clone, Debug)]
pub(crate) struct Goal {
    pub(crate) name: String,
    pub(crate) figure: f64,
    pub(crate) limit: f64,
    pub(crate) unit: &'static str,
    /// What else is worth knowing.
    pub(crate) remark: String,
}

impl Goal {
    pub(crate) fn is_met(&self) -> bool {
        self.figure <= self.limit
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "figure": self.figure,
            "limit": self.limit,
            "unit": self.unit,
            "met": self.is_met(),
            "remark": self.remark,
        })
    }
}

/// Prints a line for each goal.
pub(crate) fn print(goals: &[Goal]) {
    println!("{:<58} {:>10} {:>8} unit        met", "goal", "figure", "limit");
    for goal in goals {
        let met = if goal.is_met() { "yes" } else { "NO" };
        println!(
            "{:<58} {:>10.2} {:>8} {:<11} {met:<4} {}",
            goal.name, goal.figure, goal.limit, goal.unit, goal.remark
        );
    }
}
