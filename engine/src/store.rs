//! The vocabulary between the engine and the store: etcd v3's, reduced to what the lease protocol uses.
//!
//! Field by field it follows etcd's `rpc.proto`; the adapter translates and decides nothing.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZero;

use serde::{Deserialize, Serialize};

use crate::text_bytes;

/// A position in the store's history; every write makes the next one.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Revision(pub i64);

impl Revision {
    /// Returns the revision that the next write will have.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// The id of an etcd lease: the store's TTL object, chosen by whoever grants it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct EtcdLeaseId(pub i64);

/// What every answer of the store says about the store itself.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Header {
    /// The cluster that answered; a restored or replaced cluster may have another.
    pub cluster_id: u64,
    /// The member that answered.
    pub member_id: u64,
    /// The store's revision when it answered.
    pub revision: Revision,
    /// The raft term when it answered.
    pub raft_term: u64,
}

/// A key with its value and history.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct KeyValue {
    /// The key's bytes.
    #[serde(with = "text_bytes")]
    pub key: Vec<u8>,
    /// The value's bytes.
    #[serde(with = "text_bytes")]
    pub value: Vec<u8>,
    /// The revision that created the key.
    pub create_revision: Revision,
    /// The revision that last wrote the key.
    pub mod_revision: Revision,
    /// How often the key was written since its creation, 1 for a new key.
    pub version: i64,
    /// The etcd lease that the key dies with, if any.
    pub lease: Option<EtcdLeaseId>,
}

/// The keys that a request covers.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum KeyRange {
    /// One key.
    Key(#[serde(with = "text_bytes")] Vec<u8>),
    /// Every key that starts with these bytes.
    Prefix(#[serde(with = "text_bytes")] Vec<u8>),
}

impl KeyRange {
    /// Returns the first key of the range.
    pub fn start(&self) -> &[u8] {
        match self {
            Self::Key(key) | Self::Prefix(key) => key,
        }
    }

    /// Returns the first key behind the range, `None` if it has no end.
    pub fn end(&self) -> Option<Vec<u8>> {
        match self {
            Self::Key(key) => Some([key.as_slice(), &[0]].concat()),
            Self::Prefix(prefix) => {
                let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
                let (kept, _) = prefix.split_at_checked(last.checked_add(1)?)?;
                let mut end = kept.to_vec();
                let byte = end.last_mut()?;
                *byte = byte.checked_add(1)?;
                Some(end)
            }
        }
    }

    /// Tells whether `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::Key(own) => own == key,
            Self::Prefix(prefix) => key.starts_with(prefix),
        }
    }
}

/// A request that the store answers once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StoreRequest {
    /// Reads keys, at the newest revision unless `revision` names another.
    Range {
        /// The keys to read.
        range: KeyRange,
        /// Which of them.
        page: Page,
        /// The revision to read at.
        revision: Option<Revision>,
    },
    /// Writes if every comparison holds, atomically.
    Txn(Txn),
    /// Makes an etcd lease with an id of the caller's choice, so that a repeated grant is harmless.
    LeaseGrant {
        /// The id, never zero.
        id: EtcdLeaseId,
        /// The time to live.
        ttl_seconds: i64,
    },
    /// Starts an etcd lease's time to live anew.
    LeaseKeepAlive {
        /// The lease.
        id: EtcdLeaseId,
    },
    /// Ends an etcd lease and deletes every key attached to it.
    LeaseRevoke {
        /// The lease.
        id: EtcdLeaseId,
    },
}

/// A part of a range of keys that is read at a time; all of it by default.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Page {
    /// The last key before the part, if it does not begin where the range does.
    pub after: Option<Vec<u8>>,
    /// How many keys it has at most.
    pub limit: Option<NonZero<u32>>,
}

impl Page {
    /// Returns the first key of the part, for a range that begins at `start`: the one right behind `after`, unless that
    /// lies before the range.
    pub fn first_key(&self, start: &[u8]) -> Vec<u8> {
        let behind = self.after.as_ref().map(|after| [after.as_slice(), &[0]].concat());
        match behind {
            Some(behind) if behind.as_slice() > start => behind,
            Some(_) | None => start.to_vec(),
        }
    }
}

/// A transaction: `success` if all of `compares` hold, else `failure`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Txn {
    /// What must hold.
    pub compares: Vec<Compare>,
    /// What happens then.
    pub success: Vec<TxnOp>,
    /// What happens otherwise.
    pub failure: Vec<TxnOp>,
}

/// A comparison of one property of every key in a range with a number; an absent key counts as all zeros.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Compare {
    /// The keys; for a prefix the comparison must hold for each existing key.
    pub range: KeyRange,
    /// The property compared.
    pub target: CompareTarget,
    /// How the key's property must relate to the operand.
    pub op: CompareOp,
}

/// The property that a comparison looks at, with its operand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CompareTarget {
    /// [`KeyValue::version`]; zero means that the key does not exist.
    Version(i64),
    /// [`KeyValue::create_revision`].
    CreateRevision(Revision),
    /// [`KeyValue::mod_revision`].
    ModRevision(Revision),
    /// [`KeyValue::lease`]; `None` for a key on no etcd lease, or one that does not exist.
    Lease(Option<EtcdLeaseId>),
}

