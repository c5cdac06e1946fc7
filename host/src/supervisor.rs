//! What the service manager is told (`sd_notify(3)`).

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The service manager's notification socket, if there is one.
#[derive(Debug, Default)]
pub struct Supervisor {
    socket: Option<(UnixDatagram, SocketAddr)>,
}

impl Supervisor {
    /// Takes the content of `NOTIFY_SOCKET`: a path, or an abstract name after `@`; empty counts as unset.
    ///
    /// # Errors
    ///
    /// If the name is neither, or no socket can be made.
    pub fn new(notify_socket: Option<OsString>) -> io::Result<Self> {
        let Some(name) = notify_socket.filter(|name| !name.is_empty()) else {
            return Ok(Self::default());
        };
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&name)?,
        };
        Ok(Self {
            socket: Some((UnixDatagram::unbound()?, address)),
        })
    }

    /// Says that start-up is over.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// Says in a line what the daemon is doing.
    pub fn status(&self, line: &str) {
        self.send(&format!("STATUS={line}"));
    }

    /// Says that the daemon is about to end.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    fn send(&self, text: &str) {
        let Some((socket, address)) = &self.socket else {
            return;
        };
        if let Err(error) = socket.send_to_addr(text.as_bytes(), address) {
            tracing::debug!(%error, "the service manager does not listen");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_manager_hears_that_the_daemon_is_ready() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let supervisor = Supervisor::new(Some(path.into_os_string())).unwrap();

        supervisor.ready();

        let mut heard = [0; 32];
        let length = manager.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], b"READY=1");
    }

    #[test]
    fn abstract_names_are_understood() {
        let name = format!("selvedge-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let supervisor = Supervisor::new(Some(format!("@{name}").into())).unwrap();

        supervisor.status("waiting");

        let mut heard = [0; 32];
        let length = manager.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], b"STATUS=waiting");
    }

    #[test]
    fn without_a_service_manager_nothing_is_sent() {
        let supervisor = Supervisor::new(None).unwrap();

        supervisor.ready();

        assert!(supervisor.socket.is_none());
    }
}
