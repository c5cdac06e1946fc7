//! A node's view of the store only goes forward, and what it knows already changes nothing.

use selvedge_engine::{Action, Event, Revision, StoreEvent, WatchEvent};

use super::Verdict;
use crate::node_id::NodeId;
use crate::sim_node::Input;
use crate::violation::{Finding, Invariant};

/// What an engine knew before an input, and whether the input told it something new.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Known {
    revision: Revision,
    input: News,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum News {
    /// Changes, none of which is newer than what the engine knew.
    AllOld,
    Other,
}

impl Known {
    /// Notes what an engine knows that is about to be told `input`.
    pub(crate) fn before(revision: Revision, input: &Input) -> Self {
        let is_old = |event: &WatchEvent| match event {
            WatchEvent::Put(kv) => kv.mod_revision <= revision,
            WatchEvent::Delete { mod_revision, .. } => *mod_revision <= revision,
        };
        let input = match input {
            Input::Store(StoreEvent::WatchBatch { events, .. }) if events.iter().all(is_old) => News::AllOld,
            Input::Start | Input::Store(_) | Input::Kernel(_) | Input::Timeout | Input::Stop => News::Other,
        };
        Self { revision, input }
    }

    /// Checks what the engine knows now, and what it wants done.
    pub(crate) fn check(self, node: NodeId, now_known: Revision, actions: &[Action]) -> Verdict {
        let starts_over = |action: &Action| matches!(action, Action::Event(Event::StoreRestarted { .. }));
        if now_known < self.revision && !actions.iter().any(starts_over) {
            let text = format!("{node} goes back from {} to {now_known}", self.revision);
            return Err(finding(node, text));
        }
        let forwards_anew = |action: &Action| matches!(action, Action::Forwarding(_));
        if self.input == News::AllOld && actions.iter().any(forwards_anew) {
            let text = format!(
                "{node} changes its forwarding over what it knew at {}",
                self.revision
            );
            return Err(finding(node, text));
        }
        Ok(())
    }
}

fn finding(node: NodeId, text: String) -> Finding {
    Finding::new(Invariant::Monotone, [node], text)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use selvedge_engine::{ForwardingTable, Header, Membership, TunnelParams, WatchId};

    use super::*;
    use crate::ref_cluster::fixture::N1;

    #[test]
    fn a_step_back_needs_a_reason() {
        let known = Known::before(Revision(7), &Input::Timeout);
        let restarted = Action::Event(Event::StoreRestarted {
            known: Revision(7),
            found: Revision(3),
        });

        assert_eq!(known.check(N1, Revision(8), &[]), Ok(()));
        assert_eq!(known.check(N1, Revision(3), &[restarted]), Ok(()));
        assert!(known.check(N1, Revision(6), &[]).is_err());
    }

    #[test]
    fn what_was_known_changes_nothing() {
        let old = Known::before(Revision(7), &deletion(Revision(7)));
        let new = Known::before(Revision(7), &deletion(Revision(8)));

        assert!(old.check(N1, Revision(7), &[forwarding()]).is_err());
        assert_eq!(old.check(N1, Revision(7), &[]), Ok(()));
        assert_eq!(new.check(N1, Revision(8), &[forwarding()]), Ok(()));
    }

    fn deletion(mod_revision: Revision) -> Input {
        let key = b"/net/subnets/10.5.1.0-24".to_vec();
        Input::Store(StoreEvent::WatchBatch {
            id: WatchId(1),
            header: Header::default(),
            events: vec![WatchEvent::Delete { key, mod_revision }],
        })
    }

    fn forwarding() -> Action {
        let params = TunnelParams {
            network: "10.5.0.0/16".parse().unwrap(),
            subnet: "10.5.1.0/24".parse().unwrap(),
            address: Ipv4Addr::new(10, 5, 1, 0),
            mtu: 1472,
            port: 8285,
            membership: Membership::Enforce,
        };
        Action::Forwarding(Arc::new(ForwardingTable::new(params, [])))
    }
}
