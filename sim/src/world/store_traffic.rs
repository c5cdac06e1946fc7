//! Requests, answers and watches between nodes and the store.

use std::time::Duration;

use selvedge_engine::{
    Instant, KeyRange, RequestId, Revision, StoreError, StoreErrorKind, StoreEvent, StoreRequest,
    StoreResponse, Txn, TxnOp, TxnOutcome, WatchEnd, WatchEvent, WatchId,
};

use super::World;
use super::event::Event;
use super::marking::Write;
use crate::checker::store_requests::{Counted, RequestKind, Rest};
use crate::checker::{Verdict, reservation, single_owner, store_requests, store_values};
use crate::fault::WriteFate;
use crate::mark::Situation;
use crate::node_id::NodeId;
use crate::ref_cluster::Hand;
use crate::scenario::Model;
use crate::sim_node::Input;
use crate::store_path::{Arrived, Carried, InFlight, StorePath};
use crate::store_service::{Heard, ToStore, stream_of, unavailable, writes};
use crate::trace::Topic;

impl World {
    pub(super) fn send_request(
        &mut self,
        node: NodeId,
        id: RequestId,
        deadline: Instant,
        request: StoreRequest,
    ) -> Verdict {
        let now = self.now;
        let kind = RequestKind::of(&request);
        let Some(daemon) = self.daemon_mut(node) else {
            return Ok(());
        };
        let model = daemon.model();
        let deadline = daemon.shows_at(deadline);
        let verdict = match model {
            Model::Selvedge => store_requests::check_open(node, &daemon.pending, &kind, deadline, now),
            Model::Flannel => Ok(()),
        };
        daemon.pending.insert(id, kind);
        self.mark_request(node, id, &request);
        self.message(
            node,
            Topic::Ask(id),
            format!("asks #{}: {}", id.0, described(&request)),
        );
        verdict?;
        let counted = if writes(&request) {
            Counted::Write
        } else {
            Counted::Read
        };
        self.count_request(node, counted)?;
        let too_late = StoreError {
            kind: StoreErrorKind::DeadlineExceeded,
            message: "no answer before the deadline".to_owned(),
        };
        self.fail_request(node, id, too_late, deadline);
        let can_connect = self.paths.get(node.index()).is_some_and(StorePath::can_connect);
        match (self.service.is_up(), can_connect, model) {
            (true, true, _) | (true, false, Model::Selvedge) => {
                self.send_to_store(node, ToStore::Request { id, request });
            }
            // Its request has no deadline: only the connection can fail.
            (true, false, Model::Flannel) => {
                self.fail_request(node, id, unavailable("no connection"), now + CONNECT_TIMEOUT);
            }
            (false, _, _) => {
                let refused_at = now + self.scenario.store_path.delay * 2;
                self.fail_request(node, id, unavailable("connection refused"), refused_at);
            }
        }
        Ok(())
    }

    pub(super) fn open_watch(
        &mut self,
        node: NodeId,
        id: WatchId,
        range: KeyRange,
        start: Revision,
    ) -> Verdict {
        let Some(daemon) = self.daemon_mut(node) else {
            return Ok(());
        };
        daemon.watches.insert(id);
        self.message(node, Topic::Watch, format!("opens watch #{} from {start}", id.0));
        self.count_request(node, Counted::Read)?;
        let can_connect = self.paths.get(node.index()).is_some_and(StorePath::can_connect);
        match (self.service.is_up(), can_connect) {
            (true, true) => self.send_to_store(node, ToStore::Watch { id, range, start }),
            (true, false) => self.fail_watch(node, id, self.now + CONNECT_TIMEOUT),
            (false, _) => self.fail_watch(node, id, self.now + self.scenario.store_path.delay * 2),
        }
        Ok(())
    }

    pub(super) fn cancel_watch(&mut self, node: NodeId, id: WatchId) {
        if let Some(daemon) = self.daemon_mut(node) {
            daemon.watches.remove(&id);
        }
        self.send_to_store(node, ToStore::CancelWatch(id));
    }

