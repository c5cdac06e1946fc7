//! What many leases cost a real node: time to program its kernel, requests to it, and memory: `make bench-leases`.
//!
//! One daemon, in a namespace of its own, meets an etcd that holds the leases of all its peers already.

#![expect(clippy::print_stdout, reason = "a benchmark speaks to people")]

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use selvedge_host::lab::{Ending, Namespace, Place, Stopwatch};
use selvedge_tests::real_nodes::{RealNodes, node, resident, wait_until};
use selvedge_tests::requirement;
use serde_json::{Value, json};

/// Lets a node meet many leases; needs root and etcd.
#[derive(Debug, Parser)]
struct Options {
    /// The daemon.
    #[arg(long, value_name = "FILE")]
    program: PathBuf,
    /// How many leases there are, each in a run of its own.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "200,2000,5000",
        value_name = "N"
    )]
    leases: Vec<u32>,
    /// Writes the figures to this file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What a run cost.
#[derive(Debug)]
struct Figures {
    backend: &'static str,
    leases: u32,
    /// From the daemon's start until the last route is there.
    programmed: Duration,
    /// From the daemon's start again until it is ready, with everything in place.
    adopted: Duration,
    /// Requests to the kernel that change something, in the first run.
    changes: usize,
    /// The same in the second.
    changes_again: usize,
    /// Resident memory in KiB, at rest.
    resident: u64,
    /// From the change of one lease until its route is there.
    one_more: Duration,
}

const BACKENDS: [&str; 2] = ["vxlan", "host-gw"];
/// So many addresses of the underlay's link the peers have between them.
const HOSTS: u32 = 200;
/// 10.128.0.0.
const FIRST_SUBNET: u32 = 0x0a80_0000;
const PATIENCE: Duration = Duration::from_mins(2);

fn main() -> ExitCode {
    let options = Options::parse();
    let needed = ["root", "ip", "etcd"];
    if let Some(missing) = needed.into_iter().find_map(requirement::missing) {
        eprintln!("NOT MEASURED: {missing}");
        return ExitCode::FAILURE;
    }
    let runs = BACKENDS
        .into_iter()
        .flat_map(|backend| options.leases.iter().map(move |leases| (backend, *leases)));
    println!(
        "{:<9}{:>8}{:>14}{:>14}{:>10}{:>10}{:>12}{:>12}",
        "backend", "leases", "programmed", "adopted", "changes", "again", "resident", "one more"
    );
    let mut all = Vec::new();
    for (backend, leases) in runs {
        let figures = measure(&options, backend, leases);
        println!("{figures}");
        all.push(figures);
    }
    if let Some(file) = &options.json {
        let json: Value = all.iter().map(Figures::to_json).collect();
        if let Err(error) = fs::write(file, format!("{json:#}\n")) {
            eprintln!("{}: {error}", file.display());
            return ExitCode::FAILURE;
        }
        println!("\nwritten to {}", file.display());
    }
    ExitCode::SUCCESS
}

fn measure(options: &Options, backend: &'static str, leases: u32) -> Figures {
    let program = options.program.to_string_lossy();
    let mut real = RealNodes::wire_flagged("leases", 1, &program, &["--log-level=debug"]);
    real.start_etcd();
    real.put(
        "config",
        &format!(r#"{{"Network":"10.0.0.0/8","SubnetLen":24,"Backend":{{"Type":"{backend}"}}}}"#),
    );
    let peers: Vec<_> = (0..leases).map(|number| lease(backend, number)).collect();
    real.put_all(&peers);
    let namespace = real.lab.namespace(Place::Node(node(1)));
    let wanted = usize::try_from(leases).expect("few leases");

    let programmed = start(&mut real, &namespace, wanted);
    let changes = changes(&real.log(node(1)));
    let daemon = namespace.pids().expect("listed");
    let resident = resident(*daemon.first().expect("the daemon runs"));
    let stopped = real.lab.stop_node(node(1), Ending::Graceful);
    stopped.expect("the daemon stops");
    let adopted = start(&mut real, &namespace, wanted);
    let changes_again = self::changes(&real.log(node(1))) - changes;

    let (key, value) = lease(backend, leases);
    let begun = Stopwatch::start();
    real.put(&key, &value);
    await_routes(&namespace, wanted + 1);
    Figures {
        backend,
        leases,
        programmed,
        adopted,
        changes,
        changes_again,
        resident,
        one_more: begun.elapsed(),
    }
}

/// Starts the daemon and waits until it is ready and the routes are there.
fn start(real: &mut RealNodes, namespace: &Namespace, routes: usize) -> Duration {
    let begun = Stopwatch::start();
    real.lab.start_node(node(1)).expect("the daemon starts");
    real.lab.wait_ready().unwrap_or_else(|error| panic!("{error}"));
    await_routes(namespace, routes);
    begun.elapsed()
}

fn await_routes(namespace: &Namespace, count: usize) {
    let arguments = ["-o", "route", "show", "proto", "83"];
    let are_there = wait_until(PATIENCE, || {
        let routes = namespace.ip_output(&arguments).unwrap_or_default();
        routes.lines().count() >= count
    });
    assert!(are_there, "{count} routes do not appear");
}

fn changes(log: &str) -> usize {
    log.lines()
        .filter(|line| line.contains("kernel operation"))
        .count()
}

/// Returns a peer's key and value.
fn lease(backend: &str, number: u32) -> (String, String) {
    let subnet = Ipv4Addr::from_bits(FIRST_SUBNET + (number << 8));
    let host = number % HOSTS + 20;
    let [_, high, middle, low] = number.to_be_bytes();
    let data = match backend {
        "vxlan" => {
            format!(r#","BackendData":{{"VNI":1,"VtepMAC":"02:00:01:{high:02x}:{middle:02x}:{low:02x}"}}"#)
        }
        _ => String::new(),
    };
    let value =
        format!(r#"{{"PublicIP":"192.0.2.{host}","PublicIPv6":null,"BackendType":"{backend}"{data}}}"#);
    (format!("subnets/{subnet}-24"), value)
}

impl Figures {
    fn to_json(&self) -> Value {
        json!({
            "backend": self.backend,
            "leases": self.leases,
            "programmed_ms": self.programmed.as_secs_f64() * 1e3,
            "adopted_ms": self.adopted.as_secs_f64() * 1e3,
            "changes": self.changes,
            "changes_again": self.changes_again,
            "resident_kib": self.resident,
            "one_more_ms": self.one_more.as_secs_f64() * 1e3,
        })
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let milliseconds = |duration: Duration| format!("{:.0} ms", duration.as_secs_f64() * 1e3);
        write!(
            f,
            "{:<9}{:>8}{:>14}{:>14}{:>10}{:>10}{:>8} KiB{:>12}",
            self.backend,
            self.leases,
            milliseconds(self.programmed),
            milliseconds(self.adopted),
            self.changes,
            self.changes_again,
            self.resident,
            milliseconds(self.one_more),
        )
    }
}
