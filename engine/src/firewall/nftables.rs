//! Traffic rules as an nftables table of its own (control-plane.md, 10.3).
//!
//! Unlike flannel's, the rules compare the mark under a mask, and spare the packets *to* this node's pods from
//! masquerading, as the rules for iptables do.

use alloc::format;
use alloc::string::String;

use super::{ForwardRules, KUBERNETES_MARK, SourcePorts, Traffic, multicast};
use crate::kernel::{IpVersion, RulesetName};
use crate::subnet_file::Masquerade;

/// Writes the transaction that puts the table in the place of any earlier one.
pub(super) fn script(traffic: &Traffic) -> String {
    let name = RulesetName::NftablesTraffic(traffic.version);
    let (family, table) = name.table().unwrap_or_default();
    let removal = name.removal();
    let postrouting = match traffic.masquerade {
        Masquerade::On => postrouting(traffic),
        Masquerade::Off => String::new(),
    };
    let forward = match traffic.forward_rules {
        ForwardRules::On => forward(traffic),
        ForwardRules::Off => String::new(),
    };
    format!("{removal}table {family} {table} {{\n\tcomment \"rules for {table}\"\n{postrouting}{forward}}}\n")
}

fn postrouting(traffic: &Traffic) -> String {
    let Traffic { network, subnet, .. } = traffic;
    let ip = protocol(traffic.version);
    let multicast = multicast(traffic.version);
    let random = match traffic.ports {
        SourcePorts::Kept => "",
        SourcePorts::FullyRandom => " fully-random",
    };
    format!(
        "\tchain postrtg {{
\t\tcomment \"chain to manage traffic masquerading by flannel\"
\t\ttype nat hook postrouting priority 100; policy accept;
\t\tmeta mark & {KUBERNETES_MARK:#010x} == {KUBERNETES_MARK:#010x} return
\t\t{ip} saddr {subnet} {ip} daddr {network} return
\t\t{ip} saddr {network} {ip} daddr {subnet} return
\t\t{ip} saddr != {network} {ip} daddr {subnet} return
\t\t{ip} saddr {network} {ip} daddr != {multicast} masquerade{random}
\t\t{ip} saddr != {network} {ip} daddr {network} masquerade{random}
\t}}
"
    )
}

fn forward(traffic: &Traffic) -> String {
    let network = traffic.network;
    let ip = protocol(traffic.version);
    format!(
        "\tchain forward {{
\t\tcomment \"chain to accept flannel traffic\"
\t\ttype filter hook forward priority 0; policy accept;
\t\t{ip} saddr {network} accept
\t\t{ip} daddr {network} accept
\t}}
"
    )
}

/// Returns nftables' name of the header that has the addresses.
pub(super) const fn protocol(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "ip",
        IpVersion::V6 => "ip6",
    }
}
