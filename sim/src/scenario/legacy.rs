//! What ran on the nodes before.

use serde::{Deserialize, Serialize};

/// What is on the nodes before the first start of a daemon.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Legacy {
    /// Nothing.
    #[default]
    Nothing,
    /// What flannel's `vxlan` or `host-gw` left that ran there until a moment ago.
    Flannels,
}
