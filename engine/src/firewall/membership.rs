//! The membership filter: an nftables table that judges what comes from the underlay by the leases.
//!
//! Tunnel packets are judged where they reach this node, on whatever interface they came, since the kernel's VXLAN
//! socket listens on all; by then their fragments are joined. Other VXLAN networks on the same port, told by their
//! identifier, are left alone. Packets without a tunnel are judged before the kernel routes them.
//!
//! The sets and counters outlive the rules, so that a new ruleset, a switch from `log` to `enforce` or a restart
//! of the daemon neither loses a packet nor a count.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::nftables::protocol;
use crate::drop_reason::DropReason;
use crate::kernel::{IpVersion, LinkName, Member, Ruleset, RulesetName, Vni};
use crate::setup::Membership;
use crate::subnet::Subnet;

/// What the filter judges.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct MembershipFilter {
    /// VXLAN packets, if there are any.
    pub tunnel: Option<TunnelTraffic>,
    /// Packets of the overlay that come without a tunnel, if peers send such.
    pub direct: Option<DirectTraffic>,
}

/// The VXLAN packets of one network.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TunnelTraffic {
    /// The UDP port.
    pub port: u16,
    /// The network's identifier.
    pub vni: Vni,
}

/// Packets of the overlay that peers on the same link send as they are.
///
/// Which of the peers sent a packet cannot be told: leases say no hardware addresses of nodes, and packets through a
/// router have the router's.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DirectTraffic {
    /// The device that they come by.
    pub underlay: LinkName,
    /// The whole overlay and this node's subnet, for each IP version.
    pub networks: Vec<(IpNet, IpNet)>,
}

/// A node that holds a lease, as far as the filter cares.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FilteredNode {
    /// Its IPv4 underlay address.
    pub v4: Option<Ipv4Addr>,
    /// Its IPv6 underlay address.
    pub v6: Option<Ipv6Addr>,
    /// The subnet that it holds.
    pub subnet: Subnet,
}

/// Why the filter counted a packet; the names are those of [`DropReason`] where it has the reason.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum FilterCounter {
    /// From a host that holds no lease, or with a source in no node's subnet if it came without a tunnel.
    UnknownSender,
    /// With a source outside the sender's subnet, or in this node's own if it came without a tunnel.
    ForeignSource,
    /// A tunnel packet whose inner frame does not carry the tunnel's IP version: ARP, VLAN tags, anything else.
    BadInnerFrame,
}

impl FilterCounter {
    /// Every counter.
    pub const ALL: [Self; 3] = [Self::UnknownSender, Self::ForeignSource, Self::BadInnerFrame];

    /// Returns its name, in nftables and for operators.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownSender => DropReason::UnknownSender.name(),
            Self::ForeignSource => DropReason::ForeignSource.name(),
            Self::BadInnerFrame => "bad_inner_frame",
        }
    }
}

/// The sets, each with its kind of elements.
const SETS: [(&str, &str); 6] = [
    ("senders4", "type ipv4_addr;"),
    ("senders6", "type ipv6_addr;"),
    // The source of the inner packet: behind the headers of UDP, VXLAN and Ethernet.
    ("sources4", "typeof ip saddr . @th,336,32; flags interval;"),
    ("sources6", "typeof ip6 saddr . @th,304,128; flags interval;"),
    ("subnets4", "type ipv4_addr; flags interval;"),
    ("subnets6", "type ipv6_addr; flags interval;"),
];

/// The chains, each before those that it jumps to.
const CHAINS: [&str; 6] = ["tunnel", "tunnel4", "tunnel6", "direct", "direct4", "direct6"];

impl MembershipFilter {
    /// Returns the rules, or `None` if there is nothing to judge.
    ///
    /// Its sets are empty when it is made for the first time, and an enforcing filter drops what they do not hold: it
    /// should begin as [`Membership::Log`] and enforce when the members are there.
    pub fn ruleset(&self, membership: Membership) -> Option<Ruleset> {
        let verdict = match membership {
            Membership::Off => return None,
            Membership::Log => Verdict::Return,
            Membership::Enforce => Verdict::Drop,
        };
        if self.tunnel.is_none() && self.direct.is_none() {
            return None;
        }
        Some(Ruleset {
            name: RulesetName::Membership,
            script: self.script(verdict),
        })
    }

