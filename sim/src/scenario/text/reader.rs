//! Text becomes a scenario.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use toml::{Spanned, Table};

use super::writer::{HEAD, table_of, usual};
use super::{MAX_HOLLOW, MAX_NODES, Problem, VERSION, VERSION_KEY, fault};
use crate::node_id::NodeId;
use crate::scenario::{Liveness, NodePlan, Scenario};

pub(super) fn read(text: &str) -> Result<Scenario, Problem> {
    let root = DeTable::parse(text).map_err(|error| Problem::of(&error, &(0..0)))?;
    let span = root.span();
    let mut root = root.into_inner();
    check_version(take(&mut root, &span, VERSION_KEY)?)?;
    let count = count(take(&mut root, &span, "nodes")?)?;
    let hollow = root.remove("hollow").map_or(Ok(0), hollow)?;
    let nodes = root.remove("node");
    let faults = root.remove("fault");
    let mut usual = usual(count, hollow);
    check_keys(&root, &usual)?;
    for key in HEAD {
        usual.remove(key);
    }
    let liveness = root.get(LIVENESS).map_or(span.clone(), Spanned::span);
    let mut scenario: Scenario = with_defaults(root, span, &usual)?;
    scenario.hollow = hollow;
    let fresh = u32::try_from(count).unwrap_or(MAX_NODES);
    scenario.nodes = Scenario::new(0, fresh, scenario.duration).nodes;
    change_nodes(&mut scenario.nodes, nodes)?;
    check_core(&scenario, liveness)?;
    for timed in elements(faults, "fault")? {
        scenario.faults.push(fault::read(timed, count)?);
    }
    Ok(scenario)
}

pub(super) type Entry<'a> = Spanned<DeValue<'a>>;

fn check_version(value: Entry<'_>) -> Result<(), Problem> {
    let span = value.span();
    let version: i64 = deserialize(value)?;
    if version == i64::from(VERSION) {
        return Ok(());
    }
    let text = format!("scenarios of version {version} are unknown, the version has to be {VERSION}");
    Err(Problem::new(&span, text))
}

fn count(value: Entry<'_>) -> Result<usize, Problem> {
    let span = value.span();
    let count: i64 = deserialize(value)?;
    usize::try_from(count)
        .ok()
        .filter(|count| (1..=usize::try_from(MAX_NODES).unwrap_or_default()).contains(count))
        .ok_or_else(|| Problem::new(&span, format!("there are 1 to {MAX_NODES} nodes, not {count}")))
}

fn hollow(value: Entry<'_>) -> Result<u32, Problem> {
    let span = value.span();
    let count: i64 = deserialize(value)?;
    u32::try_from(count)
        .ok()
        .filter(|count| *count <= MAX_HOLLOW)
        .ok_or_else(|| {
            Problem::new(
                &span,
                format!("there are 0 to {MAX_HOLLOW} hollow nodes, not {count}"),
            )
        })
}

fn check_keys(root: &DeTable<'_>, usual: &Table) -> Result<(), Problem> {
    let Some(unknown) = root
        .keys()
        .find(|key| key.get_ref() != LIVENESS && !usual.contains_key(key.get_ref().as_ref()))
    else {
        return Ok(());
    };
    let others = usual.keys().map(String::as_str);
    let keys: Vec<&str> = [VERSION_KEY, "nodes", "node", "fault", LIVENESS]
        .into_iter()
        .chain(others)
        .collect();
    let text = format!("unknown key `{unknown}`, allowed are {}", keys.join(", "));
    Err(Problem::new(&unknown.span(), text))
}

/// The table that a healthy scenario does not have.
const LIVENESS: &str = "liveness";

fn check_core(scenario: &Scenario, span: Range<usize>) -> Result<(), Problem> {
    let Some(Liveness { core, .. }) = &scenario.liveness else {
        return Ok(());
    };
    let count = scenario.nodes.len();
    match core.iter().find(|id| id.index() >= count) {
        Some(id) => Err(no_such_node(&span, *id, count)),
        None if core.is_empty() => Err(Problem::new(&span, "the core has at least one node")),
        None => Ok(()),
    }
}

