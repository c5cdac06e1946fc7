use std::collections::BTreeMap;
use std::format;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

#[test]
fn a_destination_in_a_peers_subnet_goes_to_that_peer() {
    let table = table(&[("10.5.2.0/24", "192.0.2.2"), ("10.5.3.0/24", "192.0.2.3")]);

    let hop = table.next_hop(ip("10.5.3.9"));

    assert_eq!(hop, Some("192.0.2.3:8285".parse().unwrap()));
}

#[test]
fn an_empty_table_has_no_next_hop() {
    let table = table(&[]);

    let hop = table.next_hop(ip("10.5.3.9"));

    assert_eq!(hop, None);
}

#[test]
fn the_longest_of_nested_prefixes_wins_wherever_it_stands() {
    let table = table(&[
        ("10.5.64.0/26", "192.0.2.3"),
        ("0.0.0.0/0", "192.0.2.9"),
        ("10.5.64.0/20", "192.0.2.2"),
    ]);

    let hops = ["10.5.64.1", "10.5.64.64", "10.5.80.0", "255.255.255.255"]
        .map(|destination| table.next_hop(ip(destination)).map(|hop| *hop.ip()));

    let expected = ["192.0.2.3", "192.0.2.2", "192.0.2.9", "192.0.2.9"].map(|hop| Some(ip(hop)));
    assert_eq!(hops, expected);
}

#[test]
fn the_own_subnet_is_never_a_next_hop_even_if_a_peer_claims_it_or_more() {
    let table = table(&[("10.5.1.0/24", "192.0.2.8"), ("10.5.0.0/16", "192.0.2.9")]);

    let hops = ["10.5.1.0", "10.5.1.255", "10.5.2.0"].map(|destination| table.next_hop(ip(destination)));

    assert_eq!(hops, [None, None, Some("192.0.2.9:8285".parse().unwrap())]);
}

#[test]
fn host_bits_of_a_peers_subnet_are_masked_off() {
    let table = table(&[("10.5.2.77/24", "192.0.2.2")]);

    let peers: Vec<_> = table.peers().collect();

    assert_eq!(peers, [(net("10.5.2.0/24"), ip("192.0.2.2"))]);
}

#[test]
fn the_last_of_equal_subnets_wins() {
    let table = table(&[("10.5.2.0/24", "192.0.2.2"), ("10.5.2.9/24", "192.0.2.3")]);

    let peers: Vec<_> = table.peers().collect();

    assert_eq!(peers, [(net("10.5.2.0/24"), ip("192.0.2.3"))]);
    assert!(!table.is_member(ip("192.0.2.2")));
}

#[test]
fn a_node_is_known_by_every_subnet_that_it_holds() {
    let table = table(&[
        ("10.5.4.0/24", "192.0.2.2"),
        ("10.5.2.0/24", "192.0.2.2"),
        ("10.5.3.0/24", "192.0.2.3"),
    ]);

    let subnets: Vec<_> = table.subnets_of(ip("192.0.2.2")).collect();

    assert_eq!(subnets, [net("10.5.2.0/24"), net("10.5.4.0/24")]);
    assert!(table.is_held_by(ip("192.0.2.2"), ip("10.5.4.1")));
    assert!(!table.is_held_by(ip("192.0.2.2"), ip("10.5.3.1")));
    assert!(!table.is_member(ip("192.0.2.4")));
}

#[test]
fn a_node_holds_an_address_even_if_another_holds_a_longer_prefix_of_it() {
    let table = table(&[("10.5.2.0/24", "192.0.2.2"), ("10.5.2.8/30", "192.0.2.3")]);

    let held = ["192.0.2.2", "192.0.2.3"].map(|holder| table.is_held_by(ip(holder), ip("10.5.2.9")));

    assert_eq!(held, [true, true]);
}

#[test]
fn tables_are_equal_when_their_peers_are_in_whatever_order_they_came() {
    let peers = [("10.5.2.0/24", "192.0.2.2"), ("10.5.3.0/24", "192.0.2.3")];

    let forward = table(&peers);
    let backward = table(&[peers[1], peers[0]]);

    assert_eq!(forward, backward);
    assert_ne!(forward, table(&peers[..1]));
    assert!(format!("{forward:?}").contains("(10.5.3.0/24, 192.0.2.3)"));
}

#[test]
fn a_subnet_that_holds_smaller_ones_is_found_around_them_and_again_without_them() {
    let whole = [(net("10.5.2.0/24"), ip("192.0.2.2"))];
    let hops = |table: &ForwardingTable| {
        ["10.5.2.1", "10.5.2.9", "10.5.2.255"]
            .map(|destination| table.next_hop(ip(destination)).map(|hop| *hop.ip()))
    };

    let alone = ForwardingTable::new(params(), whole);
    let shared = alone.with(params(), [(net("10.5.2.8/30"), Some(ip("192.0.2.3")))]);
    let again = shared.with(params(), [(net("10.5.2.8/30"), None)]);
    let gone = shared.with(params(), [(net("10.5.2.0/24"), None)]);

    let [outer, inner] = ["192.0.2.2", "192.0.2.3"].map(|hop| Some(ip(hop)));
    assert_eq!(hops(&alone), [outer; 3]);
    assert_eq!(hops(&shared), [outer, inner, outer]);
    assert_eq!(hops(&again), [outer; 3]);
    assert_eq!(hops(&gone), [None, inner, None]);
}

