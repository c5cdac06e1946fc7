//! Whose doing a write is.

/// Whose doing a write to the store is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Hand {
    /// A node's, or nobody's: a lease that ends when its time is over.
    Node,
    /// An operator's, a stranger's, or that of whoever replaced the store.
    Operator,
}
