//! What a recording has told of the store's keys so far, so that it need not tell it again.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::action::StoreEvent;
use crate::input::Input;
use crate::store::{KeyValue, WatchEvent};
use crate::text_bytes;

/// A part of a list of keys.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Piece {
    /// A key that is new or has changed.
    Kv(KeyValue),
    /// Keys that are as they were.
    Same(Run),
}

/// Keys side by side.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Run {
    /// The first.
    #[serde(with = "text_bytes")]
    from: Vec<u8>,
    /// How many.
    count: usize,
}

/// A run that goes beyond the keys known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct UnknownRun;

/// The keys as they were told last. Writer and reader hold the same after the same lines.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    kvs: BTreeMap<Vec<u8>, KeyValue>,
}

impl Mirror {
    /// Puts a list into pieces, and learns it.
    pub(super) fn fold(&mut self, list: &[KeyValue]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut rest = list;
        while let [first, others @ ..] = rest {
            let known = self.from(&first.key);
            let count = rest
                .iter()
                .zip(known)
                .take_while(|(one, other)| one == other)
                .count();
            if let Some((_, after)) = rest.split_at_checked(count).filter(|_| count > 0) {
                pieces.push(Piece::Same(Run {
                    from: first.key.clone(),
                    count,
                }));
                rest = after;
            } else {
                pieces.push(Piece::Kv(first.clone()));
                rest = others;
            }
        }
        self.learn_list(list);
        pieces
    }

    /// Puts the pieces of a list together, and learns it.
    pub(super) fn unfold(&mut self, pieces: Vec<Piece>) -> Result<Vec<KeyValue>, UnknownRun> {
        let mut list = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Kv(kv) => list.push(kv),
                Piece::Same(Run { from, count }) => {
                    let before = list.len();
                    list.extend(self.from(&from).take(count).cloned());
                    if list.len().checked_sub(before) != Some(count) {
                        return Err(UnknownRun);
                    }
                }
            }
        }
        self.learn_list(&list);
        Ok(list)
    }

    /// Learns what a watch saw.
    pub(super) fn learn(&mut self, input: &Input) {
        let Input::Store(StoreEvent::WatchBatch { events, .. }) = input else {
            return;
        };
        for event in events {
            match event {
                WatchEvent::Put(kv) => {
                    self.kvs.insert(kv.key.clone(), kv.clone());
                }
                WatchEvent::Delete { key, .. } => {
                    self.kvs.remove(key);
                }
            }
        }
    }

    /// Learns a list, and forgets the keys in its midst that it no longer has.
    fn learn_list(&mut self, list: &[KeyValue]) {
        let [lowest, .., highest] = list else {
            self.kvs
                .extend(list.iter().map(|kv| (kv.key.clone(), kv.clone())));
            return;
        };
        let span = lowest.key.clone()..=highest.key.clone();
        self.kvs.retain(|key, _| !span.contains(key));
        self.kvs
            .extend(list.iter().map(|kv| (kv.key.clone(), kv.clone())));
    }

    fn from(&self, key: &[u8]) -> impl Iterator<Item = &KeyValue> {
        let range = (Bound::Included(key), Bound::Unbounded);
        self.kvs.range::<[u8], _>(range).map(|(_, kv)| kv)
    }
}
