//! Recordings of real daemons, run again.

use std::fmt;
use std::time::Duration;

use selvedge_engine::{
    Action, ActionHash, Engine, Instant, Recorded, Recording, RecordingEnd, RecordingError, RecordingHeader,
};

/// What became of a recording that was run again; [`fmt::Display`] gives the timeline and the verdict.
#[derive(Debug)]
pub struct Replay {
    header: RecordingHeader,
    moments: Vec<Moment>,
    inputs: usize,
    actions: ActionHash,
    ending: Ending,
    verdict: ReplayVerdict,
}

/// How much a replay tells.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ReplayDetail {
    /// What people were told when it happened.
    #[default]
    Events,
    /// Every input and every action as well.
    Everything,
}

/// Whether the engine did what it did when it was recorded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReplayVerdict {
    /// Every action was the same; those after the last input count only if the recording has an end.
    Identical,
    /// The actions after an input differ; nothing behind it was run.
    Differs {
        /// The line of that input, 1 for the actions at the start.
        line: usize,
        /// When the engine took it.
        at: Instant,
        /// The hash of the actions up to there, as recorded.
        recorded: ActionHash,
        /// The hash of the actions up to there, as they are now.
        replayed: ActionHash,
    },
}

/// How the recording ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ending {
    /// It says so itself.
    Said(RecordingEnd),
    /// The program was killed, or is still at work.
    Open,
    /// It was not read that far.
    NotReached,
    /// The program was killed in the middle of this line.
    CutOff { line: usize },
}

/// A line of the timeline.
#[derive(Debug)]
struct Moment {
    since_start: Duration,
    text: String,
}

impl Replay {
    /// Runs a recording again.
    ///
    /// # Errors
    ///
    /// [`RecordingError`] if the text is no recording, or damaged.
    pub fn run(text: &str, detail: ReplayDetail) -> Result<Self, RecordingError> {
        let recording = Recording::parse(text)?;
        let mut player = Player::new(&recording, detail)?;
        for recorded in recording {
            match recorded? {
                Recorded::Input {
                    line,
                    at,
                    actions,
                    input,
                } => {
                    if !player.agrees(actions) {
                        break;
                    }
                    player.note(at, || format!("< {input:?}"));
                    player.engine.handle(input, at);
                    player.inputs += 1;
                    (player.line, player.now) = (line, at);
                    player.drain();
                }
                Recorded::End { at, actions, why } => {
                    if player.agrees(actions) {
                        player.ending = Ending::Said(why);
                        player.now = at;
                    }
                }
                Recorded::CutOff { line } => player.ending = Ending::CutOff { line },
            }
        }
        Ok(player.finish())
    }

    /// Returns whether the engine did what it did when it was recorded.
    pub const fn verdict(&self) -> ReplayVerdict {
        self.verdict
    }

    /// Tells whether the actions are those of the recording.
    pub fn is_identical(&self) -> bool {
        self.verdict == ReplayVerdict::Identical
    }

    /// Returns the hash of all actions of the replay.
    pub const fn actions(&self) -> ActionHash {
        self.actions
    }

    /// Returns how many inputs were run.
    pub const fn inputs(&self) -> usize {
        self.inputs
    }
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RecordingHeader {
            program,
            seed,
            setup,
            start,
            continued,
            format: _,
        } = &self.header;
        writeln!(
            f,
            "node {} on {}, recorded by selvedge {program}, seed {seed}",
            setup.underlay.public_ip, setup.underlay.interface
        )?;
        if let Some(continued) = continued {
            let lived = continued.at.saturating_since(*start).as_secs_f64();
            writeln!(
                f,
                "begins +{lived:.3}s after the daemon, with a snapshot of what it had come to; what led there is in older recordings"
            )?;
        }
        for Moment { since_start, text } in &self.moments {
            writeln!(f, "[+{:.3}s] {text}", since_start.as_secs_f64())?;
        }
        let inputs = self.inputs;
        match self.ending {
            Ending::NotReached => writeln!(f, "{inputs} inputs until the actions differed")?,
            Ending::Said(RecordingEnd::Exit) => writeln!(f, "{inputs} inputs until the engine ended")?,
            Ending::Said(RecordingEnd::Continued) => {
                writeln!(f, "{inputs} inputs until the recording goes on in another file")?;
            }
            Ending::Said(RecordingEnd::Full) => {
                writeln!(f, "{inputs} inputs until the recording reached its bound")?;
            }
            Ending::Open => writeln!(
                f,
                "{inputs} inputs; the recording has no end, so the last is not compared"
            )?,
            Ending::CutOff { line } => writeln!(
                f,
                "{inputs} inputs; the recording is cut off in line {line}, so the last is not compared"
            )?,
        }
        match self.verdict {
            ReplayVerdict::Identical => writeln!(f, "identical actions: yes, hash {}", self.actions),
            ReplayVerdict::Differs {
                line,
                at,
                recorded,
                replayed,
            } => writeln!(
                f,
                "identical actions: no, they differ after line {line}, +{:.3}s: hash {recorded} recorded, {replayed} now",
                at.saturating_since(self.header.start).as_secs_f64()
            ),
        }
    }
}

/// An engine that is told what was recorded.
struct Player {
    header: RecordingHeader,
    detail: ReplayDetail,
    engine: Engine,
    moments: Vec<Moment>,
    inputs: usize,
    actions: ActionHash,
    ending: Ending,
    verdict: ReplayVerdict,
    line: usize,
    now: Instant,
}

impl Player {
    fn new(recording: &Recording<'_>, detail: ReplayDetail) -> Result<Self, RecordingError> {
        let (engine, actions) = recording.engine()?;
        let mut player = Self {
            header: recording.header().clone(),
            detail,
            engine,
            moments: Vec::new(),
            inputs: 0,
            actions,
            ending: Ending::Open,
            verdict: ReplayVerdict::Identical,
            line: 1,
            now: recording.begin(),
        };
        player.drain();
        Ok(player)
    }

    /// Compares the actions so far with those recorded.
    fn agrees(&mut self, recorded: ActionHash) -> bool {
        if recorded == self.actions {
            return true;
        }
        self.ending = Ending::NotReached;
        self.verdict = ReplayVerdict::Differs {
            line: self.line,
            at: self.now,
            recorded,
            replayed: self.actions,
        };
        false
    }

    fn drain(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            self.actions.add(&action);
            match &action {
                Action::Event(event) => self.tell(self.now, event.to_string()),
                Action::Exit(reason) => self.tell(self.now, format!("ends: {reason}")),
                Action::Request { .. }
                | Action::Watch { .. }
                | Action::CancelWatch(_)
                | Action::Reconnect
                | Action::Kernel { .. }
                | Action::Survey { .. }
                | Action::Forwarding(_)
                | Action::Ready => self.note(self.now, || format!("> {action:?}")),
            }
        }
    }

    fn note(&mut self, at: Instant, text: impl FnOnce() -> String) {
        match self.detail {
            ReplayDetail::Events => {}
            ReplayDetail::Everything => self.tell(at, text()),
        }
    }

    fn tell(&mut self, at: Instant, text: String) {
        let since_start = at.saturating_since(self.header.start);
        self.moments.push(Moment { since_start, text });
    }

    fn finish(self) -> Replay {
        Replay {
            header: self.header,
            moments: self.moments,
            inputs: self.inputs,
            actions: self.actions,
            ending: self.ending,
            verdict: self.verdict,
        }
    }
}
