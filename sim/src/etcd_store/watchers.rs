//! The open watches, an index from keys to the watches that care, and what waits to be told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use selvedge_engine::Revision;

use super::history::Change;
use super::{KeySpan, WatcherId};

/// A message that waits for its watcher.
#[derive(Clone, Debug)]
pub(super) enum Pending {
    Created {
        revision: Revision,
    },
    Changes {
        revision: Revision,
        changes: Vec<Change>,
    },
    Compacted {
        compact_revision: Revision,
    },
    Cancelled,
}

/// All watches.
#[derive(Clone, Debug, Default)]
pub(super) struct Watchers {
    open: BTreeMap<WatcherId, Watcher>,
    waiting: BTreeMap<WatcherId, VecDeque<Pending>>,
    /// The watchers with waiting messages, in the order in which they are served.
    ready: VecDeque<WatcherId>,
    by_key: BTreeMap<Vec<u8>, BTreeSet<WatcherId>>,
    by_prefix: BTreeMap<Vec<u8>, BTreeSet<WatcherId>>,
    /// How many different prefixes of each length are watched.
    prefix_lengths: BTreeMap<usize, usize>,
    /// The watchers of other spans.
    others: BTreeSet<WatcherId>,
}

#[derive(Clone, Debug)]
struct Watcher {
    span: KeySpan,
    first: Revision,
}

impl Watchers {
    /// Opens a watch that is first told that it stands and then `replay`.
    pub(super) fn open(
        &mut self,
        id: WatcherId,
        span: KeySpan,
        first: Revision,
        revision: Revision,
        replay: Vec<Change>,
    ) {
        self.close(id);
        self.index(id, &span);
        self.open.insert(id, Watcher { span, first });
        self.push(id, Pending::Created { revision });
        if !replay.is_empty() {
            self.push(
                id,
                Pending::Changes {
                    revision,
                    changes: replay,
                },
            );
        }
    }

    /// Tells a watcher that its watch stands and, at once, that its start is compacted.
    pub(super) fn refuse(&mut self, id: WatcherId, revision: Revision, compact_revision: Revision) {
        self.close(id);
        self.push(id, Pending::Created { revision });
        self.push(id, Pending::Compacted { compact_revision });
    }

    pub(super) fn close(&mut self, id: WatcherId) {
        if let Some(watcher) = self.open.remove(&id) {
            self.unindex(id, &watcher.span);
        }
        if self.waiting.remove(&id).is_some() {
            self.ready.retain(|ready| *ready != id);
        }
    }

    /// Ends every watch; what waited is lost.
    pub(super) fn cancel_all(&mut self) {
        let ids: BTreeSet<WatcherId> = self.open.keys().chain(self.waiting.keys()).copied().collect();
        *self = Self::default();
        for id in ids {
            self.push(id, Pending::Cancelled);
        }
    }

    /// Queues the changes of one revision for each watcher that cares.
    pub(super) fn notify(&mut self, revision: Revision, changes: &[Change]) {
        let mut batches: BTreeMap<WatcherId, Vec<Change>> = BTreeMap::new();
        for change in changes {
            for id in self.interested(change.key()) {
                batches.entry(id).or_default().push(change.clone());
            }
        }
        for (id, changes) in batches {
            if self
                .open
                .get(&id)
                .is_some_and(|watcher| watcher.first <= revision)
            {
                self.push(id, Pending::Changes { revision, changes });
            }
        }
    }

    /// Takes one message of the watcher whose turn it is.
    pub(super) fn poll(&mut self) -> Option<(WatcherId, Pending)> {
        let id = self.ready.pop_front()?;
        let queue = self.waiting.get_mut(&id)?;
        let pending = queue.pop_front()?;
        if queue.is_empty() {
            self.waiting.remove(&id);
        } else {
            self.ready.push_back(id);
        }
        Some((id, pending))
    }

    fn push(&mut self, id: WatcherId, pending: Pending) {
        let queue = self.waiting.entry(id).or_insert_with(|| {
            self.ready.push_back(id);
            VecDeque::new()
        });
        match (queue.back_mut(), pending) {
            (
                Some(Pending::Changes {
                    revision: newest,
                    changes: earlier,
                }),
                Pending::Changes { revision, changes },
            ) => {
                *newest = revision;
                earlier.extend(changes);
            }
            (_, pending) => queue.push_back(pending),
        }
    }

    fn interested(&self, key: &[u8]) -> Vec<WatcherId> {
        let prefixes = self.prefix_lengths.keys().map_while(|length| key.get(..*length));
        let by_prefix = prefixes.filter_map(|prefix| self.by_prefix.get(prefix)).flatten();
        let by_key = self.by_key.get(key).into_iter().flatten();
        let others = self.others.iter().filter(|id| {
            let watcher = self.open.get(id);
            watcher.is_some_and(|watcher| watcher.span.contains(key))
        });
        by_key.chain(by_prefix).chain(others).copied().collect()
    }

    fn index(&mut self, id: WatcherId, span: &KeySpan) {
        match span {
            KeySpan::Key(key) => {
                self.by_key.entry(key.clone()).or_default().insert(id);
            }
            KeySpan::Prefix(prefix) => {
                let watchers = self.by_prefix.entry(prefix.clone()).or_insert_with(|| {
                    *self.prefix_lengths.entry(prefix.len()).or_default() += 1;
                    BTreeSet::new()
                });
                watchers.insert(id);
            }
            KeySpan::Interval { .. } | KeySpan::From(_) => {
                self.others.insert(id);
            }
        }
    }

    fn unindex(&mut self, id: WatcherId, span: &KeySpan) {
        match span {
            KeySpan::Key(key) => {
                remove_from(&mut self.by_key, key, id);
            }
            KeySpan::Prefix(prefix) => {
                if remove_from(&mut self.by_prefix, prefix, id) == Left::Nobody {
                    self.forget_length(prefix.len());
                }
            }
            KeySpan::Interval { .. } | KeySpan::From(_) => {
                self.others.remove(&id);
            }
        }
    }

    fn forget_length(&mut self, length: usize) {
        let Some(count) = self.prefix_lengths.get_mut(&length) else {
            return;
        };
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.prefix_lengths.remove(&length);
        }
    }
}

/// Who still watches a key or prefix.
#[derive(Eq, PartialEq)]
enum Left {
    Somebody,
    Nobody,
}

fn remove_from(index: &mut BTreeMap<Vec<u8>, BTreeSet<WatcherId>>, key: &[u8], id: WatcherId) -> Left {
    let Some(watchers) = index.get_mut(key) else {
        return Left::Somebody;
    };
    watchers.remove(&id);
    if !watchers.is_empty() {
        return Left::Somebody;
    }
    index.remove(key);
    Left::Nobody
}
