//! Once faults are over, every node holds a lease, knows every other and reaches it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use selvedge_engine::{Instant, Obstacle, Phase};

use super::{Verdict, convergence};
use crate::node_id::NodeId;
use crate::probe::{Probe, ProbeFate};
use crate::ref_cluster::RefCluster;
use crate::violation::{Finding, Invariant};

/// What a running node says about itself.
#[derive(Clone, Debug)]
pub(crate) struct NodeView {
    pub(crate) node: NodeId,
    pub(crate) phase: Phase,
    pub(crate) subnet: Option<Ipv4Net>,
    /// Whom it forwards to.
    pub(crate) peers: BTreeMap<Ipv4Net, Ipv4Addr>,
    /// What keeps it from being ready.
    pub(crate) obstacles: Vec<Obstacle>,
}

/// Whether the network has a subnet for every node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Room {
    Left,
    None,
}

/// Checks a running node that has had the time to learn everything and to set itself up; others pass, and whoever holds
/// nothing because strangers took all that is left.
pub(crate) fn check_node(cluster: &RefCluster, view: &NodeView, room: Room, now: Instant) -> Verdict {
    let node = view.node;
    if !cluster.is_up_to_date(node, now) || !cluster.must_hold(node, now) {
        return Ok(());
    }
    let held: Vec<Ipv4Net> = cluster.subnets_held_by(node).collect();
    // An operator may reserve a subnet for a node that has one.
    let spared = |subnet: &Ipv4Net| view.subnet != Some(*subnet) && cluster.is_reserved(node, *subnet);
    let held: Vec<Ipv4Net> = match view.subnet.filter(|carried| held.contains(carried)) {
        Some(_) => held.into_iter().filter(|subnet| !spared(subnet)).collect(),
        None => held,
    };
    if held.is_empty() && room == Room::None {
        return Ok(());
    }
    let [own] = held[..] else {
        return Err(finding(
            node,
            format!("{node} holds {} leases: {held:?}", held.len()),
        ));
    };
    if view.subnet != Some(own) {
        let text = format!("{node} holds {own} in the store, but carries {:?}", view.subnet);
        return Err(finding(node, text));
    }
    if cluster.must_carry(node, now) && view.phase != Phase::Running {
        return Err(finding(
            node,
            format!("{node} holds {own}, but is {:?}", view.phase),
        ));
    }
    if cluster.must_carry(node, now)
        && let Some(obstacle) = view.obstacles.first()
    {
        let text = format!("{node} holds {own}, but says that it is not ready: {obstacle}");
        return Err(finding(node, text));
    }
    if let Some(text) = convergence::difference(cluster, node, own, &view.peers, now) {
        return Err(finding(
            node,
            format!("{node} does not forward as the leases say: {text}"),
        ));
    }
    Ok(())
}

/// Checks a probe that nothing could disturb.
pub(crate) fn check_probe(probe: &Probe) -> Verdict {
    if probe.fate == Some(ProbeFate::Delivered) {
        return Ok(());
    }
    let text = format!(
        "{} does not reach {} although nothing disturbs them: probe {} ended as {:?}",
        probe.from, probe.to, probe.id, probe.fate
    );
    let nodes = [probe.from, probe.to];
    Err(Finding::new(Invariant::AtRest, nodes, text))
}

fn finding(node: NodeId, text: String) -> Finding {
    Finding::new(Invariant::AtRest, [node], text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::tests::probe;
    use crate::ref_cluster::fixture::{N1, N2, N3, after, cluster, reservation_of};

    #[test]
    fn a_node_that_agrees_with_the_store_passes() {
        let cluster = leases();
        let view = view(&[("10.5.2.0/24", N2)]);

        assert_eq!(check_node(&cluster, &view, Room::Left, after(200)), Ok(()));
    }

    #[test]
    fn missing_stale_and_wrong_routes_are_found() {
        let views = [
            view(&[]),
            view(&[("10.5.2.0/24", N3)]),
            view(&[("10.5.2.0/24", N2), ("10.5.3.0/24", N3)]),
        ];

        for view in &views {
            assert!(check_node(&leases(), view, Room::Left, after(200)).is_err());
            assert_eq!(check_node(&leases(), view, Room::Left, after(2)), Ok(()));
        }
    }

    #[test]
    fn a_node_without_lease_or_with_two_or_with_another_is_found() {
        let good = view(&[("10.5.2.0/24", N2)]);
        let none = cluster(&[("10.5.2.0-24", N2)]);
        let two = cluster(&[("10.5.1.0-24", N1), ("10.5.4.0-24", N1), ("10.5.2.0-24", N2)]);
        let other = NodeView {
            subnet: Some("10.5.9.0/24".parse().unwrap()),
            ..good.clone()
        };
        let waiting = NodeView {
            phase: Phase::Acquiring,
            ..good.clone()
        };
        let unready = NodeView {
            obstacles: vec![Obstacle::NoSubnet],
            ..good.clone()
        };

        assert!(check_node(&none, &good, Room::Left, after(200)).is_err());
        assert!(check_node(&two, &good, Room::Left, after(200)).is_err());
        assert!(check_node(&leases(), &other, Room::Left, after(200)).is_err());
        assert!(check_node(&leases(), &waiting, Room::Left, after(200)).is_err());
        assert!(check_node(&leases(), &unready, Room::Left, after(200)).is_err());
    }

    #[test]
    fn an_operator_may_reserve_a_second_subnet_for_a_node() {
        let mut cluster = cluster(&[("10.5.1.0-24", N1), ("10.5.2.0-24", N2)]);
        cluster.observe(&reservation_of("10.5.4.0-24", N1), after(2));
        let view = view(&[("10.5.2.0/24", N2)]);

        assert_eq!(check_node(&cluster, &view, Room::Left, after(200)), Ok(()));
    }

    #[test]
    fn a_probe_at_rest_has_to_arrive() {
        let arrived = Probe {
            fate: Some(ProbeFate::Delivered),
            ..probe(1)
        };

        assert_eq!(check_probe(&arrived), Ok(()));
        assert!(check_probe(&probe(1)).is_err());
    }

    fn leases() -> RefCluster {
        cluster(&[("10.5.1.0-24", N1), ("10.5.2.0-24", N2)])
    }

    fn view(peers: &[(&str, NodeId)]) -> NodeView {
        let peers = peers
            .iter()
            .map(|(subnet, owner)| (subnet.parse().unwrap(), owner.public_ip()));
        NodeView {
            node: N1,
            phase: Phase::Running,
            subnet: Some("10.5.1.0/24".parse().unwrap()),
            peers: peers.collect(),
            obstacles: Vec::new(),
        }
    }
}
