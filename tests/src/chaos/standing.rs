//! What stands in the kernel of a node of a backend's objects.

use selvedge_host::lab::Namespace;

use super::TAMPERED;
use crate::backend::{Backend, Families};
use crate::real_nodes::{RealNodes, node};

/// What `ip` and `bridge` show on the node that is tampered with, without numbers that devices are given anew.
///
/// To take it takes some 20 ms: this is how exactly it is known when everything is right.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Standing(Vec<String>);

impl Standing {
    pub(super) fn of(real: &RealNodes, backend: Backend) -> Self {
        let namespace = namespace(real, TAMPERED);
        let mut lines = shown(&namespace, "ip", &["-d", "route", "show", "proto", "83"]);
        for device in backend.devices(Families::V4) {
            lines.extend(shown(&namespace, "ip", &["-o", "-d", "link", "show", device]));
            lines.extend(shown(
                &namespace,
                "ip",
                &["-4", "-o", "address", "show", "dev", device],
            ));
            let neighbours = ["neighbour", "show", "nud", "permanent", "dev", device];
            lines.extend(shown(&namespace, "ip", &neighbours));
            lines.extend(shown(&namespace, "bridge", &["fdb", "show", "dev", device]));
        }
        Self(lines).in_order()
    }

    /// Returns how it would stand if a device that it mentions had another name.
    pub(super) fn with_device_renamed(&self, name: &str, new: &str) -> Self {
        let [name, new] = [name, new].map(|name| format!("dev {name} "));
        let renamed = self.0.iter().map(|line| line.replace(&name, &new));
        Self(renamed.collect()).in_order()
    }

    fn in_order(mut self) -> Self {
        self.0.sort();
        self
    }
}

/// Returns what leads to the node that is tampered with, on another.
pub(super) fn ways_to_tampered(real: &RealNodes, on: u8, backend: Backend) -> String {
    let namespace = namespace(real, on);
    let mut lines = shown(&namespace, "ip", &["-d", "route", "show", "proto", "83"]);
    for device in backend.devices(Families::V4) {
        let neighbours = ["neighbour", "show", "nud", "permanent", "dev", device];
        lines.extend(shown(&namespace, "ip", &neighbours));
        lines.extend(shown(&namespace, "bridge", &["fdb", "show", "dev", device]));
    }
    lines.join("\n")
}

pub(super) fn namespace(real: &RealNodes, number: u8) -> Namespace {
    real.lab.namespace(selvedge_host::lab::Place::Node(node(number)))
}

/// Returns what a program prints, without the number in front of a device; nothing if it fails.
fn shown(namespace: &Namespace, program: &str, arguments: &[&str]) -> Vec<String> {
    let output = namespace.command(program).args(arguments).output();
    let output = output.expect("the program runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = |line: &str| {
        let has_number = line
            .split_once(": ")
            .is_some_and(|(number, _)| number.parse::<u32>().is_ok());
        let line = if has_number {
            line.split_once(": ").map_or(line, |(_, rest)| rest)
        } else {
            line
        };
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    text.lines().map(line).collect()
}
