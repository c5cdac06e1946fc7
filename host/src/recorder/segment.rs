//! One of the files that a recording is kept in.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Room that is kept for the last line.
const LAST_LINE: u64 = 128;

/// A file that grows to a limit.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    buffer: Vec<u8>,
    /// How many bytes may still be written before the last line.
    room: u64,
}

impl Segment {
    /// Makes a file that none but its owner can read.
    pub(super) fn create(path: &Path, limit: u64) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        Ok(Self {
            file,
            buffer: Vec::new(),
            room: limit.saturating_sub(LAST_LINE),
        })
    }

    pub(super) const fn has_room_for(&self, line: &str) -> bool {
        line.len() as u64 <= self.room
    }

    /// Takes lines; they are written with the next flush.
    pub(super) fn write(&mut self, lines: &str) {
        self.room = self.room.saturating_sub(lines.len() as u64);
        self.buffer.extend_from_slice(lines.as_bytes());
    }

    /// Hands everything to the operating system.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.buffer);
        self.buffer.clear();
        written
    }
}