    pub(super) fn handle_store_hears(&mut self, node: NodeId, carried: Box<Carried<ToStore>>) -> Verdict {
        let arrived = self
            .paths
            .get_mut(node.index())
            .and_then(|path| path.arrive_up(*carried));
        let message = match arrived {
            None => return Ok(()),
            Some(Arrived::FromTheLiving(message)) => message,
            Some(Arrived::FromTheDead(message)) => return self.carry_out_last_will(node, message),
        };
        let future = self.service.store.header().revision.next();
        if matches!(&message, ToStore::Watch { start, .. } if *start > future) {
            self.scars.deafen(node);
        }
        if self.is_write(node, &message) && self.goes_unanswered(node, WriteFate::Lost) {
            return Ok(());
        }
        let answer = self.service.handle(node, message.clone(), self.now);
        let is_done = self.note_write(node, &message, answer.as_ref()) == Write::CarriedOut;
        if let Some(answer) =
            answer.filter(|_| !is_done || !self.goes_unanswered(node, WriteFate::CarriedOut))
        {
            self.send_to_node(node, answer);
        }
        self.pump_store()
    }

    /// The store carries out a request of a node that died before the answer.
    fn carry_out_last_will(&mut self, node: NodeId, message: ToStore) -> Verdict {
        match message {
            ToStore::Request { .. } => {
                self.detail(Some(node), "is dead, but its request is carried out");
                self.service.handle(node, message, self.now);
                self.pump_store()
            }
            ToStore::Watch { .. } | ToStore::CancelWatch(_) => Ok(()),
        }
    }

    pub(super) fn handle_node_hears(&mut self, node: NodeId, carried: Box<Carried<StoreEvent>>) -> Verdict {
        let arrived = self
            .paths
            .get_mut(node.index())
            .and_then(|path| path.arrive_down(*carried));
        let (Some(event), Some(daemon)) = (arrived, self.daemon_mut(node)) else {
            return Ok(());
        };
        let mut request = None;
        let is_awaited = match &event {
            StoreEvent::Response { id, .. } => {
                request = daemon.pending.remove(id);
                request.is_some()
            }
            StoreEvent::WatchCreated { id, .. } | StoreEvent::WatchBatch { id, .. } => {
                daemon.watches.contains(id)
            }
            StoreEvent::WatchEnded { id, .. } => daemon.watches.remove(id),
        };
        if !is_awaited {
            return Ok(());
        }
        let listed = self.listed_at(&event, request.as_ref());
        if let Some(revision) = revision_of(&event) {
            self.reference.see(node, revision);
        }
        self.message(node, topic_of(&event), heard(&event));
        self.mark_heard(node, &event);
        let again = self.hears_twice(node).then(|| event.clone());
        self.feed(node, Input::Store(event))?;
        if let Some(revision) = listed.filter(|revision| self.takes_list_of(node, *revision)) {
            self.reference.list(node, revision, self.now);
        }
        match again {
            Some(event) => self.feed(node, Input::Store(event)),
            None => Ok(()),
        }
    }

    /// Tells whether a node can use a list: what watches said may be newer.
    fn takes_list_of(&self, node: NodeId, revision: Revision) -> bool {
        let daemon = self
            .nodes
            .get(node.index())
            .and_then(|state| state.daemon.as_ref());
        daemon.is_none_or(|daemon| daemon.status().revision <= revision)
    }

    /// Returns the revision of the list of all leases that an answer is, or completes.
    fn listed_at(&self, event: &StoreEvent, request: Option<&RequestKind>) -> Option<Revision> {
        let StoreEvent::Response {
            result: Ok(StoreResponse::Range {
                header, more: false, ..
            }),
            ..
        } = event
        else {
            return None;
        };
        match request {
            Some(RequestKind::Read(range, revision)) if *range == self.scenario.prefix.leases() => {
                Some(revision.unwrap_or(header.revision))
            }
            Some(_) | None => None,
        }
    }

