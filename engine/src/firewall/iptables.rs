//! Traffic rules as iptables chains of their own, with jumps from the built-in ones (control-plane.md, 10.2).
//!
//! Chains are replaced as a whole, so that their rules have exactly the order given and no others are among them. Of a
//! built-in chain nothing is touched but the jumps to ours.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{ForwardRules, KUBERNETES_MARK, SourcePorts, Traffic, multicast};
use crate::subnet_file::Masquerade;

/// A chain of ours: its table, the built-in chain that jumps to it, its name, and the comment of all its rules.
struct Chain {
    table: &'static str,
    built_in: &'static str,
    name: &'static str,
    comment: &'static str,
}

const POSTROUTING: Chain = Chain {
    table: "nat",
    built_in: "POSTROUTING",
    name: "FLANNEL-POSTRTG",
    comment: "flanneld masq",
};

const FORWARD: Chain = Chain {
    table: "filter",
    built_in: "FORWARD",
    name: "FLANNEL-FWD",
    comment: "flanneld forward",
};

/// Writes the rules as `iptables-restore` reads them and `iptables-save` prints them; what is switched off is removed.
pub(super) fn script(traffic: &Traffic) -> String {
    let postrouting = match traffic.masquerade {
        Masquerade::On => POSTROUTING.rules(&masquerading(traffic)),
        Masquerade::Off => POSTROUTING.removal(),
    };
    let forward = match traffic.forward_rules {
        ForwardRules::On => FORWARD.rules(&acceptance(traffic)),
        ForwardRules::Off => FORWARD.removal(),
    };
    postrouting + &forward
}

/// Writes what removes all of the rules.
pub(crate) fn removal() -> String {
    POSTROUTING.removal() + &FORWARD.removal()
}

/// Fits a script to the rules that are there, as `iptables-save -t` printed them for each table that the script names.
///
/// A chain that is not there cannot be removed, and a jump that stands exactly once stays in its place; jumps that are
/// there several times or differ are replaced by one at the end. What comes back is empty if there is nothing to do.
pub fn fit(script: &str, saved: &str) -> String {
    let saved = tables(saved);
    let fitted = tables(script).into_iter().map(|(table, wanted)| {
        let present = saved.iter().find(|(name, _)| *name == table);
        let present = present.map(|(_, lines)| lines.as_slice()).unwrap_or_default();
        let lines: Vec<String> = wanted.iter().flat_map(|line| fit_line(line, present)).collect();
        if lines.is_empty() {
            return String::new();
        }
        format!("*{table}\n{}\nCOMMIT\n", lines.join("\n"))
    });
    fitted.collect()
}

/// Returns what is ours of the rules that `iptables-save -t` printed, each behind its table, in their order: our chains, and
/// the jumps to them.
pub fn ours(saved: &str) -> Vec<String> {
    let is_ours = |chain: &str| [POSTROUTING.name, FORWARD.name].contains(&chain);
    let tables = tables(saved).into_iter();
    let lines = tables.flat_map(|(table, lines)| {
        lines.into_iter().filter_map(move |line| {
            // A declaration ends with counters.
            let line = match declared(line) {
                Some(chain) if is_ours(chain) => format!(":{chain}"),
                None if chain_of(line).is_some_and(is_ours) || target(line).is_some_and(is_ours) => {
                    line.to_owned()
                }
                Some(_) | None => return None,
            };
            Some(format!("{table} {line}"))
        })
    });
    lines.collect()
}

fn masquerading(traffic: &Traffic) -> Vec<(String, String)> {
    let Traffic { network, subnet, .. } = traffic;
    let multicast = multicast(traffic.version);
    let masquerade = match traffic.ports {
        SourcePorts::Kept => "MASQUERADE",
        SourcePorts::FullyRandom => "MASQUERADE --random-fully",
    };
    [
        (
            format!("-m mark --mark {KUBERNETES_MARK:#x}/{KUBERNETES_MARK:#x}"),
            "RETURN",
        ),
        (format!("-s {subnet} -d {network}"), "RETURN"),
        (format!("-s {network} -d {subnet}"), "RETURN"),
        (format!("! -s {network} -d {subnet}"), "RETURN"),
        (format!("-s {network} ! -d {multicast}"), masquerade),
        (format!("! -s {network} -d {network}"), masquerade),
    ]
    .map(|(condition, target)| (condition, target.to_owned()))
    .into()
}

