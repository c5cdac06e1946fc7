//! Real daemons in network namespaces, with a real etcd in the place of the lab's store.

use std::future::Future;
use std::net::Ipv4Addr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use etcd_client::{Client, GetOptions, Txn, TxnOp};
use selvedge_host::lab::{
    Interrupt, Lab, LabOptions, Namespace, NodeNumber, Pace, Place, Stopwatch, StoreChoice,
};

use crate::etcd::{self, Etcd};
use crate::names::Names;
use crate::turn::Turn;

/// Where etcd serves the nodes.
pub const STORE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 250);
/// A hundred probes a second until the stream is stopped.
pub const HUNDRED_A_SECOND: Pace = Pace {
    interval: Duration::from_millis(10),
    patience: Duration::from_millis(500),
    count: u16::MAX,
};
/// Where flannel keeps a cluster's keys by default.
pub const PREFIX: &str = "/coreos.com/network";

/// A lab whose store is a real etcd; everything ends when it is dropped.
#[derive(Debug)]
pub struct RealNodes {
    /// The members of etcd.
    pub etcd: Vec<Etcd>,
    /// The namespaces and daemons.
    pub lab: Lab,
    _turn: Turn,
}

impl RealNodes {
    /// Brings up nodes of the program with a pod behind each, and waits until all pods reach each other.
    ///
    /// # Panics
    ///
    /// If it does not come up; the message has the log of the node that fails.
    pub fn up(name: &str, nodes: u8, program: &str) -> Self {
        Self::up_with(name, nodes, 1, program)
    }

    /// As [`RealNodes::up`], with an etcd of several members.
    ///
    /// # Panics
    ///
    /// If it does not come up; the message has the log of the node that fails.
    pub fn up_with(name: &str, nodes: u8, members: u16, program: &str) -> Self {
        Self::up_flagged(name, nodes, members, program, &[])
    }

    /// As [`RealNodes::up_with`], with more flags for the daemons.
    ///
    /// # Panics
    ///
    /// If it does not come up; the message has the log of the node that fails.
    pub fn up_flagged(name: &str, nodes: u8, members: u16, program: &str, flags: &[&str]) -> Self {
        let endpoints = (0..members).map(|member| format!("http://{STORE}:{}", 2379 + 2 * member));
        let endpoints = endpoints.collect::<Vec<_>>().join(",");
        // The later flag wins over the lab's own.
        let mut node_flags = vec!["--etcd-endpoints".to_owned(), endpoints];
        node_flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let mut real = Self::wire_with(name, nodes, program, node_flags);
        real.start_members(members);
        real.lab.put_config().expect("etcd takes the network config");
        real.start_all();
        real
    }

    /// Wires the namespaces, without any process.
    ///
    /// # Panics
    ///
    /// If the namespaces cannot be had.
    pub fn wire(name: &str, nodes: u8, program: &str) -> Self {
        Self::wire_with(name, nodes, program, Vec::new())
    }

