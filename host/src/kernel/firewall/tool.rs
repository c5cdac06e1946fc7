//! The programs that change the firewall: started without a shell, with nothing in their environment, and for a limited
//! time.

use std::ffi::OsString;
use std::io;
use std::process::{Output, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use selvedge_engine::{FirewallTool, IpVersion, KernelError, KernelErrorKind, RulesetName};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::watch::Watch;

/// How long a program may take; iptables waits half of it for others that change rules.
const DEADLINE: Duration = Duration::from_secs(10);

/// Why a program did not do what it should.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum ToolError {
    /// It is not installed.
    #[error("{0} is not installed")]
    Missing(&'static str),
    /// It could not be started, or talked to.
    #[error("cannot run {0}: {1}")]
    Broken(&'static str, String),
    /// It took too long, and was ended.
    #[error("{0} did not end within {seconds} s", seconds = DEADLINE.as_secs())]
    TimedOut(&'static str),
    /// It refused.
    #[error("{0}: {1}")]
    Refused(&'static str, String),
}

/// What a program was run for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// To make or remove a ruleset.
    Ruleset(RulesetName),
    /// To let members join or leave.
    Members,
}

/// Runs the program that takes a script on its standard input.
pub(super) async fn run(tool: FirewallTool, script: &str, watch: &mut Watch) -> Result<String, ToolError> {
    match tool {
        FirewallTool::Nft => run_nft(&["-f", "-"], script, watch).await,
        FirewallTool::Iptables(version) => {
            let program = match version {
                IpVersion::V4 => "iptables-restore",
                IpVersion::V6 => "ip6tables-restore",
            };
            start(program, &["--noflush", "-w", "5"], script, watch).await
        }
    }
}

/// Runs `nft`.
pub(super) async fn run_nft(args: &[&str], script: &str, watch: &mut Watch) -> Result<String, ToolError> {
    start("nft", args, script, watch).await
}

/// Starts a program, gives it a text, and returns what it printed.
pub(super) async fn start(
    program: &'static str,
    args: &[&str],
    input: &str,
    watch: &mut Watch,
) -> Result<String, ToolError> {
    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        .env("PATH", path())
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let broken = |error: io::Error| ToolError::Broken(program, error.to_string());
    let mut child = command.spawn().map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            return ToolError::Missing(program);
        }
        broken(error)
    })?;
    let pid = child.id();
    let mut stdin = child.stdin.take();
    let write = async move {
        if let Some(stdin) = &mut stdin {
            // One that refuses its input says more on its standard error.
            drop(stdin.write_all(input.as_bytes()).await);
        }
    };
    let talk = async { tokio::join!(write, child.wait_with_output()).1 };
    let output = tokio::time::timeout(DEADLINE, talk)
        .await
        .map_err(|_| ToolError::TimedOut(program))?
        .map_err(broken)?;
    if let Some(pid) = pid {
        watch.pass_over(pid);
    }
    printed(program, &output)
}

/// Administrators' programs are not always in a service's path.
fn path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}

fn printed(program: &'static str, output: &Output) -> Result<String, ToolError> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let line = errors.lines().map(str::trim).find(|line| !line.is_empty());
    let line = line.map_or_else(|| output.status.to_string(), str::to_owned);
    Err(ToolError::Refused(program, line))
}

impl ToolError {
    /// Tells whether a part of the transaction may pass although the whole did not.
    pub(super) fn is_about_one_of_many(&self) -> bool {
        match self {
            Self::Refused(_, line) => !(self.is_absence() || is(line, Errno::EPERM)),
            Self::Missing(_) | Self::Broken(..) | Self::TimedOut(_) => false,
        }
    }

    /// Tells whether what the program was asked for is not there.
    pub(super) fn is_absence(&self) -> bool {
        match self {
            Self::Refused(_, line) => is(line, Errno::ENOENT),
            Self::Missing(_) | Self::Broken(..) | Self::TimedOut(_) => false,
        }
    }

