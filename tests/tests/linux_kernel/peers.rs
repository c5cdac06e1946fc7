//! A large cluster.

use ipnet::Ipv4Net;
use selvedge_engine::{FdbEntry, KernelObject, Neighbour, NextHop, Route};
use selvedge_tests::need;

use super::objects::{address, link, mac_of, name, node_of};
use super::support::{Node, add_underlay, in_namespace};

const PEERS: u16 = 2000;

#[test]
fn two_thousand_peers_are_programmed_and_cast_no_doubt() {
    need!(root, ip);

    in_namespace(async || {
        add_underlay();
        let mut node = Node::new();
        node.survey(&["flannel.1"]).await;
        node.ensure(link()).await;
        node.ensure(address("flannel.1", "10.50.1.0/32")).await;
        node.settle().await;

        let objects: Vec<KernelObject> = (0..PEERS).flat_map(peer).collect();
        for object in objects.clone() {
            node.ensure(object).await;
        }
        node.is_quiet().await;

        let facts = node.survey(&["flannel.1"]).await;
        let count = usize::from(PEERS);
        assert_eq!((facts.neighbours.len(), facts.fdb.len()), (count, count));
        assert_eq!(
            facts.routes.iter().filter(|route| route.protocol == 83).count(),
            count
        );

        for object in objects.into_iter().rev() {
            node.remove(object).await;
        }
        node.is_quiet().await;
        let facts = node.survey(&["flannel.1"]).await;
        assert_eq!((facts.neighbours.len(), facts.fdb.len()), (0, 0));
        assert!(facts.routes.iter().all(|route| route.protocol != 83));
    });
}

/// What a node has for a peer, in the order in which it is made.
fn peer(number: u16) -> [KernelObject; 3] {
    let subnet = Ipv4Net::new(
        [10, 64 + number.to_be_bytes()[0], number.to_be_bytes()[1], 0].into(),
        24,
    )
    .unwrap();
    let gateway = subnet.network().into();
    [
        KernelObject::Neighbour(Neighbour {
            link: name("flannel.1"),
            address: gateway,
            mac: mac_of(number),
        }),
        KernelObject::FdbEntry(FdbEntry {
            link: name("flannel.1"),
            mac: mac_of(number),
            node: node_of(number),
        }),
        KernelObject::Route(Route::new(
            subnet.into(),
            NextHop::OnLink {
                gateway,
                link: name("flannel.1"),
            },
        )),
    ]
}
