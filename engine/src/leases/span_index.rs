//! Finding the ranges that overlap another.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::ops::Range;

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

/// The number of an entry of the view; no two entries ever have the same.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(super) struct EntryId(pub(super) u64);

/// Address ranges of one family with the keys that name them.
///
/// Ranges are prefixes: one overlaps another only if it lies inside it or covers it. So a search looks at what begins
/// inside, and once per length of the shorter prefixes, of which there are few. For n ranges a change or a search takes
/// O(log n) steps, and one for each range found.
#[derive(Clone, Debug, Default)]
pub(super) struct SpanIndex {
    keys: BTreeMap<(Prefix, EntryId), Arc<[u8]>>,
    /// How many ranges have each prefix length.
    lengths: BTreeMap<u8, usize>,
}

/// A prefix of either family; the address is its first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Prefix {
    first: u128,
    length: u8,
    /// How many bits an address of the family has.
    bits: u8,
}

impl From<Ipv4Net> for Prefix {
    fn from(net: Ipv4Net) -> Self {
        Self {
            first: net.network().to_bits().into(),
            length: net.prefix_len(),
            bits: 32,
        }
    }
}

impl From<Ipv6Net> for Prefix {
    fn from(net: Ipv6Net) -> Self {
        Self {
            first: net.network().to_bits(),
            length: net.prefix_len(),
            bits: 128,
        }
    }
}

impl Prefix {
    /// Returns the prefix of this length, not longer than its own, that covers it.
    fn widened(self, length: u8) -> Self {
        let host_bits = u32::from(self.bits.saturating_sub(length));
        let first = u128::MAX
            .checked_shl(host_bits)
            .map_or(0, |mask| self.first & mask);
        Self {
            first,
            length,
            ..self
        }
    }

    fn last(self) -> u128 {
        let host_bits = u32::from(self.bits.saturating_sub(self.length));
        let host = u128::MAX.checked_shl(host_bits).map_or(u128::MAX, |mask| !mask);
        self.first | host
    }

    /// Returns the bounds of all entries of this very prefix.
    const fn entries(self) -> Range<(Self, EntryId)> {
        (self, EntryId(0))..(self, EntryId(u64::MAX))
    }
}

impl SpanIndex {
    pub(super) fn insert(&mut self, prefix: Prefix, id: EntryId, key: Arc<[u8]>) {
        if self.keys.insert((prefix, id), key).is_none() {
            *self.lengths.entry(prefix.length).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, prefix: Prefix, id: EntryId) {
        if self.keys.remove(&(prefix, id)).is_none() {
            return;
        }
        let Some(count) = self.lengths.get_mut(&prefix.length) else {
            return;
        };
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.lengths.remove(&prefix.length);
        }
    }

    /// Returns the keys of all ranges that share an address with `prefix`.
    pub(super) fn overlapping(&self, prefix: Prefix) -> impl Iterator<Item = &Arc<[u8]>> {
        let around = self
            .lengths
            .range(..prefix.length)
            .flat_map(move |(length, _)| self.keys.range(prefix.widened(*length).entries()));
        let from = Prefix { length: 0, ..prefix };
        let to = Prefix {
            first: prefix.last(),
            length: u8::MAX,
            ..prefix
        };
        let inside = self
            .keys
            .range((from, EntryId(0))..(to, EntryId(0)))
            .filter(move |((other, _), _)| other.length >= prefix.length);
        around.chain(inside).map(|(_, key)| key)
    }
}
