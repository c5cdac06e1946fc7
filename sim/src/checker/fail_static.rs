//! Nothing that works is taken away unless the store said something: its loss alone changes nothing, and a store that
//! lost its history takes away no peer that no lease stands against.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use selvedge_engine::{
    Action, Event, ForwardingTable, Instant, KernelObject, KernelOp, KeyRange, StoreEvent, WatchEnd, WatchId,
};

use super::Verdict;
use crate::node_id::NodeId;
use crate::sim_node::Input;
use crate::violation::{Finding, Invariant};

/// How long after the last word of the store a node may still be at work on what it heard.
const GRACE: Duration = Duration::from_secs(10);

/// When a daemon last had a reason to take something away.
#[derive(Clone, Debug)]
pub(crate) struct FailStatic {
    reason_at: Option<Instant>,
    /// How long the daemon keeps peers that a store without history lacks.
    peer_grace: Duration,
    /// When it found that it has such peers, as long as they may be there.
    stale_at: Vec<Instant>,
    leases_watch: LeasesWatch,
    /// Whether it stood until the last input: a daemon that slept hears of its end when the time is over already.
    stood_before: bool,
}

/// The watch on the leases.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum LeasesWatch {
    Closed,
    Opening(WatchId),
    Standing(WatchId),
}

impl FailStatic {
    pub(crate) const fn new(peer_grace: Duration) -> Self {
        Self {
            reason_at: None,
            peer_grace,
            stale_at: Vec::new(),
            leases_watch: LeasesWatch::Closed,
            stood_before: false,
        }
    }

