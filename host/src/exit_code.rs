//! The numbers that the process ends with.

use std::process::ExitCode as ProcessExitCode;

use selvedge_engine::{ExitReason, KernelError, KernelErrorKind};

/// Why the process ends, as a number for service managers and scripts.
///
/// From 64 on they follow `sysexits.h`; 2 is what command line tools use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum ExitCode {
    /// It was asked to stop.
    Clean = 0,
    /// The command line or a `FLANNELD_*` variable cannot be understood.
    Usage = 2,
    /// The machine lacks something, or something is taken by another program.
    Unavailable = 69,
    /// A system call failed in a way that nobody foresaw.
    System = 71,
    /// The lease is lost, and `--on-lease-loss=exit` was given.
    LeaseLost = 75,
    /// A capability or permission is missing.
    Permission = 77,
}

impl ExitCode {
    /// Returns the code for an engine that ends.
    pub const fn of(reason: &ExitReason) -> Self {
        match reason {
            ExitReason::Shutdown | ExitReason::Planned => Self::Clean,
            ExitReason::LeaseLost { subnet: _ } => Self::LeaseLost,
            ExitReason::Underlay { .. } | ExitReason::Config { .. } => Self::Unavailable,
            ExitReason::Kernel { object: _, error } => Self::of_kernel(error),
        }
    }

    /// Returns the code of the first of two steps that did not go well.
    #[must_use]
    pub const fn or(self, next: Self) -> Self {
        match self {
            Self::Clean => next,
            Self::Usage | Self::Unavailable | Self::System | Self::LeaseLost | Self::Permission => self,
        }
    }

    /// Returns the code for an operation that the node refused.
    pub const fn of_kernel(error: &KernelError) -> Self {
        match error.kind {
            KernelErrorKind::Taken | KernelErrorKind::NotFound | KernelErrorKind::Unsupported => {
                Self::Unavailable
            }
            KernelErrorKind::Permission => Self::Permission,
            KernelErrorKind::Other => Self::System,
        }
    }
}

impl From<ExitCode> for ProcessExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}
