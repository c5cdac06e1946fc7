//! A node keeps its subnet: over a restart while its lease lives, after the lease's end as long as nobody else was given
//! the subnet; else it takes another.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::Ipv4Net;
use selvedge_engine::Instant;

use super::Verdict;
use crate::node_id::NodeId;
use crate::ref_cluster::{RefCluster, Write};
use crate::violation::{Finding, Invariant};

/// How long after the store became another a node may write what it chose before; one that does not reach the store, longer.
const OTHER_HISTORY: Duration = Duration::from_mins(1);

/// The subnets that nodes remember.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identities {
    remembered: BTreeMap<NodeId, Ipv4Net>,
    history_began: Option<Instant>,
}

impl Identities {
    /// Takes note of what a daemon finds in its subnet file when it starts.
    pub(crate) fn start(&mut self, node: NodeId, file: Option<Ipv4Net>) {
        match file {
            Some(subnet) => self.remembered.insert(node, subnet),
            None => self.remembered.remove(&node),
        };
    }

    /// Takes note of the subnet that a node holds now.
    pub(crate) fn hold(&mut self, node: NodeId, subnet: Ipv4Net) {
        self.remembered.insert(node, subnet);
    }

    /// Takes note that a node lost its subnet and shall take another.
    pub(crate) fn give_up(&mut self, node: NodeId) {
        self.remembered.remove(&node);
    }

    /// Takes note that the store became another, so that what nodes know of it may mean nothing.
    pub(crate) const fn restart_history(&mut self, now: Instant) {
        self.history_began = Some(now);
    }

    /// Checks a write of a cluster of `nodes` that the model has taken.
    pub(crate) fn check_write(
        &self,
        cluster: &RefCluster,
        write: &Write,
        nodes: usize,
        now: Instant,
    ) -> Verdict {
        let Write::Lease {
            subnet,
            owner: Some(owner),
            before: None,
            ..
        } = write
        else {
            return Ok(());
        };
        let Some(node) = NodeId::by_public_ip(*owner, nodes) else {
            return Ok(());
        };
        let informed = cluster.informed(node, now);
        let need_not_know =
            |began| now < began + OTHER_HISTORY || informed.is_none_or(|informed| informed < began);
        if self.history_began.is_some_and(need_not_know) || cluster.is_deaf(node) {
            return Ok(());
        }
        if let Some(other) = cluster.other_subnet_of(node, *subnet) {
            return Err(finding(
                node,
                format!("{node} takes {subnet} although its lease of {other} lives"),
            ));
        }
        let lost = self.remembered.get(&node).filter(|remembered| {
            *remembered != subnet
                && remembered.prefix_len() == subnet.prefix_len()
                && !cluster.was_given_away(node, **remembered)
        });
        match lost {
            None => Ok(()),
            Some(lost) => {
                let text =
                    format!("{node} takes {subnet} although nobody else was given {lost}, which it had");
                Err(finding(node, text))
            }
        }
    }
}

fn finding(node: NodeId, text: String) -> Finding {
    Finding::new(Invariant::Identity, [node], text)
}

#[cfg(test)]
mod tests {
    use selvedge_engine::Revision;

    use super::*;
    use crate::ref_cluster::fixture::{N1, N2, after, connected, delete, lease};
    use crate::scenario::Model;

    #[test]
    fn a_node_whose_lease_lives_takes_no_other() {
        let mut cluster = connected();
        lease(&mut cluster, "10.5.1.0-24", N1, after(1));

        let second = lease(&mut cluster, "10.5.2.0-24", N1, after(9));

        assert!(
            Identities::default()
                .check_write(&cluster, &second, 3, after(9))
                .is_err()
        );
    }

    #[test]
    fn a_lost_subnet_is_taken_back_unless_another_node_had_it() {
        let mut cluster = connected();
        let mut identities = Identities::default();
        identities.hold(N1, "10.5.1.0/24".parse().unwrap());
        lease(&mut cluster, "10.5.1.0-24", N1, after(1));
        delete(&mut cluster, "10.5.1.0-24", after(5));
        let mut given_away = connected();
        lease(&mut given_away, "10.5.1.0-24", N1, after(1));
        delete(&mut given_away, "10.5.1.0-24", after(5));
        lease(&mut given_away, "10.5.1.0-24", N2, after(6));
        delete(&mut given_away, "10.5.1.0-24", after(7));

        let other = lease(&mut cluster, "10.5.2.0-24", N1, after(9));
        let excused = lease(&mut given_away, "10.5.2.0-24", N1, after(9));

        assert!(identities.check_write(&cluster, &other, 3, after(9)).is_err());
        assert_eq!(identities.check_write(&given_away, &excused, 3, after(9)), Ok(()));
    }

    #[test]
    fn a_node_that_never_heard_of_its_lease_may_take_another_until_it_lists() {
        let mut cluster = connected();
        lease(&mut cluster, "10.5.1.0-24", N1, after(1));
        cluster.lose_change(N1, Model::Selvedge, Revision(1), after(1));
        let identities = Identities::default();

        let unheard = lease(&mut cluster, "10.5.2.0-24", N1, after(9));
        let before = identities.check_write(&cluster, &unheard, 3, after(9));
        cluster.list(N1, Revision(2), after(10));
        let heard = lease(&mut cluster, "10.5.3.0-24", N1, after(11));

        assert_eq!(before, Ok(()));
        assert!(identities.check_write(&cluster, &heard, 3, after(11)).is_err());
    }

    #[test]
    fn a_node_that_lost_its_file_or_its_store_may_take_any() {
        let mut cluster = connected();
        let mut identities = Identities::default();
        identities.hold(N1, "10.5.1.0/24".parse().unwrap());
        let mut forgetful = identities.clone();
        forgetful.start(N1, None);
        let mut restarted = identities.clone();
        restarted.restart_history(after(8));

        let other = lease(&mut cluster, "10.5.2.0-24", N1, after(9));

        assert!(identities.check_write(&cluster, &other, 3, after(9)).is_err());
        assert_eq!(forgetful.check_write(&cluster, &other, 3, after(9)), Ok(()));
        assert_eq!(restarted.check_write(&cluster, &other, 3, after(9)), Ok(()));
    }
}