    pub(super) fn handle_request_fails(
        &mut self,
        node: NodeId,
        life: u32,
        id: RequestId,
        error: Box<StoreError>,
    ) -> Verdict {
        if self.life(node) != life {
            return Ok(());
        }
        let is_open = self
            .daemon_mut(node)
            .is_some_and(|daemon| daemon.pending.remove(&id).is_some());
        if !is_open {
            return Ok(());
        }
        self.mark_failure(node, id, &error);
        self.message(
            node,
            Topic::Failure(id),
            format!("gets no answer to #{}: {error}", id.0),
        );
        let event = StoreEvent::Response {
            id,
            result: Err(*error),
        };
        self.feed(node, Input::Store(event))
    }

    pub(super) fn handle_watch_fails(&mut self, node: NodeId, life: u32, id: WatchId) -> Verdict {
        if self.life(node) != life {
            return Ok(());
        }
        let is_open = self
            .daemon_mut(node)
            .is_some_and(|daemon| daemon.watches.remove(&id));
        if !is_open {
            return Ok(());
        }
        self.message(node, Topic::Watch, format!("watch #{} fails", id.0));
        let event = StoreEvent::WatchEnded {
            id,
            end: WatchEnd::Failed(unavailable("the connection to the store broke")),
        };
        self.feed(node, Input::Store(event))
    }

    /// Breaks a connection that was silent for too long: open requests and watches fail.
    pub(super) fn handle_keep_alive(&mut self, node: NodeId) {
        let now = self.now;
        let is_due = self
            .paths
            .get(node.index())
            .and_then(StorePath::breaks_at)
            .is_some_and(|at| at <= now);
        if is_due {
            self.detail(Some(node), "connection to the store breaks");
            self.disconnect(node);
        }
    }

    pub(super) fn handle_store_timer(&mut self) -> Verdict {
        self.store_timer = None;
        if self.service.ends_leases() {
            let before = self.service.store.header().revision;
            self.service.store.handle_timeout(self.now);
            if self.service.store.header().revision > before {
                self.mark(Situation::LeaseExpired);
            }
        }
        self.pump_store()
    }

    /// Ends the connection of a node that dies: what it has sent is carried out, and nobody waits for it.
    pub(super) fn hang_up(&mut self, node: NodeId) {
        if let Some(path) = self.paths.get_mut(node.index()) {
            path.orphan_connection();
        }
        self.service.disconnect(node);
    }

    /// Ends the connection of a node: what it carried is lost, what waits for it fails.
    pub(super) fn disconnect(&mut self, node: NodeId) {
        if let Some(path) = self.paths.get_mut(node.index()) {
            path.break_connection();
        }
        self.service.disconnect(node);
        let Some(daemon) = self.daemon_mut(node) else {
            return;
        };
        let pending: Vec<RequestId> = daemon.pending.keys().copied().collect();
        let watches: Vec<WatchId> = daemon.watches.iter().copied().collect();
        for id in pending {
            self.fail_request(node, id, unavailable("connection to the store lost"), self.now);
        }
        for id in watches {
            self.fail_watch(node, id, self.now);
        }
    }

    /// Passes on what the store's watches say, and sets its timer.
    pub(super) fn pump_store(&mut self) -> Verdict {
        while let Some(heard) = self.service.poll() {
            match heard {
                Heard::ByNode(node, event) => self.say(node, event),
                Heard::ByModel(events) => {
                    for event in events {
                        self.observe_write(&event)?;
                    }
                }
            }
        }
        let due = self
            .service
            .store
            .poll_timeout()
            .filter(|_| self.service.ends_leases());
        if let Some(at) = due.filter(|at| self.store_timer.is_none_or(|timer| *at < timer)) {
            self.store_timer = Some(at);
            self.queue.push(at.max(self.now), Event::StoreTimer);
        }
        Ok(())
    }

    pub(super) fn launch_to_store(&mut self, node: NodeId, (at, carried): InFlight<ToStore>) {
        let carried = Box::new(carried);
        self.queue.push(at, Event::StoreHears { node, carried });
    }

