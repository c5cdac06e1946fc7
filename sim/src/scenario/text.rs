//! The text form of scenarios: TOML that says only what is not as usual.

mod fault;
mod reader;
mod simpler;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::ops::Range;

use thiserror::Error;

use super::Scenario;

/// A text that is no scenario.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("line {line}: {problem}")]
pub struct ScenarioError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it, and what would be right.
    pub problem: String,
}

impl Scenario {
    /// Tells whether a text begins as scenarios do: its first line that is no comment sets `scenario`.
    pub fn recognizes(text: &str) -> bool {
        let mut lines = text.lines().map(str::trim);
        let first = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
        first
            .and_then(|line| line.strip_prefix(VERSION_KEY))
            .is_some_and(|rest| rest.trim_start().starts_with('='))
    }

    /// Reads the text form.
    ///
    /// `scenario` (the version of the form, 1), `seed`, `nodes` (how many) and `duration` have to be there; whatever
    /// else is missing is as [`Scenario::new`] makes it; `hollow` nodes widen the usual network. `[[node]]` tables change the plan of a node that they name,
    /// `[[fault]]` tables add faults.
    ///
    /// # Errors
    ///
    /// [`ScenarioError`] if the text is not TOML, or has a key or a value that means nothing.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        reader::read(text).map_err(|problem| problem.on_its_line(text))
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&writer::write(self))
    }
}

const VERSION_KEY: &str = "scenario";
const VERSION: u32 = 1;
/// How many nodes a scenario may have.
const MAX_NODES: u32 = 10_000;

/// How many of its nodes may be hollow: more subnets than these and the others need, a network of a usual size has not.
const MAX_HOLLOW: u32 = 50_000;

/// What is wrong, and where in the text.
#[derive(Clone, Debug)]
struct Problem {
    at: usize,
    text: String,
}

impl Problem {
    fn new(span: &Range<usize>, text: impl Into<String>) -> Self {
        Self {
            at: span.start,
            text: text.into(),
        }
    }

    /// Takes the place from the error, or from what was read if the error has none.
    fn of(error: &toml::de::Error, read: &Range<usize>) -> Self {
        let lines: Vec<&str> = error.message().lines().collect();
        Self::new(&error.span().unwrap_or_else(|| read.clone()), lines.join(", "))
    }

    fn on_its_line(self, text: &str) -> ScenarioError {
        let before = text.bytes().take(self.at);
        ScenarioError {
            line: before.filter(|byte| *byte == b'\n').count() + 1,
            problem: self.text,
        }
    }
}
