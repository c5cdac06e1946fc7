//! Scenarios that say one thing less.

use toml::{Table, Value};

use super::writer::unusual_options;
use crate::scenario::Scenario;

impl Scenario {
    /// Returns the scenarios in which one thing that is not as usual is: first all nodes at once, then each option,
    /// then each node.
    pub(crate) fn simpler(&self) -> Vec<Self> {
        let usual_nodes = Self::new(self.seed, self.node_count(), self.duration).nodes;
        let mut simpler = vec![Self {
            nodes: usual_nodes.clone(),
            ..self.clone()
        }];
        for fewer in one_less(&unusual_options(self)) {
            simpler.extend(self.with_options(&fewer));
        }
        for (place, usual) in usual_nodes.into_iter().enumerate() {
            let mut one_usual = self.clone();
            one_usual.nodes[place] = usual;
            simpler.push(one_usual);
        }
        simpler.retain(|other| other != self);
        simpler
    }

    fn node_count(&self) -> u32 {
        u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)
    }

    /// Returns the scenario with these options and no others, through the text form: it knows every option.
    fn with_options(&self, options: &Table) -> Option<Self> {
        let bare = Self::new(self.seed, self.node_count(), self.duration);
        let options = toml::to_string(options).ok()?;
        let read = Self::parse(&format!("{bare}{options}")).ok()?;
        Some(Self {
            nodes: self.nodes.clone(),
            faults: self.faults.clone(),
            ..read
        })
    }
}

fn one_less(options: &Table) -> Vec<Table> {
    let mut tables = Vec::new();
    for (key, value) in options {
        let mut without = options.clone();
        without.remove(key);
        tables.push(without);
        let inner = value.as_table().map(one_less).unwrap_or_default();
        for fewer in inner.into_iter().filter(|fewer| !fewer.is_empty()) {
            let mut with_fewer = options.clone();
            with_fewer.insert(key.clone(), Value::Table(fewer));
            tables.push(with_fewer);
        }
    }
    tables
}
