//! Which daemon a node runs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The daemon of a node.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Model {
    /// Ours: the real engine and the real forwarder.
    #[default]
    Selvedge,
    /// A model of `flanneld`, with its defects.
    Flannel,
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Selvedge => "selvedge",
            Self::Flannel => "flannel",
        })
    }
}