/// The relation that a comparison demands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CompareOp {
    /// Equal.
    Equal,
    /// The key's property is less than the operand.
    Less,
    /// The key's property is greater than the operand.
    Greater,
    /// Not equal.
    NotEqual,
}

/// One operation inside a transaction.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TxnOp {
    /// Writes a key, attached to `lease` or to none.
    Put {
        /// The key.
        key: Vec<u8>,
        /// The value.
        value: Vec<u8>,
        /// The etcd lease to attach the key to.
        lease: Option<EtcdLeaseId>,
    },
    /// Deletes keys.
    Delete(KeyRange),
}

/// The answer to a [`StoreRequest`], of the same kind.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreResponse {
    /// The keys read, in key order.
    Range {
        /// About the store.
        header: Header,
        /// The keys.
        kvs: Vec<KeyValue>,
        /// Whether the limit left out keys behind them.
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        more: bool,
    },
    /// The outcome of a transaction.
    Txn {
        /// About the store; for a write its revision is the one the write made.
        header: Header,
        /// Which branch ran.
        outcome: TxnOutcome,
        /// One answer for each operation of that branch.
        responses: Vec<TxnOpResponse>,
    },
    /// The etcd lease exists.
    LeaseGrant {
        /// About the store.
        header: Header,
        /// The lease.
        id: EtcdLeaseId,
        /// The time to live that the store granted.
        ttl_seconds: i64,
    },
    /// The etcd lease lives on; zero seconds mean that it does not exist.
    LeaseKeepAlive {
        /// About the store.
        header: Header,
        /// The lease.
        id: EtcdLeaseId,
        /// The time to live from now.
        ttl_seconds: i64,
    },
    /// The etcd lease is gone.
    LeaseRevoke {
        /// About the store.
        header: Header,
    },
}

/// Which branch of a transaction ran.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TxnOutcome {
    /// Every comparison held.
    Succeeded,
    /// Some comparison did not hold.
    Failed,
}

/// The answer to a [`TxnOp`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TxnOpResponse {
    /// The key is written.
    Put,
    /// How many keys were deleted.
    Delete(i64),
}

/// A change that a watch saw.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchEvent {
    /// A key was written.
    Put(KeyValue),
    /// A key was deleted or expired.
    Delete {
        /// The key.
        #[serde(with = "text_bytes")]
        key: Vec<u8>,
        /// The revision of the deletion.
        mod_revision: Revision,
    },
}

/// Why a watch ended.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchEnd {
    /// The revision to start from no longer exists; the history begins at this one.
    Compacted(Revision),
    /// The stream broke or was refused.
    Failed(StoreError),
}

/// Why a request got no answer, as the engine has to tell apart.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreErrorKind {
    /// Not reached, no leader, connection lost: the request may or may not have been carried out.
    Unavailable,
    /// The deadline passed: the request may or may not have been carried out.
    DeadlineExceeded,
    /// Credentials missing, wrong or without the right.
    Auth,
    /// The store is out of space and refuses writes.
    NoSpace,
    /// The revision asked for was compacted.
    Compacted,
    /// The revision asked for lies in the future.
    FutureRevision,
    /// The etcd lease does not exist.
    LeaseNotFound,
    /// An etcd lease of that id exists already.
    LeaseExists,
    /// The store rejects the request as such.
    Invalid,
}

/// Why a request got no answer, for the engine and for people.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// What the engine goes by.
    pub kind: StoreErrorKind,
    /// What people read: the cause and the endpoint.
    pub message: String,
}

impl StoreError {
    /// Tells whether a write that failed this way may have been carried out all the same.
    pub const fn is_ambiguous(&self) -> bool {
        match self.kind {
            StoreErrorKind::Unavailable | StoreErrorKind::DeadlineExceeded => true,
            StoreErrorKind::Auth
            | StoreErrorKind::NoSpace
            | StoreErrorKind::Compacted
            | StoreErrorKind::FutureRevision
            | StoreErrorKind::LeaseNotFound
            | StoreErrorKind::LeaseExists
            | StoreErrorKind::Invalid => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_before_the_first_key_behind_it() {
        let end = |range: KeyRange| range.end();

        assert_eq!(end(KeyRange::Key(b"a".to_vec())), Some(b"a\0".to_vec()));
        assert_eq!(end(KeyRange::Prefix(b"a/".to_vec())), Some(b"a0".to_vec()));
        assert_eq!(end(KeyRange::Prefix(b"a\xff".to_vec())), Some(b"b".to_vec()));
        assert_eq!(end(KeyRange::Prefix(b"\xff".to_vec())), None);
        assert_eq!(end(KeyRange::Prefix(Vec::new())), None);
    }

    #[test]
    fn a_page_begins_right_behind_the_one_before() {
        let page = Page {
            after: Some(b"a/1".to_vec()),
            limit: None,
        };

        assert_eq!(page.first_key(b"a/"), b"a/1\0");
        assert_eq!(page.first_key(b"b/"), b"b/");
        assert_eq!(Page::default().first_key(b"a/"), b"a/");
    }
}
