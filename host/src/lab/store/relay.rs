//! Passes TCP connections from inside a lab on to a store outside of it.

use std::fs::File;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use super::super::error::{IoContext, LabError};
use super::super::namespace::enter_file;

/// Listens in this process's namespace and connects from the one that `outside` stands for, until it is ended.
///
/// # Errors
///
/// [`LabError::Io`] if the namespace cannot be opened or the address cannot be bound.
pub(in crate::lab) fn relay(
    listen: SocketAddr,
    outside: &Path,
    targets: Vec<String>,
) -> Result<(), LabError> {
    let outside = Arc::new(File::open(outside).trying(|| format!("opening {}", outside.display()))?);
    let targets: Arc<[String]> = targets.into();
    let listener = TcpListener::bind(listen).trying(|| format!("listening on {listen}"))?;
    for inner in listener.incoming().flatten() {
        let (outside, targets) = (Arc::clone(&outside), Arc::clone(&targets));
        thread::spawn(move || {
            if let Err(error) = pass_on(inner, &outside, &targets) {
                eprintln!("a connection to {} ended: {error}", targets.join(", "));
            }
        });
    }
    Ok(())
}

fn pass_on(inner: TcpStream, outside: &File, targets: &[String]) -> Result<(), LabError> {
    let outer = enter_file(outside, || connect(targets))?.trying(|| "connecting".to_owned())?;
    let both = (|| Ok::<_, io::Error>((inner.try_clone()?, outer.try_clone()?)))();
    let (inner_reader, outer_writer) = both.trying(|| "sharing a socket".to_owned())?;
    let inward = thread::spawn(move || copy(outer, inner));
    copy(inner_reader, outer_writer);
    inward.join().unwrap_or_default();
    Ok(())
}

fn connect(targets: &[String]) -> io::Result<TcpStream> {
    let mut outcome = Err(io::Error::new(io::ErrorKind::InvalidInput, "no address given"));
    for target in targets {
        outcome = TcpStream::connect(target);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// Copies until either side ends; what is wrong then shows on the other connection's end.
fn copy(mut from: TcpStream, mut to: TcpStream) {
    drop(io::copy(&mut from, &mut to));
    drop(to.shutdown(Shutdown::Write));
}
