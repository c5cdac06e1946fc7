//! The rulesets that are tried, and what is needed to make them.

use std::net::{Ipv4Addr, Ipv6Addr};

use selvedge_engine::{
    DirectTraffic, FilteredNode, Firewall as Kind, ForwardRules, LinkName, Masquerade, Membership,
    MembershipFilter, NetworkConfig, Ruleset, SourcePorts, Subnet, TrafficOptions, TunnelTraffic, Vni,
    traffic_rulesets,
};
use selvedge_host::kernel::firewall::Firewall;
use tokio::runtime::Runtime;

use crate::space::{Space, run};

pub(crate) const KINDS: [Kind; 2] = [Kind::Nftables, Kind::Iptables];

/// Returns all rulesets in the order of their names.
pub(crate) fn every_ruleset() -> Vec<Ruleset> {
    let mut rulesets = traffic(Kind::Nftables);
    rulesets.extend(traffic(Kind::Iptables));
    rulesets.extend(filter().ruleset(Membership::Enforce));
    rulesets
}

pub(crate) fn traffic(kind: Kind) -> Vec<Ruleset> {
    let text = format!(
        r#"{{"Network": "10.5.0.0/16", "EnableIPv6": true, "IPv6Network": "fd05::/48", "EnableNFTables": {}}}"#,
        kind == Kind::Nftables
    );
    traffic_rulesets(
        &NetworkConfig::parse(text.as_bytes()).unwrap(),
        &subnet(1),
        Masquerade::On,
        &TrafficOptions {
            forward_rules: ForwardRules::On,
            nftables_ports: SourcePorts::FullyRandom,
            iptables_ports: SourcePorts::FullyRandom,
        },
    )
}

pub(crate) fn filter() -> MembershipFilter {
    MembershipFilter {
        tunnel: tunnel().tunnel,
        direct: direct().direct,
    }
}

pub(crate) fn tunnel() -> MembershipFilter {
    MembershipFilter {
        tunnel: Some(TunnelTraffic {
            port: 8472,
            vni: Vni::new(1).unwrap(),
        }),
        direct: None,
    }
}

pub(crate) fn direct() -> MembershipFilter {
    let v4 = ("10.5.0.0/16".parse().unwrap(), "10.5.1.0/24".parse().unwrap());
    let v6 = ("fd05::/48".parse().unwrap(), "fd05:0:0:1::/64".parse().unwrap());
    MembershipFilter {
        tunnel: None,
        direct: Some(DirectTraffic {
            underlay: LinkName("underlay".to_owned()),
            networks: vec![v4, v6],
        }),
    }
}

pub(crate) fn node(index: u8) -> FilteredNode {
    FilteredNode {
        v4: Some(Ipv4Addr::new(192, 0, 2, index)),
        v6: Some(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, index.into())),
        subnet: subnet(index),
    }
}

pub(crate) fn subnet(index: u8) -> Subnet {
    Subnet::Dual(
        format!("10.5.{index}.0/24").parse().unwrap(),
        format!("fd05:0:0:{index}::/64").parse().unwrap(),
    )
}

/// Runs a test in a network namespace of its own.
pub(crate) fn alone(test: impl AsyncFnOnce(&mut Firewall) + Send + 'static) {
    Space::new().run(move || block_on(async { test(&mut Firewall::open()).await }));
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    runtime().block_on(future)
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

pub(crate) fn ip(args: &str) -> String {
    run(&format!("ip {args}"))
}

/// Returns all rules of this namespace, without counts; the kernel lists its tables by age, this by name.
pub(crate) fn everything() -> String {
    let listed = run("nft -s list ruleset");
    let mut tables: Vec<_> = listed.split_inclusive("\n}\n").collect();
    tables.sort_unstable();
    tables.concat()
}