    /// Puts it into the engine's terms and people's.
    pub(super) fn of(&self, purpose: Purpose) -> KernelError {
        let kind = match self {
            Self::Missing(_) => KernelErrorKind::Unsupported,
            Self::Refused(_, line) if is(line, Errno::EPERM) || line.contains("you must be root") => {
                KernelErrorKind::Permission
            }
            Self::Refused(..) if self.is_absence() => KernelErrorKind::NotFound,
            Self::Refused(_, line) if line.contains("Operation not supported") => {
                KernelErrorKind::Unsupported
            }
            Self::Broken(..) | Self::TimedOut(_) | Self::Refused(..) => KernelErrorKind::Other,
        };
        let message = match self.advice(kind, purpose) {
            Some(advice) => format!("{self}: {advice}"),
            None => self.to_string(),
        };
        KernelError { kind, message }
    }

    fn advice(&self, kind: KernelErrorKind, purpose: Purpose) -> Option<&'static str> {
        match (self, purpose) {
            (Self::Missing(_), Purpose::Ruleset(RulesetName::NftablesTraffic(_))) => {
                Some("install nftables, or set EnableNFTables to false in the network config")
            }
            (Self::Missing(_), Purpose::Ruleset(RulesetName::IptablesTraffic(_))) => {
                Some("install iptables, or set EnableNFTables to true in the network config")
            }
            (Self::Missing(_), Purpose::Ruleset(RulesetName::Membership) | Purpose::Members) => {
                Some("install nftables, or give --membership=off")
            }
            (Self::Refused(_, line), _) if line.contains("xtables lock") || line.contains("xtables.lock") => {
                Some("another program changes rules for long; see `fuser -v /run/xtables.lock`")
            }
            (Self::Refused(..), _) if kind == KernelErrorKind::Permission => Some(
                "run it as root (sudo), or give it CAP_NET_ADMIN (systemd: AmbientCapabilities=CAP_NET_ADMIN; \
                 containers: --cap-add=NET_ADMIN)",
            ),
            (Self::TimedOut(_), _) => Some("see whether the machine is overloaded, or run it by hand"),
            (Self::Refused(..) | Self::Broken(..), _) => None,
        }
    }
}

fn is(line: &str, errno: Errno) -> bool {
    line.contains(errno.desc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_classified_and_say_what_to_do() {
        let traffic = Purpose::Ruleset(RulesetName::NftablesTraffic(IpVersion::V4));
        let chains = Purpose::Ruleset(RulesetName::IptablesTraffic(IpVersion::V6));
        let filter = Purpose::Ruleset(RulesetName::Membership);
        let refused = |program, line: &str| ToolError::Refused(program, line.to_owned());
        let cases = [
            (ToolError::Missing("nft"), traffic),
            (ToolError::Missing("ip6tables-restore"), chains),
            (ToolError::Missing("nft"), filter),
            (ToolError::Missing("nft"), Purpose::Members),
            (ToolError::TimedOut("nft"), filter),
            (ToolError::Broken("nft", "permission denied".to_owned()), filter),
            (
                refused("nft", "Operation not permitted (you must be root)"),
                traffic,
            ),
            (
                refused("nft", "/dev/stdin:1:8-9: Error: No such file or directory"),
                Purpose::Members,
            ),
            (
                refused(
                    "nft",
                    "/dev/stdin:3:1-9: Error: Could not process rule: Operation not supported",
                ),
                filter,
            ),
            (
                refused("nft", "/dev/stdin:3:1-9: Error: syntax error, unexpected string"),
                filter,
            ),
            (
                refused(
                    "iptables-restore",
                    "Can't lock /run/xtables.lock: Resource temporarily unavailable",
                ),
                chains,
            ),
        ];

        let lines: Vec<String> = cases
            .iter()
            .map(|(error, purpose)| {
                let error = error.of(*purpose);
                assert_eq!(error.message.lines().count(), 1);
                format!("{:?}: {}", error.kind, error.message)
            })
            .collect();

        insta::assert_snapshot!("firewall_errors", lines.join("\n"));
    }
}