#[test]
fn a_larger_subnet_shows_where_the_smaller_ones_of_the_usual_size_are_not() {
    let table = table(&[("10.5.2.0/24", "192.0.2.2"), ("10.5.0.0/20", "192.0.2.9")]);

    let hops = ["10.5.2.1", "10.5.3.1", "10.5.16.1"].map(|destination| table.next_hop(ip(destination)));

    let expected = ["192.0.2.2:8285", "192.0.2.9:8285"].map(|hop| Some(hop.parse().unwrap()));
    assert_eq!(hops, [expected[0], expected[1], None]);
}

proptest! {
    #[test]
    fn look_ups_agree_with_a_linear_search(
        params in layouts(),
        peers in prop_oneof![nested_peers(), equal_peers(), neighbours()],
        others in proptest::collection::vec(any::<u32>(), 8),
    ) {
        let table = ForwardingTable::new(params, peers.clone());
        let reference = RefTable { own: params.subnet, peers };

        for destination in reference.interesting(&others) {
            let hop = table.next_hop(destination).map(|hop| *hop.ip());
            prop_assert_eq!(hop, reference.next_hop(destination), "for {}", destination);
            for (_, holder) in table.peers() {
                prop_assert_eq!(
                    table.is_held_by(holder, destination),
                    reference.is_held_by(holder, destination)
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn a_changed_table_is_as_one_made_anew_and_leaves_the_one_before_alone(
        layout in layouts(),
        peers in prop_oneof![nested_peers(), neighbours()],
        changes in proptest::collection::vec((0..24_usize, prop_oneof![nested_peers(), neighbours()], layouts()), 1..5),
        others in proptest::collection::vec(any::<u32>(), 8),
    ) {
        let mut known: BTreeMap<Ipv4Net, Ipv4Addr> = truncated(&peers);
        let mut table = ForwardingTable::new(layout, peers);

        for (removed, added, another_layout) in changes {
            let before = (table.clone(), known.clone());
            let mut routes: BTreeMap<_, _> = truncated(&added)
                .into_iter()
                .map(|(subnet, hop)| (subnet, Some(hop)))
                .collect();
            if let Some(subnet) = known.keys().nth(removed) {
                routes.insert(*subnet, None);
            }
            for (subnet, hop) in &routes {
                match hop {
                    Some(hop) => known.insert(*subnet, *hop),
                    None => known.remove(subnet),
                };
            }
            // Usually the layout stays the same.
            let layout = if removed % 4 == 0 { another_layout } else { *table.params() };
            table = table.with(layout, routes);

            prop_assert!(is_right(&before.0, &before.1, &others));
            prop_assert!(is_right(&table, &known, &others));
        }
        let emptied = table.with(*table.params(), known.keys().map(|subnet| (*subnet, None)));
        prop_assert!(is_right(&emptied, &BTreeMap::new(), &others));
        prop_assert!(emptied.is_empty());
    }
}

/// Tells whether the table answers as a linear search does.
fn is_right(table: &ForwardingTable, known: &BTreeMap<Ipv4Net, Ipv4Addr>, others: &[u32]) -> bool {
    let peers: Vec<_> = known.iter().map(|(subnet, hop)| (*subnet, *hop)).collect();
    let reference = RefTable {
        own: table.params().subnet,
        peers: peers.clone(),
    };
    let is_held_by = |holder, address| {
        let holds = |(subnet, hop): &(Ipv4Net, Ipv4Addr)| *hop == holder && subnet.contains(&address);
        peers.iter().any(holds)
    };
    let is_same = |destination: Ipv4Addr| {
        let hop = table.next_hop(destination).map(|hop| *hop.ip());
        let holders = (0..=6).map(holder);
        hop == reference.next_hop(destination)
            && holders
                .into_iter()
                .all(|holder| table.is_held_by(holder, destination) == is_held_by(holder, destination))
    };
    table.len() == known.len()
        && table.peers().eq(peers.iter().copied())
        && reference.interesting(others).into_iter().all(is_same)
}

fn truncated(peers: &[(Ipv4Net, Ipv4Addr)]) -> BTreeMap<Ipv4Net, Ipv4Addr> {
    peers.iter().map(|(subnet, hop)| (subnet.trunc(), *hop)).collect()
}

/// Knows the right answers by looking at every peer.
struct RefTable {
    own: Ipv4Net,
    peers: Vec<(Ipv4Net, Ipv4Addr)>,
}

impl RefTable {
    fn next_hop(&self, destination: Ipv4Addr) -> Option<Ipv4Addr> {
        if self.own.contains(&destination) {
            return None;
        }
        // Of equal lengths `max_by_key` returns the last.
        self.peers
            .iter()
            .filter(|(subnet, _)| subnet.contains(&destination))
            .max_by_key(|(subnet, _)| subnet.prefix_len())
            .map(|(_, hop)| *hop)
    }

    fn is_held_by(&self, holder: Ipv4Addr, address: Ipv4Addr) -> bool {
        self.peers
            .iter()
            .enumerate()
            .any(|(position, (subnet, public_ip))| {
                let replaced = self
                    .peers
                    .iter()
                    .skip(position + 1)
                    .any(|(later, _)| later.trunc() == subnet.trunc());
                *public_ip == holder && subnet.contains(&address) && !replaced
            })
    }

    /// Both ends of every subnet, the addresses next to them, and `others`.
    fn interesting(&self, others: &[u32]) -> Vec<Ipv4Addr> {
        self.peers
            .iter()
            .flat_map(|(subnet, _)| {
                let (first, last) = (u32::from(subnet.network()), u32::from(subnet.broadcast()));
                [first.wrapping_sub(1), first, last, last.wrapping_add(1)]
            })
            .chain(others.iter().copied())
            .map(Ipv4Addr::from)
            .collect()
    }
}

/// Prefixes of every length, crowded so that they nest and repeat.
fn nested_peers() -> impl Strategy<Value = Vec<(Ipv4Net, Ipv4Addr)>> {
    let bits = prop_oneof![any::<u32>(), 0x0a05_0000_u32..0x0a05_0400, 0xffff_ff00..=u32::MAX];
    let peer = (bits, 0..=32_u8, 1..=6_u32).prop_map(|(bits, length, hop)| {
        let subnet = Ipv4Net::new(Ipv4Addr::from(bits), length).unwrap();
        (subnet, holder(hop))
    });
    proptest::collection::vec(peer, 0..24)
}

/// Prefixes of usual sizes that are next to each other and within each other.
fn neighbours() -> impl Strategy<Value = Vec<(Ipv4Net, Ipv4Addr)>> {
    let length = prop_oneof![4 => Just(24_u8), 4 => Just(26), 2 => 20..=32_u8];
    let peer = (0x0a05_0000_u32..0x0a05_0400, length, 0..=6_u32).prop_map(|(bits, length, hop)| {
        let subnet = Ipv4Net::new(Ipv4Addr::from(bits), length).unwrap();
        (subnet, holder(hop))
    });
    proptest::collection::vec(peer, 0..24)
}

/// Returns one of a few nodes; the first has an address that no node has, which no lease has either.
fn holder(number: u32) -> Ipv4Addr {
    match number {
        0 => Ipv4Addr::UNSPECIFIED,
        number => Ipv4Addr::from(0xc000_0200 + number),
    }
}

/// Networks with room for few, many and too many subnets, or for one; and subnets beside their network.
fn layouts() -> impl Strategy<Value = TunnelParams> {
    let layout = prop_oneof![
        4 => Just(("10.5.0.0/16", "10.5.1.0/24")),
        4 => Just(("10.0.0.0/8", "10.5.2.64/26")),
        1 => Just(("10.5.0.0/21", "10.5.1.4/32")),
        1 => Just(("10.0.0.0/8", "10.5.1.4/30")),
        1 => Just(("0.0.0.0/0", "0.0.0.0/0")),
        1 => Just(("10.5.2.0/24", "10.5.2.0/24")),
        1 => Just(("10.5.2.0/24", "10.4.0.0/16")),
        1 => Just(("255.255.0.0/16", "255.255.255.0/24")),
    ];
    layout.prop_map(|(network, subnet)| TunnelParams {
        network: net(network),
        subnet: net(subnet),
        ..params()
    })
}

/// Prefixes of one length, near to each other or far apart.
fn equal_peers() -> impl Strategy<Value = Vec<(Ipv4Net, Ipv4Addr)>> {
    (0..=32_u8, nested_peers()).prop_map(|(length, peers)| {
        peers
            .into_iter()
            .map(|(subnet, hop)| (Ipv4Net::new(subnet.addr(), length).unwrap(), hop))
            .collect()
    })
}

fn table(peers: &[(&str, &str)]) -> ForwardingTable {
    let peers = peers.iter().map(|(subnet, hop)| (net(subnet), ip(hop)));
    ForwardingTable::new(params(), peers)
}

fn params() -> TunnelParams {
    TunnelParams {
        network: net("10.5.0.0/16"),
        subnet: net("10.5.1.0/24"),
        address: ip("10.5.1.0"),
        mtu: 1472,
        port: 8285,
        membership: Membership::Enforce,
    }
}

fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}
