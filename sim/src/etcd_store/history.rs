//! The keys at every revision since the last compaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use selvedge_engine::{EtcdLeaseId, KeyValue, Revision};

use super::{EtcdError, KeySpan};

/// One change of one key.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// The key was written.
    Put(Arc<KeyValue>),
    /// The key was deleted.
    Delete {
        /// The key.
        key: Arc<[u8]>,
        /// The revision of the deletion.
        mod_revision: Revision,
    },
}

impl Change {
    pub(super) fn key(&self) -> &[u8] {
        match self {
            Self::Put(kv) => &kv.key,
            Self::Delete { key, .. } => key,
        }
    }

    fn revision(&self) -> Revision {
        match self {
            Self::Put(kv) => kv.mod_revision,
            Self::Delete { mod_revision, .. } => *mod_revision,
        }
    }

    fn state(&self) -> Option<&Arc<KeyValue>> {
        match self {
            Self::Put(kv) => Some(kv),
            Self::Delete { .. } => None,
        }
    }
}

/// The store's memory: the newest keys, the past of each key, and the changes of each revision.
#[derive(Clone, Debug)]
pub(super) struct History {
    revision: Revision,
    compacted: Revision,
    newest: BTreeMap<Vec<u8>, Arc<KeyValue>>,
    /// Each key's changes in the order of their revisions; the first may lie before the compaction.
    past: BTreeMap<Vec<u8>, Vec<Change>>,
    /// The changes of each revision from the compacted one on; of the compacted one the writes alone.
    commits: BTreeMap<Revision, Vec<Change>>,
    /// The changes of the revision being made.
    open: Vec<Change>,
}

impl History {
    pub(super) fn new() -> Self {
        Self {
            revision: Revision(1),
            compacted: Revision(-1),
            newest: BTreeMap::new(),
            past: BTreeMap::new(),
            commits: BTreeMap::new(),
            open: Vec::new(),
        }
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    pub(super) fn compacted(&self) -> Revision {
        self.compacted
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Arc<KeyValue>> {
        self.newest.get(key)
    }

    /// Returns a key's state at a revision that [`History::check_readable`] lets pass.
    pub(super) fn get_at(&self, key: &[u8], revision: Revision) -> Option<Arc<KeyValue>> {
        state_at(self.past.get(key)?, revision)
    }

    pub(super) fn range(&self, span: &KeySpan) -> Vec<Arc<KeyValue>> {
        self.newest
            .range(span.bounds())
            .map(|(_, kv)| Arc::clone(kv))
            .collect()
    }

    /// Returns the keys of a span at a revision that [`History::check_readable`] lets pass.
    pub(super) fn range_at(&self, span: &KeySpan, revision: Revision) -> Vec<Arc<KeyValue>> {
        self.past
            .range(span.bounds())
            .filter_map(|(_, changes)| state_at(changes, revision))
            .collect()
    }

    pub(super) fn check_readable(&self, revision: Revision) -> Result<(), EtcdError> {
        if revision > self.revision {
            return Err(EtcdError::FutureRevision);
        }
        if revision < self.compacted {
            return Err(EtcdError::Compacted);
        }
        Ok(())
    }

    /// Returns the changes in a span from revision `first` on.
    pub(super) fn changes_since(&self, first: Revision, span: &KeySpan) -> Vec<Change> {
        let commits = self.commits.range(first..).flat_map(|(_, changes)| changes);
        commits
            .filter(|change| span.contains(change.key()))
            .cloned()
            .collect()
    }

    /// Writes a key in the revision being made.
    pub(super) fn put(&mut self, key: &[u8], value: Vec<u8>, lease: Option<EtcdLeaseId>) {
        let mod_revision = self.revision.next();
        let previous = self.newest.get(key);
        let kv = Arc::new(KeyValue {
            key: key.to_vec(),
            value,
            create_revision: previous.map_or(mod_revision, |kv| kv.create_revision),
            mod_revision,
            version: previous.map_or(1, |kv| kv.version.saturating_add(1)),
            lease,
        });
        self.newest.insert(key.to_vec(), Arc::clone(&kv));
        self.record(Change::Put(kv));
    }

    /// Deletes the keys of a span in the revision being made and returns what they were.
    pub(super) fn delete(&mut self, span: &KeySpan) -> Vec<Arc<KeyValue>> {
        let mod_revision = self.revision.next();
        let previous = self.range(span);
        for kv in &previous {
            self.newest.remove(&kv.key);
            self.record(Change::Delete {
                key: Arc::from(kv.key.as_slice()),
                mod_revision,
            });
        }
        previous
    }

    /// Ends the revision being made, if it changed anything, and returns it.
    pub(super) fn commit(&mut self) -> Option<(Revision, &[Change])> {
        if self.open.is_empty() {
            return None;
        }
        self.revision = self.revision.next();
        let changes = self.commits.entry(self.revision).or_default();
        changes.append(&mut self.open);
        Some((self.revision, changes))
    }

    /// Forgets what only revisions before `revision` can see.
    ///
    /// Deletions at `revision` itself are forgotten too, although a watch from there ought to hear of them: so
    /// does etcd before 3.4.34 and 3.5.16 (etcd's issue 18089), and clients have to live with it.
    pub(super) fn compact(&mut self, revision: Revision) -> Result<(), EtcdError> {
        if revision <= self.compacted {
            return Err(EtcdError::Compacted);
        }
        if revision > self.revision {
            return Err(EtcdError::FutureRevision);
        }
        let touched = self.commits.range(..=revision).flat_map(|(_, changes)| changes);
        let touched: BTreeSet<Vec<u8>> = touched.map(|change| change.key().to_vec()).collect();
        for key in touched {
            self.forget(&key, revision);
        }
        self.commits = self.commits.split_off(&revision);
        if let Some(changes) = self.commits.get_mut(&revision) {
            changes.retain(|change| change.state().is_some());
        }
        self.compacted = revision;
        Ok(())
    }

    fn record(&mut self, change: Change) {
        self.past
            .entry(change.key().to_vec())
            .or_default()
            .push(change.clone());
        self.open.push(change);
    }

    fn forget(&mut self, key: &[u8], revision: Revision) {
        let Some(changes) = self.past.get_mut(key) else {
            return;
        };
        let reached = changes.partition_point(|change| change.revision() <= revision);
        let base = reached.checked_sub(1).and_then(|newest| changes.get(newest));
        let dropped = if base.is_some_and(|base| base.state().is_some()) {
            reached - 1
        } else {
            reached
        };
        changes.drain(..dropped);
        if changes.is_empty() {
            self.past.remove(key);
        }
    }
}

fn state_at(changes: &[Change], revision: Revision) -> Option<Arc<KeyValue>> {
    let reached = changes.partition_point(|change| change.revision() <= revision);
    changes.get(reached.checked_sub(1)?)?.state().cloned()
}
