//! The reading of a recording.

use alloc::format;
use alloc::string::{String, ToString};

use super::action_hash::ActionHash;
use super::line::{AnyHeader, Continued, EndLine, InputLine, Line, RecordingEnd, RecordingHeader, lists};
use super::mirror::{Mirror, UnknownRun};
use crate::engine::Engine;
use crate::input::Input;
use crate::time::Instant;

/// What every recording begins with.
const BEGINNING: &str = "{\"recording\":";

/// A recording that is being read; it yields what was recorded, in order, and ends after the first error.
#[derive(Debug)]
pub struct Recording<'a> {
    header: RecordingHeader,
    rest: &'a str,
    number: usize,
    now: Instant,
    mirror: Mirror,
    state: State,
}

/// A line of a recording after the first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Recorded {
    /// The engine was told something.
    Input {
        /// The number of the line, 2 for the first input.
        line: usize,
        /// When.
        at: Instant,
        /// The hash of all actions before.
        actions: ActionHash,
        /// What.
        input: Input,
    },
    /// The recording ends.
    End {
        /// When.
        at: Instant,
        /// The hash of all actions.
        actions: ActionHash,
        /// Why.
        why: RecordingEnd,
    },
    /// The last line is incomplete: the program was killed while it wrote.
    CutOff {
        /// The number of the line.
        line: usize,
    },
}

/// Why a recording cannot be read; [`core::fmt::Display`] begins with the line's number.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RecordingError {
    /// The text is something else, or empty.
    #[error("line 1: not the beginning of a recording")]
    NotARecording,
    /// The form is newer than this program.
    #[error("line 1: format {0} of recordings is unknown; this program reads formats 1 to {format}", format = RecordingHeader::FORMAT)]
    UnknownFormat(u32),
    /// The first line describes no engine of this version of the program.
    #[error("line 1: {0}; another version of the program may have written it")]
    BadHeader(String),
    /// A line is damaged.
    #[error("line {line}: {problem}")]
    BadLine {
        /// Its number.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Reading,
    Ended,
    Over,
}

impl<'a> Recording<'a> {
    /// Tells whether a text begins as recordings do.
    pub fn recognizes(text: &str) -> bool {
        text.starts_with(BEGINNING)
    }

    /// Reads the first line.
    ///
    /// # Errors
    ///
    /// [`RecordingError`] unless it describes an engine.
    pub fn parse(text: &'a str) -> Result<Self, RecordingError> {
        if !Self::recognizes(text) {
            return Err(RecordingError::NotARecording);
        }
        let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
        let bad = |error: serde_json::Error| RecordingError::BadHeader(parsers_words(&error).0);
        let AnyHeader { recording } = serde_json::from_str(first).map_err(bad)?;
        if !(1..=RecordingHeader::FORMAT).contains(&recording.format) {
            return Err(RecordingError::UnknownFormat(recording.format));
        }
        let Line::Recording(header) = serde_json::from_str(first).map_err(bad)? else {
            return Err(RecordingError::NotARecording);
        };
        Ok(Self {
            now: header
                .continued
                .as_ref()
                .map_or(header.start, |continued| continued.at),
            header: *header,
            rest,
            number: 1,
            mirror: Mirror::default(),
            state: State::Reading,
        })
    }

    /// Returns what the engine is made of.
    pub const fn header(&self) -> &RecordingHeader {
        &self.header
    }

    /// Returns the engine as it was at the beginning of the recording, and the hash of its actions before.
    ///
    /// # Errors
    ///
    /// [`RecordingError`] if the recording goes on with an engine that is none of this version of the program.
    pub fn engine(&self) -> Result<(Engine, ActionHash), RecordingError> {
        let RecordingHeader {
            seed, start, setup, ..
        } = &self.header;
        match &self.header.continued {
            None => Ok((Engine::new(setup.clone(), *seed, *start), ActionHash::EMPTY)),
            Some(Continued { actions, engine, .. }) => Engine::restore(engine)
                .map(|engine| (engine, *actions))
                .map_err(|error| RecordingError::BadHeader(error.to_string())),
        }
    }

    /// Returns when the engine was what [`Recording::engine`] returns.
    pub const fn begin(&self) -> Instant {
        match &self.header.continued {
            None => self.header.start,
            Some(continued) => continued.at,
        }
    }

    fn read(&mut self, text: &str) -> Result<Recorded, String> {
        if self.state == State::Ended {
            return Err("something follows the recording's end".to_string());
        }
        match serde_json::from_str(text).map_err(|error| problem(&error))? {
            Line::Recording(_) => Err("a second recording begins".to_string()),
            Line::Input(line) => self.read_input(line),
            Line::End(EndLine { at, actions, why }) => {
                self.advance(at)?;
                self.state = State::Ended;
                Ok(Recorded::End { at, actions, why })
            }
        }
    }

    fn read_input(&mut self, line: InputLine) -> Result<Recorded, String> {
        let InputLine {
            at,
            actions,
            told: mut input,
            lists: folded,
        } = line;
        self.advance(at)?;
        self.mirror.learn(&input);
        let mut folded = folded.into_iter();
        for list in lists(&mut input) {
            let pieces = folded.next().ok_or("a list is missing")?;
            *list = self
                .mirror
                .unfold(pieces)
                .map_err(|UnknownRun| "a list refers to keys that no line before tells of")?;
        }
        if folded.next().is_some() {
            return Err("there is a list too many".to_string());
        }
        Ok(Recorded::Input {
            line: self.number,
            at,
            actions,
            input,
        })
    }

    fn advance(&mut self, at: Instant) -> Result<(), String> {
        if at < self.now {
            return Err("time runs backwards".to_string());
        }
        self.now = at;
        Ok(())
    }
}

impl Iterator for Recording<'_> {
    type Item = Result<Recorded, RecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.state == State::Over {
            return None;
        }
        self.number = self.number.saturating_add(1);
        let line = self.number;
        let Some((text, rest)) = self.rest.split_once('\n') else {
            self.state = State::Over;
            return Some(Ok(Recorded::CutOff { line }));
        };
        self.rest = rest;
        let recorded = self.read(text).map_err(|problem| {
            self.state = State::Over;
            RecordingError::BadLine { line, problem }
        });
        Some(recorded)
    }
}

/// Returns what the parser complains about, and where in the line.
fn problem(error: &serde_json::Error) -> String {
    match parsers_words(error) {
        (problem, Some(byte)) => format!("{problem} (at byte {byte})"),
        (problem, None) => problem,
    }
}

/// Splits a parser's complaint, which counts lines within the one that it was given.
fn parsers_words(error: &serde_json::Error) -> (String, Option<String>) {
    let text = error.to_string();
    match text.split_once(" at line 1 column ") {
        Some((problem, column)) => (problem.to_string(), Some(column.to_string())),
        None => (text, None),
    }
}
