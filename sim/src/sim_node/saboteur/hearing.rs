//! Changing what an engine hears.

use std::sync::Arc;
use std::time::Duration;

use selvedge_engine::{
    Action, EtcdLeaseId, ForwardingTable, FoundAddress, Instant, KernelEvent, KeyValue, LeaseRecord,
    Revision, StoreEvent, StoreRequest, StoreResponse, Txn, TxnOp, WatchEnd, WatchEvent,
};

use super::Saboteur;
use crate::sabotage::Sabotage;
use crate::sim_node::Input;

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
            Sabotage::KeepOldAddress => self.keep_old_address(&mut input),
            Sabotage::WriteBlindly
            | Sabotage::CarryOn
            | Sabotage::IgnoreFence
            | Sabotage::SendToOldPeer
            | Sabotage::Impersonate
            | Sabotage::GiveUp
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
            | Sabotage::ForgetPeersWithStore
            | Sabotage::KeepStalePeers
            | Sabotage::HideRestart
            | Sabotage::SetOtherwise
            | Sabotage::AskTwice
            | Sabotage::AskInVain
            | Sabotage::OpenManyWatches
            | Sabotage::WriteIllegibly
            | Sabotage::Miscount
            | Sabotage::DrawElsewhere
            | Sabotage::NeverCompare
            | Sabotage::StayFenced
            | Sabotage::Despair
            | Sabotage::SitIdle => {}
        }
        input
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
            Input::Start | Input::Store(_) | Input::Kernel(_) | Input::Timeout | Input::Stop => (None, false),
        };
        let Some(newest) = newest else { return };
        let is_old = is_batch && newest <= self.newest;
        self.newest = self.newest.max(newest);
        if let Some(table) = self.table.as_ref().filter(|_| is_old) {
            self.extra.push(Action::Forwarding(table.clone()));
        }
    }

    fn keep_old_address(&mut self, input: &mut Input) {
        let Input::Kernel(KernelEvent::Surveyed {
            result: Ok(facts), ..
        }) = input
        else {
            return;
        };
        let of_card = |found: &&mut FoundAddress| found.link == CARD && found.address.is_ipv4();
        if let Some(found) = facts.addresses.iter_mut().find(of_card) {
            found.address = *self.first_address.get_or_insert(found.address);
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
        // Its own was given back.
        let lease = EtcdLeaseId(written.lease.0 ^ 1);
        let put = TxnOp::Put {
            key: written.key,
            value: written.value,
            lease: Some(lease),
        };
        let grant = StoreRequest::LeaseGrant {
            id: lease,
            ttl_seconds: DAY,
        };
        let put = StoreRequest::Txn(Txn {
            success: vec![put],
            ..Txn::default()
        });
        for request in [grant, put] {
            let id = self.request_id();
            self.extra.push(Action::Request {
                id,
                deadline: now + PATIENCE,
                request,
            });
        }
    }
}

/// The index of a node's card.
const CARD: u32 = 2;
const PATIENCE: Duration = Duration::from_secs(5);
const DAY: i64 = 86_400;

fn overlook_deletions(input: &mut Input) {
    if let Input::Store(StoreEvent::WatchBatch { events, .. }) = input {
        events.retain(|event| matches!(event, WatchEvent::Put(_)));
    }
}

const fn revision(event: &WatchEvent) -> Revision {
    match event {
        WatchEvent::Put(kv) => kv.mod_revision,
        WatchEvent::Delete { mod_revision, .. } => *mod_revision,
    }
}