fn acceptance(traffic: &Traffic) -> Vec<(String, String)> {
    let network = traffic.network;
    [format!("-s {network}"), format!("-d {network}")]
        .map(|condition| (condition, "ACCEPT".to_owned()))
        .into()
}

impl Chain {
    fn rules(&self, rules: &[(String, String)]) -> String {
        let Self {
            table,
            built_in,
            name,
            comment,
        } = self;
        let comment = format!("-m comment --comment \"{comment}\"");
        let rules: Vec<String> = rules
            .iter()
            .map(|(condition, target)| format!("-A {name} {condition} {comment} -j {target}\n"))
            .collect();
        let rules = rules.concat();
        // To declare a chain of ours empties it.
        format!("*{table}\n:{name} - [0:0]\n-A {built_in} {comment} -j {name}\n{rules}COMMIT\n")
    }

    fn removal(&self) -> String {
        let Self { table, name, .. } = self;
        format!("*{table}\n-F {name}\n-X {name}\nCOMMIT\n")
    }
}

/// Cuts a script or a listing into tables with their lines.
fn tables(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut tables: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(table) = line.strip_prefix('*') {
            tables.push((table, Vec::new()));
        } else if line.starts_with(['-', ':'])
            && let Some((_, lines)) = tables.last_mut()
        {
            lines.push(line);
        }
    }
    tables
}

/// Returns the lines that do what one line wants, given the lines that the table has.
fn fit_line(line: &str, present: &[&str]) -> Vec<String> {
    if let Some(chain) = line.strip_prefix("-F ") {
        return if is_declared(chain, present) {
            Vec::from([line.to_owned()])
        } else {
            Vec::new()
        };
    }
    if let Some(chain) = line.strip_prefix("-X ") {
        if !is_declared(chain, present) {
            return Vec::new();
        }
        // A chain that is jumped to cannot go.
        let jumps = present.iter().filter(|rule| target(rule) == Some(chain));
        let jumps = jumps.filter(|rule| chain_of(rule) != Some(chain));
        return jumps
            .filter_map(|rule| deletion(rule))
            .chain([line.to_owned()])
            .collect();
    }
    let Some(jump) = target(line).filter(|target| [POSTROUTING.name, FORWARD.name].contains(target)) else {
        return Vec::from([line.to_owned()]);
    };
    let standing: Vec<&str> = present
        .iter()
        .filter(|rule| target(rule) == Some(jump) && chain_of(rule) == chain_of(line))
        .copied()
        .collect();
    if standing == [line] {
        return Vec::new();
    }
    standing
        .iter()
        .filter_map(|rule| deletion(rule))
        .chain([line.to_owned()])
        .collect()
}

fn is_declared(chain: &str, present: &[&str]) -> bool {
    present.iter().any(|line| declared(line) == Some(chain))
}

/// Returns the chain that a line declares.
fn declared(line: &str) -> Option<&str> {
    line.strip_prefix(':')?.split(' ').next()
}

/// Returns the chain that a rule is in.
fn chain_of(rule: &str) -> Option<&str> {
    rule.strip_prefix("-A ")?.split(' ').next()
}

/// Returns where a rule leads; comments with spaces are in quotes, and the target's options follow it.
fn target(rule: &str) -> Option<&str> {
    let unquoted = rule.rsplit('"').next()?;
    let (_, target) = unquoted.split_once("-j ").or_else(|| rule.rsplit_once("-j "))?;
    target.split(' ').next()
}

fn deletion(rule: &str) -> Option<String> {
    Some(format!("-D {}", rule.strip_prefix("-A ")?))
}
