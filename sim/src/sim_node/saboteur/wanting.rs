//! Changing what an engine wants done.

use std::sync::Arc;

use selvedge_engine::{
    Action, EtcdLeaseId, Event, ExitReason, KernelObject, KernelOp, KeyRange, LinkName, NextHop, OpId, Route,
    RouteMark, StoreRequest, Sysctl, Txn, TxnOp,
};

use super::{Saboteur, WrittenLease};
use crate::sabotage::Sabotage;
use crate::sim_node::{DOCKERS_BRIDGE, OPERATORS_NETWORK};

impl Saboteur {
    /// Changes what the engine wants done.
    pub(in crate::sim_node) fn want(&mut self, actions: Vec<Action>) -> Vec<Action> {
        let Some(sabotage) = self.sabotage else {
            return actions;
        };
        let mut wanted: Vec<Action> = actions
            .into_iter()
            .flat_map(|action| self.want_instead(sabotage, action))
            .collect();
        wanted.append(&mut self.extra);
        wanted
    }

    fn want_instead(&mut self, sabotage: Sabotage, mut action: Action) -> Vec<Action> {
        match sabotage {
            Sabotage::WriteBlindly => {
                if let Some(txn) = transaction(&mut action) {
                    txn.compares.clear();
                }
            }
            Sabotage::WriteIllegibly => {
                let puts = transaction(&mut action)
                    .into_iter()
                    .flat_map(|txn| &mut txn.success);
                for op in puts {
                    if let TxnOp::Put { value, .. } = op {
                        value.push(b' ');
                    }
                }
            }
            Sabotage::EndReservations => self.note_written(&mut action),
            Sabotage::KeepGoneRoutes => self.keep_gone_routes(&mut action),
            Sabotage::ForgetPeers | Sabotage::ActOnOldNews => self.note_table(&action),
            Sabotage::IgnoreFence if is_removal(&action) => return Vec::new(),
            Sabotage::HideRestart if is_restart(&action) => return Vec::new(),
            Sabotage::GiveUp if matches!(action, Action::Ready) => {
                self.extra.push(Action::Exit(ExitReason::Shutdown));
            }
            Sabotage::DeleteForeignRoute if matches!(action, Action::Ready) => {
                let removal = self.removal_of_foreign_route();
                self.extra.push(removal);
            }
            Sabotage::SetOtherwise => {
                if let Action::Kernel {
                    op: KernelOp::Ensure(KernelObject::Sysctl(Sysctl { value, .. })),
                    ..
                } = &mut action
                {
                    *value = "2".into();
                }
            }
            Sabotage::Despair if self.is_after_the_loss(&mut action) => return Vec::new(),
            Sabotage::SitIdle if transaction(&mut action).is_some() => return Vec::new(),
            Sabotage::NeverCompare if self.is_another_list(&action) => return Vec::new(),
            Sabotage::StayFenced if self.is_after_the_fence(&action) => return Vec::new(),
            Sabotage::CarryOn if self.is_change_of_subnet(&action) => return Vec::new(),
            Sabotage::AskTwice => return self.ask_twice(action),
            Sabotage::AskInVain if is_list(&action) => return self.ask_in_vain(action),
            Sabotage::OpenManyWatches => return self.watch_often(action),
            Sabotage::DeleteForeignRoute
            | Sabotage::AskInVain
            | Sabotage::SitIdle
            | Sabotage::KeepOldAddress
            | Sabotage::NeverCompare
            | Sabotage::StayFenced
            | Sabotage::Despair
            | Sabotage::CarryOn
            | Sabotage::IgnoreFence
            | Sabotage::ForgetPeersWithStore
            | Sabotage::KeepStalePeers
            | Sabotage::HideRestart
            | Sabotage::SendToOldPeer
            | Sabotage::Impersonate
            | Sabotage::GiveUp
            | Sabotage::ForgetItself
            | Sabotage::TakeAnySource
            | Sabotage::KeepTtl
            | Sabotage::SendTwice
            | Sabotage::AnswerNoise
            | Sabotage::AnswerEverything
            | Sabotage::LosePackets
            | Sabotage::BreakChecksums
            | Sabotage::StayDue
            | Sabotage::Hoard
            | Sabotage::DrawElsewhere
            | Sabotage::Miscount => {}
        }
        vec![action]
    }

