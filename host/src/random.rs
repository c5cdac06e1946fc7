//! The operating system's randomness.

use std::fs::File;
use std::io::{self, Read as _};

/// Draws 64 random bits.
///
/// # Errors
///
/// If the system gives none.
pub(crate) fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}
