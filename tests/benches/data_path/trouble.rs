//! Why something was not measured.

use std::fmt::Display;

use selvedge_host::lab::LabError;

/// Why something was not measured.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// The benchmark was asked to end.
    Interrupted,
    /// It could not be.
    Failed(String),
}

impl Trouble {
    /// Says what could not be done, and why.
    pub(crate) fn with(what: &str, reason: impl Display) -> Self {
        Self::Failed(format!("{what}: {reason}"))
    }

    /// Says where it happened.
    pub(crate) fn in_place(self, place: impl Display) -> Self {
        match self {
            Self::Interrupted => Self::Interrupted,
            Self::Failed(reason) => Self::with(&place.to_string(), reason),
        }
    }
}

impl From<LabError> for Trouble {
    fn from(error: LabError) -> Self {
        if matches!(error, LabError::Interrupted) {
            Self::Interrupted
        } else {
            Self::Failed(error.to_string())
        }
    }
}
