//! What each `selvedge lab` command does.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode as ProcessExitCode;

use super::args::{CutArgs, ExecArgs, LabArgs, LabCommand, NameArgs, UpArgs};
use super::error::{IoContext, LabError};
use super::name::{LabName, Place};
use super::probe::Pace;
use super::report::duration;
use super::stopwatch::Stopwatch;
use super::{Cut, Interrupt, Lab, LabOptions, StoreChoice, demo, store};
use crate::exit_code::ExitCode;

/// The exit status of a command that a signal ended, as a shell reports it for SIGINT.
const INTERRUPTED: u8 = 130;

/// The exit status of a lab that does not come up or does not do what it should.
const FAILED: u8 = 1;

/// Runs a `selvedge lab` command; an error becomes one line on stderr and an exit status.
pub fn run(args: LabArgs) -> ProcessExitCode {
    match dispatch(args.command) {
        Ok(()) => ExitCode::Clean.into(),
        Err(error @ LabError::Interrupted) => {
            eprintln!("interrupted; the lab is removed");
            exit_code(&error)
        }
        Err(error) => {
            eprintln!("selvedge lab: {error}");
            exit_code(&error)
        }
    }
}

fn exit_code(error: &LabError) -> ProcessExitCode {
    match error {
        LabError::BadName(_)
        | LabError::BadNodeCount(_)
        | LabError::BadPlace(_)
        | LabError::BadConfig { .. } => ExitCode::Usage.into(),
        LabError::NotRoot(_) => ExitCode::Permission.into(),
        LabError::IpToolMissing => ExitCode::Unavailable.into(),
        LabError::Interrupted => ProcessExitCode::from(INTERRUPTED),
        LabError::Ip { .. }
        | LabError::NoSuchPlace { .. }
        | LabError::NotUp(_)
        | LabError::Busy(_)
        | LabError::Store { .. }
        | LabError::NotReady { .. }
        | LabError::NotConnected { .. }
        | LabError::BadSubnetFile { .. }
        | LabError::Demo(_)
        | LabError::Io { .. } => ProcessExitCode::from(FAILED),
    }
}

fn dispatch(command: LabCommand) -> Result<(), LabError> {
    match command {
        LabCommand::Up(args) => up(args),
        LabCommand::Exec(args) => exec(args),
        LabCommand::Status(args) => status(args),
        LabCommand::Cut(args) => cut(args),
        LabCommand::Heal(args) => {
            find(args.lab)?.heal(args.node)?;
            println!("{} is connected", Place::Node(args.node));
            Ok(())
        }
        LabCommand::Down(args) => {
            Lab::down(&args.name)?;
            println!("lab {} is removed", args.name);
            Ok(())
        }
        LabCommand::Demo(args) => demo::run(LabOptions::new(args.name, program()?)),
        LabCommand::ServeStore(args) => store::serve(args.listen),
        LabCommand::Relay(args) => store::relay(args.listen, &args.outside, args.targets),
    }
}

fn up(args: UpArgs) -> Result<(), LabError> {
    let started = Stopwatch::start();
    let endpoints: Vec<String> = args
        .etcd_endpoints
        .into_iter()
        .map(|endpoint| endpoint.0)
        .collect();
    let options = LabOptions {
        nodes: args.nodes,
        network: args.network,
        backend: args.backend_config,
        store: if endpoints.is_empty() {
            StoreChoice::Embedded
        } else {
            StoreChoice::Relayed(endpoints)
        },
        ..LabOptions::new(args.lab.name, program()?)
    };
    let interrupt = Interrupt::catch_signals()?;
    if Lab::is_there(&options.name)? {
        println!("There is a lab {} already; it is removed first.", options.name);
    }
    let lab = Lab::up(options, interrupt)?;
    let ready = started.elapsed();
    let links = lab.ping_all_pods(Pace::QUICK)?;
    println!(
        "lab {}: {} nodes, ready after {}\n",
        lab.name(),
        lab.nodes().len(),
        duration(ready)
    );
    println!("{}", lab.table(&lab.leases()?, &links));
    print_hints(&lab);
    lab.stay();
    Ok(())
}

fn print_hints(lab: &Lab) {
    let name = match lab.name().to_string() {
        name if name == LabName::DEFAULT => String::new(),
        name => format!(" --name {name}"),
    };
    let hints = [
        ("exec", " pod-1 -- ip address", "runs a command in a pod or node"),
        ("cut", " node-1", "pulls a node's cable; heal puts it back"),
        ("status", "", "shows this table again"),
        ("down", "", "removes it all"),
    ];
    for (command, arguments, effect) in hints {
        println!(
            "  {:<52} {effect}",
            format!("selvedge lab {command}{name}{arguments}")
        );
    }
    println!("  Logs and subnet files are in {}.", lab.state_dir().display());
}

fn exec(args: ExecArgs) -> Result<(), LabError> {
    let lab = find(args.lab)?;
    lab.require(args.place)?;
    let mut words = args.command.into_iter();
    let mut command = lab
        .namespace(args.place)
        .command(words.next().unwrap_or_default());
    // Only returns if `ip` cannot be run.
    Err(command.args(words).exec()).trying(|| format!("running a command in {}", args.place))
}

fn status(args: NameArgs) -> Result<(), LabError> {
    let lab = find(args)?;
    let links = lab.ping_all_pods(Pace::QUICK)?;
    println!("{}", lab.table(&lab.leases()?, &links));
    for number in lab.nodes() {
        let place = Place::Node(number);
        if lab.namespace(place).pids()?.is_empty() {
            println!(
                "  {place}: its daemon does not run; see {}",
                lab.log_file(place).display()
            );
        }
    }
    Ok(())
}

fn cut(args: CutArgs) -> Result<(), LabError> {
    let (cut, what) = if args.from_store {
        (Cut::Store, "the store")
    } else {
        (Cut::Underlay, "everything")
    };
    find(args.lab)?.cut(args.node, cut)?;
    println!("{} is cut off from {what}", Place::Node(args.node));
    Ok(())
}

fn find(args: NameArgs) -> Result<Lab, LabError> {
    Lab::find(args.name, program()?)
}

fn program() -> Result<PathBuf, LabError> {
    std::env::current_exe().trying(|| "finding this program's file".to_owned())
}
