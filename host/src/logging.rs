//! Logs on stderr.

use std::io::{self, IsTerminal as _};

use selvedge_engine::{Event, EventLevel};
use tracing_subscriber::EnvFilter;

use crate::cli::LogLevel;

/// Starts logging to stderr: our own lines at `level`, those of libraries from warnings on.
pub fn start(level: LogLevel) {
    let own = match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    let libraries = match level {
        LogLevel::Error => "error",
        LogLevel::Warn | LogLevel::Info | LogLevel::Debug | LogLevel::Trace => "warn",
    };
    let filter = format!("{libraries},selvedge={own},selvedge_host={own},selvedge_engine={own}");
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .finish();
    if tracing::subscriber::set_global_default(subscriber).is_err() {
        tracing::debug!("somebody logs already");
    }
}

/// Logs an event of the engine at its level.
pub fn event(event: &Event) {
    match event.level() {
        EventLevel::Info => tracing::info!("{event}"),
        EventLevel::Warn => tracing::warn!("{event}"),
    }
}