    /// Asks for etcd leases to be kept alive that nobody has.
    fn ask_in_vain(&mut self, action: Action) -> Vec<Action> {
        let Action::Request { deadline, .. } = action else {
            return vec![action];
        };
        let asked = [1, 2].map(|id| Action::Request {
            id: self.request_id(),
            request: StoreRequest::LeaseKeepAlive { id: EtcdLeaseId(id) },
            deadline,
        });
        asked.into_iter().chain([action]).collect()
    }

    fn is_another_list(&mut self, action: &Action) -> bool {
        let is_list = is_list(action);
        self.count += u64::from(is_list);
        is_list && self.count > 1
    }

    fn is_after_the_loss(&mut self, action: &mut Action) -> bool {
        self.count += u64::from(matches!(action, Action::Event(Event::LeaseLost { .. })));
        self.count > 0 && transaction(action).is_some()
    }

    fn is_after_the_fence(&mut self, action: &Action) -> bool {
        self.count += u64::from(matches!(action, Action::Event(Event::Fenced { .. })));
        let sets_up = matches!(
            action,
            Action::Kernel {
                op: KernelOp::Ensure(_),
                ..
            }
        );
        sets_up && self.count > 0
    }

    /// Tells whether an action gives up what the first subnet needs.
    fn is_change_of_subnet(&mut self, action: &Action) -> bool {
        match action {
            Action::Forwarding(table) => {
                let subnet = table.params().subnet;
                *self.first_subnet.get_or_insert(subnet) != subnet
            }
            Action::Kernel { op, .. } => matches!(op, KernelOp::Remove(_)),
            Action::Request { .. }
            | Action::Watch { .. }
            | Action::CancelWatch(_)
            | Action::Reconnect
            | Action::Survey { .. }
            | Action::Ready
            | Action::Event(_)
            | Action::Exit(_) => false,
        }
    }

    fn keep_gone_routes(&mut self, action: &mut Action) {
        if let (Some(known), Action::Forwarding(table)) = (&self.table, &mut *action) {
            let gone = known
                .peers()
                .filter(|(subnet, _)| table.next_hop(subnet.network()).is_none());
            let gone = gone.map(|(subnet, hop)| (subnet, Some(hop)));
            *table = Arc::new(table.with(*table.params(), gone));
        }
        self.note_table(action);
    }

    fn note_table(&mut self, action: &Action) {
        if let Action::Forwarding(table) = action {
            self.table = Some(table.clone());
        }
    }

    fn removal_of_foreign_route(&mut self) -> Action {
        let route = Route {
            destination: OPERATORS_NETWORK.into(),
            hop: NextHop::Link(LinkName(DOCKERS_BRIDGE.to_owned())),
            mark: RouteMark::Flannel,
        };
        Action::Kernel {
            id: OpId(self.number()),
            op: KernelOp::Remove(KernelObject::Route(route)),
        }
    }

    fn ask_twice(&mut self, action: Action) -> Vec<Action> {
        let Action::Request {
            deadline, request, ..
        } = &action
        else {
            return vec![action];
        };
        let again = Action::Request {
            id: self.request_id(),
            deadline: *deadline,
            request: request.clone(),
        };
        vec![action, again]
    }

    fn watch_often(&mut self, action: Action) -> Vec<Action> {
        let Action::Watch { range, start, .. } = &action else {
            return vec![action];
        };
        let (range, start) = (range.clone(), *start);
        let again = (1..200).map(|_| Action::Watch {
            id: self.watch_id(),
            range: range.clone(),
            start,
        });
        let again: Vec<Action> = again.collect();
        [action].into_iter().chain(again).collect()
    }

    fn note_written(&mut self, action: &mut Action) {
        let puts = transaction(action).into_iter().flat_map(|txn| &txn.success);
        for op in puts {
            if let TxnOp::Put {
                key,
                value,
                lease: Some(lease),
            } = op
            {
                self.written = Some(WrittenLease {
                    key: key.clone(),
                    value: value.clone(),
                    lease: *lease,
                });
            }
        }
    }
}

const fn is_removal(action: &Action) -> bool {
    matches!(
        action,
        Action::Kernel {
            op: KernelOp::Remove(_),
            ..
        }
    )
}

const fn is_list(action: &Action) -> bool {
    matches!(
        action,
        Action::Request {
            request: StoreRequest::Range {
                range: KeyRange::Prefix(_),
                ..
            },
            ..
        }
    )
}

fn is_restart(action: &Action) -> bool {
    matches!(action, Action::Event(Event::StoreRestarted { .. }))
}

fn transaction(action: &mut Action) -> Option<&mut Txn> {
    let Action::Request {
        request: StoreRequest::Txn(txn),
        ..
    } = action
    else {
        return None;
    };
    Some(txn)
}
