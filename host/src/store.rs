//! The adapter to etcd: it translates the engine's requests and watches, and decides nothing.
//!
//! Every request and every watch is a task of its own; what they have to say goes through one bounded channel
//! to the event loop, so that a slow loop slows etcd's stream down instead of filling the memory.

mod classify;
pub mod credentials;
pub mod endpoint;
mod pool;
mod request;
pub mod tls;
mod translate;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::Channel;
use selvedge_engine::{KeyRange, RequestId, Revision, StoreEvent, StoreRequest, WatchEnd, WatchId};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

pub use self::pool::transport;

use self::credentials::Credentials;
use self::endpoint::Endpoint;
use self::pool::Pool;
use self::tls::TlsError;

/// How many events wait for the loop before the tasks that make them are held up.
const EVENT_CAPACITY: usize = 256;

/// etcd, as the event loop sees it.
#[derive(Debug)]
pub struct Store {
    pool: Arc<Pool>,
    tasks: JoinSet<()>,
    watches: BTreeMap<WatchId, AbortHandle>,
    sender: mpsc::Sender<StoreEvent>,
    events: mpsc::Receiver<StoreEvent>,
}

impl Store {
    /// Makes a store that connects to `endpoints` through `channels` when it is first asked something.
    ///
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// If `channels` fails for an endpoint.
    pub fn new(
        endpoints: &[Endpoint],
        credentials: Option<Credentials>,
        channels: impl Fn(&Endpoint) -> Result<Channel, TlsError> + Send + Sync + 'static,
    ) -> Result<Self, TlsError> {
        let (sender, events) = mpsc::channel(EVENT_CAPACITY);
        Ok(Self {
            pool: Arc::new(Pool::new(endpoints, credentials, Box::new(channels))?),
            tasks: JoinSet::new(),
            watches: BTreeMap::new(),
            sender,
            events,
        })
    }

    /// Sends a request; its answer comes as an event, at the latest after `timeout`.
    pub fn request(&mut self, id: RequestId, timeout: Duration, request: StoreRequest) {
        self.reap();
        let pool = Arc::clone(&self.pool);
        let sender = self.sender.clone();
        self.tasks.spawn(async move {
            let result = request::answer(&pool, timeout, request).await;
            drop(sender.send(StoreEvent::Response { id, result }).await);
        });
    }

    /// Opens a watch; what it sees comes as events.
    pub fn watch(&mut self, id: WatchId, range: KeyRange, start: Revision) {
        self.reap();
        let pool = Arc::clone(&self.pool);
        let sender = self.sender.clone();
        let task = self
            .tasks
            .spawn(async move { watch::follow(&pool, id, range, start, &sender).await });
        self.watches.insert(id, task);
    }

    /// Closes a watch; no event of it follows.
    pub fn cancel_watch(&mut self, id: WatchId) {
        if let Some(task) = self.watches.remove(&id) {
            task.abort();
        }
    }

    /// Gives up all connections; what is under way over them fails at once, and what comes next connects anew.
    pub fn reconnect(&self) {
        self.pool.reconnect();
    }

    /// Waits for the next event.
    ///
    /// Nothing is lost if the future is dropped before it ends.
    pub async fn next_event(&mut self) -> StoreEvent {
        loop {
            let Some(event) = self.events.recv().await else {
                // Cannot be: this store holds a sender itself.
                return std::future::pending().await;
            };
            if self.admits(&event) {
                return self.redacted(event);
            }
        }
    }

    /// Returns the next event if one is waiting.
    pub fn try_next_event(&mut self) -> Option<StoreEvent> {
        while let Ok(event) = self.events.try_recv() {
            if self.admits(&event) {
                return Some(self.redacted(event));
            }
        }
        None
    }

    /// Closes all watches and waits for the requests under way, at most as long as `patience`.
    pub async fn finish(&mut self, patience: Duration) {
        for watch in std::mem::take(&mut self.watches).into_values() {
            watch.abort();
        }
        // Nobody takes their answers any more.
        self.events.close();
        let requests = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, requests).await.is_err() {
            tracing::debug!("left requests unanswered");
        }
    }

    /// Filters out what closed watches had left in the channel.
    fn admits(&mut self, event: &StoreEvent) -> bool {
        match event {
            StoreEvent::Response { .. } => true,
            StoreEvent::WatchCreated { id, .. } | StoreEvent::WatchBatch { id, .. } => {
                self.watches.contains_key(id)
            }
            StoreEvent::WatchEnded { id, .. } => self.watches.remove(id).is_some(),
        }
    }

    fn redacted(&self, mut event: StoreEvent) -> StoreEvent {
        let message = match &mut event {
            StoreEvent::Response {
                result: Err(error), ..
            }
            | StoreEvent::WatchEnded {
                end: WatchEnd::Failed(error),
                ..
            } => &mut error.message,
            StoreEvent::Response { result: Ok(_), .. }
            | StoreEvent::WatchCreated { .. }
            | StoreEvent::WatchBatch { .. }
            | StoreEvent::WatchEnded {
                end: WatchEnd::Compacted(_),
                ..
            } => return event,
        };
        self.pool.redact(message);
        event
    }

    fn reap(&mut self) {
        while self.tasks.try_join_next().is_some() {}
    }
}
