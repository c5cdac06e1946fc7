//! The flags of `selvedge run`, named as flannel names them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use clap::ValueEnum;
use selvedge_engine::{Membership, OnExpiry, OnLoss};

use super::go_flags::{parse_bool, parse_u32};
use crate::secret::Secret;
use crate::tunnel::offload::Offloads;
use crate::tunnel::worker_count::WorkerCount;

/// Runs the daemon on this node.
#[derive(Clone, Debug, clap::Args)]
#[command(args_override_self = true, disable_version_flag = true)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch on the command line"
)]
pub struct RunArgs {
    /// etcd's client URLs, separated by commas; one that fails is left for the next
    #[arg(
        long,
        value_name = "URLS",
        default_value = "http://127.0.0.1:4001,http://127.0.0.1:2379",
        help_heading = "etcd"
    )]
    pub etcd_endpoints: String,

    /// Where the network's keys live in etcd
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "/coreos.com/network",
        help_heading = "etcd"
    )]
    pub etcd_prefix: String,

    /// Authorities to trust for https, in PEM form, instead of the system's
    #[arg(long, value_name = "FILE", help_heading = "etcd")]
    pub etcd_cafile: Option<PathBuf>,

    /// Certificate to show to etcd, in PEM form; needs --etcd-keyfile
    #[arg(long, value_name = "FILE", help_heading = "etcd")]
    pub etcd_certfile: Option<PathBuf>,

    /// Its private key, in PEM form
    #[arg(long, value_name = "FILE", help_heading = "etcd")]
    pub etcd_keyfile: Option<PathBuf>,

    /// User for etcd's authentication
    #[arg(long, value_name = "NAME", help_heading = "etcd")]
    pub etcd_username: Option<String>,

    /// Its password; better given in a file, since other users can read command lines
    #[arg(long, value_name = "PASSWORD", value_parser = parse_secret, help_heading = "etcd")]
    pub etcd_password: Option<Secret>,

    /// File with the password, in its first line
    #[arg(long, value_name = "FILE", help_heading = "etcd")]
    pub etcd_password_file: Option<PathBuf>,

    /// Interface that carries the tunnel, by name or address; repeatable, the first that exists is taken
    /// [default: that of the default route]
    #[arg(long, value_name = "NAME|ADDRESS", help_heading = "Node")]
    pub iface: Vec<String>,

    /// Interface that reaches this address, taken if none of --iface exists
    #[arg(long, value_name = "ADDRESS", help_heading = "Node")]
    pub iface_can_reach: Option<IpAddr>,

    /// IPv4 address announced to other nodes, for example the one in front of a NAT [default: the
    /// interface's]
    #[arg(long, value_name = "ADDRESS", value_parser = parse_public_ip, help_heading = "Node")]
    pub public_ip: Option<Ipv4Addr>,

    /// IPv6 address announced to other nodes, in networks with IPv6 [default: the interface's]
    #[arg(long, value_name = "ADDRESS", value_parser = parse_public_ipv6, help_heading = "Node")]
    pub public_ipv6: Option<Ipv6Addr>,

    /// File written for CNI plugins and Docker, and read at start to ask for the same subnet again
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/run/flannel/subnet.env",
        help_heading = "Node"
    )]
    pub subnet_file: PathBuf,

    /// How many minutes before its end the lease is renewed, 1 to 1439
    #[arg(long, value_name = "MINUTES", default_value = "60", value_parser = parse_renew_margin, help_heading = "Node")]
    pub subnet_lease_renew_margin: u32,

    /// How many seconds to go on forwarding to a node whose lease vanished because etcd lost its data or was out of reach
    /// for too long, until it writes it again; 0 for not at all
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = parse_peer_grace, help_heading = "Node")]
    pub peer_grace: u32,

    /// Masquerade what leaves the overlay, by rules in the firewall; also written to the subnet file
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true",
        action = clap::ArgAction::Set,
        value_parser = parse_bool,
        help_heading = "Node"
    )]
    pub ip_masq: bool,

    /// Serve an overlay that gives out addresses of the interface's network or etcd's, which would cut the node off
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true",
        action = clap::ArgAction::Set,
        value_parser = parse_bool,
        help_heading = "Node"
    )]
    pub force: bool,

    /// Let masqueraded connections keep their source ports where they can, instead of random ones
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true",
        action = clap::ArgAction::Set,
        value_parser = parse_bool,
        help_heading = "Node"
    )]
    pub ip_masq_fully_random_disable: bool,

    /// Accept what the node forwards from and to the overlay, by rules in the firewall
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value = "true",
        default_missing_value = "true",
        action = clap::ArgAction::Set,
        value_parser = parse_bool,
        help_heading = "Node"
    )]
    pub iptables_forward_rules: bool,

    /// Accepted for flannel's sake: rules that are lost come back at once, without looking for them every few seconds
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_u32, help_heading = "Node")]
    pub iptables_resync: u32,

    /// What happens to tunnel packets from hosts without a lease, or with a source outside the sender's subnet
    #[arg(
        long,
        value_enum,
        value_name = "MODE",
        default_value = "log",
        help_heading = "Node"
    )]
    pub membership: MembershipArg,

    /// What the kernel may do to carry many packets at once: all, none, or some of tso, uso, udp-gso and udp-gro
    #[arg(long, value_name = "LIST", default_value = "all", help_heading = "Node")]
    pub offload: Offloads,

    /// How many workers carry packets, each with a thread, a queue of the device and a socket: 1 to 64
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = WorkerCount::ONE,
        help_heading = "Node"
    )]
    pub workers: WorkerCount,

    /// What to do when the lease was deleted, expired or taken
    #[arg(
        long,
        value_enum,
        value_name = "POLICY",
        default_value = "reclaim",
        help_heading = "Node"
    )]
    pub on_lease_loss: OnLossArg,

    /// What to do when the lease ends while etcd cannot be reached
    #[arg(
        long,
        value_enum,
        value_name = "POLICY",
        default_value = "keep",
        help_heading = "Node"
    )]
    pub on_lease_expiry: OnExpiryArg,

    /// Port for /healthz, /readyz, /metrics and /status by HTTP; 0 or less for none
    #[arg(
        long,
        value_name = "PORT",
        default_value = "0",
        value_parser = parse_healthz_port,
        help_heading = "Health"
    )]
    pub healthz_port: u16,

    /// Address for that port; without this flag it is every address, as flannel's, but /metrics and /status are for
    /// programs on this node alone [default: 0.0.0.0]
    #[arg(long, value_name = "ADDRESS", value_parser = parse_healthz_ip, help_heading = "Health")]
    pub healthz_ip: Option<IpAddr>,

    /// File that keeps everything the daemon decides by, for `sim replay`; without packets and credentials
    #[arg(long, value_name = "FILE", help_heading = "Logs")]
    pub record: Option<PathBuf>,

    /// How large that file gets at most, in MiB, with the older ones beside it; the oldest is dropped
    #[arg(long, value_name = "MIB", default_value = "16", value_parser = parse_record_size, help_heading = "Logs")]
    pub record_size: u32,

    /// How much to log on stderr: error, warn, info, debug or trace [default: info]
    #[arg(
        long,
        value_enum,
        value_name = "LEVEL",
        hide_possible_values = true,
        help_heading = "Logs"
    )]
    pub log_level: Option<LogLevel>,

    /// flannel's verbosity: 0 is info, 1 to 3 debug, from 4 on trace; --log-level wins
    #[arg(long, value_name = "NUMBER", default_value = "0", value_parser = parse_u32, help_heading = "Logs")]
    pub v: u32,

    /// Print the version
    #[arg(
        long,
        num_args = 0..=1,
        require_equals = true,
        value_name = "BOOL",
        hide_possible_values = true,
        default_value = "false",
        hide_default_value = true,
        default_missing_value = "true",
        action = clap::ArgAction::Set,
        value_parser = parse_bool
    )]
    pub version: bool,
}

