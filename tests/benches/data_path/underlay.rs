//! A wire between the nodes that takes no super-packets.

use selvedge_host::lab::{NodeNumber, Place};

use crate::pair::Pair;
use crate::process;
use crate::trouble::Trouble;

/// What lets super-packets onto the wire, in ethtool's words.
const FEATURES: [&str; 5] = [
    "tso",
    "gso",
    "tx-udp-segmentation",
    "tx-udp_tnl-segmentation",
    "tx-udp_tnl-csum-segmentation",
];

/// Does something while the nodes' kernels have to cut every super-packet before they send it, as for a NIC that
/// cannot cut by itself.
pub(crate) fn without_super_packets<T>(
    pair: &Pair,
    work: impl FnOnce() -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    switch(pair, "off")?;
    let outcome = work();
    switch(pair, "on")?;
    outcome
}

fn switch(pair: &Pair, state: &str) -> Result<(), Trouble> {
    pair.nodes()
        .into_iter()
        .try_for_each(|node| switch_node(pair, node, state))
}

fn switch_node(pair: &Pair, node: NodeNumber, state: &str) -> Result<(), Trouble> {
    let words = ["ethtool", "-K", "eth0"]
        .into_iter()
        .chain(FEATURES.into_iter().flat_map(|feature| [feature, state]));
    process::run(&pair.lab.namespace(Place::Node(node)), &words.collect::<Vec<_>>())
}
