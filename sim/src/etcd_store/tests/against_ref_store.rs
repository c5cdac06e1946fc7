//! The store and the naive model agree on whatever clients do.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use selvedge_engine::{
    Compare, CompareOp, CompareTarget, EtcdLeaseId, Instant, KeyRange, Page, Revision, StoreRequest,
    StoreResponse, Txn, TxnOp, WatchEvent,
};

use super::super::ref_store::{RefAnswer, RefStore};
use super::super::{EtcdError, EtcdStore, WatchMessage, WatcherId};
use super::revision_of;

/// One thing that clients, operators or time do.
#[derive(Clone, Debug)]
enum Step {
    Request(StoreRequest),
    Read(KeyRange, Page, Ago),
    Compact(Ago),
    Wait(Duration),
    Watch(WatcherId, KeyRange, Option<Ago>),
    Cancel(WatcherId),
    Poll,
}

/// A revision by its distance from the newest one; below zero it lies in the future.
#[derive(Clone, Copy, Debug)]
struct Ago(i64);

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_store_answers_as_the_naive_model_does(steps in vec(step(), 1..80)) {
        Twins::new().run(steps);
    }
}

/// The store and the model side by side, with what each open watch heard.
struct Twins {
    store: EtcdStore,
    model: RefStore,
    now: Instant,
    ears: BTreeMap<WatcherId, Ear>,
}

struct Ear {
    range: KeyRange,
    first: Revision,
    /// The compaction when the watch was opened.
    compacted: Revision,
    heard: Vec<WatchEvent>,
    next: Expected,
}

#[derive(Debug, Eq, PartialEq)]
enum Expected {
    Created { refused: Option<Revision> },
    Compacted(Revision),
    Events,
    Nothing,
}

impl Twins {
    fn new() -> Self {
        let (store, model) = (EtcdStore::new(7), RefStore::new());
        Self {
            store,
            model,
            now: Instant::ZERO,
            ears: BTreeMap::new(),
        }
    }

    fn run(mut self, steps: Vec<Step>) {
        for step in steps {
            self.step(step);
            assert_eq!(self.store.header().revision, self.model.revision());
            assert_eq!(self.store.poll_timeout(), self.model.next_expiry());
        }
        self.poll();
        for ear in self.ears.into_values().filter(|ear| ear.next == Expected::Events) {
            let mut expected = self.model.changes_since(ear.first, &ear.range);
            expected.retain(|event| !ear.must_miss(event));
            assert_eq!(in_key_order(ear.heard), expected);
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Request(request) => self.request(&request),
            Step::Read(range, page, ago) => {
                let revision = Some(self.revision(ago));
                self.request(&StoreRequest::Range {
                    range,
                    page,
                    revision,
                });
            }
            Step::Compact(ago) => {
                let revision = self.revision(ago);
                let result = self.store.compact(revision).map_err(EtcdError::kind);
                assert_eq!(result, self.model.compact(revision));
            }
            Step::Wait(duration) => {
                self.now = self.now + duration;
                self.store.handle_timeout(self.now);
                self.model.expire(self.now);
            }
            Step::Watch(watcher, range, start) => {
                let start = start.map(|ago| self.revision(ago));
                self.watch(watcher, range, start);
            }
            Step::Cancel(watcher) => {
                self.store.cancel_watch(watcher);
                self.ears.remove(&watcher);
            }
            Step::Poll => self.poll(),
        }
    }

    fn revision(&self, ago: Ago) -> Revision {
        Revision(1.max(self.model.revision().0 - ago.0))
    }

    fn request(&mut self, request: &StoreRequest) {
        let answer = self.store.handle(request, self.now);
        let expected = self.model.handle(request, self.now);
        assert_eq!(answer.map(ref_answer).map_err(|error| error.kind), expected);
    }

    fn watch(&mut self, watcher: WatcherId, range: KeyRange, start: Option<Revision>) {
        self.store.watch(watcher, range.clone(), start);
        let first = start.unwrap_or(self.model.revision().next());
        let compacted = self.model.compacted();
        let refused = Some(compacted).filter(|compacted| first < *compacted);
        let next = Expected::Created { refused };
        let heard = Vec::new();
        let ear = Ear {
            range,
            first,
            compacted,
            heard,
            next,
        };
        self.ears.insert(watcher, ear);
    }

    fn poll(&mut self) {
        while let Some((watcher, message)) = self.store.poll_watch() {
            self.ears
                .get_mut(&watcher)
                .expect("only open watches hear")
                .hear(message);
        }
    }
}

impl Ear {
    /// Deletions at the compaction's own revision are lost, as in etcd.
    fn must_miss(&self, event: &WatchEvent) -> bool {
        matches!(event, WatchEvent::Delete { mod_revision, .. } if *mod_revision == self.compacted)
    }

