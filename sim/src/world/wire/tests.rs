use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use selvedge_engine::{
    Address, FdbEntry, GroupPolicy, Instant, KernelObject, KernelOp, Learning, Link, LinkKind, LinkName,
    MacAddress, Neighbour, NextHop, Route, Vni, Vxlan,
};

use super::*;
use crate::fault::{Damage, LinkFault};
use crate::linux::Linux;
use crate::mark::Mark;
use crate::probability::Probability;
use crate::probe::ProbeKind;
use crate::scenario::Scenario;
use crate::sim_node::Handling;
use crate::trace::Keep;

#[test]
fn pods_reach_each_other_in_vxlan_whatever_their_segment() {
    let mut world = world([0, 0, 1]);
    for node in world.ids() {
        world.set_up_vxlan(node);
        for peer in world.others(node) {
            world.add_vxlan_peer(node, peer);
        }
    }

    let fates = world.probe_all_pairs(1);

    assert_eq!(fates, [Some(ProbeFate::Delivered); 6]);
}

#[test]
fn plain_packets_reach_the_own_segment_and_get_lost_at_the_router() {
    let mut world = world([0, 0, 1]);
    for node in world.ids() {
        for peer in world.others(node) {
            world.add_gateway(node, peer);
        }
    }
    let [n1, n2, n3] = [1, 2, 3].map(NodeId::new);

    let near = world.probe(n1, n2);
    let far = world.probe(n1, n3);

    assert_eq!(near, Some(ProbeFate::Delivered));
    assert_eq!(far, Some(ProbeFate::Excused));
    let strays = world
        .0
        .statistics
        .marks
        .hits(&Mark::Situation(Situation::DroppedByRouter));
    assert_eq!(strays, 1);
}

#[test]
fn direct_routing_and_vxlan_go_together() {
    let mut world = world([0, 0, 1]);
    let [n1, n2, n3] = [1, 2, 3].map(NodeId::new);
    for node in world.ids() {
        world.set_up_vxlan(node);
    }
    for (node, peer) in [(n1, n2), (n2, n1)] {
        world.add_gateway(node, peer);
    }
    for (node, peer) in [(n1, n3), (n3, n1), (n2, n3), (n3, n2)] {
        world.add_vxlan_peer(node, peer);
    }

    let fates = world.probe_all_pairs(1);

    assert_eq!(fates, [Some(ProbeFate::Delivered); 6]);
}

#[test]
fn what_is_damaged_on_its_way_is_never_delivered_as_it_was_sent() {
    for (damage, in_vxlan) in [
        (Damage::Bits(2), true),
        (Damage::BitsUnnoticed(2), true),
        (Damage::Truncation, true),
        (Damage::BitsUnnoticed(2), false),
        (Damage::Truncation, false),
    ] {
        let mut world = world([0, 0]);
        for node in world.ids() {
            world.set_up_vxlan(node);
            for peer in world.others(node) {
                if in_vxlan {
                    world.add_vxlan_peer(node, peer);
                } else {
                    world.add_gateway(node, peer);
                }
            }
        }
        let share = Probability::percent(100);
        world.0.links.add_fault(LinkFault::Damage { share, damage });

        let fates = world.probe_all_pairs(100);

        assert_eq!(fates, [Some(ProbeFate::Damaged); 200], "{damage:?}");
    }
}

#[test]
fn a_node_whose_entries_lead_to_the_wrong_peer_is_found() {
    let mut world = world([0, 0, 0]);
    let [n1, n2, n3] = [1, 2, 3].map(NodeId::new);
    world.set_up_vxlan(n1);
    world.add_vxlan_peer(n1, n2);
    let wrong = FdbEntry {
        link: device(),
        mac: mac(n2),
        node: n3.public_ip().into(),
    };
    world.apply(n1, &KernelOp::Replace(KernelObject::FdbEntry(wrong)));

    let verdict = world.0.send_probe(n1, n2, ProbeKind::Datagram, 48);

    let finding = verdict.map(|_| ()).unwrap_err();
    assert_eq!(finding.invariant, crate::violation::Invariant::RightPeer);
}

/// A cluster whose daemons hold leases and leave the packets to others.
struct Leased(World);

