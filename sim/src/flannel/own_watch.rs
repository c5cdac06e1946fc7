//! The watch of the own key (control-plane.md, 5.3).

use selvedge_engine::{
    EtcdLeaseId, Instant, KeyRange, KeyValue, Page, Revision, StoreError, StoreRequest, StoreResponse,
    WatchEnd, WatchEvent, WatchId,
};

use super::client::{Client, Purpose};
use super::defect::Defect;
use super::key::Listed;
use super::watch::{AfterEnd, Watch};

/// What the watch says of the own lease.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum OwnNews {
    /// It was written, with this etcd lease. By whom is not looked at.
    Added(Option<EtcdLeaseId>),
    /// It is gone.
    Removed,
}

/// The watch of the own key; it hears of longer keys that begin with it, too.
#[derive(Debug)]
pub(super) struct OwnWatch {
    key: Vec<u8>,
    watch: Watch,
    reading: Reading,
    gave_up: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reading {
    First,
    AfterCompaction,
}

impl OwnWatch {
    /// Reads the key; the watch follows.
    pub(super) fn begin(key: Vec<u8>, client: &mut Client) -> Self {
        client.ask(Purpose::ReadOwn, read(&key));
        Self {
            watch: Watch::new(KeyRange::Prefix(key.clone())),
            key,
            reading: Reading::First,
            gave_up: false,
        }
    }

    /// Returns the defect that shows: nothing is watched.
    pub(super) fn defect(&self) -> Option<Defect> {
        self.gave_up.then_some(Defect::NeverWatches)
    }

    pub(super) fn awaits(&self, id: WatchId) -> bool {
        self.watch.awaits(id)
    }

    /// Takes the key as it was read. If the first reading fails there is no watch and no renewal, ever.
    pub(super) fn handle_read(
        &mut self,
        result: Result<StoreResponse, StoreError>,
        client: &mut Client,
    ) -> Vec<OwnNews> {
        let reading = self.reading;
        let found = match result {
            Ok(StoreResponse::Range { header, kvs, .. }) => Some((header.revision, kvs.into_iter().next())),
            Ok(_) | Err(_) => None,
        };
        match (reading, found) {
            (_, Some((revision, Some(kv)))) => {
                self.watch.open_after(revision, client);
                vec![OwnNews::Added(kv.lease)]
            }
            (Reading::AfterCompaction, Some((revision, None))) => {
                self.watch.open_after(revision, client);
                vec![OwnNews::Removed]
            }
            (Reading::First, Some((_, None)) | None) | (Reading::AfterCompaction, None) => {
                self.gave_up = true;
                client.say("cannot read its own lease, and will not renew it".to_owned());
                Vec::new()
            }
        }
    }

    pub(super) fn handle_batch(&mut self, revision: Revision, events: &[WatchEvent]) -> Vec<OwnNews> {
        self.watch.heard(revision);
        events.iter().filter_map(news).collect()
    }

    pub(super) fn handle_end(&mut self, id: WatchId, end: &WatchEnd, client: &mut Client) {
        match self.watch.handle_end(id, end, client) {
            AfterEnd::Nothing => {}
            AfterEnd::ReadAgain => {
                self.reading = Reading::AfterCompaction;
                client.ask(Purpose::ReadOwn, read(&self.key));
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, client: &mut Client) {
        self.watch.handle_timeout(client);
    }

    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.watch.poll_timeout()
    }
}

fn read(key: &[u8]) -> StoreRequest {
    StoreRequest::Range {
        range: KeyRange::Key(key.to_vec()),
        page: Page::default(),
        revision: None,
    }
}

fn news(event: &WatchEvent) -> Option<OwnNews> {
    match event {
        WatchEvent::Put(kv) => added(kv),
        WatchEvent::Delete { .. } => Some(OwnNews::Removed),
    }
}

/// What cannot be read is only logged.
fn added(kv: &KeyValue) -> Option<OwnNews> {
    Listed::read(kv)?;
    Some(OwnNews::Added(kv.lease))
}
