//! The firewall of a node, as its tools show it, and the daemons that make rules there.

use std::collections::BTreeMap;
use std::time::Duration;

use selvedge_host::lab::{Ending, Namespace, Place};
use selvedge_tests::backend::{Backend, Families};
use selvedge_tests::real_nodes::{RealNodes, node, wait_until};
use serde_json::Value;

use crate::PROGRAM;

/// How long a daemon may take to start and to make its rules.
pub(crate) const SOON: Duration = Duration::from_secs(15);

/// Brings up nodes whose daemons have more flags, and waits until all pods reach each other.
pub(crate) fn up(name: &str, nodes: u8, backend: Backend, flags: &[&str]) -> RealNodes {
    let mut real = RealNodes::wire_with_backend(name, nodes, backend, Families::V4, PROGRAM);
    real.lab.add_node_flags(flags);
    real.start_all();
    real
}

/// Starts a node's daemon again, with more flags, which win over the earlier ones.
pub(crate) fn restart(real: &mut RealNodes, number: u8, flags: &[&str]) {
    real.lab.add_node_flags(flags);
    real.lab
        .stop_node(node(number), Ending::Graceful)
        .expect("it ends");
    real.lab.start_node(node(number)).expect("it starts");
    real.lab
        .wait_ready()
        .unwrap_or_else(|error| panic!("{error}\n{}", real.log(node(number))));
}

/// Carries out commands of `nft`, one after the other.
pub(crate) fn nft(namespace: &Namespace, commands: &[&str]) {
    for command in commands {
        let status = namespace
            .command("nft")
            .arg(command)
            .status()
            .expect("nft starts");
        assert!(status.success(), "{command}");
    }
}

/// Runs a program whose arguments have no spaces in them, and returns what it printed.
pub(crate) fn run(namespace: &Namespace, line: &str) -> String {
    try_run(namespace, line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// As [`run`]; the error is what the program printed.
pub(crate) fn try_run(namespace: &Namespace, line: &str) -> Result<String, String> {
    let mut words = line.split(' ');
    let mut command = namespace.command(words.next().unwrap_or_default());
    let output = command.args(words).output().expect("the program starts");
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// The membership filter of a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Filter {
    /// There is none.
    Absent,
    /// It counts.
    Counting,
    /// It drops.
    Dropping,
}

/// Waits until the membership filter of a node is so.
pub(crate) fn await_filter(real: &RealNodes, number: u8, wanted: Filter) {
    let namespace = real.lab.namespace(Place::Node(node(number)));
    let mut found = String::new();
    let is_so = wait_until(SOON, || {
        let listed = try_run(&namespace, "nft list table inet selvedge");
        let filter = match &listed {
            Err(_) => Filter::Absent,
            Ok(table) if table.contains("drop") => Filter::Dropping,
            Ok(_) => Filter::Counting,
        };
        found = format!("{listed:?}");
        filter == wanted
    });
    assert!(is_so, "not {wanted:?}: {found}\n{}", real.log(node(number)));
}

/// Reads what the membership filter of a node counted, by reason; nothing if there is none.
pub(crate) fn filter_counts(real: &RealNodes, number: u8) -> BTreeMap<String, u64> {
    let namespace = real.lab.namespace(Place::Node(node(number)));
    let listed = try_run(&namespace, "nft -j list counters table inet selvedge").unwrap_or_default();
    let json: Value = serde_json::from_str(&listed).unwrap_or_default();
    let objects = json["nftables"].as_array().into_iter().flatten();
    let counters = objects.filter_map(|object| object.get("counter"));
    counters
        .filter_map(|counter| Some((counter["name"].as_str()?.to_owned(), counter["packets"].as_u64()?)))
        .collect()
}