fn change_nodes(plans: &mut [NodePlan], nodes: Option<Entry<'_>>) -> Result<(), Problem> {
    let mut changed = BTreeSet::new();
    let count = plans.len();
    for node in elements(nodes, "node")? {
        let span = node.span();
        let mut table = as_table(node, "node")?;
        let name = take(&mut table, &span, "name")?;
        let name_span = name.span();
        let id: NodeId = deserialize(name)?;
        let Some(plan) = plans.get_mut(id.index()) else {
            return Err(no_such_node(&name_span, id, count));
        };
        if !changed.insert(id) {
            return Err(Problem::new(&name_span, format!("{id} is here twice")));
        }
        *plan = with_defaults(table, span, &table_of(plan))?;
        match plan.identity.original() {
            Some(original) if original.index() >= count => {
                return Err(no_such_node(&name_span, original, count));
            }
            Some(original) if original == id => {
                return Err(Problem::new(&name_span, format!("{id} is no twin of itself")));
            }
            Some(_) | None => {}
        }
    }
    Ok(())
}

/// Says that a scenario of `count` nodes has no such node.
pub(super) fn no_such_node(span: &Range<usize>, id: NodeId, count: usize) -> Problem {
    Problem::new(span, format!("there is no {id}, the nodes are n1 to n{count}"))
}

fn elements<'a>(value: Option<Entry<'a>>, key: &str) -> Result<Vec<Entry<'a>>, Problem> {
    let Some(value) = value else {
        return Ok(Vec::new());
    };
    let span = value.span();
    match value.into_inner() {
        DeValue::Array(array) => Ok(array.into_iter().collect()),
        DeValue::Table(_)
        | DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => Err(not_a_table(&span, key)),
    }
}

pub(super) fn as_table<'a>(value: Entry<'a>, key: &str) -> Result<DeTable<'a>, Problem> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Table(table) => Ok(table),
        DeValue::Array(_)
        | DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => Err(not_a_table(&span, key)),
    }
}

fn not_a_table(span: &Range<usize>, key: &str) -> Problem {
    Problem::new(span, format!("a {key} is a table that begins with [[{key}]]"))
}

pub(super) fn take<'a>(
    table: &mut DeTable<'a>,
    span: &Range<usize>,
    key: &str,
) -> Result<Entry<'a>, Problem> {
    table
        .remove(key)
        .ok_or_else(|| Problem::new(span, format!("missing field `{key}`")))
}

/// Reads a table; what it does not say is as in the other one.
fn with_defaults<T: DeserializeOwned>(
    table: DeTable<'_>,
    span: Range<usize>,
    usual: &Table,
) -> Result<T, Problem> {
    let text = toml::to_string(usual).expect("a table prints");
    let mut whole = DeTable::parse(&text).expect("what was printed").into_inner();
    lay_over(&mut whole, table);
    deserialize(table_entry(&span, whole))
}

fn lay_over<'a>(table: &mut DeTable<'a>, over: DeTable<'a>) {
    for (key, value) in over {
        let span = value.span();
        match (table.get_mut(&key).map(Spanned::get_mut), value.into_inner()) {
            (Some(DeValue::Table(below)), DeValue::Table(above)) => lay_over(below, above),
            (Some(_) | None, value) => {
                table.insert(key, Spanned::new(span, value));
            }
        }
    }
}

fn table_entry<'a>(span: &Range<usize>, table: DeTable<'a>) -> Entry<'a> {
    Spanned::new(span.clone(), DeValue::Table(table))
}

pub(super) fn deserialize<T: DeserializeOwned>(value: Entry<'_>) -> Result<T, Problem> {
    let span = value.span();
    T::deserialize(ValueDeserializer::from(value)).map_err(|error| Problem::of(&error, &span))
}
