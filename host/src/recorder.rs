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
        let Some(room) = open.room.checked_sub(line.len() as u64) else {
            tracing::warn!(
                "the recording in {} has reached its bound (--record-size) and ends",
                self.path.display()
            );
            self.end(RecordingEnd::Full);
            return;
        };
        open.room = room;
        open.buffer.extend_from_slice(line.as_bytes());
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use selvedge_engine::{Engine, MachineId, Recorded, Recording, Setup, Underlay};

    use super::*;

    #[test]
    fn the_recording_ends_at_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("full.rec");
        let limit = 2000;
        let mut recording = RecordingFile::create(&path, limit, header()).unwrap();

        for second in 0..1000 {
            recording.input(&Input::Timeout, Instant::ZERO + Duration::from_secs(second));
        }

        let text = fs::read_to_string(&path).unwrap();
        let entries: Vec<Recorded> = Recording::parse(&text).unwrap().map(Result::unwrap).collect();
        let Some(Recorded::End { why, .. }) = entries.last() else {
            panic!("{text}");
        };
        assert_eq!(*why, RecordingEnd::Full);
        assert!(entries.len() > 5, "{text}");
        assert!(text.len() <= 2000 && text.len() > 1700, "{}", text.len());
    }

    #[test]
    fn what_is_flushed_is_in_the_file_and_the_recording_before_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daemon.rec");
        let mut recording = RecordingFile::create(&path, 1 << 20, header()).unwrap();
        let mut engine = Engine::new(header().setup, 7, Instant::ZERO);
        while let Some(action) = engine.poll_action() {
            recording.action(&action);
        }
        recording.input(&Input::Timeout, Instant::ZERO);
        let before = fs::read_to_string(&path).unwrap();
        recording.flush();
        let after = fs::read_to_string(&path).unwrap();

        RecordingFile::create(&path, 1 << 20, header()).unwrap();

        assert_eq!((before.lines().count(), after.lines().count()), (1, 2));
        assert_eq!(
            fs::read_to_string(folder.path().join("daemon.rec.1")).unwrap(),
            after
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
    }

    #[test]
    fn a_recording_that_cannot_be_made_is_an_error() {
        let nowhere = Path::new("/nonexistent/daemon.rec");

        let made = RecordingFile::create(nowhere, 1 << 20, header());

        assert_eq!(made.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    fn header() -> RecordingHeader {
        let address = Ipv4Addr::new(192, 0, 2, 1);
        let underlay = Underlay {
            interface: "eth0".to_owned(),
            index: 2,
            mtu: 1500,
            address,
            public_ip: address,
            public_ipv6: None,
        };
        RecordingHeader::new(Setup::new(MachineId::new(1, 1), underlay), 7, Instant::ZERO)
    }
}
