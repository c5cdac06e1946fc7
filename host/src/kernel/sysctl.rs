//! Per-device IPv4 settings under `/proc/sys`.

use std::fs;
use std::path::{Path, PathBuf};

use selvedge_engine::{KernelError, Sysctl};

use super::error::Attempt;

const IPV4_SETTINGS: &str = "/proc/sys/net/ipv4/conf";

/// Writes a setting unless it has its value already.
pub(super) fn ensure(sysctl: &Sysctl) -> Result<(), KernelError> {
    let path = path(sysctl);
    if fs::read_to_string(&path).is_ok_and(|value| value.trim_end() == sysctl.value) {
        return Ok(());
    }
    fs::write(&path, sysctl.value.as_bytes()).map_err(|error| Attempt::Sysctl(path).failed(&error))
}

fn path(sysctl: &Sysctl) -> PathBuf {
    Path::new(IPV4_SETTINGS)
        .join(&sysctl.link.0)
        .join(sysctl.key.as_ref())
}
