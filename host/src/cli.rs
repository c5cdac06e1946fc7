//! The command line.

mod environment;
mod go_flags;
mod run_args;
mod run_options;
mod usage_error;

use std::collections::BTreeSet;
use std::path::Path;

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory as _, Parser, Subcommand};

pub use self::run_args::{LogLevel, RunArgs};
pub use self::run_options::{RecordingTarget, RunOptions};
pub use self::usage_error::UsageError;

use self::go_flags::{Arity, GoFlag};
use crate::cleanup::CleanupArgs;
use crate::lab::LabArgs;

const EXIT_CODES: &str = "\
Exit codes:
  0   asked to stop
  2   the command line or a FLANNELD_* variable cannot be understood
  69  the machine lacks something, such as /dev/net/tun
  71  a system call failed unexpectedly
  75  the lease is lost, and --on-lease-loss=exit was given
  77  a capability or permission is missing
Everything else (etcd away, no or a bad network config, no free subnet, no default route, a taken port)
is waited for.";

const RUN_NOTES: &str = "\
Every flag can be given as a variable: FLANNELD_ETCD_ENDPOINTS, FLANNELD_IFACE and so on; the command line wins,
an empty variable counts as unset. Flags may have one dash or two, and their value after a blank or an equals sign.
With --healthz-port it answers /healthz, /readyz, /metrics and /status; without, it does not listen. No TLS, no password: without
--healthz-ip, /metrics and /status are refused to all but this node.
SIGTERM and SIGINT stop the daemon and leave its lease and the subnet file; SIGUSR1 logs the packet counters; SIGHUP ends nothing.";

const PLAN_NOTES: &str = "\
Each line is an object: + is missing, ~ differs, - is ours and stale. The sockets and settings of a running daemon are not seen from
outside. Neither etcd nor the node is written to. Exits with 0 if there is nothing to do, and with 2 if there is.";

const CLEANUP_NOTES: &str = "\
Stop the daemon first, or it makes everything again. Removes the devices that carry its mark (see `ip -d link`: alias selvedge:PREFIX), its routes
(`ip route show proto 83`) into the networks of the subnet file, and that file. The lease in etcd ends by itself.";

#[derive(Debug, Parser)]
#[command(
    name = "selvedge",
    version,
    about = "An overlay network for containers; a drop-in for flannel's flanneld",
    after_help = EXIT_CODES,
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon on this node
    #[command(after_help = RUN_NOTES)]
    Run(Box<RunArgs>),
    /// Print what the daemon would do to this node now, and do nothing; takes the flags of `run`
    #[command(after_help = PLAN_NOTES)]
    Plan(Box<RunArgs>),
    /// Remove everything from this node that the daemon left there
    #[command(after_help = CLEANUP_NOTES)]
    Cleanup(CleanupArgs),
    /// Try it out: a small cluster on this machine
    Lab(Box<LabArgs>),
}

/// What the command line asks for.
#[derive(Clone, Debug)]
pub enum Invocation {
    /// Run the daemon.
    Run(Box<RunOptions>),
    /// Print what it would do.
    Plan(Box<RunOptions>),
    /// Remove what it left.
    Cleanup(CleanupArgs),
    /// Build, use or remove a lab.
    Lab(Box<LabArgs>),
    /// Print a text (help or version) and end.
    Print(String),
}

/// Reads the command line, program name first, and the `FLANNELD_*` variables.
///
/// Called as `flanneld`, the program behaves as `selvedge run`.
///
/// # Errors
///
/// If they cannot be understood; the error is one line.
pub fn parse(
    args: impl IntoIterator<Item = String>,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Invocation, UsageError> {
    let mut args: Vec<String> = args.into_iter().collect();
    if is_flanneld(&args) {
        args.insert(1, "run".to_owned());
    }

    let mut from_environment = BTreeSet::new();
    if args
        .get(1)
        .is_some_and(|command| command == "run" || command == "plan")
    {
        let flags = run_flags();
        let normal = go_flags::normalise(args.split_off(2), &flags);
        let (normal, from) = environment::append(normal, &flags, lookup);
        args.extend(normal);
        from_environment = from;
    }

    let error = match Cli::try_parse_from(args) {
        Ok(cli) => return invocation(cli),
        Err(error) => error,
    };
    let is_wanted = matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if is_wanted {
        return Ok(Invocation::Print(error.render().to_string()));
    }
    Err(UsageError::of_clap(&error, &from_environment))
}

fn is_flanneld(args: &[String]) -> bool {
    args.first()
        .and_then(|program| Path::new(program).file_name())
        .is_some_and(|name| name == "flanneld")
}

fn invocation(cli: Cli) -> Result<Invocation, UsageError> {
    match cli.command {
        Command::Run(args) if args.version => Ok(Invocation::Print(format!(
            "selvedge {}\n",
            env!("CARGO_PKG_VERSION")
        ))),
        Command::Run(args) => Ok(Invocation::Run(Box::new(RunOptions::from_args(*args)?))),
        Command::Plan(args) => Ok(Invocation::Plan(Box::new(RunOptions::from_args(*args)?))),
        Command::Cleanup(args) => Ok(Invocation::Cleanup(args)),
        Command::Lab(args) => Ok(Invocation::Lab(args)),
    }
}

/// Lists the flags of `selvedge run` as Go's syntax needs to know them.
fn run_flags() -> Vec<GoFlag> {
    let cli = Cli::command();
    let Some(run) = cli.find_subcommand("run") else {
        return Vec::new();
    };
    run.get_arguments()
        .filter_map(|arg| Some((arg.get_long()?, arg)))
        .filter(|(name, _)| !matches!(*name, "version" | "help"))
        .map(|(name, arg)| GoFlag {
            name: name.to_owned(),
            arity: if takes_word(arg) {
                Arity::Valued
            } else {
                Arity::Bare
            },
        })
        .collect()
}

fn takes_word(arg: &clap::Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append) && !arg.is_require_equals_set()
}

#[cfg(test)]
mod tests;
