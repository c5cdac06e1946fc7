//! What was measured, and how it compares.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::case::{Case, Figure, Measured};
use crate::level::Level;
use crate::way::Way;

/// What was measured, and what could not be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Results {
    values: BTreeMap<(Case, Figure, Way), Vec<f64>>,
    /// What was not measured, and why.
    pub(crate) missing: Vec<String>,
}

/// The values of all rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

/// A figure by all ways, with ours at one level.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) case: Case,
    pub(crate) figure: Figure,
    pub(crate) level: Level,
    pub(crate) ours: Option<Spread>,
    pub(crate) vxlan: Option<Spread>,
    pub(crate) plain: Option<Spread>,
}

impl Results {
    /// Adds the figures of a measurement.
    pub(crate) fn add(&mut self, case: Case, way: Way, measured: Measured) {
        for (figure, value) in measured {
            self.values.entry((case, figure, way)).or_default().push(value);
        }
    }

    /// Compares each figure at each level.
    pub(crate) fn rows(&self, levels: &[Level]) -> Vec<Row> {
        let mut figures: Vec<(Case, Figure)> = self
            .values
            .keys()
            .map(|(case, figure, _)| (*case, *figure))
            .collect();
        figures.dedup();
        let rows_of = |(case, figure)| {
            let spread = move |way| Spread::of(self.values.get(&(case, figure, way))?);
            levels.iter().map(move |level| Row {
                case,
                figure,
                level: *level,
                ours: spread(Way::Ours(*level)),
                vxlan: spread(Way::Vxlan),
                plain: spread(Way::Plain),
            })
        };
        figures.into_iter().flat_map(rows_of).collect()
    }
}

impl Spread {
    fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        // The same one twice if their number is odd.
        let (lower, upper) = (
            sorted.get(sorted.len().checked_sub(1)? / 2)?,
            sorted.get(sorted.len() / 2)?,
        );
        Some(Self {
            median: f64::midpoint(*lower, *upper),
            least: *sorted.first()?,
            most: *sorted.last()?,
        })
    }

    fn to_json(self) -> Value {
        json!([self.least, self.most])
    }
}

impl Row {
    /// Returns how many times VXLAN's figure ours is.
    pub(crate) fn ratio_to_vxlan(&self) -> Option<f64> {
        let vxlan = self.vxlan.filter(|spread| spread.median > 0.0)?;
        Some(self.ours?.median / vxlan.median)
    }

    pub(crate) fn to_json(self) -> Value {
        let median = |spread: Option<Spread>| spread.map(|spread| spread.median);
        json!({
            "case": self.case.to_string(),
            "figure": self.figure.name(),
            "unit": self.figure.unit(),
            "level": self.level.label,
            "ours": median(self.ours),
            "vxlan": median(self.vxlan),
            "plain": median(self.plain),
            "ratio_to_vxlan": self.ratio_to_vxlan(),
            "spread": {
                "ours": self.ours.map(Spread::to_json),
                "vxlan": self.vxlan.map(Spread::to_json),
                "plain": self.plain.map(Spread::to_json),
            },
        })
    }
}