fn world<const N: usize>(segments: [u8; N]) -> Leased {
    let count = u32::try_from(N).unwrap();
    let mut scenario = Scenario::new(1, count, Duration::from_mins(1));
    scenario.config = r#"{"Network":"10.5.0.0/16","Backend":{"Type":"alloc"}}"#.to_owned();
    for (plan, segment) in scenario.nodes.iter_mut().zip(segments) {
        plan.segment = segment;
    }
    let mut world = World::new(scenario, Vec::new(), Keep::default(), Handling::default());
    world.write_config().unwrap();
    // By then every node has to know the others' leases.
    world.run_until(Instant::ZERO + Duration::from_secs(20)).unwrap();
    Leased(world)
}

impl Leased {
    fn ids(&self) -> Vec<NodeId> {
        self.0.scenario.node_ids().collect()
    }

    fn others(&self, node: NodeId) -> Vec<NodeId> {
        let mut others = self.ids();
        others.retain(|other| *other != node);
        others
    }

    fn apply(&mut self, node: NodeId, op: &KernelOp) {
        self.0.nodes[node.index()].linux.apply(op).unwrap();
    }

    fn ensure(&mut self, node: NodeId, object: KernelObject) {
        self.apply(node, &KernelOp::Ensure(object));
    }

    fn lease(&self, node: NodeId) -> Ipv4Net {
        let pod = self.0.nodes[node.index()].linux.pod().unwrap();
        Ipv4Net::new(pod, 24).unwrap().trunc()
    }

    fn set_up_vxlan(&mut self, node: NodeId) {
        let vxlan = Vxlan {
            vni: Vni::new(1).unwrap(),
            local: node.public_ip().into(),
            underlay: LinkName("eth0".to_owned()),
            port: 8472,
            learning: Learning::Off,
            group_policy: GroupPolicy::Off,
            mac: mac(node),
        };
        let link = Link {
            name: device(),
            kind: LinkKind::Vxlan(vxlan),
            mtu: 1450,
            alias: String::new(),
        };
        self.ensure(node, KernelObject::Link(link));
        let net = IpNet::from(std::net::IpAddr::V4(self.lease(node).network()));
        self.ensure(node, KernelObject::Address(Address { link: device(), net }));
    }

    fn add_vxlan_peer(&mut self, node: NodeId, peer: NodeId) {
        let lease = self.lease(peer);
        let gateway = lease.network().into();
        let fdb = FdbEntry {
            link: device(),
            mac: mac(peer),
            node: peer.public_ip().into(),
        };
        let neighbour = Neighbour {
            link: device(),
            address: gateway,
            mac: mac(peer),
        };
        let hop = NextHop::OnLink {
            gateway,
            link: device(),
        };
        self.ensure(node, KernelObject::FdbEntry(fdb));
        self.ensure(node, KernelObject::Neighbour(neighbour));
        self.ensure(node, KernelObject::Route(Route::new(lease.into(), hop)));
    }

    /// Adds a route to a peer by its address, if it is on the link.
    fn add_gateway(&mut self, node: NodeId, peer: NodeId) {
        let hop = NextHop::Gateway {
            gateway: peer.public_ip().into(),
            link: LinkName("eth0".to_owned()),
        };
        let route = Route::new(self.lease(peer).into(), hop);
        let linux: &mut Linux = &mut self.0.nodes[node.index()].linux;
        let is_near = self.0.scenario.segment(node) == self.0.scenario.segment(peer);
        let added = linux.apply(&KernelOp::Ensure(KernelObject::Route(route)));
        assert_eq!(added.is_ok(), is_near, "{node} {peer}");
    }

    fn probe(&mut self, from: NodeId, to: NodeId) -> Option<ProbeFate> {
        let id = self
            .0
            .send_probe(from, to, ProbeKind::Datagram, 48)
            .unwrap()
            .unwrap();
        let later = self.0.now + Duration::from_millis(10);
        self.0.run_until(later).unwrap();
        self.0.probes.get_mut(id)?.fate
    }

    fn probe_all_pairs(&mut self, times: usize) -> Vec<Option<ProbeFate>> {
        let mut fates = Vec::new();
        for node in self.ids() {
            for peer in self.others(node) {
                fates.extend((0..times).map(|_| self.probe(node, peer)));
            }
        }
        fates
    }
}

fn device() -> LinkName {
    LinkName("flannel.1".to_owned())
}

fn mac(node: NodeId) -> MacAddress {
    let [a, b, c, d] = node.number().to_be_bytes();
    MacAddress::local([0x46, 0, a, b, c, d])
}
