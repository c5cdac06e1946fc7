//! The command line of `selvedge lab`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use ipnet::Ipv4Net;

use super::error::LabError;
use super::name::{LabName, NodeNumber, Place};

/// A small cluster on this machine: nodes as network namespaces, each with a daemon and a pod behind it.
#[derive(Args, Clone, Debug)]
pub struct LabArgs {
    #[command(subcommand)]
    pub(super) command: LabCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum LabCommand {
    /// Builds a lab and leaves it running.
    Up(UpArgs),
    /// Runs a command in a part of a lab: node-1, pod-1, ..., store or switch.
    Exec(ExecArgs),
    /// Shows nodes, leases, and the round-trip times between all pods.
    Status(NameArgs),
    /// Pulls a node's cable.
    Cut(CutArgs),
    /// Undoes every cut of a node.
    Heal(HealArgs),
    /// Removes a lab with its processes, namespaces and files.
    Down(NameArgs),
    /// Builds a lab, shows traffic, a cut and its healing, and removes the lab.
    Demo(DemoArgs),
    /// Serves the embedded store.
    #[command(hide = true)]
    ServeStore(ServeArgs),
    /// Passes connections on to a store outside.
    #[command(hide = true)]
    Relay(RelayArgs),
}

#[derive(Args, Clone, Debug)]
pub(super) struct NameArgs {
    /// The lab's name; labs of different names live side by side.
    #[arg(long, default_value = LabName::DEFAULT)]
    pub(super) name: LabName,
}

#[derive(Args, Clone, Debug)]
pub(super) struct UpArgs {
    #[command(flatten)]
    pub(super) lab: NameArgs,
    /// How many nodes, each with a pod: 1 to 100.
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(super) nodes: u8,
    /// The overlay.
    #[arg(long, default_value = "10.50.0.0/16", value_name = "CIDR")]
    pub(super) network: Ipv4Net,
    /// The addresses of a real etcd, reached from where this command runs; the lab's keys are put under
    /// /selvedge-lab/NAME there. Without it the lab has a store of its own.
    #[arg(long, value_delimiter = ',', value_name = "URL,...")]
    pub(super) etcd_endpoints: Vec<Endpoint>,
    /// The `Backend` object of the network config.
    #[arg(long, default_value = r#"{"Type":"udp"}"#, value_name = "JSON")]
    pub(super) backend_config: String,
}

#[derive(Args, Clone, Debug)]
pub(super) struct ExecArgs {
    #[command(flatten)]
    pub(super) lab: NameArgs,
    /// Where: node-1, pod-1, ..., store or switch.
    pub(super) place: Place,
    /// The command with its arguments, after `--`.
    #[arg(required = true, last = true)]
    pub(super) command: Vec<String>,
}

#[derive(Args, Clone, Debug)]
pub(super) struct CutArgs {
    #[command(flatten)]
    pub(super) lab: NameArgs,
    /// The node, for example node-2.
    #[arg(value_parser = parse_node)]
    pub(super) node: NodeNumber,
    /// Loses the store's answers to the node and leaves its other traffic alone.
    #[arg(long)]
    pub(super) from_store: bool,
}

#[derive(Args, Clone, Debug)]
pub(super) struct HealArgs {
    #[command(flatten)]
    pub(super) lab: NameArgs,
    /// The node, for example node-2.
    #[arg(value_parser = parse_node)]
    pub(super) node: NodeNumber,
}

#[derive(Args, Clone, Debug)]
pub(super) struct DemoArgs {
    /// The lab's name.
    #[arg(long, default_value = "demo")]
    pub(super) name: LabName,
}

#[derive(Args, Clone, Debug)]
pub(super) struct ServeArgs {
    #[arg(long)]
    pub(super) listen: SocketAddr,
}

#[derive(Args, Clone, Debug)]
pub(super) struct RelayArgs {
    #[arg(long)]
    pub(super) listen: SocketAddr,
    #[arg(long)]
    pub(super) outside: PathBuf,
    #[arg(required = true)]
    pub(super) targets: Vec<String>,
}

/// `HOST:PORT`, given as such or as a URL.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Endpoint(pub(super) String);

impl std::str::FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("https://") {
            return Err("a lab reaches etcd without TLS only; give an http:// endpoint".to_owned());
        }
        let authority = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        match authority.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Self(authority.to_owned()))
            }
            Some(_) | None => Err("expected http://HOST:PORT".to_owned()),
        }
    }
}

fn parse_node(text: &str) -> Result<NodeNumber, LabError> {
    match text.parse()? {
        Place::Node(number) => Ok(number),
        Place::Switch | Place::Store | Place::Pod(_) => Err(LabError::BadPlace(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_hosts_with_ports() {
        let parse = |text: &str| text.parse::<Endpoint>().map(|endpoint| endpoint.0);

        assert_eq!(parse("http://127.0.0.1:2379/").unwrap(), "127.0.0.1:2379");
        assert_eq!(parse("etcd:2379").unwrap(), "etcd:2379");
        for bad in ["https://etcd:2379", "etcd", ":2379", "http://etcd:port"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
