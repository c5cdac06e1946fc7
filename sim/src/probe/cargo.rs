//! What the model takes a packet for.

use std::fmt;

use crate::forgery::Forgery;

/// What a packet is, as the model knows it whatever its bytes say.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Cargo {
    /// A probe as its pod sent it.
    Probe(u64),
    /// An ICMP error of a kernel or a forwarder.
    IcmpError,
    /// Something that was damaged on its way; nothing is owed to it any more.
    Damaged,
    /// Something that no node sent.
    Forged(Forgery),
}

impl Cargo {
    /// Tells whether no node sent it as it is.
    pub(crate) const fn was_never_sent(self) -> bool {
        match self {
            Self::Probe(_) | Self::IcmpError => false,
            Self::Damaged | Self::Forged(_) => true,
        }
    }

    /// Returns the probe's id, if it is one.
    pub(crate) const fn probe(self) -> Option<u64> {
        match self {
            Self::Probe(id) => Some(id),
            Self::IcmpError | Self::Damaged | Self::Forged(_) => None,
        }
    }
}

impl fmt::Display for Cargo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probe(id) => write!(f, "probe {id}"),
            Self::IcmpError => f.write_str("ICMP error"),
            Self::Damaged => f.write_str("damaged packet"),
            Self::Forged(_) => f.write_str("forged packet"),
        }
    }
}