    /// As [`RealNodes::wire`], with more flags for the daemons.
    ///
    /// # Panics
    ///
    /// If the namespaces cannot be had.
    pub fn wire_flagged(name: &str, nodes: u8, program: &str, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|flag| (*flag).to_owned());
        Self::wire_with(name, nodes, program, flags.collect())
    }

    fn wire_with(name: &str, nodes: u8, program: &str, node_flags: Vec<String>) -> Self {
        let turn = Turn::take(name);
        let options = LabOptions {
            nodes,
            store: StoreChoice::Provided,
            node_flags,
            ..LabOptions::new(name.parse().expect("a lab's name"), program.into())
        };
        let lab = Lab::build(options, Interrupt::never()).expect("the lab is built");
        Self {
            etcd: Vec::new(),
            lab,
            _turn: turn,
        }
    }

    /// Starts etcd, empty.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start_etcd(&mut self) {
        self.start_members(1);
    }

    fn start_members(&mut self, members: u16) {
        let namespace = self.lab.namespace(Place::Store);
        let place = |member| etcd::Place::in_namespace(namespace.name(), STORE.into(), member);
        let binary = Etcd::find_binary().expect("etcd is installed");
        let started = Etcd::start_cluster(&binary, (0..members).map(place).collect());
        self.etcd = started.expect("etcd starts");
    }

    /// Starts every node and waits until all pods reach each other.
    ///
    /// # Panics
    ///
    /// If they do not.
    pub fn start_all(&mut self) {
        for number in self.lab.nodes() {
            self.lab.start_node(number).expect("the daemon starts");
        }
        self.await_traffic();
    }

    /// Waits until all nodes are ready and all pods reach each other.
    ///
    /// # Panics
    ///
    /// If they do not.
    pub fn await_traffic(&mut self) {
        let ready = self.lab.wait_ready();
        ready.unwrap_or_else(|error| panic!("{error}"));
        self.lab.attach_pods().expect("pods are attached");
        let connected = self.lab.wait_connected();
        connected.unwrap_or_else(|error| panic!("{error}\n{}", self.log(node(1))));
    }

    /// Returns the address of the pod behind a node.
    ///
    /// # Panics
    ///
    /// If the node has no subnet file.
    pub fn pod(&self, number: u8) -> Ipv4Addr {
        let network = self
            .lab
            .pod_network(node(number))
            .expect("the subnet file is there");
        network.pod().expect("the subnet has room for a pod")
    }

    /// Returns the network address of a node's subnet: the address of its TUN device.
    ///
    /// # Panics
    ///
    /// If the node has no subnet file.
    pub fn subnet_address(&self, number: u8) -> Ipv4Addr {
        let network = self
            .lab
            .pod_network(node(number))
            .expect("the subnet file is there");
        network.subnet().network()
    }

    /// Returns what a node's daemon has logged so far.
    pub fn log(&self, number: NodeNumber) -> String {
        let file = self.lab.log_file(Place::Node(number));
        std::fs::read_to_string(file).unwrap_or_default()
    }

    /// Waits until a node's daemon has logged a text, and returns that line.
    ///
    /// # Panics
    ///
    /// If it does not within ten seconds.
    pub fn await_log(&self, number: NodeNumber, text: &str) -> String {
        let mut line = None;
        let found = wait_until(Duration::from_secs(10), || {
            line = self
                .log(number)
                .lines()
                .find(|line| line.contains(text))
                .map(str::to_owned);
            line.is_some()
        });
        assert!(found, "no line with {text:?}:\n{}", self.log(number));
        line.unwrap_or_default()
    }

    /// Writes a key under the prefix.
    ///
    /// # Panics
    ///
    /// If etcd refuses.
    pub fn put(&self, key: &str, value: &str) {
        let key = format!("{PREFIX}/{key}");
        self.ask(async |mut client| client.put(key, value, None).await.map(drop));
    }

    /// Writes many keys under the prefix.
    ///
    /// # Panics
    ///
    /// If etcd refuses.
    pub fn put_all(&self, pairs: &[(String, String)]) {
        let put =
            |(key, value): &(String, String)| TxnOp::put(format!("{PREFIX}/{key}"), value.as_str(), None);
        self.ask(async |mut client| {
            for some in pairs.chunks(MOST_AT_ONCE) {
                let puts: Vec<TxnOp> = some.iter().map(put).collect();
                client.txn(Txn::new().and_then(puts)).await?;
            }
            Ok(())
        });
    }

    /// Returns the keys under the prefix with their values.
    ///
    /// # Panics
    ///
    /// If etcd refuses.
    pub fn keys(&self) -> Vec<(String, String)> {
        let all = Some(GetOptions::new().with_prefix());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let answer = self.ask(async |mut client| client.get(PREFIX, all).await);
        answer
            .kvs()
            .iter()
            .map(|kv| (text(kv.key()), text(kv.value())))
            .collect()
    }

    /// Returns the keys of all leases with their values.
    ///
    /// # Panics
    ///
    /// If etcd refuses.
    pub fn leases(&self) -> Vec<(String, String)> {
        let mut keys = self.keys();
        keys.retain(|(key, _)| key.starts_with(&format!("{PREFIX}/subnets/")));
        keys
    }

    /// Deletes a key.
    ///
    /// # Panics
    ///
    /// If etcd refuses or there is no such key.
    pub fn delete(&self, key: &str) {
        let answer = self.ask(async |mut client| client.delete(key, None).await);
        assert_eq!(answer.deleted(), 1, "{key}");
    }

    /// Revokes the etcd lease that a key hangs on.
    ///
    /// # Panics
    ///
    /// If etcd refuses or the key hangs on none.
    pub fn revoke(&self, key: &str) {
        self.ask(async |mut client| {
            let answer = client.get(key, None).await?;
            let lease = answer.kvs().first().map_or(0, etcd_client::KeyValue::lease);
            client.lease_revoke(lease).await.map(drop)
        });
    }

    /// Counts the etcd leases.
    ///
    /// # Panics
    ///
    /// If etcd refuses.
    pub fn count_etcd_leases(&self) -> usize {
        let answer = self.ask(async |mut client| client.leases().await);
        answer.leases().len()
    }

    /// Makes etcd forget all history before now.
    ///
    /// # Panics
    ///
    /// If etcd refuses.
    pub fn compact(&self) {
        self.ask(async |mut client| {
            let answer = client.get(PREFIX, None).await?;
            let newest = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
            client.compact(newest, None).await.map(drop)
        });
    }

    /// Waits until etcd has a leader and answers.
    ///
    /// # Panics
    ///
    /// If it does not within fifteen seconds.
    pub fn await_etcd(&self) {
        let answers = wait_until(Duration::from_secs(15), || {
            self.try_ask(async |mut client| client.get(PREFIX, None).await)
                .is_ok()
        });
        assert!(answers, "etcd does not answer");
    }

    fn ask<T: Send, F: Future<Output = Result<T, etcd_client::Error>>>(
        &self,
        talk: impl FnOnce(Client) -> F + Send,
    ) -> T {
        self.try_ask(talk).expect("etcd answers")
    }

    fn try_ask<T: Send, F: Future<Output = Result<T, etcd_client::Error>>>(
        &self,
        talk: impl FnOnce(Client) -> F + Send,
    ) -> Result<T, etcd_client::Error> {
        let member = self.etcd.iter().find(|member| member.runs());
        let endpoints = member.expect("a member of etcd runs").endpoints();
        let inside = self.lab.namespace(Place::Store).enter(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime
                .expect("a runtime")
                .block_on(async { talk(Client::connect(endpoints, None).await?).await })
        });
        inside.expect("the store's namespace is there")
    }
}

