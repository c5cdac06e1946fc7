//! What `selvedge run` was asked to do, checked.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use selvedge_engine::{
    Families, ForwardRules, InterfaceChoice, LeasePolicy, Masquerade, Membership, OnOverlap, Selection,
    SourcePorts, StorePrefix,
};

use super::run_args::{LogLevel, RunArgs};
use super::usage_error::UsageError;
use crate::http::{Audience, HttpOptions};
use crate::store::credentials::Credentials;
use crate::store::endpoint::{Endpoint, EndpointError, Scheme};
use crate::store::tls::Tls;
use crate::tunnel::DataPath;

/// The checked options of the daemon.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Where etcd listens, at least one.
    pub endpoints: Vec<Endpoint>,
    /// Whom to trust and what to show if they speak TLS.
    pub tls: Tls,
    /// Whom etcd shall take us for.
    pub credentials: Option<Credentials>,
    /// Where the network's keys live.
    pub prefix: StorePrefix,
    /// The interface that is asked for, and the addresses announced to other nodes.
    pub selection: Selection,
    /// The file for CNI plugins and Docker.
    pub subnet_file: PathBuf,
    /// How long before its end the lease is renewed.
    pub renew_margin: Duration,
    /// How long it keeps a peer whose lease vanished while etcd could not be followed.
    pub peer_grace: Duration,
    /// What happens when the lease is gone or about to end.
    pub lease_policy: LeasePolicy,
    /// Whether what leaves the overlay is masqueraded, and what the subnet file says about it.
    pub masquerade: Masquerade,
    /// What happens if the overlay would take addresses of the underlay.
    pub on_overlap: OnOverlap,
    /// How masqueraded connections get their source ports, where the node's tools can do it.
    pub source_ports: SourcePorts,
    /// Whether what is forwarded from and to the overlay is accepted.
    pub forward_rules: ForwardRules,
    /// What happens to tunnel packets from outside the leases.
    pub membership: Membership,
    /// How packets are carried.
    pub data_path: DataPath,
    /// Where to answer about health, metrics and status, if anywhere.
    pub http: Option<HttpOptions>,
    /// Where to record, if anywhere.
    pub recording: Option<RecordingTarget>,
    /// How much to log.
    pub log_level: LogLevel,
}

/// Where a recording goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecordingTarget {
    /// The file.
    pub path: PathBuf,
    /// How many bytes it may have.
    pub limit: u64,
}

impl RunOptions {
    /// Checks the flags; reads the password file if there is one.
    ///
    /// # Errors
    ///
    /// If an endpoint is no URL, credentials are incomplete or a named file cannot be read.
    pub fn from_args(args: RunArgs) -> Result<Self, UsageError> {
        let tls = tls(&args)?;
        Ok(Self {
            endpoints: endpoints(&args, &tls)?,
            tls,
            credentials: credentials(&args)?,
            prefix: StorePrefix::new(&args.etcd_prefix),
            selection: selection(&args),
            http: http(&args),
            recording: recording(&args),
            subnet_file: args.subnet_file,
            renew_margin: Duration::from_secs(u64::from(args.subnet_lease_renew_margin) * 60),
            peer_grace: Duration::from_secs(args.peer_grace.into()),
            lease_policy: LeasePolicy {
                on_loss: args.on_lease_loss.into(),
                on_expiry: args.on_lease_expiry.into(),
            },
            masquerade: if args.ip_masq {
                Masquerade::On
            } else {
                Masquerade::Off
            },
            on_overlap: if args.force {
                OnOverlap::Serve
            } else {
                OnOverlap::Refuse
            },
            source_ports: if args.ip_masq_fully_random_disable {
                SourcePorts::Kept
            } else {
                SourcePorts::FullyRandom
            },
            forward_rules: if args.iptables_forward_rules {
                ForwardRules::On
            } else {
                ForwardRules::Off
            },
            membership: args.membership.into(),
            data_path: DataPath {
                offloads: args.offload,
                workers: args.workers,
            },
            log_level: args.log_level.unwrap_or_else(|| LogLevel::from_verbosity(args.v)),
        })
    }
}

