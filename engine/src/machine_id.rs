//! Which machine this is, as it was booted.

use serde::{Deserialize, Serialize};

/// The identity of a machine from one boot to the next; two that run at the same time never share it.
///
/// An installation's own identity is not enough, for cloned machines share it; neither are addresses, for machines
/// behind the same kind of NAT share those.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct MachineId(pub u64);
