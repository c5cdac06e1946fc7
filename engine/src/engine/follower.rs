//! Following all leases: one list, then a watch, and a list again whenever the watch cannot be trusted.

mod listing;
#[cfg(test)]
mod tests;

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use self::listing::{Listed, Listing, Turn};
use super::followed_time::FollowedTime;
use super::outbox::Outbox;
use crate::action::{Action, RequestId, WatchId};
use crate::backoff::Backoff;
use crate::event::Event;
use crate::leases::{Change, Changes, Departure, Extent, Leases};
use crate::setup::StorePrefix;
use crate::store::{Header, KeyRange, KeyValue, Revision, StoreError, StoreResponse, WatchEnd, WatchEvent};
use crate::time::Instant;

/// How often all leases are listed although the watch stands: events in unhealthy clusters may never arrive.
const RELIST_INTERVAL: Duration = Duration::from_mins(5);

/// How far apart the lists of nodes are that lost the store together.
const RELIST_TURN: Duration = Duration::from_millis(10);

/// Keeps a [`Leases`] view equal to the store.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Follower {
    range: KeyRange,
    leases: Leases,
    list: List,
    watch: Watch,
    backoff: Backoff,
    cluster_id: Option<u64>,
    /// The newest revision that any answer has shown.
    seen: Revision,
    relist_at: Option<Instant>,
    /// No lease of a node that can reach the store ends in an absence shorter than this.
    shortest_end: Duration,
    /// Since when this node has neither followed the store nor listed the leases.
    away_since: Option<Instant>,
    /// How long the watch has stood in all.
    followed_time: FollowedTime,
    /// The revision up to which deletions happened in an absence that leases may have ended in.
    unseen: Revision,
    /// Whether a watch broke since the last list.
    is_interrupted: bool,
    doubts: Doubts,
    /// Whether the list that is under way was asked for before the store turned out to be another.
    is_outrun: bool,
    /// The watch that was opened after another had failed, or after the store had become another.
    resumed: Option<WatchId>,
    /// How many lists showed other leases than the watch had told of.
    missed_changes: u64,
}

#[derive(Debug, Deserialize, Serialize)]
enum List {
    Idle,
    UnderWay(Listing),
    Waiting(Instant),
}

/// Whether a list is planned because another watch broke.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
enum Doubts {
    #[default]
    None,
    Some {
        /// When one was planned anyway.
        planned: Option<Instant>,
    },
}

#[derive(Debug, Deserialize, Serialize)]
enum Watch {
    Closed,
    Open(WatchId),
    Waiting(Instant),
}

/// What the follower has to say after an input.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum News {
    /// The view is as it was.
    None,
    /// Leases changed.
    Changed,
    /// The view was listed anew; whatever waited for a fresh one may go on.
    Listed,
    /// The view was listed anew from a store whose history is another: no older revision means anything.
    Restarted,
}

