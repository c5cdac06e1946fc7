//! The files that keep what the engine was told, so that it can be run again.

mod segment;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use selvedge_engine::{
    Action, Continuation, Engine, Input, Instant, Recorder, RecordingEnd, RecordingHeader,
};

use segment::Segment;

/// In how many files a recording is kept.
const SEGMENTS: u64 = 4;

/// A recording on disk, at most as large as was asked for; only its owner can read it.
///
/// It is a ring of files: when the one at work is full, another begins with a snapshot of the engine, and the oldest is
/// dropped. The newest has the name that was asked for, older ones are `FILE.1`, `FILE.2` and so on. So is what was recorded
/// before the daemon's start: a daemon that crashed is started again, and what led there must survive that.
///
/// Whatever was written is on its way to the disk after [`RecordingFile::flush`], so a crash costs at most one wake-up.
/// When the disk is full, or the engine's state alone is too large for a file, the recording ends; the daemon goes on.
#[derive(Debug)]
pub struct RecordingFile {
    path: PathBuf,
    /// How large each file gets at most.
    limit: u64,
    recorder: Recorder,
    open: Option<Segment>,
    now: Instant,
}

impl RecordingFile {
    /// Begins a recording of at most `limit` bytes, all its files together.
    ///
    /// # Errors
    ///
    /// If the file cannot be made.
    pub fn create(path: &Path, limit: u64, header: RecordingHeader) -> io::Result<Self> {
        let now = header.start;
        let limit = limit / SEGMENTS;
        let (recorder, first) = Recorder::start(header);
        make_way(path)?;
        let mut segment = Segment::create(path, limit)?;
        segment.write(&first);
        segment.flush()?;
        Ok(Self {
            path: path.to_owned(),
            limit,
            recorder,
            open: Some(segment),
            now,
        })
    }

    /// Records what the engine is about to be told.
    pub fn input(&mut self, engine: &Engine, input: &Input, now: Instant) {
        let Some(open) = &mut self.open else { return };
        let line = self.recorder.input(input, now);
        if open.has_room_for(&line) {
            open.write(&line);
        } else {
            self.go_on_elsewhere(engine, input, now);
        }
        self.now = now;
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
        if let Err(error) = open.flush() {
            self.give_up(&error.to_string());
        }
    }

    /// Begins another file with the engine as it is, and tells there what it is about to be told.
    fn go_on_elsewhere(&mut self, engine: &Engine, input: &Input, now: Instant) {
        let Continuation { last, first } = match self.recorder.continue_elsewhere(engine, self.now) {
            Ok(continuation) => continuation,
            Err(error) => return self.give_up(&error.to_string()),
        };
        let line = self.recorder.input(input, now);
        let needed = first.len() + line.len();
        if needed as u64 > self.limit / 2 {
            tracing::warn!(
                "the recording in {} ends: the engine's state alone takes {needed} bytes (raise --record-size)",
                self.path.display()
            );
            return self.end(RecordingEnd::Full);
        }
        match self.turn_over(&last, &(first + &line)) {
            Ok(segment) => self.open = Some(segment),
            Err(error) => self.give_up(&error.to_string()),
        }
    }

    fn turn_over(&mut self, last: &str, first: &str) -> io::Result<Segment> {
        if let Some(mut full) = self.open.take() {
            full.write(last);
            full.flush()?;
        }
        make_way(&self.path)?;
        let mut segment = Segment::create(&self.path, self.limit)?;
        segment.write(first);
        segment.flush()?;
        Ok(segment)
    }

    fn end(&mut self, why: RecordingEnd) {
        let line = self.recorder.end(why, self.now);
        if let Some(open) = &mut self.open {
            open.write(&line);
        }
        self.flush();
        self.open = None;
    }

    fn give_up(&mut self, why: &str) {
        tracing::warn!(
            "cannot record in {}: {why}; the recording ends",
            self.path.display()
        );
        self.open = None;
    }
}

/// Gives every file the name of the next older one; the oldest is dropped.
fn make_way(path: &Path) -> io::Result<()> {
    for age in (0..SEGMENTS - 1).rev() {
        match fs::rename(aged(path, age), aged(path, age + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) | Ok(()) => {}
        }
    }
    Ok(())
}

