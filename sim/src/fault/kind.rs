//! The names of the kinds of faults.

use std::fmt;

/// The name of a kind of fault: the `kind` of the text form of scenarios, for example `store_cut`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FaultKind(String);

impl FaultKind {
    pub(crate) const fn new(name: String) -> Self {
        Self(name)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