impl Follower {
    /// Makes a follower; in an absence of `shortest_end` and more the leases of living nodes may end.
    pub(crate) fn new(prefix: StorePrefix, shortest_end: Duration) -> Self {
        Self {
            range: prefix.leases(),
            leases: Leases::new(prefix),
            list: List::Idle,
            watch: Watch::Closed,
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(30)),
            cluster_id: None,
            seen: Revision(0),
            relist_at: None,
            shortest_end,
            away_since: None,
            followed_time: FollowedTime::default(),
            unseen: Revision(0),
            resumed: None,
            missed_changes: 0,
            is_interrupted: false,
            doubts: Doubts::None,
            is_outrun: false,
        }
    }

    /// Returns how many lists showed other leases than the watch had told of.
    pub(crate) const fn missed_changes(&self) -> u64 {
        self.missed_changes
    }

    pub(crate) const fn leases(&self) -> &Leases {
        &self.leases
    }

    /// Tells whether a watch broke since the last list, so that the store may have been replaced unseen.
    pub(crate) const fn is_interrupted(&self) -> bool {
        self.is_interrupted
    }

    pub(crate) const fn followed_time(&self) -> &FollowedTime {
        &self.followed_time
    }

    /// Returns the keys that changed since this was last called.
    pub(crate) fn take_changes(&mut self) -> Changes {
        self.leases.take_changes()
    }

    /// Makes the indexes of the leases anew, which a snapshot leaves out.
    pub(crate) fn index_leases(&mut self) {
        self.leases.index_all();
    }

    /// Asks for a fresh list, unless one is under way.
    pub(crate) fn list(&mut self, outbox: &mut Outbox) {
        match self.list {
            List::UnderWay(_) => {}
            List::Idle | List::Waiting(_) => {
                self.is_outrun = false;
                self.list = List::UnderWay(Listing::begin(&self.range, self.seen, outbox));
            }
        }
    }

    pub(crate) fn awaits(&self, id: RequestId) -> bool {
        matches!(&self.list, List::UnderWay(listing) if listing.awaits(id))
    }

    /// Takes a page of the list.
    pub(crate) fn handle_response(
        &mut self,
        result: Result<StoreResponse, StoreError>,
        outbox: &mut Outbox,
    ) -> News {
        let List::UnderWay(listing) = core::mem::replace(&mut self.list, List::Idle) else {
            return News::None;
        };
        let listed = match listing.take(result, &self.range, outbox) {
            Ok(Turn::Done(listed)) => listed,
            Ok(Turn::Next(listing)) => {
                self.list = List::UnderWay(listing);
                return News::None;
            }
            Err(error) => {
                let retry_in = self.backoff.wait(&mut outbox.rng);
                self.list = List::Waiting(outbox.now + retry_in);
                outbox.tell(Event::StoreUnreachable {
                    wanted: "list the leases",
                    error,
                    retry_in,
                });
                return News::None;
            }
        };
        if listed.extent == Extent::Cut {
            outbox.tell(Event::TooManyRecords {
                prefix: self.range_text(),
                read: listed.kvs.len(),
            });
        }
        if self.is_outrun && listed.header.revision >= listed.seen {
            self.list(outbox);
            return News::None;
        }
        if self.is_of_another_cluster(&listed.header) || listed.header.revision < listed.seen {
            return self.start_over(listed, outbox);
        }
        self.backoff.reset();
        let Listed {
            header, kvs, extent, ..
        } = &listed;
        let revision = header.revision;
        let is_contradiction = self.leases.contradicts(header, kvs, *extent);
        match self.adopt(listed, outbox) {
            News::Listed if is_contradiction => {
                self.missed_changes = self.missed_changes.saturating_add(1);
                outbox.tell(Event::ChangeMissed { revision });
                News::Restarted
            }
            news @ (News::None | News::Changed | News::Listed | News::Restarted) => news,
        }
    }

    fn adopt(&mut self, listed: Listed, outbox: &mut Outbox) -> News {
        let header = listed.header;
        self.relist_at = Some(outbox.now + outbox.rng.between(RELIST_INTERVAL, RELIST_INTERVAL * 3 / 2));
        self.is_interrupted = false;
        self.doubts = Doubts::None;
        let is_behind = header.revision < self.leases.revision();
        if self.is_of_another_cluster(&header) || (!is_behind && header.revision < self.seen) {
            self.list(outbox);
            return News::None;
        }
        self.note(&header);
        if is_behind {
            self.relist_soon(outbox);
        } else {
            self.replace(listed, outbox);
        }
        if matches!(self.watch, Watch::Closed) {
            self.open(outbox);
        }
        News::Listed
    }

    /// Takes a key that this node has just written.
    pub(crate) fn adopt_own(&mut self, header: &Header, kv: KeyValue) {
        self.note(header);
        self.leases.apply_own(kv);
    }

    pub(crate) fn handle_watch_created(&mut self, id: WatchId, header: &Header, outbox: &mut Outbox) {
        if !self.is_open(id) {
            return;
        }
        self.backoff.reset();
        if self.is_away_for_long(outbox.now) {
            self.unseen = header.revision;
        }
        self.away_since = None;
        self.followed_time.go_on(outbox.now);
        if self.is_of_another_cluster(header) || header.revision < self.leases.revision() {
            self.is_outrun = matches!(self.list, List::UnderWay(_));
            self.list(outbox);
        } else if self.resumed == Some(id) {
            self.relist_soon(outbox);
        }
    }

    pub(crate) fn handle_watch_batch(
        &mut self,
        id: WatchId,
        header: &Header,
        events: Vec<WatchEvent>,
    ) -> News {
        if !self.is_open(id) {
            return News::None;
        }
        self.note(header);
        match self.leases.apply_events(header, events, self.unseen) {
            Change::Some => News::Changed,
            Change::None => News::None,
        }
    }

    pub(crate) fn handle_watch_ended(&mut self, id: WatchId, end: WatchEnd, outbox: &mut Outbox) {
        if !self.is_open(id) {
            return;
        }
        self.is_interrupted = true;
        if let Doubts::Some { planned } = core::mem::take(&mut self.doubts) {
            // The watch that follows this one brings a list with it.
            self.relist_at = planned;
        }
        self.away_since.get_or_insert(outbox.now);
        self.followed_time.stop(outbox.now);
        match end {
            WatchEnd::Compacted(_) => {
                self.watch = Watch::Closed;
                self.list(outbox);
            }
            WatchEnd::Failed(error) => {
                let retry_in = self.backoff.wait(&mut outbox.rng);
                self.watch = Watch::Waiting(outbox.now + retry_in);
                outbox.tell(Event::StoreUnreachable {
                    wanted: "watch the leases",
                    error,
                    retry_in,
                });
            }
        }
    }

    /// Takes note that another watch broke. A watch that was opened just then may stand on a store that was replaced after
    /// the list that it continues; it would not show it.
    pub(crate) fn handle_other_watch_ended(&mut self, outbox: &mut Outbox) {
        if let Watch::Open(_) = self.watch {
            self.is_interrupted = true;
            if self.doubts == Doubts::None {
                self.doubts = Doubts::Some {
                    planned: self.relist_at,
                };
            }
            self.relist_soon(outbox);
        }
    }

    pub(crate) fn handle_timeout(&mut self, outbox: &mut Outbox) {
        if matches!(self.watch, Watch::Waiting(until) if until <= outbox.now) {
            self.resumed = Some(self.open(outbox));
        }
        let relist = self.relist_at.is_some_and(|at| at <= outbox.now);
        if relist || matches!(self.list, List::Waiting(until) if until <= outbox.now) {
            self.relist_at = None;
            self.list(outbox);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let watch = match self.watch {
            Watch::Waiting(until) => Some((until, "watch the leases again")),
            Watch::Closed | Watch::Open(_) => None,
        };
        let list = match self.list {
            List::Waiting(until) => Some((until, "list the leases again")),
            List::Idle | List::UnderWay(_) => None,
        };
        let relist = self.relist_at.map(|at| (at, "compare with a fresh list"));
        [watch, list, relist].into_iter().flatten().min()
    }

    /// Takes a list that is no older than the view.
    fn replace(&mut self, listed: Listed, outbox: &mut Outbox) {
        let Listed {
            header, kvs, extent, ..
        } = listed;
        let is_unseen = self.is_away_for_long(outbox.now) || self.leases.revision() < self.unseen;
        let departure = if is_unseen {
            Departure::Unseen
        } else {
            Departure::Seen
        };
        self.away_since = self.away_since.map(|_| outbox.now);
        if self.leases.apply_list(&header, kvs, extent, departure) == Change::Some {
            outbox.tell(Event::Relisted {
                revision: header.revision,
                leases: self.leases.len(),
            });
        }
    }

    /// While no watch stood, the store may have been restored from a backup and have grown beyond the revision
    /// that is known: then nothing but a list shows what differs. Nor does one that the watch has overtaken. Nodes that
    /// lost the store together take turns.
    fn relist_soon(&mut self, outbox: &mut Outbox) {
        let nodes = u32::try_from(self.leases.len()).unwrap_or(u32::MAX);
        let turns = RELIST_TURN.saturating_mul(nodes).min(RELIST_INTERVAL);
        let at = outbox.now + Duration::from_millis(500) + outbox.rng.between(Duration::ZERO, turns);
        self.relist_at = Some(self.relist_at.map_or(at, |planned| planned.min(at)));
    }

    /// The store was wiped, restored from a backup, or replaced: its list is the truth, and every watch is on
    /// a history that is gone.
    fn start_over(&mut self, listed: Listed, outbox: &mut Outbox) -> News {
        let header = listed.header;
        outbox.tell(Event::StoreRestarted {
            known: self.seen,
            found: header.revision,
        });
        if let Watch::Open(id) = self.watch {
            outbox.push(Action::CancelWatch(id));
        }
        self.leases
            .apply_list(&header, listed.kvs, listed.extent, Departure::Unseen);
        self.cluster_id = Some(header.cluster_id);
        self.seen = header.revision;
        self.unseen = Revision(0);
        self.is_interrupted = false;
        self.doubts = Doubts::None;
        self.resumed = Some(self.open(outbox));
        News::Restarted
    }

    /// Starts at the newest revision known, not after it: etcd forgets a deletion at the very revision that it
    /// compacts to, and a watch that starts there would never hear of it (etcd issue 18089). What is known already
    /// is passed over.
    fn open(&mut self, outbox: &mut Outbox) -> WatchId {
        let id = outbox.watch(self.range.clone(), self.leases.revision());
        self.watch = Watch::Open(id);
        id
    }

    fn is_away_for_long(&self, now: Instant) -> bool {
        self.away_since
            .is_some_and(|since| now.saturating_since(since) >= self.shortest_end)
    }

    fn is_of_another_cluster(&self, header: &Header) -> bool {
        self.cluster_id.is_some_and(|known| known != header.cluster_id)
    }

    fn range_text(&self) -> String {
        String::from_utf8_lossy(self.range.start()).into_owned()
    }

    fn is_open(&self, id: WatchId) -> bool {
        matches!(self.watch, Watch::Open(own) if own == id)
    }

    fn note(&mut self, header: &Header) {
        self.cluster_id = self.cluster_id.or(Some(header.cluster_id));
        self.seen = self.seen.max(header.revision);
    }
}
