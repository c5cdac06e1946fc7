//! Why the store refuses a request.

use selvedge_engine::{StoreError, StoreErrorKind};

/// A refusal, worded as etcd words it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EtcdError {
    /// A key is empty.
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    /// A transaction writes one key twice, or writes a key that it also deletes.
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    /// A transaction has more than [`super::MAX_OPERATIONS`] entries in one list.
    #[error("etcdserver: too many operations in txn request")]
    TooManyOperations,
    /// A write keeps a key's value or lease, and there is no such key.
    #[error("etcdserver: key not found")]
    KeyNotFound,
    /// A write keeps a key's value and brings one.
    #[error("etcdserver: value is provided")]
    ValueProvided,
    /// A write keeps a key's lease and brings one.
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    /// A comparison's target or relation is none that etcd defines.
    #[error("etcdserver: unknown comparison in txn request")]
    UnknownComparison,
    /// The revision asked for is compacted.
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    /// The revision asked for lies in the future.
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision,
    /// There is no etcd lease of that id.
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    /// There is an etcd lease of that id.
    #[error("etcdserver: lease already exists")]
    LeaseExists,
    /// A lease's time to live is above [`super::MAX_TTL_SECONDS`].
    #[error("etcdserver: too large lease TTL")]
    LeaseTtlTooLarge,
}

impl EtcdError {
    /// Returns the engine's kind of the refusal.
    pub const fn kind(self) -> StoreErrorKind {
        match self {
            Self::EmptyKey
            | Self::DuplicateKey
            | Self::TooManyOperations
            | Self::KeyNotFound
            | Self::ValueProvided
            | Self::LeaseProvided
            | Self::UnknownComparison
            | Self::LeaseTtlTooLarge => StoreErrorKind::Invalid,
            Self::Compacted => StoreErrorKind::Compacted,
            Self::FutureRevision => StoreErrorKind::FutureRevision,
            Self::LeaseNotFound => StoreErrorKind::LeaseNotFound,
            Self::LeaseExists => StoreErrorKind::LeaseExists,
        }
    }
}

impl From<EtcdError> for StoreError {
    fn from(error: EtcdError) -> Self {
        Self {
            kind: error.kind(),
            message: error.to_string(),
        }
    }
}
