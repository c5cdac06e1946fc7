//! The daemon: everything put together on a real node.

mod journal;
mod signals;

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use selvedge_engine::{Engine, Errand, PreviousSubnet, RecordingHeader, Setup, SubnetFile, Underlay};
use tokio::sync::mpsc;

use self::journal::Journal;
use crate::cli::{RecordingTarget, RunOptions};
use crate::clock::{BootClock, Clock as _};
use crate::event_loop::{self, Parts};
use crate::exit_code::ExitCode;
use crate::http::inquiry::Inquiries;
use crate::http::report::Report;
use crate::http::{self, inquiry};
use crate::interface;
use crate::kernel::firewall::Firewall;
use crate::kernel::linux::LinuxKernel;
use crate::logging;
use crate::machine_id;
use crate::random::random;
use crate::recorder::RecordingFile;
use crate::store::Store;
use crate::store::endpoint::Endpoint;
use crate::supervisor::Supervisor;
use crate::tunnel::{SharedTable, TunnelProbe};

/// How many commands wait for the loop.
const COMMAND_CAPACITY: usize = 4;

/// The first and the longest pause between two searches for the interface.
const SEARCH_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Runs the daemon until it ends; what goes wrong is logged.
pub fn run(options: RunOptions) -> ExitCode {
    logging::start(options.log_level);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(serve(options)),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("cannot start: {error}");
            ExitCode::System
        }
    }
}

async fn serve(options: RunOptions) -> io::Result<ExitCode> {
    let (sender, mut commands) = mpsc::channel(COMMAND_CAPACITY);
    let probe = TunnelProbe::default();
    signals::listen(sender, probe.clone())?;
    let supervisor = Supervisor::new(std::env::var_os("NOTIFY_SOCKET")).unwrap_or_else(|error| {
        tracing::warn!("cannot use NOTIFY_SOCKET: {error}");
        Supervisor::default()
    });

    tracing::info!("selvedge {} starts", env!("CARGO_PKG_VERSION"));
    tracing::debug!(?options);
    let (inquirer, mut inquiries) = inquiry::channel();
    if let Some(http) = options.http {
        http::start(http, inquirer, probe.clone())?;
    }
    let underlay = tokio::select! {
        biased;
        _ = commands.recv() => return Ok(ExitCode::Clean),
        underlay = find_underlay(&options, &supervisor, &mut inquiries) => underlay,
    };
    tracing::info!(
        interface = underlay.interface,
        address = %underlay.address,
        public_ip = %underlay.public_ip,
        public_ipv6 = ?underlay.public_ipv6,
        mtu = underlay.mtu,
        "found the interface"
    );

    let table = SharedTable::default();
    let clock = BootClock;
    let setup = setup(&options, Errand::Serve, underlay).await?;
    let (seed, start) = (random()?, clock.now());
    let recording = options
        .recording
        .as_ref()
        .map(|target| record(target, RecordingHeader::new(setup.clone(), seed, start)))
        .transpose()?;
    let engine = Engine::new(setup, seed, start);
    let parts = Parts {
        clock,
        kernel: LinuxKernel::open(options.subnet_file, Arc::clone(&table), options.data_path, probe)?,
        store: Store::new(&options.endpoints, options.credentials, move |endpoint| {
            options.tls.channel(endpoint)
        })
        .map_err(io::Error::other)?,
        commands,
        table,
        observer: Journal::new(supervisor, recording, inquiries),
    };
    let (_, reason) = event_loop::run(engine, parts).await;

    let code = ExitCode::of(&reason);
    match code {
        ExitCode::Clean => tracing::info!("ending: {reason}"),
        ExitCode::Usage
        | ExitCode::Unavailable
        | ExitCode::System
        | ExitCode::LeaseLost
        | ExitCode::Permission => {
            tracing::error!("ending: {reason}");
        }
    }
    Ok(code)
}

/// Searches for the interface until there is one: the network may still be coming up.
async fn find_underlay(options: &RunOptions, supervisor: &Supervisor, inquiries: &mut Inquiries) -> Underlay {
    let (mut pause, longest) = SEARCH_PAUSE;
    loop {
        let error = match interface::find(&options.selection).await {
            Ok(underlay) => return underlay,
            Err(error) => error.to_string(),
        };
        tracing::warn!("{error}; looking again in {pause:?}");
        supervisor.status(&error);
        tokio::select! {
            biased;
            () = tokio::time::sleep(pause) => {}
            () = answer_meanwhile(&error, inquiries) => {}
        }
        pause = (pause * 2).min(longest);
    }
}

/// Tells those who ask what is missing, until that is looked for again.
async fn answer_meanwhile(missing: &str, inquiries: &mut Inquiries) {
    loop {
        inquiries.wait().await;
        inquiries.answer(|| Report::Searching(missing.to_owned()));
    }
}

/// Describes the node to an engine.
pub(crate) async fn setup(options: &RunOptions, errand: Errand, underlay: Underlay) -> io::Result<Setup> {
    let machine = machine_id::read()?;
    let traffic = Firewall::open()
        .traffic_options(options.forward_rules, options.source_ports)
        .await;
    let subnet_file = previous_file(&options.subnet_file);
    Ok(Setup {
        errand,
        machine,
        underlay,
        selection: options.selection.clone(),
        prefix: options.prefix.clone(),
        previous: PreviousSubnet::parse(&subnet_file),
        former_networks: SubnetFile::networks_in(&subnet_file),
        renew_margin: options.renew_margin,
        peer_grace: options.peer_grace,
        lease_policy: options.lease_policy,
        masquerade: options.masquerade,
        on_overlap: options.on_overlap,
        store_addresses: options.endpoints.iter().filter_map(Endpoint::address).collect(),
        traffic,
        membership: options.membership,
    })
}

fn record(target: &RecordingTarget, header: RecordingHeader) -> io::Result<RecordingFile> {
    let RecordingTarget { path, limit } = target;
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("--record {}: {error}", path.display()));
    let recording = RecordingFile::create(path, *limit, header).map_err(named)?;
    tracing::info!("recording in {}, at most {limit} bytes", path.display());
    Ok(recording)
}

/// Reads what an earlier run left; a file that cannot be read stays until a good one replaces it.
fn previous_file(path: &Path) -> String {
    match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            tracing::warn!(
                "cannot read {}: {error}; going on without the previous subnet",
                path.display()
            );
            String::new()
        }
    }
}
