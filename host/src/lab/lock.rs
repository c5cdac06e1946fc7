//! One command at a time builds or removes a lab.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::thread;
use std::time::Duration;

use super::error::{IoContext, LabError};
use super::name::LabName;

/// A process that was just forked elsewhere in this program holds the socket for a moment longer.
const ATTEMPTS: u32 = 25;
const PAUSE: Duration = Duration::from_millis(20);

/// The right to build or remove a lab: a socket with an abstract name (`unix(7)`), which the kernel takes back when
/// its process ends in whatever way, and which leaves no file.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held, not used")] UnixListener);

impl Lock {
    pub(super) fn take(name: &LabName) -> Result<Self, LabError> {
        let what = || format!("locking lab {name}");
        let address = SocketAddr::from_abstract_name(format!("selvedge-lab/{name}")).trying(what)?;
        for _ in 0..ATTEMPTS {
            match UnixListener::bind_addr(&address) {
                Ok(listener) => return Ok(Self(listener)),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => thread::sleep(PAUSE),
                Err(error) => return Err(error).trying(what),
            }
        }
        Err(LabError::Busy(name.to_string()))
    }
}
