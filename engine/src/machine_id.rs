//! Which machine, and which boot of it, made an etcd lease: its id tells.
//!
//! A lease's value stays as flannel writes it (control-plane.md, 3.2), so the node's identity goes where flannel looks
//! at nothing: into the id of the etcd lease, which whoever grants it may choose.
//!
//! | bits | content |
//! |---|---|
//! | 63 | 0: an id is positive |
//! | 62 to 48 | a mark: the id is made like this |
//! | 47 to 32 | a hash of the machine |
//! | 31 to 16 | a hash of its boot |
//! | 15 to 14 | the standing: 0 held, 1 claimed, 2 resumed |
//! | 13 to 0 | random |

use serde::{Deserialize, Serialize};

use crate::rng::Rng;
use crate::store::EtcdLeaseId;

/// The mark. Of the ids that etcd's own generator draws, one in 32,768 has it by chance; such a lease is taken for
/// another machine's, which costs its node a moment at its next start.
const MARK: u64 = 0x5e1f;
const MARK_SHIFT: u32 = 48;
const HARDWARE_SHIFT: u32 = 32;
const BOOT_SHIFT: u32 = 16;
const HASH_MASK: u64 = 0xffff;
const STANDING_SHIFT: u32 = 14;
const STANDING_MASK: u64 = 0b11;
const RANDOM_MASK: u64 = (1 << STANDING_SHIFT) - 1;

/// The identity of a machine.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct MachineId {
    /// What stays over a reboot. Two machines have it in common if one is a copy of the other, so it proves nothing alone.
    pub hardware: u64,
    /// What stays until the next reboot. Two machines that run at the same time never have it in common.
    pub boot: u64,
}

/// Who made an etcd lease.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Maker {
    /// This machine, since it was booted.
    This(Standing),
    /// This machine before it was booted, or a copy of it.
    OtherBoot(Standing),
    /// Another machine.
    Other(Standing),
    /// Flannel, an operator, or an older version of this program.
    Unknown,
}

/// What the key that hangs on an etcd lease is to the node that made it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Standing {
    /// The node holds it.
    Held,
    /// The node wants it, and gives whoever holds it the time to object; until then it carries nothing.
    Claimed,
    /// As claimed, but the node carries the subnet meanwhile: the lease is most likely its own of old.
    Resumed,
}

impl MachineId {
    /// Makes the identity of a machine in one of its boots.
    pub const fn new(hardware: u64, boot: u64) -> Self {
        Self { hardware, boot }
    }

    /// Draws the id of an etcd lease that this machine makes.
    pub(crate) fn draw_lease_id(self, standing: Standing, rng: &mut Rng) -> EtcdLeaseId {
        let bits = MARK << MARK_SHIFT
            | hash(self.hardware) << HARDWARE_SHIFT
            | hash(self.boot) << BOOT_SHIFT
            | standing.code() << STANDING_SHIFT
            | rng.next_u64() & RANDOM_MASK;
        EtcdLeaseId(i64::try_from(bits).unwrap_or(i64::MAX))
    }

    /// Tells who made an etcd lease.
    pub(crate) fn maker_of(self, lease: EtcdLeaseId) -> Maker {
        let Ok(bits) = u64::try_from(lease.0) else {
            return Maker::Unknown;
        };
        let standing = Standing::of_code(bits >> STANDING_SHIFT & STANDING_MASK);
        let Some(standing) = standing.filter(|_| bits >> MARK_SHIFT == MARK) else {
            return Maker::Unknown;
        };
        let is_hardware = bits >> HARDWARE_SHIFT & HASH_MASK == hash(self.hardware);
        let is_boot = bits >> BOOT_SHIFT & HASH_MASK == hash(self.boot);
        match (is_hardware, is_boot) {
            (true, true) => Maker::This(standing),
            (true, false) => Maker::OtherBoot(standing),
            (false, _) => Maker::Other(standing),
        }
    }
}

impl Maker {
    /// Tells whether the lease is lost to the maker for whoever held it before.
    ///
    /// Another machine resumes only what it held before it was booted; what a copy resumes may be this machine's.
    pub(crate) const fn has_taken(self) -> bool {
        match self {
            Self::OtherBoot(Standing::Held) | Self::Other(Standing::Held | Standing::Resumed) => true,
            Self::This(_)
            | Self::OtherBoot(Standing::Claimed | Standing::Resumed)
            | Self::Other(Standing::Claimed)
            | Self::Unknown => false,
        }
    }
}

impl Standing {
    /// Tells whether others have the time to object.
    pub(crate) const fn is_claim(self) -> bool {
        match self {
            Self::Held => false,
            Self::Claimed | Self::Resumed => true,
        }
    }

    const fn code(self) -> u64 {
        match self {
            Self::Held => 0,
            Self::Claimed => 1,
            Self::Resumed => 2,
        }
    }

    const fn of_code(code: u64) -> Option<Self> {
        match code {
            0 => Some(Self::Held),
            1 => Some(Self::Claimed),
            2 => Some(Self::Resumed),
            _ => None,
        }
    }
}

fn hash(identity: u64) -> u64 {
    Rng::new(identity).next_u64() & HASH_MASK
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, prop_assume, proptest};

    use super::*;

    proptest! {
        #[test]
        fn an_id_tells_its_maker_and_the_standing(
            hardware in any::<u64>(),
            boot in any::<u64>(),
            other in any::<u64>(),
            seed in any::<u64>(),
        ) {
            prop_assume!(hash(hardware) != hash(other) && hash(boot) != hash(other));
            let mut rng = Rng::new(seed);

            for standing in [Standing::Held, Standing::Claimed, Standing::Resumed] {
                let id = MachineId::new(hardware, boot).draw_lease_id(standing, &mut rng);
                let maker = |hardware, boot| MachineId::new(hardware, boot).maker_of(id);

                prop_assert!(id.0 > 0);
                prop_assert_eq!(maker(hardware, boot), Maker::This(standing));
                prop_assert_eq!(maker(hardware, other), Maker::OtherBoot(standing));
                prop_assert_eq!(maker(other, boot), Maker::Other(standing));
                prop_assert_eq!(maker(other, other), Maker::Other(standing));
            }
        }

        #[test]
        fn ids_without_the_mark_are_of_unknown_makers(id in any::<i64>()) {
            prop_assume!(id >> MARK_SHIFT != i64::try_from(MARK).unwrap());

            prop_assert_eq!(MachineId::new(1, 1).maker_of(EtcdLeaseId(id)), Maker::Unknown);
        }
    }

    #[test]
    fn a_standing_that_does_not_exist_is_somebody_elses() {
        let id = MachineId::new(1, 1).draw_lease_id(Standing::Held, &mut Rng::new(1));
        let strange = EtcdLeaseId(id.0 | i64::try_from(STANDING_MASK << STANDING_SHIFT).unwrap());

        assert_eq!(MachineId::new(1, 1).maker_of(strange), Maker::Unknown);
    }
}