fn selection(args: &RunArgs) -> Selection {
    let Ok(named) = args
        .iface
        .iter()
        .map(|text| text.parse())
        .collect::<Result<Vec<_>, _>>();
    let reaching = args.iface_can_reach.map(InterfaceChoice::CanReach);
    Selection {
        interfaces: named.into_iter().chain(reaching).collect(),
        public_ip: args.public_ip,
        public_ipv6: args.public_ipv6,
        families: Families::Any,
    }
}

/// Whoever gives an address asks for more than flannel tells there.
fn http(args: &RunArgs) -> Option<HttpOptions> {
    let port = (args.healthz_port > 0).then_some(args.healthz_port)?;
    let every = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    Some(HttpOptions {
        address: SocketAddr::new(args.healthz_ip.unwrap_or(every), port),
        audience: match args.healthz_ip {
            Some(_) => Audience::Everybody,
            None => Audience::Node,
        },
    })
}

fn recording(args: &RunArgs) -> Option<RecordingTarget> {
    let path = args.record.clone()?;
    let limit = u64::from(args.record_size) << 20;
    Some(RecordingTarget { path, limit })
}

fn tls(args: &RunArgs) -> Result<Tls, UsageError> {
    let mut tls = Tls::default();
    if let Some(authority) = &args.etcd_cafile {
        tls = tls
            .trusting(authority)
            .map_err(|error| UsageError::new(format!("--etcd-cafile {error}")))?;
    }
    match (&args.etcd_certfile, &args.etcd_keyfile) {
        (Some(certificate), Some(key)) => tls
            .showing(certificate, key)
            .map_err(|error| UsageError::new(format!("--etcd-certfile and --etcd-keyfile: {error}"))),
        (None, None) => Ok(tls),
        (Some(_), None) => Err(UsageError::new("--etcd-certfile needs --etcd-keyfile")),
        (None, Some(_)) => Err(UsageError::new("--etcd-keyfile needs --etcd-certfile")),
    }
}

/// Reads the endpoints; files for TLS mean that those without a scheme speak it.
fn endpoints(args: &RunArgs, tls: &Tls) -> Result<Vec<Endpoint>, UsageError> {
    let default = match (&args.etcd_cafile, &args.etcd_certfile) {
        (None, None) => Scheme::Http,
        (Some(_), _) | (_, Some(_)) => Scheme::Https,
    };
    let endpoints: Result<Vec<Endpoint>, EndpointError> = args
        .etcd_endpoints
        .split(',')
        .map(str::trim)
        .filter(|url| !url.is_empty())
        .map(|url| Endpoint::parse_or(default, url))
        .collect();
    let endpoints = endpoints.map_err(|error| UsageError::new(format!("--etcd-endpoints {error}")))?;
    if endpoints.is_empty() {
        return Err(UsageError::new(
            "--etcd-endpoints names no URL; for example http://10.0.0.1:2379",
        ));
    }
    for endpoint in &endpoints {
        tls.check(endpoint)
            .map_err(|error| UsageError::new(format!("cannot speak TLS with {endpoint}: {error}")))?;
    }
    Ok(endpoints)
}

fn credentials(args: &RunArgs) -> Result<Option<Credentials>, UsageError> {
    let (password, file) = (&args.etcd_password, &args.etcd_password_file);
    match (&args.etcd_username, password, file) {
        (_, Some(_), Some(_)) => Err(UsageError::new(
            "--etcd-password and --etcd-password-file exclude each other",
        )),
        (Some(name), Some(password), None) => Ok(Some(Credentials::new(name, password.clone()))),
        (Some(name), None, Some(file)) => {
            let unreadable =
                |error| UsageError::new(format!("--etcd-password-file {}: {error}", file.display()));
            Credentials::in_file(name, file).map(Some).map_err(unreadable)
        }
        (Some(_), None, None) => Err(UsageError::new(
            "--etcd-username needs --etcd-password-file or --etcd-password",
        )),
        (None, Some(_), None) | (None, None, Some(_)) => {
            Err(UsageError::new("an etcd password needs --etcd-username"))
        }
        (None, None, None) => Ok(None),
    }
}
