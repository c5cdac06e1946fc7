//! Nothing that works is taken away unless the store said something: its loss alone changes nothing.

use std::time::Duration;

use selvedge_engine::{Action, Event, ForwardingTable, Instant, KernelOp, StoreEvent, WatchEnd};

use super::Verdict;
use crate::node_id::NodeId;
use crate::sim_node::Input;
use crate::violation::{Finding, Invariant};

/// How long after the last word of the store a node may still be at work on what it heard.
const GRACE: Duration = Duration::from_secs(10);

/// When a daemon last had a reason to take something away.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FailStatic {
    reason_at: Option<Instant>,
}

impl FailStatic {
    /// Takes note of what a daemon's engine is told.
    pub(crate) fn hear(&mut self, input: &Input, now: Instant) {
        if says_something(input) {
            self.reason_at = Some(now);
        }
    }

    /// Checks what the engine wants done; `table` is what the daemon forwards by so far.
    pub(crate) fn check(
        &mut self,
        node: NodeId,
        actions: &[Action],
        table: Option<&ForwardingTable>,
        now: Instant,
    ) -> Verdict {
        // A node that was told to stop before its lease ends does so without the store's word.
        let is_fenced = |action: &Action| matches!(action, Action::Event(Event::Fenced { .. }));
        if actions.iter().any(is_fenced) {
            self.reason_at = Some(now);
        }
        if self.reason_at.is_some_and(|at| now <= at + GRACE) {
            return Ok(());
        }
        actions.iter().try_for_each(|action| match action {
            Action::Forwarding(new) => check_table(node, table, new),
            Action::Kernel {
                op: KernelOp::Remove(object),
                ..
            } => Err(finding(node, &format!("{node} removes {object}"))),
            Action::Kernel {
                op: KernelOp::Ensure(_),
                ..
            }
            | Action::Request { .. }
            | Action::Watch { .. }
            | Action::CancelWatch(_)
            | Action::Ready
            | Action::Event(_)
            | Action::Exit(_) => Ok(()),
        })
    }
}

fn check_table(node: NodeId, old: Option<&ForwardingTable>, new: &ForwardingTable) -> Verdict {
    let Some(old) = old else { return Ok(()) };
    if old.params().subnet != new.params().subnet {
        let text = format!(
            "{node} carries {} instead of {}",
            new.params().subnet,
            old.params().subnet
        );
        return Err(finding(node, &text));
    }
    let gone = old
        .peers()
        .find(|(subnet, owner)| new.next_hop(subnet.network()).map(|hop| *hop.ip()) != Some(*owner));
    match gone {
        None => Ok(()),
        Some((subnet, owner)) => Err(finding(node, &format!("{node} forgets {subnet} via {owner}"))),
    }
}

fn says_something(input: &Input) -> bool {
    match input {
        Input::Store(
            StoreEvent::Response { result: Ok(_), .. }
            | StoreEvent::WatchCreated { .. }
            | StoreEvent::WatchBatch { .. }
            | StoreEvent::WatchEnded {
                end: WatchEnd::Compacted(_),
                ..
            },
        )
        | Input::Kernel(_) => true,
        Input::Store(
            StoreEvent::Response { result: Err(_), .. }
            | StoreEvent::WatchEnded {
                end: WatchEnd::Failed(_),
                ..
            },
        )
        | Input::Start
        | Input::Timeout
        | Input::Stop => false,
    }
}

fn finding(node: NodeId, what: &str) -> Finding {
    let text = format!("{what} although the store has said nothing");
    Finding::new(Invariant::FailStatic, [node], text)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use selvedge_engine::{
        Header, KernelObject, LinkName, Membership, OpId, Route, StoreError, StoreErrorKind, StoreResponse,
        TunnelParams,
    };

    use super::*;
    use crate::ref_cluster::fixture::{N1, N2, after};

    #[test]
    fn what_the_store_said_may_take_things_away() {
        let mut checker = FailStatic::default();
        checker.hear(&answer(), after(1));

        assert_eq!(checker.check(N1, &[removal()], Some(&full()), after(2)), Ok(()));
        assert!(checker.check(N1, &[removal()], Some(&full()), after(60)).is_err());
    }

    #[test]
    fn silence_takes_nothing_away() {
        let mut checker = FailStatic::default();
        checker.hear(&failure(), after(50));
        let empty = Action::Forwarding(Arc::new(table(&[])));
        let same = Action::Forwarding(Arc::new(full()));

        assert_eq!(checker.check(N1, &[same], Some(&full()), after(50)), Ok(()));
        assert!(checker.check(N1, &[empty], Some(&full()), after(50)).is_err());
    }

    fn answer() -> Input {
        Input::Store(StoreEvent::Response {
            id: selvedge_engine::RequestId(1),
            result: Ok(StoreResponse::LeaseRevoke {
                header: Header::default(),
            }),
        })
    }

    fn failure() -> Input {
        Input::Store(StoreEvent::Response {
            id: selvedge_engine::RequestId(1),
            result: Err(StoreError {
                kind: StoreErrorKind::Unavailable,
                message: String::new(),
            }),
        })
    }

    fn removal() -> Action {
        let route = Route {
            destination: "10.5.0.0/16".parse().unwrap(),
            link: LinkName("flannel0".to_owned()),
        };
        Action::Kernel {
            id: OpId(1),
            op: KernelOp::Remove(KernelObject::Route(route)),
        }
    }

    fn full() -> ForwardingTable {
        table(&[("10.5.2.0/24", N2.public_ip())])
    }

    fn table(peers: &[(&str, Ipv4Addr)]) -> ForwardingTable {
        let params = TunnelParams {
            network: "10.5.0.0/16".parse().unwrap(),
            subnet: "10.5.1.0/24".parse().unwrap(),
            address: Ipv4Addr::new(10, 5, 1, 0),
            mtu: 1472,
            port: 8285,
            membership: Membership::Enforce,
        };
        let peers = peers
            .iter()
            .map(|(subnet, owner)| (subnet.parse().unwrap(), *owner));
        ForwardingTable::new(params, peers)
    }
}