/// The values of `--membership`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum MembershipArg {
    /// They pass, uncounted
    Off,
    /// They pass and are counted
    Log,
    /// They are dropped and counted
    Enforce,
}

/// The values of `--on-lease-loss`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum OnLossArg {
    /// Take the same subnet again if it is free, else another
    Reclaim,
    /// Take another subnet
    Reallocate,
    /// End with code 75
    Exit,
}

/// The values of `--on-lease-expiry`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum OnExpiryArg {
    /// Go on carrying traffic
    Keep,
    /// Stop carrying traffic shortly before the end
    Fence,
}

impl From<OnLossArg> for OnLoss {
    fn from(policy: OnLossArg) -> Self {
        match policy {
            OnLossArg::Reclaim => Self::Reclaim,
            OnLossArg::Reallocate => Self::Reallocate,
            OnLossArg::Exit => Self::Exit,
        }
    }
}

impl From<OnExpiryArg> for OnExpiry {
    fn from(policy: OnExpiryArg) -> Self {
        match policy {
            OnExpiryArg::Keep => Self::Keep,
            OnExpiryArg::Fence => Self::Fence,
        }
    }
}

/// The values of `--log-level`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogLevel {
    /// Only what ends the daemon
    Error,
    /// And what people should look at
    Warn,
    /// And changes of state
    Info,
    /// And what explains them
    Debug,
    /// And single packets
    Trace,
}

