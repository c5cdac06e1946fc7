//! The whole state of an engine between two inputs, as text.
//!
//! An engine that is restored from a snapshot does from then on what the one that it was taken of does, whatever both
//! are told. So a recording can begin in the middle of a daemon's life.
//!
//! The form is JSON, as serde derives it from the engine's own structs: whoever adds a field adds it to snapshots, too.
//! What follows from the rest (the indexes of the leases, the forwarding table's tries) is left out, and made anew.
//! It belongs to one version of the program; another may not read it.

pub(crate) mod keyed;
pub(crate) mod pairs;

use alloc::boxed::Box;
use alloc::string::{String, ToString};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::engine::Engine;

/// The state of an engine; [`Engine::restore`] makes an engine of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Snapshot(Box<RawValue>);

/// Why a text is no snapshot of an engine, or an engine has none.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not the state of an engine of this version: {0}")]
pub struct SnapshotError(String);

impl Snapshot {
    /// Returns the text.
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// Returns the text as it is nested.
    pub(crate) fn to_value(&self) -> Result<Value, SnapshotError> {
        serde_json::from_str(self.text()).map_err(|error| SnapshotError::of(&error))
    }

    /// Takes a text for a snapshot; whether it is one shows when it is restored.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`] if it is not JSON.
    pub fn from_text(text: String) -> Result<Self, SnapshotError> {
        RawValue::from_string(text)
            .map(Self)
            .map_err(|error| SnapshotError::of(&error))
    }
}

impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Snapshot {}

impl SnapshotError {
    fn of(error: &serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

impl Engine {
    /// Takes a snapshot; to be called after a full drain.
    ///
    /// # Errors
    ///
    /// None that is known: every part of an engine has a text.
    pub fn snapshot(&self) -> Result<Snapshot, SnapshotError> {
        let text = serde_json::to_string(self).map_err(|error| SnapshotError::of(&error))?;
        Snapshot::from_text(text)
    }

    /// Makes the engine that a snapshot was taken of; it has nothing to say before the next input.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`] if the text is no engine of this version of the program.
    pub fn restore(snapshot: &Snapshot) -> Result<Self, SnapshotError> {
        let mut engine: Self =
            serde_json::from_str(snapshot.text()).map_err(|error| SnapshotError::of(&error))?;
        engine.derive_the_rest();
        Ok(engine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_snapshot_is_refused() {
        let damaged = Snapshot::from_text(r#"{"setup":{}}"#.to_string()).unwrap();

        assert!(Snapshot::from_text("{".to_string()).is_err());
        let error = Engine::restore(&damaged).unwrap_err().to_string();
        assert!(error.contains("missing field"), "{error}");
    }
}
