//! The writing of a recording.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use super::action_hash::ActionHash;
use super::line::{Continued, EndLine, InputLine, Line, RecordingEnd, RecordingHeader, lists};
use super::mirror::Mirror;
use super::redaction::{masked, redact};
use crate::action::Action;
use crate::engine::Engine;
use crate::input::Input;
use crate::snapshot::SnapshotError;
use crate::time::Instant;

/// The lines between a recording and the one that it goes on in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Continuation {
    /// The last line of the one.
    pub last: String,
    /// The first line of the other.
    pub first: String,
}

/// Puts an engine's run into the lines of a recording; where they are kept is the driver's business.
#[derive(Debug)]
pub struct Recorder {
    header: RecordingHeader,
    actions: ActionHash,
    mirror: Mirror,
}

impl Recorder {
    /// Begins a recording; returns its first line.
    pub fn start(header: RecordingHeader) -> (Self, String) {
        let first = text(&Line::Recording(Box::new(header.clone())));
        let recorder = Self {
            header,
            actions: ActionHash::EMPTY,
            mirror: Mirror::default(),
        };
        (recorder, first)
    }

    /// Lets the recording go on in another one; to be called when `engine` has nothing to say, before its next input.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`] if there is no snapshot of the engine; then the recording goes on as if nothing was asked.
    pub fn continue_elsewhere(
        &mut self,
        engine: &Engine,
        at: Instant,
    ) -> Result<Continuation, SnapshotError> {
        let continued = Continued {
            at,
            actions: self.actions,
            engine: masked(engine.snapshot()?)?,
        };
        let last = self.end(RecordingEnd::Continued, at);
        let first = text(&Line::Recording(Box::new(RecordingHeader {
            continued: Some(continued),
            ..self.header.clone()
        })));
        self.mirror = Mirror::default();
        Ok(Continuation { last, first })
    }

    /// Returns the line of an input; to be called before the engine takes it.
    pub fn input(&mut self, input: &Input, at: Instant) -> String {
        let mut told = input.clone();
        redact(&mut told);
        self.mirror.learn(&told);
        let lists: Vec<_> = lists(&mut told)
            .into_iter()
            .map(|list| self.mirror.fold(&mem::take(list)))
            .collect();
        text(&Line::Input(InputLine {
            at,
            actions: self.actions,
            told,
            lists,
        }))
    }

    /// Takes note of an action, in the order in which the engine gives them.
    pub fn action(&mut self, action: &Action) {
        self.actions.add(action);
    }

    /// Returns the last line.
    pub fn end(&self, why: RecordingEnd, at: Instant) -> String {
        text(&Line::End(EndLine {
            at,
            actions: self.actions,
            why,
        }))
    }

    /// Returns the hash of the actions so far.
    pub const fn actions(&self) -> ActionHash {
        self.actions
    }
}

fn text(line: &Line) -> String {
    // Fails only for maps whose keys are no text, and no line holds a map; a snapshot is text already.
    let mut text = serde_json::to_string(line).unwrap_or_default();
    text.push('\n');
    text
}
