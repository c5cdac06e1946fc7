//! A watch.

use std::time::Duration;

use etcd_client::{Client, Error, WatchOptions, WatchResponse, WatchStream};
use selvedge_engine::{KeyRange, Revision, StoreError, StoreErrorKind, StoreEvent, WatchEnd, WatchId};
use tokio::sync::mpsc;

use super::classify::{classify, classify_cancel};
use super::endpoint::Endpoint;
use super::pool::{Answered, Pool, no_connection};
use super::request::MAX_ANSWER;
use super::translate;

/// How long a watch may take to come about.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens a watch and reports what it sees until it ends.
pub(super) async fn follow(
    pool: &Pool,
    id: WatchId,
    range: KeyRange,
    start: Revision,
    events: &mpsc::Sender<StoreEvent>,
) {
    let mut given_up = pool.given_up();
    let opened = pool
        .call(OPEN_TIMEOUT, |client| open(client, range.clone(), start))
        .await;
    let end = match opened {
        Ok(Answered { value, endpoint }) => {
            let (stream, created) = value;
            let end = tokio::select! {
                end = report(stream, created, endpoint, id, events) => end,
                Ok(()) = given_up.changed() => WatchEnd::Failed(no_connection(endpoint)),
            };
            if let WatchEnd::Failed(error) = &end
                && error.kind == StoreErrorKind::Unavailable
            {
                pool.leave_endpoint(endpoint);
            }
            end
        }
        Err(error) => WatchEnd::Failed(error),
    };
    drop(events.send(StoreEvent::WatchEnded { id, end }).await);
}

/// Opens the stream and waits for etcd's first message.
///
/// Fragments are not asked for, so none come: a response is always whole.
async fn open(
    client: Client,
    range: KeyRange,
    start: Revision,
) -> Result<(WatchStream, WatchResponse), Error> {
    let options = WatchOptions::new()
        .with_start_revision(start.0)
        .with_progress_notify();
    let options = match range {
        KeyRange::Key(_) => options,
        KeyRange::Prefix(_) => options.with_prefix(),
    };
    let mut stream = client
        .watch_client()
        .max_decoding_message_size(MAX_ANSWER)
        .watch(range.start(), Some(options))
        .await?;
    match stream.message().await? {
        Some(created) => Ok((stream, created)),
        None => Err(Error::WatchError("closed the watch at once".to_owned())),
    }
}

async fn report(
    mut stream: WatchStream,
    created: WatchResponse,
    endpoint: &Endpoint,
    id: WatchId,
    events: &mpsc::Sender<StoreEvent>,
) -> WatchEnd {
    let mut response = created;
    loop {
        if let Some(end) = ended(&response, endpoint) {
            return end;
        }
        if events.send(event(id, &response)).await.is_err() {
            return closed(endpoint);
        }
        response = match stream.message().await {
            Ok(Some(response)) => response,
            Ok(None) => return closed(endpoint),
            Err(error) => return WatchEnd::Failed(classify(endpoint, &error)),
        };
    }
}

/// Tells whether a response ends the watch. etcd 3.4 leaves the reason of a compaction empty, so only its
/// revision counts.
fn ended(response: &WatchResponse, endpoint: &Endpoint) -> Option<WatchEnd> {
    if response.compact_revision() != 0 {
        return Some(WatchEnd::Compacted(Revision(response.compact_revision())));
    }
    if response.canceled() {
        let error = classify_cancel(endpoint, response.cancel_reason());
        return Some(WatchEnd::Failed(error));
    }
    None
}

fn event(id: WatchId, response: &WatchResponse) -> StoreEvent {
    let header = translate::header(response.header());
    if response.created() {
        return StoreEvent::WatchCreated { id, header };
    }
    StoreEvent::WatchBatch {
        id,
        header,
        events: response
            .events()
            .iter()
            .filter_map(translate::watch_event)
            .collect(),
    }
}

fn closed(endpoint: &Endpoint) -> WatchEnd {
    WatchEnd::Failed(StoreError {
        kind: StoreErrorKind::Unavailable,
        message: format!("etcd at {endpoint}: closed the watch"),
    })
}