/// etcd takes no more than 128 operations in a transaction unless it is told to.
const MOST_AT_ONCE: usize = 100;

/// Returns a node's number.
///
/// # Panics
///
/// For a number that no node has.
pub fn node(number: u8) -> NodeNumber {
    NodeNumber::new(number).expect("a node's number")
}

/// Runs `ip` on a namespace's objects.
///
/// # Panics
///
/// If it fails.
pub fn run_ip(namespace: &Namespace, arguments: &[&str]) {
    let done = namespace.ip(arguments);
    done.unwrap_or_else(|error| panic!("{error}"));
}

/// Tries a condition until it holds or the time is over; returns whether it held.
pub fn wait_until(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let waiting = Stopwatch::start();
    loop {
        if holds() {
            return true;
        }
        if waiting.elapsed() > limit {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Returns a process's resident memory in KiB.
///
/// # Panics
///
/// If the process is gone.
pub fn resident(pid: nix::unistd::Pid) -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"));
    let status = status.expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.expect("a number of KiB")
}

/// Returns how much processor time a process has used.
///
/// # Panics
///
/// If the process is gone.
pub fn cpu_time(pid: nix::unistd::Pid) -> Duration {
    // proc(5): utime and stime are the 14th and 15th field, in ticks of 10 ms; the name may contain blanks.
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    let stat = stat.expect("the process runs");
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok());
    Duration::from_millis(10 * ticks.sum::<u64>())
}

/// Puts the names of [`Names`] in place of what differs from run to run in what `ip` and others print, line by line.
pub fn normalise(text: &str, real: &RealNodes) -> String {
    Names::of(real, &[]).replace_in(text)
}
