//! The file that keeps what the engine was told, so that it can be run again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use selvedge_engine::{Action, Input, Instant, Recorder, RecordingEnd, RecordingHeader};

/// Room that is kept for the last line.
const LAST_LINE: u64 = 128;

/// A recording on disk, at most as large as was asked for; only its owner can read it.
///
/// Whatever was written is on its way to the disk after [`RecordingFile::flush`], so a crash costs at most one wake-up.
/// When the bound is reached, or the disk is full, the recording ends; the daemon goes on.
#[derive(Debug)]
pub struct RecordingFile {
    path: PathBuf,
    recorder: Recorder,
    open: Option<Open>,
    now: Instant,
}

#[derive(Debug)]
struct Open {
    file: File,
    buffer: Vec<u8>,
    /// How many bytes may still be written.
    room: u64,
}

impl RecordingFile {
    /// Begins a recording of at most `limit` bytes; one that is there already is kept as `FILE.1`.
    ///
    /// # Errors
    ///
    /// If the file cannot be made.
    pub fn create(path: &Path, limit: u64, header: RecordingHeader) -> io::Result<Self> {
        keep_previous(path)?;
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        let now = header.start;
        let (recorder, first) = Recorder::start(header);
        let open = Open {
            file,
            buffer: Vec::new(),
            room: limit.saturating_sub(LAST_LINE),
        };
        let mut recording = Self {
            path: path.to_owned(),
            recorder,
            open: Some(open),
            now,
        };
        recording.write(&first);
        recording.flush();
        Ok(recording)
    }

    /// Records what the engine is about to be told.
    pub fn input(&mut self, input: &Input, now: Instant) {
        if self.open.is_none() {
            return;
        }
        self.now = now;
        let line = self.recorder.input(input, now);
        self.write(&line);
    }

    /// Records what the engine wants done.
    pub fn action(&mut self, action: &Action) {
        if self.open.is_none() {
            return;
        }
        self.recorder.action(action);
        if let Action::Exit(_) = action {
            self.end(RecordingEnd::Exit);
        }
    }

    /// Hands everything to the operating system.
    pub fn flush(&mut self) {
        let Some(open) = &mut self.open else { return };
        if open.buffer.is_empty() {
            return;
        }
        let written = open.file.write_all(&open.buffer);
        open.buffer.clear();
        if let Err(error) = written {
            tracing::warn!(
                "cannot record in {}: {error}; the recording ends",
                self.path.display()
            );
            self.open = None;
        }
    }

    fn write(&mut self, line: &str) {
        let Some(open) = &mut self.open else { return };
        match open.room.checked_sub(line.len() as u64) {
            Some(room) => {
                open.room = room;
                open.buffer.extend_from_slice(line.as_bytes());
            }
            None => {
                tracing::warn!(
                    "the recording in {} has reached its bound (--record-size) and ends",
                    self.path.display()
                );
                self.end(RecordingEnd::Full);
            }
        }
    }

    fn end(&mut self, why: RecordingEnd) {
        let line = self.recorder.end(why, self.now);
        if let Some(open) = &mut self.open {
            open.buffer.extend_from_slice(line.as_bytes());
        }
        self.flush();
        self.open = None;
    }
}

/// Moves an earlier recording aside: a daemon that crashed is started again, and what led there must survive that.
fn keep_previous(path: &Path) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".1");
    match fs::rename(path, aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Err(_) | Ok(()) => Ok(()),
    }
}
