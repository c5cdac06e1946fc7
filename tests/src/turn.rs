//! One test run at a time uses a lab of a given name, also when several run on one machine.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::Duration;

use crate::real_nodes::wait_until;

/// How long another run may take with its test of the same name.
const PATIENCE: Duration = Duration::from_mins(3);

/// The right to use a lab's name; a socket with an abstract name (`unix(7)`), so that no end of a run leaves it taken.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "held, not used")] UnixListener);

impl Turn {
    /// Waits for the right to use a lab's name.
    ///
    /// # Panics
    ///
    /// If another run does not give it back in time.
    pub fn take(lab: &str) -> Self {
        let address = SocketAddr::from_abstract_name(format!("selvedge-tests/{lab}")).expect("a short name");
        let mut taken = None;
        wait_until(PATIENCE, || match UnixListener::bind_addr(&address) {
            Ok(listener) => {
                taken = Some(Self(listener));
                true
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => false,
            Err(error) => panic!("the turn for {lab} cannot be taken: {error}"),
        });
        taken.unwrap_or_else(|| panic!("another test run holds lab {lab}"))
    }
}