    fn hear(&mut self, message: WatchMessage) {
        match (&self.next, message) {
            (Expected::Created { refused: None }, WatchMessage::Created { .. }) => {
                self.next = Expected::Events;
            }
            (
                Expected::Created {
                    refused: Some(revision),
                },
                WatchMessage::Created { .. },
            ) => {
                self.next = Expected::Compacted(*revision);
            }
            (Expected::Compacted(expected), WatchMessage::Compacted { compact_revision, .. }) => {
                assert_eq!(compact_revision, *expected);
                self.next = Expected::Nothing;
            }
            (Expected::Events, WatchMessage::Events { header, events }) => {
                let newest = self.heard.last().map_or(Revision(0), revision_of);
                assert!(
                    events.first().is_some_and(|event| revision_of(event) > newest),
                    "a revision is split"
                );
                self.heard.extend(events);
                assert!(
                    self.heard
                        .last()
                        .is_some_and(|event| revision_of(event) <= header.revision)
                );
            }
            (expected, message) => panic!("expected {expected:?}, heard {message:?}"),
        }
    }
}

/// Sorts the changes of each revision by key; a revision's own order is that of its operations.
fn in_key_order(mut events: Vec<WatchEvent>) -> Vec<WatchEvent> {
    events.sort_by_key(|event| match event {
        WatchEvent::Put(kv) => (kv.mod_revision, kv.key.clone()),
        WatchEvent::Delete { key, mod_revision } => (*mod_revision, key.clone()),
    });
    events
}

fn ref_answer(response: StoreResponse) -> RefAnswer {
    match response {
        StoreResponse::Range { kvs, more, .. } => RefAnswer::Range(kvs, more),
        StoreResponse::Txn {
            outcome, responses, ..
        } => RefAnswer::Txn(outcome, responses),
        StoreResponse::LeaseGrant { ttl_seconds, .. } | StoreResponse::LeaseKeepAlive { ttl_seconds, .. } => {
            RefAnswer::Ttl(ttl_seconds)
        }
        StoreResponse::LeaseRevoke { .. } => RefAnswer::Done,
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => txn().prop_map(|txn| Step::Request(StoreRequest::Txn(txn))),
        2 => (range(), page(), ago()).prop_map(|(range, page, ago)| Step::Read(range, page, ago)),
        1 => (range(), page())
            .prop_map(|(range, page)| Step::Request(StoreRequest::Range { range, page, revision: None })),
        2 => (lease(), 1..20_i64)
            .prop_map(|(id, ttl_seconds)| Step::Request(StoreRequest::LeaseGrant { id, ttl_seconds })),
        1 => lease().prop_map(|id| Step::Request(StoreRequest::LeaseKeepAlive { id })),
        1 => lease().prop_map(|id| Step::Request(StoreRequest::LeaseRevoke { id })),
        1 => ago().prop_map(Step::Compact),
        2 => (0..8_u64).prop_map(|seconds| Step::Wait(Duration::from_secs(seconds))),
        3 => (watcher(), range(), option::of(ago()))
            .prop_map(|(watcher, range, start)| Step::Watch(watcher, range, start)),
        1 => watcher().prop_map(Step::Cancel),
        2 => Just(Step::Poll),
    ]
}

fn txn() -> impl Strategy<Value = Txn> {
    (vec(compare(), 0..3), vec(op(), 0..4), vec(op(), 0..4)).prop_map(|(compares, success, failure)| Txn {
        compares,
        success,
        failure,
    })
}

fn compare() -> impl Strategy<Value = Compare> {
    let target = prop_oneof![
        (0..4_i64).prop_map(CompareTarget::Version),
        revision().prop_map(CompareTarget::CreateRevision),
        revision().prop_map(CompareTarget::ModRevision),
        option::of(lease()).prop_map(CompareTarget::Lease),
    ];
    let op = prop_oneof![
        Just(CompareOp::Equal),
        Just(CompareOp::Less),
        Just(CompareOp::Greater),
        Just(CompareOp::NotEqual),
    ];
    (range(), target, op).prop_map(|(range, target, op)| Compare { range, target, op })
}

fn op() -> impl Strategy<Value = TxnOp> {
    prop_oneof![
        4 => (key(), vec(any::<u8>(), 0..2), option::weighted(0.4, lease()))
            .prop_map(|(key, value, lease)| TxnOp::Put { key, value, lease }),
        1 => range().prop_map(TxnOp::Delete),
    ]
}

fn page() -> impl Strategy<Value = Page> {
    let limit = option::of((1..4_u32).prop_map(|limit| NonZero::new(limit).unwrap()));
    (option::of(key()), limit).prop_map(|(after, limit)| Page { after, limit })
}

fn range() -> impl Strategy<Value = KeyRange> {
    prop_oneof![
        key().prop_map(KeyRange::Key),
        prop_oneof![Just(vec![]), key()].prop_map(KeyRange::Prefix),
    ]
}

const KEYS: [&[u8]; 6] = [b"a", b"ab", b"abc", b"b", b"\xff", b"\xff\xff"];

/// Few keys, so that steps meet; some are prefixes of others, one has no next prefix.
fn key() -> impl Strategy<Value = Vec<u8>> {
    proptest::sample::select(KEYS.as_slice()).prop_map(<[u8]>::to_vec)
}

fn lease() -> impl Strategy<Value = EtcdLeaseId> {
    (1..4_i64).prop_map(EtcdLeaseId)
}

fn watcher() -> impl Strategy<Value = WatcherId> {
    (1..4_u64).prop_map(WatcherId)
}

fn ago() -> impl Strategy<Value = Ago> {
    (-2..8_i64).prop_map(Ago)
}

fn revision() -> impl Strategy<Value = Revision> {
    (0..12_i64).prop_map(Revision)
}
