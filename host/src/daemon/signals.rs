//! What the operator says by signals.

use std::collections::BTreeMap;
use std::io;

use selvedge_engine::{Command, FilterCounter};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::kernel::firewall::Firewall;
use crate::kernel::firewall::counters::FilterCount;
use crate::tunnel::TunnelProbe;

/// What the shell reports for a program that a signal killed: 128 and the signal's number.
const KILLED: i32 = 128;

/// Turns SIGTERM and SIGINT into a shutdown, and SIGUSR1 into a line with the packet counters.
///
/// A second SIGTERM or SIGINT kills the process. SIGHUP does not end it: nothing but flags takes a
/// restart.
pub(super) fn listen(commands: mpsc::Sender<Command>, probe: TunnelProbe) -> io::Result<()> {
    let terminate = signal(SignalKind::terminate())?;
    let interrupt = signal(SignalKind::interrupt())?;
    let report = signal(SignalKind::user_defined1())?;
    tokio::spawn(stop(terminate, interrupt, commands));
    let hang_up = signal(SignalKind::hangup())?;
    tokio::spawn(log_counters(report, probe));
    tokio::spawn(answer_hang_ups(hang_up));
    Ok(())
}

async fn stop(mut terminate: Signal, mut interrupt: Signal, commands: mpsc::Sender<Command>) {
    let first = stop_signal(&mut terminate, &mut interrupt).await;
    tracing::info!("got {}", name(first));
    if commands.send(Command::Shutdown).await.is_err() {
        return;
    }
    let second = stop_signal(&mut terminate, &mut interrupt).await;
    tracing::warn!("got {} again; ending at once", name(second));
    std::process::exit(KILLED + second.as_raw_value());
}

async fn stop_signal(terminate: &mut Signal, interrupt: &mut Signal) -> SignalKind {
    tokio::select! {
        biased;
        _ = terminate.recv() => SignalKind::terminate(),
        _ = interrupt.recv() => SignalKind::interrupt(),
    }
}

fn name(kind: SignalKind) -> &'static str {
    if kind == SignalKind::terminate() {
        "SIGTERM"
    } else {
        "SIGINT"
    }
}

async fn log_counters(mut requests: Signal, probe: TunnelProbe) {
    while requests.recv().await.is_some() {
        if let Some(report) = probe.report().await {
            tracing::info!("packets: {report}");
            continue;
        }
        let counted = Firewall::open().counters().await;
        let report = counted.map_or_else(
            |error| format!("neither a tunnel nor the membership filter runs here: {error}"),
            |counts| counts_in_words(&counts),
        );
        tracing::info!("packets: {report}");
    }
}

fn counts_in_words(counts: &BTreeMap<FilterCounter, FilterCount>) -> String {
    let words = counts
        .iter()
        .map(|(counter, count)| format!("{} {}", counter.name(), count.packets));
    words.collect::<Vec<_>>().join(" ")
}

async fn answer_hang_ups(mut hang_ups: Signal) {
    while hang_ups.recv().await.is_some() {
        tracing::info!(
            "got SIGHUP: the network config is followed, and passwords and certificates are read again when etcd \
             refuses them; flags take a restart"
        );
    }
}
