//! One server: the store with the server's own clock and its end.

use std::convert::Infallible;

use selvedge_engine::Instant;
use tokio::sync::watch as signal;
use tonic::{Response, Status};

use super::convert;
use super::fate::{Call, Fate};
use super::shared_store::SharedStore;
use crate::etcd_store::{EtcdError, EtcdStore};

/// What the services of one server share.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) store: SharedStore,
    started: tokio::time::Instant,
    started_at: Instant,
    stopped: signal::Receiver<()>,
}

impl Member {
    /// Makes a server's side that goes on from the time that the store's servers last saw.
    pub(super) fn new(store: SharedStore, stopped: signal::Receiver<()>) -> Self {
        let started_at = store.now();
        Self {
            store,
            started: tokio::time::Instant::now(),
            started_at,
            stopped,
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.started_at + self.started.elapsed()
    }

    /// Lets the call meet its fate around `act`.
    pub(super) async fn answer<T>(
        &self,
        call: Call,
        act: impl FnOnce(&mut EtcdStore, Instant) -> Result<T, EtcdError>,
    ) -> Result<T, Status> {
        let fate = self.store.fate(call);
        let answer = || self.store.act_at(self.now(), act).map_err(convert::status);
        match fate {
            Fate::Answer => answer(),
            Fate::Delay(delay) => {
                let answer = answer();
                tokio::time::sleep(delay).await;
                answer
            }
            Fate::LoseAnswer => answer().and(Err(Status::unavailable("the answer was lost"))),
            Fate::Refuse => Err(refused()),
            Fate::Deny => Err(Status::permission_denied(DENIED)),
        }
    }

    /// As [`Member::answer`], in the form that unary methods return.
    pub(super) async fn respond<T>(
        &self,
        call: Call,
        act: impl FnOnce(&mut EtcdStore, Instant) -> Result<T, EtcdError>,
    ) -> Result<Response<T>, Status> {
        self.answer(call, act).await.map(Response::new)
    }

    /// Resolves when the server is to end.
    pub(super) async fn stopped(&self) {
        let mut stopped = self.stopped.clone();
        while stopped.changed().await.is_ok() {}
    }

    /// Expires etcd leases as their time comes.
    pub(super) async fn expire_leases(&self) -> Infallible {
        let mut next_expiry = self.store.next_expiry();
        loop {
            let expiry = *next_expiry.borrow_and_update();
            tokio::select! {
                () = self.reach(expiry) => self.store.act_at(self.now(), |_, _| ()),
                _ = next_expiry.changed() => {}
            }
        }
    }

    async fn reach(&self, expiry: Option<Instant>) {
        let Some(expiry) = expiry else {
            return std::future::pending().await;
        };
        tokio::time::sleep_until(self.started + expiry.saturating_since(self.started_at)).await;
    }
}

/// What a client hears that lacks the right.
pub(super) const DENIED: &str = "etcdserver: permission denied";

/// Returns what a client hears when a call is refused by fate.
pub(super) fn refused() -> Status {
    Status::unavailable("etcdserver: no leader")
}
