//! The store as the cluster sees it: up or down, with the watches of every node and of the model.

mod mood;

use std::collections::BTreeMap;

use selvedge_engine::{
    Instant, KeyRange, RequestId, Revision, StoreError, StoreErrorKind, StoreEvent, StoreRequest,
    StoreResponse, TxnOp, WatchEnd, WatchEvent, WatchId,
};

use crate::etcd_store::{EtcdStore, Snapshot, WatchMessage, WatcherId};
use crate::node_id::NodeId;
use crate::store_path::Stream;
pub(crate) use mood::Mood;

/// What a node sends to the store.
#[derive(Clone, Debug)]
pub(crate) enum ToStore {
    Request {
        id: RequestId,
        request: StoreRequest,
    },
    Watch {
        id: WatchId,
        range: KeyRange,
        start: Revision,
    },
    CancelWatch(WatchId),
}

impl ToStore {
    /// Returns which stream of the connection carries it.
    pub(crate) const fn stream(&self) -> Stream {
        match self {
            Self::Request { .. } => Stream::Calls,
            Self::Watch { .. } | Self::CancelWatch(_) => Stream::Watches,
        }
    }
}

/// Returns which stream of a connection carries what the store says.
pub(crate) const fn stream_of(event: &StoreEvent) -> Stream {
    match event {
        StoreEvent::Response { .. } => Stream::Calls,
        StoreEvent::WatchCreated { .. } | StoreEvent::WatchBatch { .. } | StoreEvent::WatchEnded { .. } => {
            Stream::Watches
        }
    }
}

/// Something that a watch says.
#[derive(Debug)]
pub(crate) enum Heard {
    /// To the model, at once.
    ByModel(Vec<WatchEvent>),
    /// To a node, on its way.
    ByNode(NodeId, StoreEvent),
}

/// The store and who watches it.
#[derive(Debug)]
pub(crate) struct StoreService {
    pub(crate) store: EtcdStore,
    is_up: bool,
    mood: Mood,
    incarnation: u64,
    leases: KeyRange,
    watchers: BTreeMap<WatcherId, (NodeId, WatchId)>,
    last_watcher: u64,
}

impl StoreService {
    /// Makes an empty store; the model watches `leases`.
    pub(crate) fn new(leases: KeyRange) -> Self {
        let mut service = Self {
            store: EtcdStore::new(CLUSTER_ID),
            is_up: true,
            mood: Mood::default(),
            incarnation: 0,
            leases,
            watchers: BTreeMap::new(),
            last_watcher: 0,
        };
        service.watch_for_model();
        service
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.is_up
    }

    /// Tells whether etcd leases end when their time is over.
    pub(crate) fn ends_leases(&self) -> bool {
        self.is_up && self.mood.has_leader()
    }

    /// Tells whether nodes are answered.
    pub(crate) const fn answers(&self) -> bool {
        self.is_up && self.mood.refusal.is_none()
    }

    /// Tells whether a lease can be kept alive, or made anew.
    pub(crate) const fn keeps_leases(&self) -> bool {
        self.answers() && !self.mood.is_full && !self.mood.disowns_leases
    }

    /// Tells whether the store refuses every write.
    pub(crate) const fn is_full(&self) -> bool {
        self.mood.is_full
    }

    /// Stops the store; every watch of a node ends with its connection.
    pub(crate) fn stop(&mut self) {
        self.is_up = false;
        for watcher in std::mem::take(&mut self.watchers).into_keys() {
            self.store.cancel_watch(watcher);
        }
    }

    /// Starts the store again with its content; etcd gives every lease its whole time to live anew.
    pub(crate) fn start(&mut self, now: Instant) {
        self.is_up = true;
        self.store.restore(self.store.snapshot(), now);
        self.watch_for_model();
    }

    /// Changes how the store behaves; returns what the watches say that end by it.
    pub(crate) fn set_mood(&mut self, mood: Mood, now: Instant) -> Vec<Heard> {
        if mood.has_leader() && !self.mood.has_leader() {
            self.store.renew_leases(now);
        }
        self.mood = mood;
        match mood.refusal {
            Some(refusal) => self.end_watches(|_| true, &refusal.error()),
            None => Vec::new(),
        }
    }

    /// Ends the watches of nodes; returns what they say.
    pub(crate) fn cut_watches(&mut self, nodes: &[NodeId]) -> Vec<Heard> {
        self.end_watches(|node| nodes.contains(&node), &unavailable("the watch was cut"))
    }

    /// Restores the store from a backup; every watch ends.
    pub(crate) fn restore(&mut self, backup: Snapshot, now: Instant) {
        self.store.restore(backup, now);
        self.watch_for_model();
    }

    /// Replaces the store by an empty one of another cluster; every watch ends.
    pub(crate) fn wipe(&mut self) {
        self.incarnation += 1;
        self.store.wipe(CLUSTER_ID + self.incarnation);
        self.watch_for_model();
    }

