//! The store as its servers and its owner share it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use etcd_client::proto::{PbResponseHeader, PbWatchResponse};
use selvedge_engine::{Instant, Revision, WatchEvent};
use tokio::sync::{mpsc, watch as signal};
use tonic::Status;

use super::convert;
use super::fate::{Call, Fate, FateHook};
use super::member::refused;
use crate::etcd_store::{EtcdStore, KeySpan, WatchMessage, WatcherId};

/// A handle to one store that any number of servers serve.
#[derive(Clone, Debug)]
pub struct SharedStore {
    shared: Arc<Shared>,
}

/// Where the messages of one watch go and how its client wants them.
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) watch_id: i64,
    pub(super) previous: Previous,
    pub(super) omitted: Omitted,
    pub(super) responses: mpsc::UnboundedSender<Result<PbWatchResponse, Status>>,
}

/// Whether events come with what the key was before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Previous {
    Wanted,
    Unwanted,
}

/// Which kinds of events a watch leaves out.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Omitted {
    pub(super) puts: bool,
    pub(super) deletes: bool,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    next_expiry: signal::Sender<Option<Instant>>,
}

#[derive(Debug)]
struct State {
    store: EtcdStore,
    /// The latest time that any server has told, which new servers go on from.
    now: Instant,
    outlets: BTreeMap<WatcherId, Outlet>,
    watchers_made: u64,
    fates: FateHook,
}

impl SharedStore {
    /// Makes an empty store.
    pub fn new(cluster_id: u64) -> Self {
        let state = State {
            store: EtcdStore::new(cluster_id),
            now: Instant::ZERO,
            outlets: BTreeMap::new(),
            watchers_made: 0,
            fates: FateHook::default(),
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                next_expiry: signal::Sender::new(None),
            }),
        }
    }

    /// Looks into the store or acts on it, at the time that its servers last saw; watchers hear of it at once.
    ///
    /// The store is locked meanwhile: `act` must not come back to this handle.
    pub fn act<T>(&self, act: impl FnOnce(&mut EtcdStore, Instant) -> T) -> T {
        self.act_at(Instant::ZERO, act)
    }

    /// Decides the fate of every call from now on; `hook` must not come back to this handle.
    pub fn set_fates(&self, hook: impl FnMut(Call) -> Fate + Send + 'static) {
        self.lock().fates = FateHook::new(hook);
    }

    /// Ends every watch with `Unavailable`, as a member does that lost its leader.
    pub fn end_watches(&self) {
        let mut state = self.lock();
        for (watcher, outlet) in std::mem::take(&mut state.outlets) {
            state.store.cancel_watch(watcher);
            // A client that is gone hears nothing; the watch ends either way.
            drop(outlet.responses.send(Err(refused())));
        }
    }

    pub(super) fn fate(&self, call: Call) -> Fate {
        self.lock().fates.decide(call)
    }

    pub(super) fn now(&self) -> Instant {
        self.lock().now
    }

    /// Acts on the store at `now`, or at the latest time that was told if that is later.
    pub(super) fn act_at<T>(&self, now: Instant, act: impl FnOnce(&mut EtcdStore, Instant) -> T) -> T {
        self.update(now, |state| act(&mut state.store, state.now))
    }

    /// Opens a watch whose messages go to `outlet`.
    pub(super) fn watch(
        &self,
        now: Instant,
        span: KeySpan,
        start: Option<Revision>,
        outlet: Outlet,
    ) -> WatcherId {
        self.update(now, |state| {
            state.watchers_made += 1;
            let watcher = WatcherId(state.watchers_made);
            state.outlets.insert(watcher, outlet);
            state.store.watch_span(watcher, span, start);
            watcher
        })
    }

    /// Closes a watch and returns its outlet, unless the watch ended before.
    pub(super) fn cancel_watch(&self, watcher: WatcherId) -> Option<Outlet> {
        let mut state = self.lock();
        state.store.cancel_watch(watcher);
        state.outlets.remove(&watcher)
    }

    pub(super) fn is_watching(&self, watcher: WatcherId) -> bool {
        self.lock().outlets.contains_key(&watcher)
    }

    /// Follows the instant at which the next etcd lease expires.
    pub(super) fn next_expiry(&self) -> signal::Receiver<Option<Instant>> {
        self.shared.next_expiry.subscribe()
    }

    fn update<T>(&self, now: Instant, update: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        state.now = state.now.max(now);
        let now = state.now;
        state.store.handle_timeout(now);
        let result = update(&mut state);
        state.deliver();
        let next = state.store.poll_timeout();
        self.shared
            .next_expiry
            .send_if_modified(|known| std::mem::replace(known, next) != next);
        result
    }

    /// A panic of an owner's closure must not take the servers down with it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn deliver(&mut self) {
        while let Some((watcher, message)) = self.store.poll_watch() {
            let Some(outlet) = self.outlets.get(&watcher) else {
                continue;
            };
            if outlet.deliver(&self.store, &message) == Delivery::Last {
                self.outlets.remove(&watcher);
            }
        }
    }
}

/// Whether more may follow on a watch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Delivery {
    More,
    Last,
}

impl Outlet {
    fn deliver(&self, store: &EtcdStore, message: &WatchMessage) -> Delivery {
        let (response, delivery) = match message {
            WatchMessage::Created { header } => {
                let response = PbWatchResponse {
                    created: true,
                    ..self.response(convert::header(*header))
                };
                (Ok(response), Delivery::More)
            }
            WatchMessage::Events { header, events } => {
                let events: Vec<_> = events
                    .iter()
                    .filter(|event| self.omitted.keeps(event))
                    .map(|event| convert::event(event, store, self.previous))
                    .collect();
                if events.is_empty() {
                    return Delivery::More;
                }
                (
                    Ok(PbWatchResponse {
                        events,
                        ..self.response(convert::header(*header))
                    }),
                    Delivery::More,
                )
            }
            WatchMessage::Compacted {
                header,
                compact_revision,
            } => {
                let response = PbWatchResponse {
                    canceled: true,
                    compact_revision: compact_revision.0,
                    ..self.response(convert::header(*header))
                };
                (Ok(response), Delivery::Last)
            }
            WatchMessage::Cancelled => (Err(Status::unavailable("the store was replaced")), Delivery::Last),
        };
        match self.responses.send(response) {
            Ok(()) => delivery,
            Err(_client_is_gone) => Delivery::Last,
        }
    }

    fn response(&self, header: PbResponseHeader) -> PbWatchResponse {
        PbWatchResponse {
            header: Some(header),
            watch_id: self.watch_id,
            ..PbWatchResponse::default()
        }
    }
}

impl Omitted {
    fn keeps(self, event: &WatchEvent) -> bool {
        match event {
            WatchEvent::Put(_) => !self.puts,
            WatchEvent::Delete { .. } => !self.deletes,
        }
    }
}
