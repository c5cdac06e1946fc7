//! Which machine this is, by what the system knows of itself.

use std::io;
use std::path::Path;
use std::{fs, iter};

use selvedge_engine::MachineId;

use crate::random::random;

/// Identifies the machine from one boot to the next: by its installation, its boot, and the network namespace that the
/// daemon runs in, for every namespace is a node of its own.
///
/// The installation alone does not do, since cloned machines share it. Whoever sees the result learns none of these:
/// systemd asks to keep `/etc/machine-id` confidential (machine-id(5)).
///
/// # Errors
///
/// If neither the installation nor the boot has an identity and the system gives no random numbers.
pub fn read() -> io::Result<MachineId> {
    let of_file = |path: &str| {
        let text = fs::read_to_string(path).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let installation = of_file("/etc/machine-id");
    let boot = of_file("/proc/sys/kernel/random/boot_id");
    if installation.is_none() && boot.is_none() {
        tracing::warn!("this machine has no identity of its own: a random one serves until the daemon ends");
        return Ok(MachineId(random()?));
    }
    let namespace = fs::read_link(Path::new("/proc/self/ns/net"))
        .map(|link| link.to_string_lossy().into_owned())
        .ok();
    Ok(hash(&[installation, boot, namespace]))
}

/// Hashes the parts, each with its place (FNV-1a, 64 bits).
fn hash(parts: &[Option<String>; 3]) -> MachineId {
    let bytes = parts
        .iter()
        .flat_map(|part| part.as_deref().unwrap_or_default().bytes().chain(iter::once(0)));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    MachineId(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_one_identity_for_as_long_as_it_runs() {
        assert_eq!(read().unwrap(), read().unwrap());
    }

    #[test]
    fn each_part_makes_another_identity() {
        let of = |parts: [&str; 3]| hash(&parts.map(|part| Some(part.to_owned())));
        let machines = [
            of(["a", "b", "c"]),
            of(["x", "b", "c"]),
            of(["a", "x", "c"]),
            of(["a", "b", "x"]),
            of(["", "ab", "c"]),
            hash(&[None, None, Some("c".to_owned())]),
        ];

        for (index, machine) in machines.iter().enumerate() {
            assert!(!machines[index + 1..].contains(machine), "{index}");
        }
    }
}
