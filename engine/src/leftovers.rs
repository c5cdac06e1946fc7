//! What a node has of ours, once it shall be a node no more.

use alloc::string::String;
use alloc::vec::Vec;

use ipnet::IpNet;

use crate::desired::Reconciler;
use crate::kernel::{KernelFacts, KernelObject, KernelOp};
use crate::ownership::{Ownership, Tuns};
use crate::setup::StorePrefix;

/// Returns the operations that remove everything of ours from a node: what bears the mark of the cluster with this prefix,
/// and marked routes into these networks; what hangs on a device goes with it.
pub fn leftovers(facts: &KernelFacts, prefix: &StorePrefix, networks: &[IpNet]) -> Vec<KernelOp> {
    let alias: String = prefix.alias();
    let ownership = Ownership {
        alias: &alias,
        tunnels: &[],
        networks,
        reconciler: &Reconciler::default(),
        tuns: Tuns::OwnAlone,
        carried: None,
        underlay: None,
    };
    let found = ownership.of(facts).into_values();
    let found = found.filter(|object| match object {
        KernelObject::Address(_)
        | KernelObject::FdbEntry(_)
        | KernelObject::Neighbour(_)
        | KernelObject::Member(_) => false,
        KernelObject::Socket(_)
        | KernelObject::Link(_)
        | KernelObject::Sysctl(_)
        | KernelObject::Ruleset(_)
        | KernelObject::Route(_)
        | KernelObject::SubnetFile(_) => true,
    });
    found.rev().map(KernelOp::Remove).collect()
}
