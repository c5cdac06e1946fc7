//! The lines of a recording.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::action_hash::ActionHash;
use super::mirror::Piece;
use crate::action::StoreEvent;
use crate::input::Input;
use crate::setup::Setup;
use crate::snapshot::Snapshot;
use crate::store::{KeyValue, StoreResponse};
use crate::time::Instant;

/// What a recording begins with: all that an engine is made of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RecordingHeader {
    /// The version of the recording's form, [`RecordingHeader::FORMAT`].
    pub format: u32,
    /// The version of the program that recorded.
    pub program: String,
    /// The engine's seed.
    pub seed: u64,
    /// When the engine was made.
    pub start: Instant,
    /// What the engine was made of.
    pub setup: Setup,
    /// Where the recording before ended, if this one goes on with its engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continued: Option<Continued>,
}

/// An engine in the midst of its life.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Continued {
    /// When the engine was told the last of what is not in this recording.
    pub at: Instant,
    /// The hash of all actions until then.
    pub actions: ActionHash,
    /// What the engine was then, with secrets masked.
    pub engine: Snapshot,
}

/// How a recording ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordingEnd {
    /// The engine ended.
    Exit,
    /// The engine went on, and another recording with it.
    Continued,
    /// The recording reached its bound; the engine went on.
    Full,
}

impl RecordingHeader {
    /// The version of the form that this program writes; it reads all up to this one.
    pub const FORMAT: u32 = 2;

    /// Describes an engine.
    pub fn new(setup: Setup, seed: u64, start: Instant) -> Self {
        Self {
            format: Self::FORMAT,
            program: env!("CARGO_PKG_VERSION").into(),
            seed,
            start,
            setup,
            continued: None,
        }
    }
}

/// A line.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    Recording(Box<RecordingHeader>),
    Input(InputLine),
    End(EndLine),
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct InputLine {
    pub(super) at: Instant,
    pub(super) actions: ActionHash,
    pub(super) told: Input,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) lists: Vec<Vec<Piece>>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct EndLine {
    pub(super) at: Instant,
    pub(super) actions: ActionHash,
    pub(super) why: RecordingEnd,
}

/// The part of a first line that every version of the form has.
#[derive(Debug, Deserialize)]
pub(super) struct AnyHeader {
    pub(super) recording: AnyFormat,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "the description of an engine")]
pub(super) struct AnyFormat {
    pub(super) format: u32,
}

/// Returns the key lists inside an input, in order.
pub(super) fn lists(input: &mut Input) -> Vec<&mut Vec<KeyValue>> {
    let Input::Store(StoreEvent::Response {
        id: _,
        result: Ok(response),
    }) = input
    else {
        return Vec::new();
    };
    match response {
        StoreResponse::Range { kvs, .. } => Vec::from([kvs]),
        StoreResponse::Txn { .. }
        | StoreResponse::LeaseGrant { .. }
        | StoreResponse::LeaseKeepAlive { .. }
        | StoreResponse::LeaseRevoke { .. } => Vec::new(),
    }
}