impl From<MembershipArg> for Membership {
    fn from(arg: MembershipArg) -> Self {
        match arg {
            MembershipArg::Off => Self::Off,
            MembershipArg::Log => Self::Log,
            MembershipArg::Enforce => Self::Enforce,
        }
    }
}

impl LogLevel {
    /// Returns the level that flannel's `-v` asks for.
    pub const fn from_verbosity(v: u32) -> Self {
        match v {
            0 => Self::Info,
            1..=3 => Self::Debug,
            4.. => Self::Trace,
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "clap's value parsers return a result")]
fn parse_secret(text: &str) -> Result<Secret, String> {
    Ok(Secret::new(text))
}

fn parse_public_ip(text: &str) -> Result<Ipv4Addr, String> {
    let address: Ipv4Addr = text.parse().map_err(|_| "not an IPv4 address".to_owned())?;
    let usable = !address.is_unspecified()
        && !address.is_loopback()
        && !address.is_multicast()
        && !address.is_broadcast();
    if usable {
        Ok(address)
    } else {
        Err("not an address that other nodes could reach".to_owned())
    }
}

fn parse_public_ipv6(text: &str) -> Result<Ipv6Addr, String> {
    let address: Ipv6Addr = text.parse().map_err(|_| "not an IPv6 address".to_owned())?;
    if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
        Err("not an address that other nodes could reach".to_owned())
    } else {
        Ok(address)
    }
}

fn parse_healthz_ip(text: &str) -> Result<IpAddr, String> {
    text.parse()
        .map_err(|_| "not an IP address; for example 127.0.0.1".to_owned())
}

/// Flannel takes any number, and none that is negative for a port.
fn parse_healthz_port(text: &str) -> Result<u16, String> {
    let number = text.strip_prefix('-').unwrap_or(text);
    let port = parse_u32(number)?;
    if number != text {
        return Ok(0);
    }
    u16::try_from(port).map_err(|_| "must be at most 65535".to_owned())
}

fn parse_record_size(text: &str) -> Result<u32, String> {
    let mebibytes = parse_u32(text)?;
    if (1..=1_048_576).contains(&mebibytes) {
        Ok(mebibytes)
    } else {
        Err("must be from 1 to 1048576 MiB".to_owned())
    }
}

fn parse_peer_grace(text: &str) -> Result<u32, String> {
    let seconds = parse_u32(text)?;
    if seconds <= 86_400 {
        Ok(seconds)
    } else {
        Err("must be from 0 to 86400 seconds: a lease lasts 24 hours".to_owned())
    }
}

fn parse_renew_margin(text: &str) -> Result<u32, String> {
    let minutes = parse_u32(text)?;
    if (1..=1439).contains(&minutes) {
        Ok(minutes)
    } else {
        Err("must be from 1 to 1439 minutes, since a lease lasts 24 hours".to_owned())
    }
}
