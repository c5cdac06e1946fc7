//! Who is behind a broken invariant: our nodes, or the defects of flannel nodes.

use std::collections::BTreeSet;

use super::World;
use crate::checker::Verdict;
use crate::checker::reservation::Reservation;
use crate::flannel::Defect;
use crate::node_id::NodeId;
use crate::ref_cluster::Write;
use crate::scenario::Model;
use crate::sim_node::Daemon;
use crate::violation::{Attributed, Finding, Invariant};

/// What happened to flannel nodes that they do not get over before their next start.
#[derive(Debug, Default)]
pub(super) struct Scars {
    /// They watch from a revision that lies in the future.
    deaf: BTreeSet<NodeId>,
    /// An unconditional put replaced their lease.
    robbed: BTreeSet<NodeId>,
    /// Someone changed their tunnel.
    tampered: BTreeSet<NodeId>,
    /// They were sent a forged datagram, or another node passed one on to them.
    attacked: BTreeSet<NodeId>,
}

impl Scars {
    pub(super) fn heal(&mut self, node: NodeId) {
        for scarred in [
            &mut self.deaf,
            &mut self.robbed,
            &mut self.tampered,
            &mut self.attacked,
        ] {
            scarred.remove(&node);
        }
    }

    pub(super) fn deafen(&mut self, node: NodeId) {
        self.deaf.insert(node);
    }

    pub(super) fn rob(&mut self, node: NodeId) {
        self.robbed.insert(node);
    }

    pub(super) fn tamper(&mut self, node: NodeId) {
        self.tampered.insert(node);
    }

    pub(super) fn attack(&mut self, node: NodeId) {
        self.attacked.insert(node);
    }
}

impl World {
    /// Lets a finding pass that flannel nodes alone are behind, in a cluster with nodes of ours; it is reported at the end.
    pub(super) fn judge(&mut self, verdict: Verdict) -> Verdict {
        let Err(finding) = verdict else { return Ok(()) };
        if !self.has_nodes_of_ours() || !self.is_flannels(&finding) {
            return Err(finding);
        }
        let defect = self.defect_behind(&finding);
        let violation = finding.at(self.now);
        self.detail(None, format!("flannel's: {violation}"));
        self.attributed.push(Attributed { violation, defect });
        Ok(())
    }

    /// Returns the defect of flannel that shows in a finding, as far as what happened tells.
    pub(super) fn defect_behind(&self, finding: &Finding) -> Option<Defect> {
        if finding.defect.is_some() {
            return finding.defect;
        }
        let culprits = finding
            .culprit
            .map_or_else(|| finding.nodes.clone(), |node| vec![node]);
        let mut flannels = culprits
            .into_iter()
            .chain(finding.nodes.iter().copied())
            .filter(|node| self.is_flannel(*node));
        flannels.find_map(|node| self.defect_of(node, finding.invariant))
    }

    fn defect_of(&self, node: NodeId, invariant: Invariant) -> Option<Defect> {
        let Scars {
            deaf,
            robbed,
            tampered,
            attacked,
        } = &self.scars;
        let daemon = self.nodes.get(node.index())?.daemon.as_ref();
        let routes = daemon.and_then(Daemon::wrong_routes);
        let takes_junk = daemon.and_then(Daemon::peers).is_some_and(|mut peers| {
            peers.any(|(_, peer)| NodeId::by_public_ip(peer, self.nodes.len()).is_none())
        });
        let signs = [
            (invariant == Invariant::HopLimit, Defect::TakesAnything),
            (robbed.contains(&node), Defect::BlindPut),
            (deaf.contains(&node), Defect::Deaf),
            (tampered.contains(&node), Defect::NoRepair),
            (takes_junk, Defect::TakesAnything),
            (attacked.contains(&node), Defect::TakesAnything),
        ];
        let sign = signs
            .into_iter()
            .find(|(shows, _)| *shows)
            .map(|(_, defect)| defect);
        routes.or(sign)
    }

    /// Says whose write a finding is about, and what kind of write it was.
    pub(super) fn blame_writer(&mut self, write: &Write, verdict: Verdict) -> Verdict {
        let count = self.nodes.len();
        let Write::Lease {
            owner: Some(owner),
            before,
            rival,
            reservation,
            ..
        } = write
        else {
            return verdict;
        };
        let Some(writer) = NodeId::by_public_ip(*owner, count) else {
            return verdict;
        };
        if verdict.is_ok() || !self.is_flannel(writer) {
            return verdict.map_err(|finding| finding.by(writer));
        }
        let robbed = before.filter(|before| before != owner && rival.is_none());
        if let Some(robbed) = robbed.and_then(|robbed| NodeId::by_public_ip(robbed, count)) {
            self.scars.rob(robbed);
        }
        let defect = match (reservation, rival, robbed) {
            (Reservation::Lost, _, _) => Some(Defect::ReservationLost),
            (Reservation::None | Reservation::Standing, Some(_), _) => Some(Defect::EqualIpv4),
            (Reservation::None | Reservation::Standing, None, Some(_)) => Some(Defect::BlindPut),
            (Reservation::None | Reservation::Standing, None, None) => None,
        };
        verdict.map_err(|finding| match defect {
            Some(defect) => finding.by(writer).showing(defect),
            None => finding.by(writer),
        })
    }

    /// Says that a flannel node, which never stops before its lease ends, is behind a second data path, unless that is
    /// what the node of ours has that holds no lease.
    pub(super) fn blame_intruder(&self, finding: Finding) -> Finding {
        let (flannels, ours): (Vec<NodeId>, Vec<NodeId>) =
            finding.nodes.iter().partition(|node| self.is_flannel(**node));
        match (&*flannels, &*ours) {
            ([flannel], [holder]) if self.reference.subnet_held_by(*holder).is_some() => {
                let flannel = *flannel;
                finding.by(flannel)
            }
            _ => finding,
        }
    }

    fn has_nodes_of_ours(&self) -> bool {
        self.nodes.iter().any(|state| state.model == Model::Selvedge)
    }

    fn is_flannels(&self, finding: &Finding) -> bool {
        match finding.culprit {
            Some(culprit) => self.is_flannel(culprit),
            None => !finding.nodes.is_empty() && finding.nodes.iter().all(|node| self.is_flannel(*node)),
        }
    }

    pub(super) fn is_flannel(&self, node: NodeId) -> bool {
        self.nodes
            .get(node.index())
            .is_some_and(|state| state.model == Model::Flannel)
    }
}