    pub(super) fn launch_to_node(&mut self, node: NodeId, (at, carried): InFlight<StoreEvent>) {
        let carried = Box::new(carried);
        self.queue.push(at, Event::NodeHears { node, carried });
    }

    fn send_to_store(&mut self, node: NodeId, message: ToStore) {
        let now = self.now;
        let in_flight = self
            .paths
            .get_mut(node.index())
            .and_then(|path| path.send_up(message.stream(), message, now));
        if let Some(in_flight) = in_flight {
            self.launch_to_store(node, in_flight);
        }
    }

    /// Sends to a node what the store's watch says, unless it is to be lost.
    pub(super) fn say(&mut self, node: NodeId, event: StoreEvent) {
        if let Some(event) = self.lose_change(node, event) {
            self.send_to_node(node, event);
        }
    }

    fn send_to_node(&mut self, node: NodeId, event: StoreEvent) {
        let now = self.now;
        let in_flight = self
            .paths
            .get_mut(node.index())
            .and_then(|path| path.send_down(stream_of(&event), event, now));
        if let Some(in_flight) = in_flight {
            self.launch_to_node(node, in_flight);
        }
    }

    /// What an operator writes is no node's doing; the leases have to be good all the same.
    fn observe_write(&mut self, event: &WatchEvent) -> Verdict {
        let write = self.reference.observe(event, self.now);
        self.recoveries.note_change();
        if self.reference.hand() == Hand::Operator {
            return self.judge(single_owner::check_lease(&self.reference, &write));
        }
        let checks = [
            store_values::check(event, &write, self.scenario.subnet_count()),
            reservation::check_write(&write),
            single_owner::check_write(&self.reference, &write, self.nodes.len()),
            single_owner::check_lease(&self.reference, &write),
            self.check_identity(&write),
        ];
        for verdict in checks {
            let verdict = self.blame_writer(&write, verdict);
            self.judge(verdict)?;
        }
        Ok(())
    }

    /// Counts a request or a watch. What ours keep to, flanneld is not held to: it has no deadlines, and its client no
    /// limit.
    fn count_request(&mut self, node: NodeId, counted: Counted) -> Verdict {
        self.statistics.store_requests += 1;
        self.count_at_rest(node);
        let is_ours = self
            .daemon_mut(node)
            .is_some_and(|daemon| daemon.model() == Model::Selvedge);
        let rest = Rest {
            since: if self.active.is_empty() {
                self.disturbed_at
            } else {
                self.now
            },
            records: self.reference.most_records(self.now),
            renew_margin: self.scenario.renew_margin,
        };
        match self.rates.get_mut(node.index()).filter(|_| is_ours) {
            Some(rate) => {
                rate.count(node, counted, self.now)?;
                rate.check_rest(node, rest, self.now)
            }
            None => Ok(()),
        }
    }

    /// Sets how long a node's daemon holds a silent connection to the store to be alive. flannel's client asks for no
    /// sign of life, so that the operating system finds out at last (control-plane.md, 3.6).
    pub(super) fn set_patience(&mut self, node: NodeId, model: Model) {
        let keep_alive = match model {
            Model::Selvedge => self.scenario.store_path.keep_alive,
            Model::Flannel => TCP_GIVES_UP,
        };
        if let Some(path) = self.paths.get_mut(node.index()) {
            path.set_keep_alive(keep_alive);
        }
    }

    fn fail_request(&mut self, node: NodeId, id: RequestId, error: StoreError, at: Instant) {
        let event = Event::RequestFails {
            node,
            life: self.life(node),
            id,
            error: Box::new(error),
        };
        self.queue.push(at, event);
    }

    fn fail_watch(&mut self, node: NodeId, id: WatchId, at: Instant) {
        let life = self.life(node);
        self.queue.push(at, Event::WatchFails { node, life, id });
    }
}

/// How long a node tries to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long Linux sends a segment again that nobody acknowledges (`tcp_retries2`).
const TCP_GIVES_UP: Duration = Duration::from_mins(15);