    /// Takes note of what a daemon's engine is told.
    pub(crate) fn hear(&mut self, input: &Input, now: Instant) {
        if says_something(input) {
            self.reason_at = Some(now);
        }
        self.stood_before = self.follows();
        let Input::Store(event) = input else { return };
        match (event, self.leases_watch) {
            (StoreEvent::WatchCreated { id, .. }, LeasesWatch::Opening(own)) if *id == own => {
                self.leases_watch = LeasesWatch::Standing(own);
            }
            (StoreEvent::WatchEnded { id, .. }, LeasesWatch::Opening(own) | LeasesWatch::Standing(own))
                if *id == own =>
            {
                self.leases_watch = LeasesWatch::Closed;
            }
            (
                StoreEvent::WatchCreated { .. }
                | StoreEvent::WatchEnded { .. }
                | StoreEvent::WatchBatch { .. }
                | StoreEvent::Response { .. },
                LeasesWatch::Closed | LeasesWatch::Opening(_) | LeasesWatch::Standing(_),
            ) => {}
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
        self.take_note(actions, now);
        if starts_over(actions) && !self.peer_grace.is_zero() {
            match check_kept(node, actions, table) {
                Err(_) if self.may_forget_stale_peers(now) => {}
                verdict => verdict?,
            }
        }
        // A node that was told to stop before its lease ends does so without the store's word.
        let is_fenced = |action: &Action| matches!(action, Action::Event(Event::Fenced { .. }));
        if actions.iter().any(is_fenced) {
            self.reason_at = Some(now);
        }
        if self.reason_at.is_some_and(|at| now <= at + GRACE) {
            return Ok(());
        }
        let leads_to_peer = |op: &KernelOp| match op.object() {
            KernelObject::FdbEntry(_)
            | KernelObject::Neighbour(_)
            | KernelObject::Route(_)
            | KernelObject::Member(_) => true,
            KernelObject::Socket(_)
            | KernelObject::Link(_)
            | KernelObject::Sysctl(_)
            | KernelObject::Address(_)
            | KernelObject::Ruleset(_)
            | KernelObject::SubnetFile(_) => false,
        };
        let removes_peers = actions.iter().any(
            |action| matches!(action, Action::Kernel { op: op @ KernelOp::Remove(_), .. } if leads_to_peer(op)),
        );
        // Where packets do not pass through the daemon, its kernel's objects are all that its peers are.
        let lets_go = table.is_none() && removes_peers && self.may_forget_stale_peers(now);
        actions.iter().try_for_each(|action| match action {
            Action::Kernel {
                op: op @ KernelOp::Remove(_),
                ..
            } if lets_go && leads_to_peer(op) => Ok(()),
            Action::Forwarding(new) => match check_table(node, table, new) {
                Err(_) if self.may_forget_stale_peers(now) => Ok(()),
                verdict => verdict,
            },
            Action::Kernel {
                op: KernelOp::Remove(object),
                ..
            } => Err(finding(node, &format!("{node} removes {object}"))),
            Action::Kernel {
                op: KernelOp::Ensure(_) | KernelOp::Replace(_),
                ..
            }
            | Action::Survey { .. }
            | Action::Request { .. }
            | Action::Watch { .. }
            | Action::CancelWatch(_)
            | Action::Reconnect
            | Action::Ready
            | Action::Event(_)
            | Action::Exit(_) => Ok(()),
        })
    }

    const fn follows(&self) -> bool {
        matches!(self.leases_watch, LeasesWatch::Standing(_))
    }

    fn take_note(&mut self, actions: &[Action], now: Instant) {
        for action in actions {
            if let Action::Watch {
                id,
                range: KeyRange::Prefix(_),
                ..
            } = action
            {
                self.leases_watch = LeasesWatch::Opening(*id);
            }
            if matches!(action, Action::Event(Event::PeersStale { .. })) {
                self.stale_at.push(now);
            }
        }
    }

    /// The time of peers whose leases vanished is over one day, also if nobody says anything; but not while the store is
    /// away, and they cannot write anything.
    fn may_forget_stale_peers(&mut self, now: Instant) -> bool {
        let grace = self.peer_grace;
        let is_over = |at: &mut Instant| now >= *at + grace;
        (self.follows() || self.stood_before) && self.stale_at.extract_if(.., is_over).count() > 0
    }
}

/// Tells whether the daemon found a store with another history, and no record that it refuses.
fn starts_over(actions: &[Action]) -> bool {
    let tells = |wanted: fn(&Event) -> bool| {
        let mut actions = actions.iter();
        actions.any(|action| matches!(action, Action::Event(event) if wanted(event)))
    };
    tells(|event| matches!(event, Event::StoreRestarted { .. }))
        && !tells(|event| {
            matches!(
                event,
                Event::RecordRejected { .. } | Event::RecordsRejected { .. }
            )
        })
}

fn check_kept(node: NodeId, actions: &[Action], old: Option<&ForwardingTable>) -> Verdict {
    let Some(old) = old else { return Ok(()) };
    let tables = actions.iter().filter_map(|action| match action {
        Action::Forwarding(table) => Some(table),
        Action::Request { .. }
        | Action::Watch { .. }
        | Action::CancelWatch(_)
        | Action::Reconnect
        | Action::Kernel { .. }
        | Action::Survey { .. }
        | Action::Ready
        | Action::Event(_)
        | Action::Exit(_) => None,
    });
    for new in tables {
        let gone = old
            .peers()
            .find(|(subnet, owner)| !is_replaced(new, *subnet, *owner));
        if let Some((subnet, owner)) = gone {
            let text = format!(
                "{node} forgets {subnet} via {owner} because the store lost it, although nothing stands against it"
            );
            return Err(Finding::new(Invariant::FailStatic, [node], text));
        }
    }
    Ok(())
}

/// Tells whether a table has the peer, or something that stands against it.
fn is_replaced(table: &ForwardingTable, subnet: Ipv4Net, owner: Ipv4Addr) -> bool {
    let overlaps = |other: Ipv4Net| other.contains(&subnet) || subnet.contains(&other);
    table.is_member(owner)
        || overlaps(table.params().subnet)
        || table.peers().any(|(other, _)| overlaps(other))
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
    use std::sync::Arc;

    use selvedge_engine::{
        Header, LinkName, Membership, NextHop, OpId, Revision, Route, StoreError, StoreErrorKind,
        StoreResponse, TunnelParams,
    };

    use super::*;
    use crate::ref_cluster::fixture::{N1, N2, after};

    #[test]
    fn what_the_store_said_may_take_things_away() {
        let mut checker = checker();
        checker.hear(&answer(), after(1));

        assert_eq!(checker.check(N1, &[removal()], Some(&full()), after(2)), Ok(()));
        assert!(checker.check(N1, &[removal()], Some(&full()), after(60)).is_err());
    }

    #[test]
    fn silence_takes_nothing_away() {
        let mut checker = checker();
        checker.hear(&failure(), after(50));
        let empty = Action::Forwarding(Arc::new(table(&[])));
        let same = Action::Forwarding(Arc::new(full()));

        assert_eq!(checker.check(N1, &[same], Some(&full()), after(50)), Ok(()));
        assert!(checker.check(N1, &[empty], Some(&full()), after(50)).is_err());
    }

    #[test]
    fn stale_peers_go_when_their_time_is_over_and_the_store_can_be_followed() {
        let watch = |id| Action::Watch {
            id,
            range: KeyRange::Prefix(Vec::new()),
            start: Revision(1),
        };
        let stale = Action::Event(Event::PeersStale {
            peers: 1,
            grace: Duration::from_mins(2),
        });
        let (first, second) = (WatchId(1), WatchId(2));
        let mut checker = checker();
        checker
            .check(N1, &[watch(first), stale], None, after(10))
            .unwrap();
        checker.hear(&created(first), after(11));
        let mut forgets = |second| {
            let action = Action::Forwarding(Arc::new(table(&[])));
            checker.check(N1, &[action], Some(&full()), after(second))
        };

        assert!(forgets(129).is_err());
        assert_eq!(forgets(130), Ok(()));

        checker.hear(&ended(first), after(140));
        checker.check(N1, &[watch(second)], None, after(141)).unwrap();
        checker.hear(&failure(), after(142));
        let action = Action::Forwarding(Arc::new(table(&[])));
        assert!(checker.check(N1, &[action], Some(&full()), after(150)).is_err());
    }

    #[test]
    fn a_store_without_history_takes_no_peer_away_that_nothing_stands_against() {
        let restarted = |new: ForwardingTable| {
            let event = Event::StoreRestarted {
                known: Revision(9),
                found: Revision(1),
            };
            let actions = [Action::Event(event), Action::Forwarding(Arc::new(new))];
            let mut checker = checker();
            checker.hear(&answer(), after(1));
            checker.check(N1, &actions, Some(&full()), after(1))
        };

        assert!(restarted(table(&[])).is_err());
        for excused in [
            full(),
            table(&[("10.5.9.0/24", N2.public_ip())]),
            table(&[("10.5.2.128/25", Ipv4Addr::LOCALHOST)]),
        ] {
            assert_eq!(restarted(excused), Ok(()));
        }
    }

    fn checker() -> FailStatic {
        FailStatic::new(Duration::from_mins(2))
    }

    fn answer() -> Input {
        Input::Store(StoreEvent::Response {
            id: selvedge_engine::RequestId(1),
            result: Ok(StoreResponse::LeaseRevoke {
                header: Header::default(),
            }),
        })
    }

    fn created(id: WatchId) -> Input {
        let header = Header::default();
        Input::Store(StoreEvent::WatchCreated { id, header })
    }

    fn ended(id: WatchId) -> Input {
        let error = StoreError {
            kind: StoreErrorKind::Unavailable,
            message: String::new(),
        };
        let end = WatchEnd::Failed(error);
        Input::Store(StoreEvent::WatchEnded { id, end })
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
        let hop = NextHop::Link(LinkName("flannel0".to_owned()));
        let route = Route::new("10.5.0.0/16".parse().unwrap(), hop);
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
