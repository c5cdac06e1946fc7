//! Changing what an engine hears and what it wants done.

use std::sync::Arc;
use std::time::Duration;

use selvedge_engine::{
    Action, Event, ForwardingTable, Instant, KernelObject, KernelOp, KeyValue, LeaseRecord, LinkName, OpId,
    Revision, Route, StoreEvent, StoreRequest, StoreResponse, Sysctl, Txn, TxnOp, WatchEnd, WatchEvent,
};

use super::{Saboteur, WrittenLease};
use crate::sabotage::Sabotage;
use crate::sim_node::{DOCKERS_NETWORK, Input};

impl Saboteur {
    /// Changes what the engine is told.
    pub(in crate::sim_node) fn hear(&mut self, mut input: Input, now: Instant) -> Input {
        let Some(sabotage) = self.sabotage else {
            return input;
        };
        match sabotage {
            Sabotage::EndReservations => self.end_reservation(&input, now),
            Sabotage::ForgetItself => self.overlook_itself(&mut input),
            Sabotage::Hoard => overlook_deletions(&mut input),
            Sabotage::ForgetPeers => self.forget_peers(&input),
            Sabotage::ActOnOldNews => self.act_on_old_news(&input),
            Sabotage::WriteBlindly
            | Sabotage::CarryOn
            | Sabotage::IgnoreFence
            | Sabotage::SendToOldPeer
            | Sabotage::KeepGoneRoutes
            | Sabotage::TakeAnySource
            | Sabotage::KeepTtl
            | Sabotage::SendTwice
            | Sabotage::AnswerNoise
            | Sabotage::AnswerEverything
            | Sabotage::LosePackets
            | Sabotage::BreakChecksums
            | Sabotage::StayDue
            | Sabotage::DeleteForeignRoute
            | Sabotage::HideRestart
            | Sabotage::SetOtherwise
            | Sabotage::AskTwice
            | Sabotage::OpenManyWatches
            | Sabotage::WriteIllegibly
            | Sabotage::Miscount
            | Sabotage::DrawElsewhere
            | Sabotage::SitIdle => {}
        }
        input
    }

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
            Sabotage::SitIdle if transaction(&mut action).is_some() => return Vec::new(),
            Sabotage::CarryOn if self.is_change_of_subnet(&action) => return Vec::new(),
            Sabotage::AskTwice => return self.ask_twice(action),
            Sabotage::OpenManyWatches => return self.watch_often(action),
            Sabotage::DeleteForeignRoute
            | Sabotage::SitIdle
            | Sabotage::CarryOn
            | Sabotage::IgnoreFence
            | Sabotage::HideRestart
            | Sabotage::SendToOldPeer
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

    fn forget_peers(&mut self, input: &Input) {
        let is_loss = matches!(
            input,
            Input::Store(
                StoreEvent::Response { result: Err(_), .. }
                    | StoreEvent::WatchEnded {
                        end: WatchEnd::Failed(_),
                        ..
                    }
            )
        );
        if let Some(table) = self.table.as_ref().filter(|_| is_loss) {
            let empty = ForwardingTable::new(*table.params(), []);
            self.extra.push(Action::Forwarding(Arc::new(empty)));
        }
    }

    fn act_on_old_news(&mut self, input: &Input) {
        let (newest, is_batch) = match input {
            Input::Store(StoreEvent::WatchBatch { events, .. }) => (events.iter().map(revision).max(), true),
            Input::Store(StoreEvent::Response {
                result: Ok(StoreResponse::Range { kvs, .. }),
                ..
            }) => (kvs.iter().map(|kv| kv.mod_revision).max(), false),
            Input::Start | Input::Store(_) | Input::Kernel(_) | Input::Timeout => (None, false),
        };
        let Some(newest) = newest else { return };
        let is_old = is_batch && newest <= self.newest;
        self.newest = self.newest.max(newest);
        if let Some(table) = self.table.as_ref().filter(|_| is_old) {
            self.extra.push(Action::Forwarding(table.clone()));
        }
    }

    fn overlook_itself(&self, input: &mut Input) {
        let Input::Store(StoreEvent::Response {
            result: Ok(StoreResponse::Range { kvs, .. }),
            ..
        }) = input
        else {
            return;
        };
        kvs.retain(|kv| {
            LeaseRecord::decode(&kv.value).map_or(true, |record| record.public_ip != self.public_ip)
        });
    }

    fn removal_of_foreign_route(&mut self) -> Action {
        let route = Route {
            destination: DOCKERS_NETWORK,
            link: LinkName("docker0".to_owned()),
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

    fn end_reservation(&mut self, input: &Input, now: Instant) {
        let (Some(written), Input::Store(StoreEvent::WatchBatch { events, .. })) =
            (self.written.clone(), input)
        else {
            return;
        };
        let is_reserved = |event: &WatchEvent| matches!(event, WatchEvent::Put(KeyValue { key, lease: None, .. }) if *key == written.key);
        if !events.iter().any(is_reserved) {
            return;
        }
        let put = TxnOp::Put {
            key: written.key,
            value: written.value,
            lease: Some(written.lease),
        };
        let id = self.request_id();
        self.extra.push(Action::Request {
            id,
            deadline: now + PATIENCE,
            request: StoreRequest::Txn(Txn {
                success: vec![put],
                ..Txn::default()
            }),
        });
    }
}

const PATIENCE: Duration = Duration::from_secs(5);

fn overlook_deletions(input: &mut Input) {
    if let Input::Store(StoreEvent::WatchBatch { events, .. }) = input {
        events.retain(|event| matches!(event, WatchEvent::Put(_)));
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

const fn is_restart(action: &Action) -> bool {
    matches!(action, Action::Event(Event::StoreRestarted { .. }))
}

const fn revision(event: &WatchEvent) -> Revision {
    match event {
        WatchEvent::Put(kv) => kv.mod_revision,
        WatchEvent::Delete { mod_revision, .. } => *mod_revision,
    }
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