    /// Returns the members that a node's lease makes.
    pub fn members(&self, node: &FilteredNode) -> Vec<Member> {
        let v4 = node.v4.map(Into::into).zip(node.subnet.v4().map(IpNet::from));
        let v6 = node.v6.map(Into::into).zip(node.subnet.v6().map(IpNet::from));
        let tunnel = self.tunnel.iter().flat_map(|_| v4.into_iter().chain(v6));
        let tunnel =
            tunnel.flat_map(|(sender, subnet)| [Member::Sender(sender), Member::Source { sender, subnet }]);
        let subnets = node.subnet.v4().map(IpNet::from).into_iter();
        let subnets = subnets.chain(node.subnet.v6().map(IpNet::from));
        let direct = self.direct.iter().flat_map(|direct| {
            let judged = |subnet: &IpNet| {
                direct
                    .networks
                    .iter()
                    .any(|(network, _)| network.contains(subnet))
            };
            subnets.clone().filter(judged).map(Member::Direct)
        });
        tunnel.chain(direct).collect()
    }

    fn script(&self, verdict: Verdict) -> String {
        let (family, table) = RulesetName::Membership.table().unwrap_or_default();
        let renewed: String = ["add", "delete"]
            .into_iter()
            .flat_map(|deed| CHAINS.map(|chain| format!("{deed} chain {family} {table} {chain}\n")))
            .collect();
        let counters: String = FilterCounter::ALL
            .map(|counter| format!("\tcounter {} {{\n\t}}\n", counter.name()))
            .concat();
        let sets: String = SETS
            .map(|(set, kind)| format!("\tset {set} {{\n\t\t{kind}\n\t}}\n"))
            .concat();
        let tunnel = self.tunnel.as_ref().map(|tunnel| tunnel.chains(verdict));
        let direct = self.direct.as_ref().map(|direct| direct.chains(verdict));
        let chains = tunnel.unwrap_or_default() + &direct.unwrap_or_default();
        format!(
            "add table {family} {table}
flush table {family} {table}
{renewed}table {family} {table} {{
\tcomment \"selvedge: what only members may send\"
{counters}{sets}{chains}}}
"
        )
    }
}

/// What happens to a packet that was counted.
#[derive(Clone, Copy, Debug)]
enum Verdict {
    Return,
    Drop,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Return => "return",
            Self::Drop => "drop",
        })
    }
}

/// Writes the rule that counts all that reaches it.
fn refusal(counter: FilterCounter, verdict: Verdict) -> String {
    format!("counter name {} {verdict}", counter.name())
}

impl TunnelTraffic {
    fn chains(self, verdict: Verdict) -> String {
        let Self { port, vni } = self;
        let unknown = refusal(FilterCounter::UnknownSender, verdict);
        let foreign = refusal(FilterCounter::ForeignSource, verdict);
        let bad = refusal(FilterCounter::BadInnerFrame, verdict);
        format!(
            "\tchain tunnel4 {{
\t\tip saddr != @senders4 {unknown}
\t\t@th,224,16 0x0800 ip saddr . @th,336,32 @sources4 return
\t\t@th,224,16 0x0800 {foreign}
\t\t{bad}
\t}}
\tchain tunnel6 {{
\t\tip6 saddr != @senders6 {unknown}
\t\t@th,224,16 0x86dd ip6 saddr . @th,304,128 @sources6 return
\t\t@th,224,16 0x86dd {foreign}
\t\t{bad}
\t}}
\tchain tunnel {{
\t\ttype filter hook input priority -10; policy accept;
\t\tmeta nfproto ipv4 udp dport {port} @th,96,24 {vni} goto tunnel4
\t\tmeta nfproto ipv6 udp dport {port} @th,96,24 {vni} goto tunnel6
\t}}
"
        )
    }
}

impl DirectTraffic {
    fn chains(&self, verdict: Verdict) -> String {
        let unknown = refusal(FilterCounter::UnknownSender, verdict);
        let foreign = refusal(FilterCounter::ForeignSource, verdict);
        let underlay = quoted(&self.underlay);
        let judged = self.networks.iter().map(|(network, own)| {
            let version = IpVersion::of(network.addr());
            let ip = protocol(version);
            let digit = match version {
                IpVersion::V4 => 4,
                IpVersion::V6 => 6,
            };
            let chain = format!(
                "\tchain direct{digit} {{
\t\t{ip} saddr {own} {foreign}
\t\t{ip} saddr @subnets{digit} return
\t\t{unknown}
\t}}
"
            );
            let jump = format!("\t\tiifname {underlay} {ip} saddr {network} goto direct{digit}\n");
            (chain, jump)
        });
        let (chains, jumps): (String, String) = judged.unzip();
        format!(
            "{chains}\tchain direct {{\n\t\ttype filter hook prerouting priority -300; policy accept;\n{jumps}\t}}\n"
        )
    }
}

/// Returns a device's name as nftables reads it; the kernel takes nearly any byte in one, nftables no quotes.
fn quoted(name: &LinkName) -> String {
    let plain = |letter: &char| !letter.is_control() && !matches!(letter, '"' | '\\' | '*');
    format!(
        "\"{}\"",
        name.to_string().chars().filter(plain).collect::<String>()
    )
}
