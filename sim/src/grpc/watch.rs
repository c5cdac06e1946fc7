//! etcd's `Watch` service.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_client::proto::{PbWatchRequest, PbWatchRequestUnion, PbWatchResponse, PbWatchService};
use selvedge_engine::Revision;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::convert;
use super::fate::{Call, Fate};
use super::member::{DENIED, Member, refused};
use super::shared_store::{Omitted, Outlet, Previous};
use crate::etcd_store::{KeySpan, WatcherId};

#[tonic::async_trait]
impl PbWatchService for Member {
    type WatchStream = UnboundedReceiverStream<Result<PbWatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<PbWatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (responses, stream) = mpsc::unbounded_channel();
        let session = Session {
            member: self.clone(),
            watchers: BTreeMap::new(),
            reporting: BTreeMap::new(),
            next_id: 0,
            responses,
        };
        tokio::spawn(session.run(request.into_inner()));
        Ok(Response::new(UnboundedReceiverStream::new(stream)))
    }
}

/// How often a watch that asked for progress hears of it; etcd's default.
const PROGRESS_INTERVAL: Duration = Duration::from_mins(10);

/// The watch id of answers that belong to no single watch.
const NO_WATCH: i64 = -1;

/// One stream of a client with any number of watches on it.
struct Session {
    member: Member,
    watchers: BTreeMap<i64, WatcherId>,
    /// The watches that want to hear of progress.
    reporting: BTreeMap<i64, WatcherId>,
    /// The id to try first for a watch that does not bring its own.
    next_id: i64,
    responses: mpsc::UnboundedSender<Result<PbWatchResponse, Status>>,
}

/// A client's wish for a watch.
struct Order {
    watch_id: i64,
    span: KeySpan,
    start: Revision,
    previous: Previous,
    omitted: Omitted,
    progress: Progress,
}

/// Whether a quiet watch hears of the store's progress.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Progress {
    Reported,
    Silent,
}

/// Whether the stream goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Flow {
    Continue,
    End,
}

impl Session {
    /// Serves the stream until the client, the server or fate ends it.
    async fn run(mut self, mut requests: Streaming<PbWatchRequest>) {
        let mut progress = progress_interval();
        loop {
            let flow = tokio::select! {
                request = requests.message() => match request {
                    Ok(Some(request)) => self.handle(request).await,
                    Ok(None) | Err(_) => Flow::End,
                },
                _ = progress.tick() => self.report_progress(),
                () = self.member.stopped() => self.fail(Status::unavailable("the server stops")),
                () = self.responses.closed() => Flow::End,
            };
            if flow == Flow::End {
                return;
            }
        }
    }

    async fn handle(&mut self, request: PbWatchRequest) -> Flow {
        match request.request_union {
            Some(PbWatchRequestUnion::CreateRequest(create)) => {
                let key = if create.key.is_empty() {
                    vec![0]
                } else {
                    create.key
                };
                let order = Order {
                    watch_id: create.watch_id,
                    span: KeySpan::from_wire(key, create.range_end),
                    start: Revision(create.start_revision),
                    previous: if create.prev_kv {
                        Previous::Wanted
                    } else {
                        Previous::Unwanted
                    },
                    omitted: Omitted {
                        puts: create.filters.contains(&NO_PUT),
                        deletes: create.filters.contains(&NO_DELETE),
                    },
                    progress: if create.progress_notify {
                        Progress::Reported
                    } else {
                        Progress::Silent
                    },
                };
                self.create(order).await
            }
            Some(PbWatchRequestUnion::CancelRequest(cancel)) => self.cancel(cancel.watch_id),
            Some(PbWatchRequestUnion::ProgressRequest(_)) => self.send(self.response(NO_WATCH)),
            None => Flow::Continue,
        }
    }

    async fn create(&mut self, order: Order) -> Flow {
        match self.member.store.fate(Call::Watch) {
            Fate::Answer => {}
            Fate::Delay(delay) => tokio::time::sleep(delay).await,
            Fate::LoseAnswer | Fate::Refuse => return self.fail(refused()),
            Fate::Deny => return self.decline(DENIED),
        }
        if is_empty(&order.span) {
            return self.decline("mvcc: watcher range is empty");
        }
        let watch_id = if order.watch_id == 0 {
            self.free_id()
        } else {
            order.watch_id
        };
        if self.watchers.contains_key(&watch_id) {
            return self.decline("mvcc: duplicate watch ID provided on the WatchStream");
        }
        let outlet = Outlet {
            watch_id,
            previous: order.previous,
            omitted: order.omitted,
            responses: self.responses.clone(),
        };
        let now = self.member.now();
        let watcher = self
            .member
            .store
            .watch(now, order.span, Some(order.start), outlet);
        self.watchers.insert(watch_id, watcher);
        if order.progress == Progress::Reported {
            self.reporting.insert(watch_id, watcher);
        }
        Flow::Continue
    }

    fn cancel(&mut self, watch_id: i64) -> Flow {
        let Some(watcher) = self.watchers.remove(&watch_id) else {
            return Flow::Continue;
        };
        self.reporting.remove(&watch_id);
        if self.member.store.cancel_watch(watcher).is_none() {
            return Flow::Continue;
        }
        self.send(PbWatchResponse {
            canceled: true,
            ..self.response(watch_id)
        })
    }

    /// Tells each watch that asked for it that nothing older than the store's revision is outstanding.
    fn report_progress(&self) -> Flow {
        for (watch_id, watcher) in &self.reporting {
            if !self.member.store.is_watching(*watcher) {
                continue;
            }
            if self.send(self.response(*watch_id)) == Flow::End {
                return Flow::End;
            }
        }
        Flow::Continue
    }

    fn free_id(&mut self) -> i64 {
        while self.watchers.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        self.next_id - 1
    }

    fn decline(&self, reason: &str) -> Flow {
        self.send(PbWatchResponse {
            created: true,
            canceled: true,
            cancel_reason: reason.to_owned(),
            ..self.response(NO_WATCH)
        })
    }

    fn response(&self, watch_id: i64) -> PbWatchResponse {
        let header = self
            .member
            .store
            .act_at(self.member.now(), |store, _| store.header());
        PbWatchResponse {
            header: Some(convert::header(header)),
            watch_id,
            ..PbWatchResponse::default()
        }
    }

    fn send(&self, response: PbWatchResponse) -> Flow {
        if self.responses.send(Ok(response)).is_ok() {
            Flow::Continue
        } else {
            Flow::End
        }
    }

    fn fail(&self, status: Status) -> Flow {
        // A client that is gone hears nothing; the stream ends either way.
        drop(self.responses.send(Err(status)));
        Flow::End
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for watcher in self.watchers.values() {
            drop(self.member.store.cancel_watch(*watcher));
        }
    }
}

const NO_PUT: i32 = 0;
const NO_DELETE: i32 = 1;

fn progress_interval() -> Interval {
    let mut interval = tokio::time::interval_at(Instant::now() + PROGRESS_INTERVAL, PROGRESS_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

fn is_empty(span: &KeySpan) -> bool {
    match span {
        KeySpan::Interval { start, end } => start >= end,
        KeySpan::Key(_) | KeySpan::Prefix(_) | KeySpan::From(_) => false,
    }
}
