//! What Linux says when it refuses.

use std::fmt;

use selvedge_engine::{KernelError, KernelErrorKind};

pub(super) fn not_found(message: fmt::Arguments<'_>) -> KernelError {
    refusal(KernelErrorKind::NotFound, message)
}

pub(super) fn taken(message: fmt::Arguments<'_>) -> KernelError {
    refusal(KernelErrorKind::Taken, message)
}

pub(super) fn unsupported(message: fmt::Arguments<'_>) -> KernelError {
    refusal(KernelErrorKind::Unsupported, message)
}

pub(super) fn other(message: fmt::Arguments<'_>) -> KernelError {
    refusal(KernelErrorKind::Other, message)
}

fn refusal(kind: KernelErrorKind, message: fmt::Arguments<'_>) -> KernelError {
    KernelError {
        kind,
        message: message.to_string(),
    }
}
