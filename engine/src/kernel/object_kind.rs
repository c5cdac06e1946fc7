//! What sorts of objects there are.

use super::{KernelErrorKind, KernelObject};

/// The sort of a [`KernelObject`]; each has a name that operators see.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ObjectKind {
    /// The tunnel's UDP socket.
    Socket,
    /// A device.
    Link,
    /// A device's setting.
    Sysctl,
    /// An address on a device.
    Address,
    /// Rules in the firewall.
    Ruleset,
    /// An entry of a VXLAN device's forwarding database.
    FdbEntry,
    /// A neighbour entry.
    Neighbour,
    /// A route.
    Route,
    /// The file for CNI plugins and Docker.
    SubnetFile,
    /// A member that the rules let pass.
    Member,
}

impl ObjectKind {
    /// Every kind, in the order in which they are made.
    pub const ALL: [Self; 10] = [
        Self::Socket,
        Self::Link,
        Self::Sysctl,
        Self::Address,
        Self::Ruleset,
        Self::FdbEntry,
        Self::Neighbour,
        Self::Route,
        Self::SubnetFile,
        Self::Member,
    ];

    /// Returns the name that operators see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Link => "link",
            Self::Sysctl => "sysctl",
            Self::Address => "address",
            Self::Ruleset => "ruleset",
            Self::FdbEntry => "fdb_entry",
            Self::Neighbour => "neighbour",
            Self::Route => "route",
            Self::SubnetFile => "subnet_file",
            Self::Member => "member",
        }
    }
}

impl KernelObject {
    /// Returns what sort of object it is.
    pub const fn kind(&self) -> ObjectKind {
        match self {
            Self::Socket(_) => ObjectKind::Socket,
            Self::Link(_) => ObjectKind::Link,
            Self::Sysctl(_) => ObjectKind::Sysctl,
            Self::Address(_) => ObjectKind::Address,
            Self::Ruleset(_) => ObjectKind::Ruleset,
            Self::FdbEntry(_) => ObjectKind::FdbEntry,
            Self::Neighbour(_) => ObjectKind::Neighbour,
            Self::Route(_) => ObjectKind::Route,
            Self::SubnetFile(_) => ObjectKind::SubnetFile,
            Self::Member(_) => ObjectKind::Member,
        }
    }
}

impl KernelErrorKind {
    /// Returns the name that operators see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::NotFound => "not_found",
            Self::Permission => "permission",
            Self::Unsupported => "unsupported",
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lists_each_kind_once_in_order() {
        let positions = ObjectKind::ALL.map(|kind| kind as usize);

        assert_eq!(positions, core::array::from_fn(|position| position));
    }
}