    /// Answers a message of a node; watches answer through [`StoreService::poll`].
    pub(crate) fn handle(&mut self, node: NodeId, message: ToStore, now: Instant) -> Option<StoreEvent> {
        match message {
            ToStore::Request { id, request } => Some(StoreEvent::Response {
                id,
                result: self.answer(&request, now),
            }),
            ToStore::Watch { id, .. } if let Some(refusal) = self.mood.refusal => {
                Some(failed_watch(id, refusal.error()))
            }
            ToStore::Watch { id, range, start } => {
                self.last_watcher += 1;
                let watcher = WatcherId(self.last_watcher);
                self.watchers.insert(watcher, (node, id));
                self.store.watch(watcher, range, Some(start));
                None
            }
            ToStore::CancelWatch(id) => {
                self.close(|watching| *watching == (node, id));
                None
            }
        }
    }

    /// Closes every watch of a node, as its broken connection does.
    pub(crate) fn disconnect(&mut self, node: NodeId) {
        self.close(|(watching, _)| *watching == node);
    }

    /// Takes the next thing that a watch says.
    pub(crate) fn poll(&mut self) -> Option<Heard> {
        loop {
            let (watcher, message) = self.store.poll_watch()?;
            if watcher == MODEL {
                if let WatchMessage::Events { events, .. } = message {
                    return Some(Heard::ByModel(events));
                }
                continue;
            }
            let Some((node, id)) = self.watchers.get(&watcher).copied() else {
                continue;
            };
            return Some(Heard::ByNode(node, translated(id, message)));
        }
    }

    fn answer(&mut self, request: &StoreRequest, now: Instant) -> Result<StoreResponse, StoreError> {
        if let Some(refusal) = self.mood.refusal {
            return Err(refusal.error());
        }
        if self.mood.is_full && writes(request) {
            return Err(StoreError {
                kind: StoreErrorKind::NoSpace,
                message: "etcdserver: mvcc: database space exceeded".to_owned(),
            });
        }
        match *request {
            StoreRequest::LeaseKeepAlive { id } if self.mood.disowns_leases => {
                Ok(StoreResponse::LeaseKeepAlive {
                    header: self.store.header(),
                    id,
                    ttl_seconds: 0,
                })
            }
            StoreRequest::LeaseGrant { id, ttl_seconds } => {
                let ttl_seconds = self.mood.granted(ttl_seconds);
                self.store
                    .handle(&StoreRequest::LeaseGrant { id, ttl_seconds }, now)
            }
            StoreRequest::Range { .. }
            | StoreRequest::Txn(_)
            | StoreRequest::LeaseKeepAlive { .. }
            | StoreRequest::LeaseRevoke { .. } => self.store.handle(request, now),
        }
    }

    fn end_watches(&mut self, is_meant: impl Fn(NodeId) -> bool, error: &StoreError) -> Vec<Heard> {
        let ended: Vec<(NodeId, WatchId)> = self
            .watchers
            .values()
            .copied()
            .filter(|(node, _)| is_meant(*node))
            .collect();
        self.close(|(node, _)| is_meant(*node));
        let said = |(node, id)| Heard::ByNode(node, failed_watch(id, error.clone()));
        ended.into_iter().map(said).collect()
    }

    fn watch_for_model(&mut self) {
        self.store.watch(MODEL, self.leases.clone(), None);
    }

    fn close(&mut self, is_meant: impl Fn(&(NodeId, WatchId)) -> bool) {
        let closed: Vec<WatcherId> = self
            .watchers
            .iter()
            .filter(|(_, watching)| is_meant(watching))
            .map(|(watcher, _)| *watcher)
            .collect();
        for watcher in closed {
            self.watchers.remove(&watcher);
            self.store.cancel_watch(watcher);
        }
    }
}

/// Says why a request or a watch failed that did not reach the store.
pub(crate) fn unavailable(message: &str) -> StoreError {
    StoreError {
        kind: StoreErrorKind::Unavailable,
        message: message.to_owned(),
    }
}

/// Tells whether a store without space refuses the request, as etcd's quota does.
pub(crate) fn writes(request: &StoreRequest) -> bool {
    match request {
        StoreRequest::LeaseGrant { .. } => true,
        StoreRequest::Txn(txn) => {
            let mut steps = txn.success.iter().chain(&txn.failure);
            steps.any(|step| matches!(step, TxnOp::Put { .. }))
        }
        StoreRequest::Range { .. }
        | StoreRequest::LeaseKeepAlive { .. }
        | StoreRequest::LeaseRevoke { .. } => false,
    }
}

const CLUSTER_ID: u64 = 0x5e1f_ed6e;
const MODEL: WatcherId = WatcherId(0);

fn translated(id: WatchId, message: WatchMessage) -> StoreEvent {
    match message {
        WatchMessage::Created { header } => StoreEvent::WatchCreated { id, header },
        WatchMessage::Events { header, events } => StoreEvent::WatchBatch { id, header, events },
        WatchMessage::Compacted { compact_revision, .. } => StoreEvent::WatchEnded {
            id,
            end: WatchEnd::Compacted(compact_revision),
        },
        WatchMessage::Cancelled => failed_watch(id, unavailable("the store closed the watch")),
    }
}

