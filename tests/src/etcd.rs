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

    /// Returns ports on an address inside a network namespace: etcd's usual ones for the member `0`, then the next.
    pub fn in_namespace(namespace: &str, address: IpAddr, member: u16) -> Self {
        Self {
            clients: vec![SocketAddr::new(address, 2379 + 2 * member)],
            peers: SocketAddr::new(address, 2380 + 2 * member),
            namespace: Some(namespace.to_owned()),
        }
    }
}

/// An etcd with a data directory of its own, empty at first; ends when dropped.
///
/// It also ends with the thread that started it, so that an interrupted test leaves nothing behind.
#[derive(Debug)]
pub struct Etcd {
    /// None while it is killed.
    child: Option<Child>,
    binary: PathBuf,
    name: String,
    /// The members of its cluster with their URLs, as etcd wants to read them.
    cluster: String,
    place: Place,
    data: TempDir,
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
        let mut members = Self::start_cluster(binary, vec![place])?;
        members.pop().ok_or_else(|| io::Error::other("no member"))
    }

    /// Starts the members of one cluster and waits until all of them serve clients.
    ///
    /// # Errors
    ///
    /// As [`Etcd::start`].
    pub fn start_cluster(binary: &Path, places: Vec<Place>) -> io::Result<Vec<Self>> {
        let peers = places.iter().enumerate();
        let peers = peers.map(|(number, place)| format!("{}={}", member_name(number), url(&place.peers)));
        let cluster = peers.collect::<Vec<_>>().join(",");
        let mut members = Vec::new();
        let mut logs = Vec::new();
        for (number, place) in places.into_iter().enumerate() {
            let mut member = Self {
                child: None,
                binary: binary.to_owned(),
                name: member_name(number),
                cluster: cluster.clone(),
                place,
                data: data_folder()?,
            };
            logs.push(member.spawn()?);
            members.push(member);
        }
        logs.into_iter().try_for_each(await_ready)?;
        Ok(members)
    }

    /// Kills it (SIGKILL); its data stays.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be killed.
    pub fn kill(&mut self) -> io::Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        child.kill()?;
        child.wait().map(drop)
    }

    /// Throws its data away; it must have been killed.
    ///
    /// # Errors
    ///
    /// Fails if there is no room for a new data directory.
    pub fn wipe(&mut self) -> io::Result<()> {
        self.data = data_folder()?;
        Ok(())
    }

    /// Starts it again on the data that it has, and waits until it serves clients.
    ///
    /// # Errors
    ///
    /// As [`Etcd::start`].
    pub fn restart(&mut self) -> io::Result<()> {
        self.kill()?;
        await_ready(self.spawn()?)
    }

    /// Tells whether it was not killed.
    pub const fn runs(&self) -> bool {
        self.child.is_some()
    }

    fn spawn(&mut self) -> io::Result<ChildStderr> {
        let mut child = self.command().spawn()?;
        let stderr = child.stderr.take();
        self.child = Some(child);
        stderr.ok_or_else(|| io::Error::other("etcd has no stderr"))
    }

    fn command(&self) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some(namespace) = &self.place.namespace {
            command.args(["ip", "netns", "exec", namespace]);
        }
        let clients = self.endpoints().join(",");
        let peers = url(&self.place.peers);
        command.arg(&self.binary).arg("--data-dir").arg(self.data.path());
        command.args(["--name", &self.name, "--initial-cluster", &self.cluster]);
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

    /// Returns the URLs that clients use.
    pub fn endpoints(&self) -> Vec<String> {
        self.place.clients.iter().map(url).collect()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("{} did not end: {error}", self.name);
        }
    }
}

/// How long etcd may take until it serves.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How many of etcd's last log lines a failure shows.
const LAST_WORDS: usize = 20;

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

fn member_name(number: usize) -> String {
    format!("member{number}")
}

fn data_folder() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix("selvedge-etcd-").tempdir()
}
