//! What a node's engine was told, as the daemon would record it.

use selvedge_engine::{
    Action, ActionHash, ExitReason, Input, Instant, Recorder, RecordingEnd, RecordingHeader,
};

/// A recording in memory.
#[derive(Debug)]
pub(super) struct Tape {
    recorder: Recorder,
    text: String,
    now: Instant,
    exit: Option<ExitReason>,
}

impl Tape {
    pub(super) fn start(header: RecordingHeader) -> Self {
        let now = header.start;
        let (recorder, text) = Recorder::start(header);
        Self {
            recorder,
            text,
            now,
            exit: None,
        }
    }

    pub(super) fn input(&mut self, input: &Input, now: Instant) {
        self.now = now;
        let line = self.recorder.input(input, now);
        self.text.push_str(&line);
    }

    pub(super) fn action(&mut self, action: &Action) {
        self.recorder.action(action);
        if let Action::Exit(reason) = action {
            self.exit = Some(reason.clone());
        }
    }

    /// Returns the recording, ended here, and the hash of the actions so far.
    pub(super) fn read(&self) -> (String, ActionHash) {
        let why = match self.exit {
            Some(_) => RecordingEnd::Exit,
            None => RecordingEnd::Full,
        };
        let text = format!("{}{}", self.text, self.recorder.end(why, self.now));
        (text, self.recorder.actions())
    }
}