const fn failed_watch(id: WatchId, error: StoreError) -> StoreEvent {
    StoreEvent::WatchEnded {
        id,
        end: WatchEnd::Failed(error),
    }
}

#[cfg(test)]
mod tests {
    use selvedge_engine::EtcdLeaseId;

    use super::*;
    use crate::fault::StoreFault;

    #[test]
    fn a_write_reaches_the_model_and_the_nodes_that_watch() {
        let mut service = service();
        watch(&mut service, N1, 7);
        service.store.put(b"/s/a", b"1", None).unwrap();

        let heard = drain(&mut service);

        assert!(
            heard
                .iter()
                .any(|heard| matches!(heard, Heard::ByModel(events) if events.len() == 1))
        );
        assert!(heard.iter().any(|heard| matches!(
            heard,
            Heard::ByNode(node, StoreEvent::WatchBatch { id: WatchId(7), .. }) if *node == N1
        )));
    }

    #[test]
    fn after_a_restart_the_model_still_hears_every_write_and_no_node_does() {
        let mut service = service();
        watch(&mut service, N1, 7);
        drain(&mut service);

        service.stop();
        service.start(Instant::ZERO);
        service.store.put(b"/s/a", b"1", None).unwrap();

        let heard = drain(&mut service);
        assert!(matches!(&heard[..], [Heard::ByModel(_)]), "{heard:?}");
    }

    #[test]
    fn a_cancelled_watch_is_silent() {
        let mut service = service();
        watch(&mut service, N1, 7);
        watch(&mut service, N1, 8);
        service.handle(N1, ToStore::CancelWatch(WatchId(7)), Instant::ZERO);

        let heard = drain(&mut service);

        assert!(matches!(
            heard[..],
            [Heard::ByNode(_, StoreEvent::WatchCreated { id: WatchId(8), .. })]
        ));
    }

    #[test]
    fn without_a_leader_nothing_is_answered_nothing_ends_and_every_watch_does() {
        let mut service = service();
        let grant = ToStore::Request {
            id: RequestId(1),
            request: StoreRequest::LeaseGrant {
                id: EtcdLeaseId(7),
                ttl_seconds: 10,
            },
        };
        watch(&mut service, N1, 7);
        service.handle(N1, grant.clone(), Instant::ZERO);

        let said = service.set_mood(Mood::of([StoreFault::NoLeader].iter()), Instant::ZERO);

        let is_end = |heard: &Heard| matches!(heard, Heard::ByNode(_, StoreEvent::WatchEnded { .. }));
        assert!(said.iter().any(is_end) && said.len() == 1, "{said:?}");
        assert!(!service.ends_leases());
        let answer = service.handle(N1, grant, Instant::ZERO);
        assert!(matches!(
            answer,
            Some(StoreEvent::Response { result: Err(error), .. }) if error.kind == StoreErrorKind::Unavailable
        ));

        let later = Instant::ZERO + std::time::Duration::from_mins(1);
        service.set_mood(Mood::default(), later);
        assert_eq!(
            service.store.poll_timeout(),
            Some(later + std::time::Duration::from_secs(10))
        );
    }

    #[test]
    fn a_store_may_grant_less_than_asked_and_disown_what_it_granted() {
        let mut service = service();
        let less = StoreFault::GrantLess(std::time::Duration::from_secs(20));
        service.set_mood(Mood::of([less, StoreFault::DisownLeases].iter()), Instant::ZERO);
        let id = EtcdLeaseId(7);
        let mut ttl_of = |request| {
            let id = RequestId(1);
            match service.handle(N1, ToStore::Request { id, request }, Instant::ZERO) {
                Some(StoreEvent::Response {
                    result:
                        Ok(
                            StoreResponse::LeaseGrant { ttl_seconds, .. }
                            | StoreResponse::LeaseKeepAlive { ttl_seconds, .. },
                        ),
                    ..
                }) => ttl_seconds,
                other => panic!("{other:?}"),
            }
        };

        let granted = ttl_of(StoreRequest::LeaseGrant {
            id,
            ttl_seconds: 86_400,
        });
        let kept = ttl_of(StoreRequest::LeaseKeepAlive { id });

        assert_eq!((granted, kept), (20, 0));
        assert!(service.store.lease(id).is_some());
    }

    const N1: NodeId = NodeId::new(1);

    fn service() -> StoreService {
        StoreService::new(KeyRange::Prefix(b"/s/".to_vec()))
    }

    fn watch(service: &mut StoreService, node: NodeId, id: u64) {
        let message = ToStore::Watch {
            id: WatchId(id),
            range: KeyRange::Prefix(b"/s/".to_vec()),
            start: Revision(2),
        };
        service.handle(node, message, Instant::ZERO);
    }

    fn drain(service: &mut StoreService) -> Vec<Heard> {
        std::iter::from_fn(|| service.poll()).collect()
    }
}
