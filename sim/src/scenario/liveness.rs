//! The end of a run in which only a part of the cluster gets well.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::duration_text;
use crate::node_id::NodeId;

/// The second phase of a run, as `TigerBeetle` has it: at some time a core of nodes heals, and the store for them; whatever
/// else is broken at that time stays so for ever, and nothing else breaks.
///
/// Within [`Liveness::BOUND`] the core has to come to rest, without many requests to the store.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Liveness {
    /// When the core heals.
    #[serde(with = "duration_text")]
    pub at: Duration,
    /// The nodes that heal.
    pub core: Vec<NodeId>,
}

impl Liveness {
    /// Within this time the core has to come to rest: every node holds a lease, carries packets and forwards as the leases
    /// say.
    pub const BOUND: Duration = Duration::from_secs(90);
}
