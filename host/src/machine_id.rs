//! Which machine this is, by what the system knows of itself.

use std::io;
use std::path::Path;
use std::{fs, iter};

use selvedge_engine::MachineId;

use crate::random::random;

/// What the system says of the machine; a part is missing where the system does not say.
#[derive(Clone, Debug, Default)]
struct Facts {
    /// The identity of the installation; systemd asks to keep it confidential (machine-id(5)). Copies share it.
    installation: Option<String>,
    /// The identity that the firmware gives the machine. Virtual machines that are copies of one another rarely share it.
    product: Option<String>,
    /// The identity of the boot.
    boot: Option<String>,
    /// The network namespace that the daemon runs in: every namespace is a node of its own.
    namespace: Option<String>,
    /// The network namespace of the first process, which comes back with every boot.
    first_namespace: Option<String>,
}

/// Identifies the machine, and its boot. Whoever sees the result learns none of the facts it is made of.
///
/// # Errors
///
/// If neither the machine nor the boot has an identity and the system gives no random numbers.
pub fn read() -> io::Result<MachineId> {
    let of_file = |path: &str| {
        let text = fs::read_to_string(path).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let of_link = |path: &str| {
        let target = fs::read_link(Path::new(path)).ok()?;
        Some(target.to_string_lossy().into_owned())
    };
    let facts = Facts {
        installation: of_file("/etc/machine-id"),
        product: of_file("/sys/class/dmi/id/product_uuid"),
        boot: of_file("/proc/sys/kernel/random/boot_id"),
        namespace: of_link("/proc/self/ns/net"),
        first_namespace: of_link("/proc/1/ns/net"),
    };
    if let Some(machine) = facts.identify() {
        return Ok(machine);
    }
    tracing::warn!("this machine has no identity of its own: a random one serves until the daemon ends");
    let once = random()?;
    Ok(MachineId::new(once, once))
}

impl Facts {
    /// Returns the identity, if the system tells machines apart at all.
    fn identify(&self) -> Option<MachineId> {
        if self.installation.is_none() && self.boot.is_none() {
            return None;
        }
        let boot = hash(&[&self.installation, &self.product, &self.boot, &self.namespace]);
        if self.installation.is_none() && self.product.is_none() {
            return Some(MachineId::new(boot, boot));
        }
        let namespace = match &self.namespace {
            namespace if *namespace == self.first_namespace => &None,
            namespace => namespace,
        };
        let hardware = hash(&[&self.installation, &self.product, &None, namespace]);
        Some(MachineId::new(hardware, boot))
    }
}

/// Hashes the parts, each with its place (FNV-1a, 64 bits).
fn hash(parts: &[&Option<String>; 4]) -> u64 {
    let bytes = parts
        .iter()
        .flat_map(|part| part.as_deref().unwrap_or_default().bytes().chain(iter::once(0)));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_one_identity_for_as_long_as_it_runs() {
        assert_eq!(read().unwrap(), read().unwrap());
    }

    #[test]
    fn a_boot_changes_the_boot_alone() {
        let (before, after) = (facts(), with(|facts| facts.boot = Some(text("b2"))));

        assert_eq!(
            before.identify().unwrap().hardware,
            after.identify().unwrap().hardware
        );
        assert_ne!(before.identify().unwrap().boot, after.identify().unwrap().boot);
    }

    #[test]
    fn each_other_part_makes_another_machine_and_another_boot() {
        let machines = [
            facts(),
            with(|facts| facts.installation = Some(text("i2"))),
            with(|facts| facts.product = Some(text("p2"))),
            with(|facts| facts.product = None),
            with(|facts| facts.namespace = Some(text("n2"))),
            with(|facts| facts.namespace = Some(text("n3"))),
            with(|facts| (facts.installation, facts.product) = (None, None)),
        ]
        .map(|facts| facts.identify().unwrap());

        for (index, machine) in machines.iter().enumerate() {
            for other in &machines[index + 1..] {
                assert_ne!(machine.hardware, other.hardware);
                assert_ne!(machine.boot, other.boot);
            }
        }
    }

    #[test]
    fn the_first_namespace_is_the_same_after_a_boot_whatever_it_is_called() {
        let renamed = with(|facts| {
            facts.namespace = Some(text("n9"));
            facts.first_namespace = Some(text("n9"));
        });

        assert_eq!(
            facts().identify().unwrap().hardware,
            renamed.identify().unwrap().hardware
        );
    }

    #[test]
    fn a_machine_that_is_known_by_its_boot_alone_is_another_one_after_the_next() {
        let at = |boot| Facts {
            boot: Some(text(boot)),
            ..Facts::default()
        };

        assert_ne!(
            at("b1").identify().unwrap().hardware,
            at("b2").identify().unwrap().hardware
        );
        assert_eq!(Facts::default().identify(), None);
    }

    fn facts() -> Facts {
        Facts {
            installation: Some(text("i1")),
            product: Some(text("p1")),
            boot: Some(text("b1")),
            namespace: Some(text("n1")),
            first_namespace: Some(text("n1")),
        }
    }

    fn with(change: impl FnOnce(&mut Facts)) -> Facts {
        let mut facts = facts();
        change(&mut facts);
        facts
    }

    fn text(text: &str) -> String {
        text.to_owned()
    }
}
