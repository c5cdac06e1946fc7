//! The keys that a request of etcd's API covers.

use std::ops::Bound;

use selvedge_engine::{KeyRange, Page};

/// A span of keys in byte order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeySpan {
    /// One key.
    Key(Vec<u8>),
    /// Every key that starts with these bytes.
    Prefix(Vec<u8>),
    /// Every key from `start` on, below `end`.
    Interval {
        /// The first key.
        start: Vec<u8>,
        /// The first key that is not covered any more.
        end: Vec<u8>,
    },
    /// Every key from this one on.
    From(Vec<u8>),
}

impl KeySpan {
    /// Reads etcd's pair of key and range end: no end means one key, a zero byte means no limit.
    pub fn from_wire(key: Vec<u8>, range_end: Vec<u8>) -> Self {
        if range_end.is_empty() {
            return Self::Key(key);
        }
        if range_end == [0] {
            return if key == [0] {
                Self::Prefix(Vec::new())
            } else {
                Self::From(key)
            };
        }
        if prefix_end(&key).as_deref() == Some(&range_end) && !key.is_empty() {
            return Self::Prefix(key);
        }
        Self::Interval {
            start: key,
            end: range_end,
        }
    }

    /// Returns what is left of a range from the beginning of a page on.
    pub fn page(range: &KeyRange, page: &Page) -> Self {
        if page.after.is_none() {
            return Self::from(range);
        }
        let start = page.first_key(range.start());
        match range.end() {
            Some(end) => Self::Interval { start, end },
            None => Self::From(start),
        }
    }

    /// Tells whether `key` lies in the span.
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::Key(own) => own == key,
            Self::Prefix(prefix) => key.starts_with(prefix),
            Self::Interval { start, end } => start.as_slice() <= key && key < end.as_slice(),
            Self::From(start) => start.as_slice() <= key,
        }
    }

    /// Tells whether the span names no key where etcd wants one.
    pub(super) fn lacks_key(&self) -> bool {
        match self {
            Self::Key(key) | Self::Interval { start: key, .. } | Self::From(key) => key.is_empty(),
            Self::Prefix(_) => false,
        }
    }

    /// Returns the span as bounds that suit [`std::collections::BTreeMap::range`].
    pub(super) fn bounds(&self) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        match self {
            Self::Key(key) => (Bound::Included(key.clone()), Bound::Included(key.clone())),
            Self::Prefix(prefix) => {
                let end = prefix_end(prefix).map_or(Bound::Unbounded, Bound::Excluded);
                (Bound::Included(prefix.clone()), end)
            }
            // An end below the start covers nothing, but would make `BTreeMap::range` panic.
            Self::Interval { start, end } => (
                Bound::Included(start.clone()),
                Bound::Excluded(end.max(start).clone()),
            ),
            Self::From(start) => (Bound::Included(start.clone()), Bound::Unbounded),
        }
    }
}

impl From<&KeyRange> for KeySpan {
    fn from(range: &KeyRange) -> Self {
        match range {
            KeyRange::Key(key) => Self::Key(key.clone()),
            KeyRange::Prefix(prefix) => Self::Prefix(prefix.clone()),
        }
    }
}

impl From<KeyRange> for KeySpan {
    fn from(range: KeyRange) -> Self {
        match range {
            KeyRange::Key(key) => Self::Key(key),
            KeyRange::Prefix(prefix) => Self::Prefix(prefix),
        }
    }
}

/// Returns the first key above every key with the prefix, `None` if there is no such key.
fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix.get(..=last)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}
