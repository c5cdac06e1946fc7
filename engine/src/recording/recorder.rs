//! The writing of a recording.

use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use super::action_hash::ActionHash;
use super::line::{EndLine, InputLine, Line, RecordingEnd, RecordingHeader, lists};
use super::mirror::Mirror;
use super::redaction::redact;
use crate::action::Action;
use crate::input::Input;
use crate::time::Instant;

/// Puts an engine's run into the lines of a recording; where they are kept is the driver's business.
#[derive(Debug)]
pub struct Recorder {
    actions: ActionHash,
    mirror: Mirror,
}

impl Recorder {
    /// Begins a recording; returns its first line.
    pub fn start(header: RecordingHeader) -> (Self, String) {
        let recorder = Self {
            actions: ActionHash::EMPTY,
            mirror: Mirror::default(),
        };
        (recorder, text(&Line::Recording(header)))
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
    // Fails only for maps whose keys are no text, and no line holds a map.
    let mut text = serde_json::to_string(line).unwrap_or_default();
    text.push('\n');
    text
}