fn described(request: &StoreRequest) -> String {
    match request {
        StoreRequest::Range { range, page, .. } => match &page.after {
            Some(after) => format!("read {} after {}", key_text(range), after.escape_ascii()),
            None => format!("read {}", key_text(range)),
        },
        StoreRequest::Txn(Txn { success, .. }) => {
            let steps: Vec<String> = success.iter().map(described_step).collect();
            format!("if unchanged {}", steps.join(", "))
        }
        StoreRequest::LeaseGrant { ttl_seconds, .. } => format!("grant an etcd lease of {ttl_seconds} s"),
        StoreRequest::LeaseKeepAlive { .. } => "keep the etcd lease alive".to_owned(),
        StoreRequest::LeaseRevoke { .. } => "revoke the etcd lease".to_owned(),
    }
}

fn described_step(step: &TxnOp) -> String {
    match step {
        TxnOp::Put { key, value, .. } => format!("write {} = {}", key.escape_ascii(), value.escape_ascii()),
        TxnOp::Delete(range) => format!("delete {}", key_text(range)),
    }
}

fn key_text(range: &KeyRange) -> String {
    match range {
        KeyRange::Key(key) => key.escape_ascii().to_string(),
        KeyRange::Prefix(prefix) => format!("{}*", prefix.escape_ascii()),
    }
}

fn heard(event: &StoreEvent) -> String {
    match event {
        StoreEvent::Response { id, result } => match result {
            Ok(response) => format!("hears #{}: {}", id.0, answer(response)),
            Err(error) => format!("hears #{}: {error}", id.0),
        },
        StoreEvent::WatchCreated { id, header } => format!("watch #{} stands at {}", id.0, header.revision),
        StoreEvent::WatchBatch { id, header, events } => {
            format!(
                "watch #{}: {} changes up to {}",
                id.0,
                events.len(),
                header.revision
            )
        }
        StoreEvent::WatchEnded { id, end } => format!("watch #{} ends: {end:?}", id.0),
    }
}

const fn topic_of(event: &StoreEvent) -> Topic {
    match event {
        StoreEvent::Response { id, result: Ok(_) } => Topic::Answer(*id),
        StoreEvent::Response { id, result: Err(_) } => Topic::Failure(*id),
        StoreEvent::WatchCreated { .. } | StoreEvent::WatchBatch { .. } | StoreEvent::WatchEnded { .. } => {
            Topic::Watch
        }
    }
}

fn answer(response: &StoreResponse) -> String {
    match response {
        StoreResponse::Range { header, kvs, more } => {
            let more = if *more { " and more" } else { "" };
            format!("{} keys{more} at {}", kvs.len(), header.revision)
        }
        StoreResponse::Txn { header, outcome, .. } => match outcome {
            TxnOutcome::Succeeded => format!("done at {}", header.revision),
            TxnOutcome::Failed => format!("not done, something had changed by {}", header.revision),
        },
        StoreResponse::LeaseGrant { ttl_seconds, .. } => format!("granted for {ttl_seconds} s"),
        StoreResponse::LeaseKeepAlive { ttl_seconds, .. } => format!("lives for {ttl_seconds} s"),
        StoreResponse::LeaseRevoke { .. } => "revoked".to_owned(),
    }
}

fn revision_of(event: &StoreEvent) -> Option<Revision> {
    let header = match event {
        StoreEvent::Response { result, .. } => match result.as_ref().ok()? {
            StoreResponse::Range { header, .. }
            | StoreResponse::Txn { header, .. }
            | StoreResponse::LeaseGrant { header, .. }
            | StoreResponse::LeaseKeepAlive { header, .. }
            | StoreResponse::LeaseRevoke { header } => header,
        },
        StoreEvent::WatchCreated { header, .. } | StoreEvent::WatchBatch { header, .. } => header,
        StoreEvent::WatchEnded { .. } => return None,
    };
    Some(header.revision)
}
