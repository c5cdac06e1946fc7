use alloc::format;

use super::*;
use crate::leases::MAX_RECORDS;
use crate::rng::Rng;
use crate::store::{Page, StoreErrorKind, StoreRequest};

#[test]
fn a_long_list_is_read_in_pages_at_one_revision() {
    let mut cluster = Cluster::with_leases(2500);

    cluster.follower.list(&mut cluster.outbox);
    let first = cluster.answer();
    cluster.revision = Revision(9000);
    let rest = [cluster.answer(), cluster.answer()];

    assert_eq!((first, rest), (News::None, [News::None, News::Listed]));
    assert_eq!(cluster.follower.leases().len(), 2500);
    assert_eq!(cluster.follower.leases().revision(), Revision(7));
    assert_eq!(cluster.asked, 3);
}

#[test]
fn a_list_that_fits_exactly_needs_no_empty_page() {
    let mut cluster = Cluster::with_leases(1000);

    assert_eq!(cluster.list(), News::Listed);

    assert_eq!(cluster.asked, 1);
}

#[test]
fn a_page_that_fails_ends_the_list_and_takes_nothing_away() {
    for kind in [
        StoreErrorKind::Unavailable,
        StoreErrorKind::Compacted,
        StoreErrorKind::FutureRevision,
    ] {
        let mut cluster = Cluster::with_leases(2500);
        cluster.list();

        cluster.follower.list(&mut cluster.outbox);
        cluster.answer();
        let failed = cluster.fail(kind);

        assert_eq!(failed, News::None);
        assert_eq!(cluster.follower.leases().len(), 2500, "{kind:?}");
        assert!(cluster.follower.poll_timeout().is_some());

        cluster.outbox.now = cluster.outbox.now + Duration::from_mins(1);
        cluster.follower.handle_timeout(&mut cluster.outbox);
        assert_eq!(cluster.drain(), News::Listed, "{kind:?}");
    }
}

#[test]
fn a_store_that_is_replaced_between_two_pages_is_read_anew() {
    let mut cluster = Cluster::with_leases(1500);
    cluster.follower.list(&mut cluster.outbox);
    cluster.answer();
    cluster.store = 2;

    assert_eq!(cluster.answer(), News::None);
    assert_eq!(cluster.follower.leases().len(), 0);

    cluster.outbox.now = cluster.outbox.now + Duration::from_mins(1);
    cluster.follower.handle_timeout(&mut cluster.outbox);
    assert_eq!(cluster.drain(), News::Listed);
    assert_eq!(cluster.follower.leases().len(), 1500);
}

#[test]
fn of_a_million_records_a_part_is_read_and_what_lies_behind_stays_known() {
    let mut cluster = Cluster::with_leases(10);
    cluster.list();
    cluster.kvs.splice(0..0, (0..1_000_000).map(junk));
    cluster.revision = Revision(8);
    cluster.asked = 0;
    cluster.alarms = 0;

    assert_eq!(cluster.list(), News::Listed);

    let leases = cluster.follower.leases();
    assert_eq!(leases.len(), MAX_RECORDS + 10);
    assert_eq!(leases.extent(), Extent::Cut);
    assert_eq!((cluster.asked, cluster.alarms), (MAX_RECORDS / 1000, 1));
}

#[test]
fn a_watch_that_brings_more_than_fits_leaves_the_rest_out() {
    let mut cluster = Cluster::with_leases(0);
    cluster.kvs = (0..MAX_RECORDS).map(junk).collect();
    cluster.list();
    let Watch::Open(id) = cluster.follower.watch else {
        panic!("a watch stands after a list");
    };
    let mut kv = lease(1);
    kv.mod_revision = Revision(8);

    let header = cluster.header();
    cluster
        .follower
        .handle_watch_batch(id, &header, Vec::from([WatchEvent::Put(kv)]));

    assert_eq!(cluster.follower.leases().len(), MAX_RECORDS);
    assert_eq!(cluster.follower.leases().extent(), Extent::Cut);
}

#[test]
fn a_list_that_shows_what_the_watch_kept_back_is_told_and_counted() {
    let mut cluster = Cluster::with_leases(10);
    cluster.list();
    cluster.kvs.push(lease(10));

    let repaired = cluster.list();
    let again = cluster.list();

    assert_eq!((repaired, again), (News::Restarted, News::Listed));
    assert_eq!(cluster.follower.leases().len(), 11);
    assert_eq!((cluster.misses, cluster.follower.missed_changes()), (1, 1));
}

