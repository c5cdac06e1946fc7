//! A real etcd, started for one test.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use tempfile::TempDir;

/// Where an etcd listens.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where clients connect.
    pub clients: Vec<SocketAddr>,
    /// Where other members would connect.
    pub peers: SocketAddr,
    /// The network namespace by name (`ip netns`), the test's own if none.
    pub namespace: Option<String>,
}

impl Place {
    /// Returns free ports on the loopback interface.
    ///
    /// # Errors
    ///
    /// Fails if no port can be had.
    pub fn loopback() -> io::Result<Self> {
        let clients = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let peers = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        Ok(Self {
            clients: vec![clients.local_addr()?],
            peers: peers.local_addr()?,
            namespace: None,
        })
    }

    /// Returns etcd's usual ports on an address inside a network namespace.
    pub fn in_namespace(namespace: &str, address: IpAddr) -> Self {
        Self {
            clients: vec![SocketAddr::new(address, 2379)],
            peers: SocketAddr::new(address, 2380),
            namespace: Some(namespace.to_owned()),
        }
    }
}

/// A running etcd with an empty data directory of its own; ends when dropped.
///
/// It also ends with the thread that started it, so that an interrupted test leaves nothing behind.
#[derive(Debug)]
pub struct Etcd {
    child: Child,
    place: Place,
    _data: TempDir,
}

impl Etcd {
    /// Finds the etcd binary in `PATH` or `/usr/bin`.
    pub fn find_binary() -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/bin")]);
        folders
            .map(|folder| folder.join("etcd"))
            .find(|binary| binary.is_file())
    }

    /// Asks an etcd binary for its version, as in `3.4.23`.
    ///
    /// # Errors
    ///
    /// Fails if the binary cannot be run or tells no version.
    pub fn version(binary: &Path) -> io::Result<String> {
        let output = Command::new(binary).arg("--version").output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.lines().find_map(|line| line.strip_prefix("etcd Version: "));
        version
            .map(str::to_owned)
            .ok_or_else(|| io::Error::other("etcd --version tells no version"))
    }

    /// Starts etcd and waits until it serves clients.
    ///
    /// # Errors
    ///
    /// Fails, with etcd's last words, if etcd does not start or does not serve within twenty seconds.
    pub fn start(binary: &Path, place: Place) -> io::Result<Self> {
        let data = tempfile::Builder::new().prefix("selvedge-etcd-").tempdir()?;
        let mut child = command(binary, &place, data.path()).spawn()?;
        let stderr = child.stderr.take();
        let etcd = Self {
            child,
            place,
            _data: data,
        };
        await_ready(stderr.ok_or_else(|| io::Error::other("etcd has no stderr"))?)?;
        Ok(etcd)
    }

    /// Returns the URLs that clients use.
    pub fn endpoints(&self) -> Vec<String> {
        self.place.clients.iter().map(url).collect()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            eprintln!("etcd (pid {}) did not end: {error}", self.child.id());
        }
    }
}

/// How long etcd may take until it serves.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How many of etcd's last log lines a failure shows.
const LAST_WORDS: usize = 20;

fn command(binary: &Path, place: &Place, data: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if let Some(namespace) = &place.namespace {
        command.args(["ip", "netns", "exec", namespace]);
    }
    let clients = place.clients.iter().map(url).collect::<Vec<_>>().join(",");
    let peers = url(&place.peers);
    command.arg(binary).arg("--data-dir").arg(data);
    command.args(["--name", "test", "--initial-cluster", &format!("test={peers}")]);
    command.args([
        "--listen-client-urls",
        &clients,
        "--advertise-client-urls",
        &clients,
    ]);
    command.args([
        "--listen-peer-urls",
        &peers,
        "--initial-advertise-peer-urls",
        &peers,
    ]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Waits for the log line that announces service, and keeps reading so that etcd never blocks on its log.
fn await_ready(stderr: ChildStderr) -> io::Result<()> {
    let (lines, log) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            // Nobody listens any more once etcd serves.
            drop(lines.send(line));
        }
    });
    let mut last_words = VecDeque::new();
    loop {
        match log.recv_timeout(START_LIMIT) {
            Ok(line) if line.contains("ready to serve client requests") => return Ok(()),
            Ok(line) => last_words.push_back(line),
            Err(RecvTimeoutError::Timeout) => return Err(failure("does not serve", &last_words)),
            Err(RecvTimeoutError::Disconnected) => return Err(failure("ended at once", &last_words)),
        }
        if last_words.len() > LAST_WORDS {
            last_words.pop_front();
        }
    }
}

fn failure(what: &str, last_words: &VecDeque<String>) -> io::Error {
    let words: Vec<&str> = last_words.iter().map(String::as_str).collect();
    io::Error::other(format!("etcd {what}; its last words:\n{}", words.join("\n")))
}

fn url(address: &SocketAddr) -> String {
    format!("http://{address}")
}
