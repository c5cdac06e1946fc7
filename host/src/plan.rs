//! `selvedge plan`: what the daemon would do to this node, printed and not done.

use std::fs;
use std::io;
use std::process::ExitCode as ProcessExitCode;
use std::sync::Arc;
use std::time::Duration;

use selvedge_engine::{Engine, Errand, Event, ExitReason, KernelObject, KernelOp};
use tokio::sync::mpsc;

use crate::cli::RunOptions;
use crate::clock::{BootClock, Clock as _};
use crate::daemon;
use crate::event_loop::{self, Observer, Parts};
use crate::exit_code::ExitCode;
use crate::interface;
use crate::kernel::firewall::Firewall;
use crate::kernel::linux::LinuxKernel;
use crate::logging;
use crate::random::random;
use crate::store::Store;
use crate::tunnel::{SharedTable, TunnelProbe};

/// The process ends with this if there is something to do.
const DIFFERENT: u8 = 2;
/// How long etcd has to tell everything.
const PATIENCE: Duration = Duration::from_secs(10);

/// Prints the plan.
pub fn run(options: RunOptions) -> ProcessExitCode {
    logging::start(options.log_level);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let planned = runtime.and_then(|runtime| {
        runtime.block_on(async {
            let patience = tokio::time::timeout(PATIENCE, make(options));
            patience.await.unwrap_or(Ok(Plan::Unknown))
        })
    });
    match planned {
        Ok(Plan::Made(lines)) if lines.is_empty() => {
            println!("nothing to do");
            ExitCode::Clean.into()
        }
        Ok(Plan::Made(lines)) => {
            for line in lines {
                println!("{line}");
            }
            ProcessExitCode::from(DIFFERENT)
        }
        Ok(Plan::Unknown) => {
            eprintln!(
                "selvedge: cannot make a plan: etcd did not tell in {PATIENCE:?} what the cluster is like; see the warnings above"
            );
            ExitCode::Unavailable.into()
        }
        Ok(Plan::Impossible(reason)) => {
            eprintln!("selvedge: {reason}");
            ExitCode::of(&reason).into()
        }
        Err(error) => {
            eprintln!("selvedge: cannot make a plan: {error}");
            ExitCode::System.into()
        }
    }
}

/// What came of it.
enum Plan {
    /// One line for each thing to do.
    Made(Vec<String>),
    /// Nobody told in time what the cluster is like.
    Unknown,
    /// The node cannot be part of this cluster.
    Impossible(ExitReason),
}

async fn make(options: RunOptions) -> io::Result<Plan> {
    let underlay = interface::find(&options.selection)
        .await
        .map_err(io::Error::other)?;
    let table = SharedTable::default();
    let setup = daemon::setup(&options, Errand::Plan, underlay).await?;
    let engine = Engine::new(setup, random()?, BootClock.now());
    let subnet_file = options.subnet_file.clone();
    // Whoever holds the other end could end the loop.
    let (_commands, receiver) = mpsc::channel(1);
    let parts = Parts {
        clock: BootClock,
        kernel: LinuxKernel::open(
            options.subnet_file,
            Arc::clone(&table),
            options.data_path,
            TunnelProbe::default(),
        )?,
        store: Store::new(&options.endpoints, options.credentials, move |endpoint| {
            options.tls.channel(endpoint)
        })
        .map_err(io::Error::other)?,
        commands: receiver,
        table,
        observer: Warnings,
    };
    let (engine, reason) = event_loop::run(engine, parts).await;
    if reason != ExitReason::Planned {
        return Ok(Plan::Impossible(reason));
    }
    let written = fs::read_to_string(subnet_file).unwrap_or_default();
    let mut firewall = Firewall::open();
    let mut lines = Vec::new();
    for op in engine.plan() {
        if is_seen(op.object(), &written) && !is_done(&op, &mut firewall).await {
            lines.push(line(&op));
        }
    }
    Ok(Plan::Made(lines))
}

/// Tells whether rules that are there are those that ought to be: surveys see only that there are some.
async fn is_done(op: &KernelOp, firewall: &mut Firewall) -> bool {
    let KernelOp::Replace(KernelObject::Ruleset(ruleset)) = op else {
        return false;
    };
    firewall.has(ruleset).await.unwrap_or_else(|error| {
        tracing::warn!("cannot compare {}: {error}", op.object());
        false
    })
}

/// Tells whether it is known from outside the daemon what has become of an object.
fn is_seen(object: &KernelObject, written: &str) -> bool {
    match object {
        // They are the running daemon's.
        KernelObject::Socket(_) | KernelObject::Sysctl(_) => false,
        KernelObject::SubnetFile(file) => file.render() != written,
        KernelObject::Link(_)
        | KernelObject::Address(_)
        | KernelObject::Ruleset(_)
        | KernelObject::Member(_)
        | KernelObject::FdbEntry(_)
        | KernelObject::Neighbour(_)
        | KernelObject::Route(_) => true,
    }
}

fn line(op: &KernelOp) -> String {
    match op {
        KernelOp::Ensure(object) => format!("+ {object}"),
        KernelOp::Replace(object) => format!("~ {object}"),
        KernelOp::Remove(object) => format!("- {object}"),
    }
}

/// Tells what goes wrong, and nothing else.
struct Warnings;

impl Observer for Warnings {
    fn event(&mut self, event: &Event) {
        match event.level() {
            selvedge_engine::EventLevel::Info => tracing::debug!("{event}"),
            selvedge_engine::EventLevel::Warn => tracing::warn!("{event}"),
        }
    }

    fn ready(&mut self) {}

    fn settled(&mut self, _engine: &Engine) {}
}
