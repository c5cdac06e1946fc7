//! What the kernel's firewall does for the overlay: as scripts for `nft` and `iptables-restore`.
//!
//! Traffic rules masquerade what leaves the overlay and accept what is forwarded (control-plane.md, 10). The
//! membership filter judges what comes from the underlay by the leases: the packet filter of the backends whose
//! packets do not pass through the daemon.

pub(crate) mod iptables;
mod membership;
mod nftables;

use alloc::vec::Vec;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use self::iptables::{fit as fit_iptables_script, ours as iptables_rules_of_ours};
pub use self::membership::{DirectTraffic, FilterCounter, FilteredNode, MembershipFilter, TunnelTraffic};
use crate::kernel::{IpVersion, Ruleset, RulesetName};
use crate::network_config::{Firewall, NetworkConfig};
use crate::subnet::Subnet;
use crate::subnet_file::Masquerade;

/// The mark of packets that Kubernetes' kube-proxy masquerades itself.
const KUBERNETES_MARK: u32 = 0x4000;

/// What the node's traffic rules are to do, besides masquerading or not.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct TrafficOptions {
    /// Whether packets of the overlay are accepted when the node forwards them.
    pub forward_rules: ForwardRules,
    /// How nftables picks the source ports of masqueraded connections.
    pub nftables_ports: SourcePorts,
    /// How iptables does.
    pub iptables_ports: SourcePorts,
}

/// Whether there are rules that accept packets from and to the overlay in the forwarding path.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ForwardRules {
    /// There are none.
    Off,
    /// There are.
    #[default]
    On,
}

/// How masqueraded connections get their source ports.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SourcePorts {
    /// They keep theirs if they can; connections that begin at once may collide, and one is dropped.
    #[default]
    Kept,
    /// They take random ones (`fully-random`), where the tools and the kernel can do it.
    FullyRandom,
}

/// The traffic of one IP version that the rules are about.
#[derive(Clone, Copy, Debug)]
struct Traffic {
    version: IpVersion,
    /// The whole overlay.
    network: IpNet,
    /// This node's part of it.
    subnet: IpNet,
    masquerade: Masquerade,
    forward_rules: ForwardRules,
    ports: SourcePorts,
}

/// Returns the traffic rules that a node with this subnet ought to have, of the kind that the network config names; empty
/// if all are switched off. Every other ruleset of [`RulesetName::ALL`] but [`RulesetName::Membership`] ought not to exist.
pub fn traffic_rulesets(
    network: &NetworkConfig,
    subnet: &Subnet,
    masquerade: Masquerade,
    options: &TrafficOptions,
) -> Vec<Ruleset> {
    if masquerade == Masquerade::Off && options.forward_rules == ForwardRules::Off {
        return Vec::new();
    }
    let v4 = network.v4.zip(subnet.v4());
    let v6 = network.v6.zip(subnet.v6());
    let v4 = v4.map(|(range, subnet)| (IpVersion::V4, range.network.into(), subnet.into()));
    let v6 = v6.map(|(range, subnet)| (IpVersion::V6, range.network.into(), subnet.into()));
    v4.into_iter()
        .chain(v6)
        .map(|(version, overlay, subnet)| {
            let traffic = |ports| Traffic {
                version,
                network: overlay,
                subnet,
                masquerade,
                forward_rules: options.forward_rules,
                ports,
            };
            match network.firewall {
                Firewall::Nftables => Ruleset {
                    name: RulesetName::NftablesTraffic(version),
                    script: nftables::script(&traffic(options.nftables_ports)),
                },
                Firewall::Iptables => Ruleset {
                    name: RulesetName::IptablesTraffic(version),
                    script: iptables::script(&traffic(options.iptables_ports)),
                },
            }
        })
        .collect()
}

/// Returns the destinations of one IP version that have many receivers, which are never masqueraded.
const fn multicast(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "224.0.0.0/4",
        IpVersion::V6 => "ff00::/8",
    }
}

#[cfg(test)]
mod tests;
