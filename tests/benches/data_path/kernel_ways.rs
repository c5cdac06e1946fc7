//! Two nodes whose pods are joined by the kernel alone.

use std::fs;
use std::path::Path;

use selvedge_host::lab::{Interrupt, Lab, LabOptions, NodeNumber, Place};

use crate::process;
use crate::trouble::Trouble;

const UNDERLAY_MTU: u32 = 1500;
/// Less the outer Ethernet, IPv4, UDP and VXLAN headers (RFC 7348, 5).
const VXLAN_MTU: u32 = UNDERLAY_MTU - 50;
/// Linux's default, which flannel keeps.
const VXLAN_PORT: &str = "8472";
const VXLAN_DEVICE: &str = "flannel.1";

/// Joins the pods by a VXLAN device on each node with static entries for the other, as flannel does.
pub(crate) fn vxlan(options: LabOptions, interrupt: &Interrupt) -> Result<Lab, Trouble> {
    let lab = with_pods(options, VXLAN_MTU, interrupt)?;
    for node in lab.nodes() {
        add_vxlan_device(&lab, node)?;
    }
    for (node, other) in both_directions(&lab) {
        add_vxlan_entries(&lab, node, other)?;
    }
    lab.wait_connected()?;
    Ok(lab)
}

/// Joins the pods by a route on each node to the other.
pub(crate) fn plain(options: LabOptions, interrupt: &Interrupt) -> Result<Lab, Trouble> {
    let lab = with_pods(options, UNDERLAY_MTU, interrupt)?;
    for (node, other) in both_directions(&lab) {
        let gateway = other.public_ip().to_string();
        lab.namespace(Place::Node(node)).ip(&[
            "route",
            "add",
            &subnet(other),
            "via",
            &gateway,
            "dev",
            "eth0",
        ])?;
    }
    lab.wait_connected()?;
    Ok(lab)
}

/// Builds a lab without daemons; the subnet files that they would write are written for them.
fn with_pods(options: LabOptions, mtu: u32, interrupt: &Interrupt) -> Result<Lab, Trouble> {
    let lab = Lab::build(options, interrupt.clone())?;
    for node in lab.nodes() {
        let text = format!("FLANNEL_SUBNET=10.50.{node}.1/24\nFLANNEL_MTU={mtu}\n");
        let file = lab.subnet_file(node);
        let written =
            fs::create_dir_all(file.parent().unwrap_or(Path::new("/"))).and_then(|()| fs::write(&file, text));
        written.map_err(|error| Trouble::with(&format!("writing {}", file.display()), error))?;
    }
    lab.attach_pods()?;
    Ok(lab)
}

fn subnet(node: NodeNumber) -> String {
    format!("10.50.{node}.0/24")
}

fn subnet_address(node: NodeNumber) -> String {
    format!("10.50.{node}.0")
}

/// Chosen, so that the other node need not be asked for it.
fn vxlan_mac(node: NodeNumber) -> String {
    let [.., last] = node.public_ip().octets();
    format!("02:00:00:00:00:{last:02x}")
}

fn both_directions(lab: &Lab) -> Vec<(NodeNumber, NodeNumber)> {
    let nodes = lab.nodes();
    let others = nodes.iter().rev().copied();
    nodes.iter().copied().zip(others).collect()
}

fn add_vxlan_device(lab: &Lab, node: NodeNumber) -> Result<(), Trouble> {
    let namespace = lab.namespace(Place::Node(node));
    let (local, mac, mtu) = (
        node.public_ip().to_string(),
        vxlan_mac(node),
        VXLAN_MTU.to_string(),
    );
    let link = [
        "link",
        "add",
        VXLAN_DEVICE,
        "address",
        &mac,
        "mtu",
        &mtu,
        "type",
        "vxlan",
    ];
    let tunnel = [
        "id",
        "1",
        "dev",
        "eth0",
        "local",
        &local,
        "dstport",
        VXLAN_PORT,
        "nolearning",
    ];
    namespace.ip(&[&link[..], &tunnel[..]].concat())?;
    let address = format!("{}/32", subnet_address(node));
    namespace.ip(&["address", "add", &address, "dev", VXLAN_DEVICE])?;
    namespace.ip(&["link", "set", VXLAN_DEVICE, "up"])?;
    Ok(())
}

fn add_vxlan_entries(lab: &Lab, node: NodeNumber, other: NodeNumber) -> Result<(), Trouble> {
    let namespace = lab.namespace(Place::Node(node));
    let (gateway, mac, remote) = (
        subnet_address(other),
        vxlan_mac(other),
        other.public_ip().to_string(),
    );
    let neighbour = ["neighbour", "add", &gateway, "lladdr", &mac, "nud", "permanent"];
    namespace.ip(&[&neighbour[..], &["dev", VXLAN_DEVICE]].concat())?;
    let entry = [
        "bridge",
        "fdb",
        "add",
        &mac,
        "dev",
        VXLAN_DEVICE,
        "dst",
        &remote,
        "self",
        "permanent",
    ];
    process::run(&namespace, &entry)?;
    let route = ["route", "add", &subnet(other), "via", &gateway];
    namespace.ip(&[&route[..], &["dev", VXLAN_DEVICE, "onlink"]].concat())?;
    Ok(())
}
