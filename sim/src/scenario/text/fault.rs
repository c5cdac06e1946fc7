//! Faults in the text form: flat tables whose `kind` says where and what, as in `store_cut`.

use std::borrow::Cow;
use std::ops::Range;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::Problem;
use super::reader::{Entry, as_table, deserialize, no_such_node, take};
use super::writer::table_of;
use crate::duration_text;
use crate::fault::{Fault, FaultKind, TimedFault};

/// When a fault begins and ends.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Times {
    #[serde(with = "duration_text")]
    at: Duration,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "duration_text::optional"
    )]
    until: Option<Duration>,
}

const UNDERLAY: &str = "underlay";
const LINK: &str = "link";
const STORE: &str = "store";
const NODE: &str = "node";
/// The key of a field that has no name.
const VALUE: &str = "value";

impl Fault {
    /// Returns the name of the fault's kind.
    pub fn kind(&self) -> FaultKind {
        FaultKind::new(kind_and_fields(self).0)
    }
}

pub(super) fn write(timed: &TimedFault) -> Table {
    let (kind, fields) = kind_and_fields(&timed.fault);
    let mut table = table_of(&Times {
        at: timed.at,
        until: timed.until,
    });
    table.insert("kind".to_owned(), Value::String(kind));
    if let Fault::Node { node, .. } = &timed.fault {
        table.insert(NODE.to_owned(), Value::String(node.to_string()));
    }
    table.extend(fields);
    table
}

fn kind_and_fields(fault: &Fault) -> (String, Table) {
    let (layer, (name, fields)) = match fault {
        Fault::Underlay(fault) => (UNDERLAY, named(fault)),
        Fault::Link(fault) => (LINK, named(fault)),
        Fault::Store(fault) => (STORE, named(fault)),
        Fault::Node { fault, .. } => (NODE, named(fault)),
    };
    (format!("{layer}_{name}"), fields)
}

/// Returns the name of a variant, and its fields.
fn named(fault: &impl Serialize) -> (String, Table) {
    let value = Value::try_from(fault).expect("a fault is made of what TOML has");
    if let Value::String(name) = value {
        return (name, Table::new());
    }
    let variant = value.as_table().and_then(|variants| variants.iter().next());
    let (name, content) = variant.expect("an enum is a name or a table of one variant");
    let fields = match content.as_table() {
        Some(fields) => fields.clone(),
        None => Table::from_iter([(VALUE.to_owned(), content.clone())]),
    };
    (name.clone(), fields)
}

pub(super) fn read(value: Entry<'_>, count: usize) -> Result<TimedFault, Problem> {
    let span = value.span();
    let mut fields = as_table(value, "fault")?;
    let Times { at, until } = read_times(&mut fields, &span)?;
    if until.is_some_and(|until| until < at) {
        return Err(Problem::new(&span, "the fault ends before it begins"));
    }
    let fault = read_fault(fields, &span)?;
    match fault.nodes().into_iter().find(|id| id.index() >= count) {
        Some(id) => Err(no_such_node(&span, id, count)),
        None => Ok(TimedFault { at, until, fault }),
    }
}

fn read_times(fields: &mut DeTable<'_>, span: &Range<usize>) -> Result<Times, Problem> {
    let mut times = DeTable::new();
    for key in ["at", "until"] {
        times.extend(fields.remove_entry(key));
    }
    deserialize(Spanned::new(span.clone(), DeValue::Table(times)))
}

fn read_fault(mut fields: DeTable<'_>, span: &Range<usize>) -> Result<Fault, Problem> {
    let kind = take(&mut fields, span, "kind")?;
    let kind_span = kind.span();
    let kind: String = deserialize(kind)?;
    match kind.split_once('_') {
        Some((UNDERLAY, name)) => Ok(Fault::Underlay(variant(name, &kind_span, fields)?)),
        Some((LINK, name)) => Ok(Fault::Link(variant(name, &kind_span, fields)?)),
        Some((STORE, name)) => Ok(Fault::Store(variant(name, &kind_span, fields)?)),
        Some((NODE, name)) => Ok(Fault::Node {
            node: deserialize(take(&mut fields, span, NODE)?)?,
            fault: variant(name, &kind_span, fields)?,
        }),
        Some(_) | None => {
            let text = format!(
                "unknown kind `{kind}`, a kind begins with `{UNDERLAY}_`, `{LINK}_`, `{STORE}_` or `{NODE}_`"
            );
            Err(Problem::new(&kind_span, text))
        }
    }
}

fn variant<T: DeserializeOwned>(
    name: &str,
    span: &Range<usize>,
    mut fields: DeTable<'_>,
) -> Result<T, Problem> {
    let without_fields = external(name, span, DeValue::Table(DeTable::new()));
    let Some(first) = fields.keys().next().cloned() else {
        return without_fields;
    };
    if without_fields.is_ok() {
        let text = format!("unknown field `{first}`, a fault of this kind has only `at` and `until`");
        return Err(Problem::new(&first.span(), text));
    }
    match fields.remove(VALUE) {
        Some(value) if fields.is_empty() => external(name, &value.span(), value.into_inner()),
        Some(_) | None => external(name, span, DeValue::Table(fields)),
    }
}

/// Reads an enum from the name of the variant and its content.
fn external<T: DeserializeOwned>(
    name: &str,
    span: &Range<usize>,
    content: DeValue<'_>,
) -> Result<T, Problem> {
    let name = Spanned::new(span.clone(), Cow::Owned(name.to_owned()));
    let content = Spanned::new(span.clone(), content);
    let table = DeTable::from_iter([(name, content)]);
    deserialize(Spanned::new(span.clone(), DeValue::Table(table))).map_err(naming_the_value)
}

/// A field without a name is missing where serde finds a map in its place.
fn naming_the_value(mut problem: Problem) -> Problem {
    let missing = format!("missing field `{VALUE}`,");
    problem.text = problem.text.replace("invalid type: map, expected", &missing);
    problem
}
