//! How a flanneld ends.

use std::fmt;

use selvedge_engine::{KernelError, StoreError, Subnet};

/// Why a flanneld ends itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Death {
    /// Another node created the key first; meant to be tried again, but it is not (control-plane.md, 4 step 5).
    LostCreateRace(Subnet),
    /// No subnet is free.
    OutOfSubnets,
    /// Some leases have no IPv6 part, which the test for overlaps expects (control-plane.md, 4).
    Crashed,
    /// A write or the list failed while it acquired a subnet.
    Store(StoreError),
    /// The network config is one that the backend cannot serve.
    UnfitNetwork,
    /// The tunnel could not be set up.
    Kernel(KernelError),
    /// The own key is gone (control-plane.md, 6).
    LeaseRevoked,
}

impl Death {
    /// Returns the exit code of the process.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::LeaseRevoked => 0,
            Self::Crashed => 2,
            Self::LostCreateRace(_)
            | Self::OutOfSubnets
            | Self::Store(_)
            | Self::UnfitNetwork
            | Self::Kernel(_) => 1,
        }
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {}: ", self.exit_code())?;
        match self {
            Self::LostCreateRace(subnet) => write!(f, "another node created {subnet} first"),
            Self::OutOfSubnets => f.write_str("no subnet is free"),
            Self::Crashed => f.write_str("crashed over a lease without IPv6 part"),
            Self::Store(error) => write!(f, "cannot acquire a subnet: {error}"),
            Self::UnfitNetwork => f.write_str("the backend cannot serve the network"),
            Self::Kernel(error) => write!(f, "cannot set up the tunnel: {error}"),
            Self::LeaseRevoked => f.write_str("its lease was revoked"),
        }
    }
}
