//! Ctrl-C and requests to end, noticed between steps so that a lab can be cleaned up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::error::{IoContext, LabError};

/// Whether the command was asked to end.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Never asks: for labs inside tests, which end by being dropped.
    pub fn never() -> Self {
        Self::default()
    }

    /// Catches SIGINT, SIGTERM and SIGHUP from now on.
    ///
    /// # Errors
    ///
    /// [`LabError::Io`] if the handlers cannot be installed.
    pub fn catch_signals() -> Result<Self, LabError> {
        let interrupt = Self::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .trying(|| "starting the signal thread".to_owned())?;
        let (mut int, mut term, mut hup) = {
            let _guard = runtime.enter();
            (
                catch(SignalKind::interrupt())?,
                catch(SignalKind::terminate())?,
                catch(SignalKind::hangup())?,
            )
        };
        let asked = interrupt.clone();
        thread::spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = int.recv() => {}
                        _ = term.recv() => {}
                        _ = hup.recv() => {}
                    }
                    asked.0.store(true, Ordering::Relaxed);
                }
            });
        });
        Ok(interrupt)
    }

    /// Tells whether to go on.
    ///
    /// # Errors
    ///
    /// [`LabError::Interrupted`] once a signal came.
    pub fn check(&self) -> Result<(), LabError> {
        if self.0.load(Ordering::Relaxed) {
            Err(LabError::Interrupted)
        } else {
            Ok(())
        }
    }

    /// Sleeps, at most a moment longer than until a signal comes.
    ///
    /// # Errors
    ///
    /// [`LabError::Interrupted`] once a signal came.
    pub fn sleep(&self, length: Duration) -> Result<(), LabError> {
        const STEP: Duration = Duration::from_millis(50);
        let mut left = length;
        while !left.is_zero() {
            self.check()?;
            let step = left.min(STEP);
            thread::sleep(step);
            left -= step;
        }
        self.check()
    }
}

fn catch(kind: SignalKind) -> Result<Signal, LabError> {
    signal(kind).trying(|| "catching signals".to_owned())
}
