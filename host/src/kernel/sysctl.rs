//! Per-device settings under `/proc/sys`.

use std::fs;
use std::path::{Path, PathBuf};

use selvedge_engine::{IpVersion, KernelError, Sysctl};

use super::error::Attempt;

/// Writes a setting unless it has its value already.
pub(super) fn put(sysctl: &Sysctl) -> Result<(), KernelError> {
    let path = path(sysctl);
    if fs::read_to_string(&path).is_ok_and(|value| value.trim_end() == sysctl.value) {
        return Ok(());
    }
    fs::write(&path, sysctl.value.as_bytes()).map_err(|error| Attempt::Sysctl(path).failed(&error))
}

/// Returns the file of a setting; dots in a device's name stand for themselves there.
fn path(sysctl: &Sysctl) -> PathBuf {
    let settings = match sysctl.version {
        IpVersion::V4 => "/proc/sys/net/ipv4/conf",
        IpVersion::V6 => "/proc/sys/net/ipv6/conf",
    };
    Path::new(settings).join(&sysctl.link.0).join(sysctl.key.as_ref())
}
