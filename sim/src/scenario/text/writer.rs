//! Scenarios become text.

use serde::Serialize;
use toml::{Table, Value};

use super::{VERSION, VERSION_KEY, fault};
use crate::duration_text;
use crate::node_id::NodeId;
use crate::scenario::{NodePlan, Scenario};

pub(super) fn write(scenario: &Scenario) -> String {
    let mut table = unusual_options(scenario);
    add_all(&mut table, "node", unusual_nodes(scenario));
    add_all(
        &mut table,
        "fault",
        scenario.faults.iter().map(fault::write).collect(),
    );
    let head = format!(
        "{VERSION_KEY} = {VERSION}\nseed = {}\nnodes = {}\nduration = \"{}\"\n",
        scenario.seed,
        scenario.nodes.len(),
        duration_text::text(scenario.duration),
    );
    let body = toml::to_string(&table).expect("a table prints");
    let gap = if body.starts_with('[') { "\n" } else { "" };
    format!("{head}{gap}{body}")
}

/// Returns what is not as usual, without the head, the nodes and the faults.
pub(super) fn unusual_options(scenario: &Scenario) -> Table {
    let mut table = table(scenario);
    take_away(&mut table, &usual(scenario.nodes.len(), scenario.hollow));
    for key in HEAD {
        table.remove(key);
    }
    table
}

/// Returns what a healthy scenario of so many nodes says, without its nodes; to be hollow is not usual.
pub(super) fn usual(nodes: usize, hollow: u32) -> Table {
    let nodes = u32::try_from(nodes).unwrap_or(u32::MAX);
    let scenario = Scenario::new(0, nodes, std::time::Duration::ZERO).with_hollow(hollow);
    table(&Scenario {
        hollow: 0,
        ..scenario
    })
}

/// Returns a value as a table of its fields.
pub(super) fn table_of(value: &impl Serialize) -> Table {
    Table::try_from(value).expect("a scenario is made of tables of what TOML has")
}

/// The keys that every scenario says, and first.
pub(super) const HEAD: [&str; 2] = ["seed", "duration"];

/// TOML in memory has no room for large seeds; the head says the seed.
fn table(scenario: &Scenario) -> Table {
    table_of(&Scenario {
        seed: 0,
        ..scenario.clone()
    })
}

/// Removes what is the same in the other table.
fn take_away(table: &mut Table, usual: &Table) {
    table.retain(|key, value| match (value, usual.get(key)) {
        (Value::Table(inner), Some(Value::Table(usual))) => {
            take_away(inner, usual);
            !inner.is_empty()
        }
        (value, usual) => usual != Some(value),
    });
}

fn unusual_nodes(scenario: &Scenario) -> Vec<Table> {
    let count = u32::try_from(scenario.nodes.len()).unwrap_or(u32::MAX);
    let usual = Scenario::new(0, count, scenario.duration).nodes;
    let plans = scenario.node_ids().zip(scenario.nodes.iter().zip(&usual));
    plans
        .filter(|(_, (plan, usual))| plan != usual)
        .map(|(id, (plan, usual))| node(id, plan, usual))
        .collect()
}

fn node(id: NodeId, plan: &NodePlan, usual: &NodePlan) -> Table {
    let mut unusual = table_of(plan);
    take_away(&mut unusual, &table_of(usual));
    let mut table = Table::new();
    table.insert("name".to_owned(), Value::String(id.to_string()));
    table.extend(unusual);
    table
}

fn add_all(table: &mut Table, key: &str, tables: Vec<Table>) {
    if !tables.is_empty() {
        let tables = tables.into_iter().map(Value::Table).collect();
        table.insert(key.to_owned(), Value::Array(tables));
    }
}
