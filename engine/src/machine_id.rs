//! Which machine, as it was booted, made an etcd lease: its id tells.
//!
//! A lease's value stays as flannel writes it (control-plane.md, 3.2), so the node's identity goes where flannel looks
//! at nothing: into the id of the etcd lease, which whoever grants it may choose.
//!
//! | bits | content |
//! |---|---|
//! | 63 | 0: an id is positive |
//! | 62 to 48 | a mark: the id is made like this |
//! | 47 to 24 | a hash of the machine's identity |
//! | 23 | 1: the lease is claimed, 0: it is held |
//! | 22 to 0 | random |

use serde::{Deserialize, Serialize};

use crate::rng::Rng;
use crate::store::EtcdLeaseId;

/// The mark. Of the ids that etcd's own generator draws, one in 32,768 has it by chance; such a lease is taken for
/// another machine's, which costs its node a moment at its next start.
const MARK: u64 = 0x5e1f;
const MARK_SHIFT: u32 = 48;
const HASH_SHIFT: u32 = 24;
const HASH_BITS: u32 = 24;
const CLAIM: u64 = 1 << 23;
const RANDOM_MASK: u64 = CLAIM - 1;

/// The identity of a machine from one boot to the next; two that run at the same time never share it.
///
/// An installation's own identity is not enough, for cloned machines share it; neither are addresses, for machines
/// behind the same kind of NAT share those.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct MachineId(pub u64);

/// Who made an etcd lease.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Maker {
    /// This machine, since it was booted.
    This(Standing),
    /// Another machine, or this one before it was booted.
    Other(Standing),
    /// Flannel, an operator, or an older version of this program.
    Unknown,
}

/// What the key that hangs on an etcd lease is to the node that made it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    /// The node wants it, and gives whoever holds it the time to object.
    Claimed,
    /// The node holds it.
    Held,
}

impl MachineId {
    /// Draws the id of an etcd lease that this machine makes.
    pub(crate) fn draw_lease_id(self, standing: Standing, rng: &mut Rng) -> EtcdLeaseId {
        let claim = match standing {
            Standing::Claimed => CLAIM,
            Standing::Held => 0,
        };
        let random = rng.next_u64() & RANDOM_MASK;
        let bits = MARK << MARK_SHIFT | self.hash() << HASH_SHIFT | claim | random;
        EtcdLeaseId(i64::try_from(bits).unwrap_or(i64::MAX))
    }

    /// Tells who made an etcd lease.
    pub(crate) fn maker_of(self, lease: EtcdLeaseId) -> Maker {
        let Ok(bits) = u64::try_from(lease.0) else {
            return Maker::Unknown;
        };
        if bits >> MARK_SHIFT != MARK {
            return Maker::Unknown;
        }
        let standing = if bits & CLAIM == 0 {
            Standing::Held
        } else {
            Standing::Claimed
        };
        let hash = bits >> HASH_SHIFT & ((1 << HASH_BITS) - 1);
        if hash == self.hash() {
            Maker::This(standing)
        } else {
            Maker::Other(standing)
        }
    }

    fn hash(self) -> u64 {
        Rng::new(self.0).next_u64() >> (u64::BITS - HASH_BITS)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, prop_assume, proptest};

    use super::*;

    proptest! {
        #[test]
        fn an_id_tells_its_maker_and_the_standing(machine in any::<u64>(), other in any::<u64>(), seed in any::<u64>()) {
            prop_assume!(MachineId(machine).hash() != MachineId(other).hash());
            let mut rng = Rng::new(seed);

            for standing in [Standing::Claimed, Standing::Held] {
                let id = MachineId(machine).draw_lease_id(standing, &mut rng);

                prop_assert!(id.0 > 0);
                prop_assert_eq!(MachineId(machine).maker_of(id), Maker::This(standing));
                prop_assert_eq!(MachineId(other).maker_of(id), Maker::Other(standing));
            }
        }

        #[test]
        fn ids_without_the_mark_are_of_unknown_makers(id in any::<i64>()) {
            prop_assume!(id >> MARK_SHIFT != i64::try_from(MARK).unwrap());

            prop_assert_eq!(MachineId(1).maker_of(EtcdLeaseId(id)), Maker::Unknown);
        }
    }
}
