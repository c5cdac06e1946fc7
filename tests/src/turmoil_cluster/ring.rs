//! What a node's engine was told, on disk, as the daemon records it: only the newest is kept.

use std::fs;

use selvedge_engine::{Action, Engine, Input, Instant, RecordingHeader};
use selvedge_host::recorder::RecordingFile;
use tempfile::TempDir;

/// A recording in a folder of its own.
#[derive(Debug)]
pub(super) struct Ring {
    folder: TempDir,
    recording: RecordingFile,
}

impl Ring {
    pub(super) fn start(size: u64, header: RecordingHeader) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let recording = RecordingFile::create(&folder.path().join(NAME), size, header);
        Self {
            recording: recording.expect("a file can be made"),
            folder,
        }
    }

    pub(super) fn input(&mut self, engine: &Engine, input: &Input, now: Instant) {
        self.recording.input(engine, input, now);
    }

    pub(super) fn action(&mut self, action: &Action) {
        self.recording.action(action);
    }

    /// Returns the files' texts, the newest first.
    pub(super) fn read(&mut self) -> Vec<String> {
        self.recording.flush();
        let older = (1..).map(|age| format!("{NAME}.{age}"));
        let names = std::iter::once(NAME.to_owned()).chain(older);
        names
            .map_while(|name| fs::read_to_string(self.folder.path().join(name)).ok())
            .collect()
    }
}

const NAME: &str = "node.rec";