#[test]
fn a_list_that_is_ahead_of_the_watch_misses_nothing() {
    let mut cluster = Cluster::with_leases(10);
    cluster.list();
    let mut newer = lease(10);
    newer.mod_revision = Revision(8);
    cluster.kvs.push(newer);
    cluster.revision = Revision(8);

    let listed = cluster.list();

    assert_eq!(listed, News::Listed);
    assert_eq!((cluster.misses, cluster.follower.missed_changes()), (0, 0));
}

/// A follower and the keys that it reads.
struct Cluster {
    follower: Follower,
    outbox: Outbox,
    kvs: Vec<KeyValue>,
    store: u64,
    revision: Revision,
    /// How many pages were asked for.
    asked: usize,
    /// How often people were told that there are too many records.
    alarms: usize,
    /// How often people were told that the watch had kept something back.
    misses: usize,
}

impl Cluster {
    fn with_leases(count: usize) -> Self {
        Self {
            follower: Follower::new(StorePrefix::default(), Duration::from_mins(2)),
            outbox: Outbox::new(Rng::new(1), Instant::ZERO),
            kvs: (0..count).map(lease).collect(),
            store: 1,
            revision: Revision(7),
            asked: 0,
            alarms: 0,
            misses: 0,
        }
    }

    /// Lists everything.
    fn list(&mut self) -> News {
        self.follower.list(&mut self.outbox);
        self.drain()
    }

    /// Answers until nothing is asked any more.
    fn drain(&mut self) -> News {
        let mut last = News::None;
        while matches!(self.follower.list, List::UnderWay(_)) {
            last = self.answer();
        }
        while let Some(action) = self.outbox.pop() {
            self.note(&action);
        }
        last
    }

    /// Answers the page that is asked for.
    fn answer(&mut self) -> News {
        let (range, page) = self.asked_for();
        let first = page.first_key(range.start());
        let from = self.kvs.partition_point(|kv| kv.key < first);
        let behind = self.kvs.get(from..).unwrap_or_default();
        let limit = page.limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit.get()).unwrap_or(usize::MAX)
        });
        let response = StoreResponse::Range {
            header: self.header(),
            kvs: behind.iter().take(limit).cloned().collect(),
            more: behind.len() > limit,
        };
        self.follower.handle_response(Ok(response), &mut self.outbox)
    }

    fn fail(&mut self, kind: StoreErrorKind) -> News {
        self.asked_for();
        let error = StoreError {
            kind,
            message: "no".into(),
        };
        self.follower.handle_response(Err(error), &mut self.outbox)
    }

    fn asked_for(&mut self) -> (KeyRange, Page) {
        loop {
            let action = self.outbox.pop().expect("a page is asked for");
            self.note(&action);
            if let Action::Request {
                id,
                request: StoreRequest::Range { range, page, .. },
                ..
            } = action
            {
                assert!(self.follower.awaits(id));
                return (range, page);
            }
        }
    }

    fn note(&mut self, action: &Action) {
        self.asked += usize::from(matches!(action, Action::Request { .. }));
        self.alarms += usize::from(matches!(action, Action::Event(Event::TooManyRecords { .. })));
        self.misses += usize::from(matches!(action, Action::Event(Event::ChangeMissed { .. })));
    }

    fn header(&self) -> Header {
        Header {
            cluster_id: self.store,
            revision: self.revision,
            ..Header::default()
        }
    }
}

fn lease(number: usize) -> KeyValue {
    let (high, low) = (number / 256, number % 256);
    let key = format!("10.{}.{low}.0-24", 100 + high);
    record(&key, format!(r#"{{"PublicIP":"198.18.{high}.{low}"}}"#))
}

/// Comes before every lease in key order.
fn junk(number: usize) -> KeyValue {
    record(&format!("!{number:07}"), "junk".into())
}

fn record(key: &str, value: String) -> KeyValue {
    let range = StorePrefix::default().leases();
    KeyValue {
        key: [range.start(), key.as_bytes()].concat(),
        value: value.into_bytes(),
        create_revision: Revision(5),
        mod_revision: Revision(5),
        version: 1,
        lease: None,
    }
}