fn aged(path: &Path, age: u64) -> PathBuf {
    if age == 0 {
        path.to_owned()
    } else {
        path.with_added_extension(age.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use selvedge_engine::{ActionHash, MachineId, Recorded, Recording, Setup, Underlay};

    use super::*;

    #[test]
    fn a_recording_that_is_full_goes_on_in_another_file_and_the_oldest_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ring.rec");
        let limit = 80_000;
        let (mut recording, mut engine) = begun(&path, limit);

        for second in 0..2000 {
            timeout(&mut recording, &mut engine, second);
        }
        recording.flush();

        let files: Vec<PathBuf> = (0..SEGMENTS).map(|age| aged(&path, age)).collect();
        let sizes: Vec<u64> = files
            .iter()
            .map(|file| fs::metadata(file).unwrap().len())
            .collect();
        assert!(sizes.iter().all(|size| *size <= limit / SEGMENTS), "{sizes:?}");
        assert!(
            sizes[1..].iter().all(|size| *size > limit / SEGMENTS * 9 / 10),
            "{sizes:?}"
        );
        assert!(!aged(&path, SEGMENTS).exists());
        let mut until = None;
        for file in files.iter().rev() {
            let text = fs::read_to_string(file).unwrap();
            let continued = Recording::parse(&text)
                .unwrap()
                .header()
                .continued
                .clone()
                .unwrap();
            assert!(until.is_none_or(|until| until == (continued.at, continued.actions)));
            until = end_of(&text);
        }
        assert_eq!(until, None);
    }

    #[test]
    fn a_recording_ends_if_the_engine_does_not_fit_into_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("small.rec");
        let (mut recording, mut engine) = begun(&path, 8000);

        for second in 0..1000 {
            timeout(&mut recording, &mut engine, second);
        }

        let text = fs::read_to_string(&path).unwrap();
        let entries: Vec<Recorded> = Recording::parse(&text).unwrap().map(Result::unwrap).collect();
        let Some(Recorded::End { why, .. }) = entries.last() else {
            panic!("{text}");
        };
        assert_eq!(*why, RecordingEnd::Full);
        assert!(entries.len() > 3 && text.len() <= 2000, "{text}");
        assert!(!aged(&path, 1).exists());
    }

    #[test]
    fn what_is_flushed_is_in_the_file_and_the_recording_before_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daemon.rec");
        let (mut recording, mut engine) = begun(&path, 1 << 20);
        timeout(&mut recording, &mut engine, 0);
        let before = fs::read_to_string(&path).unwrap();
        recording.flush();
        let after = fs::read_to_string(&path).unwrap();

        begun(&path, 1 << 20);

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

    fn begun(path: &Path, limit: u64) -> (RecordingFile, Engine) {
        let mut recording = RecordingFile::create(path, limit, header()).unwrap();
        let mut engine = Engine::new(header().setup, 7, Instant::ZERO);
        drain(&mut recording, &mut engine);
        (recording, engine)
    }

    fn timeout(recording: &mut RecordingFile, engine: &mut Engine, second: u64) {
        let now = Instant::ZERO + Duration::from_secs(second);
        recording.input(engine, &Input::Timeout, now);
        engine.handle(Input::Timeout, now);
        drain(recording, engine);
    }

    fn drain(recording: &mut RecordingFile, engine: &mut Engine) {
        while let Some(action) = engine.poll_action() {
            recording.action(&action);
        }
    }

    /// Returns when and with which actions a file says that it goes on in another.
    fn end_of(text: &str) -> Option<(Instant, ActionHash)> {
        let last = Recording::parse(text).unwrap().last()?.unwrap();
        match last {
            Recorded::End { at, actions, why } => {
                assert_eq!(why, RecordingEnd::Continued);
                Some((at, actions))
            }
            Recorded::Input { .. } | Recorded::CutOff { .. } => None,
        }
    }

    fn header() -> RecordingHeader {
        let address = Ipv4Addr::new(192, 0, 2, 1);
        let underlay = Underlay {
            interface: "eth0".to_owned(),
            index: 2,
            mtu: 1500,
            address,
            address_v6: None,
            public_ip: address,
            public_ipv6: None,
        };
        RecordingHeader::new(Setup::new(MachineId::new(1, 1), underlay), 7, Instant::ZERO)
    }
}
