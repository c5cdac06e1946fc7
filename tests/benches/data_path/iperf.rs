//! Bulk traffic by iperf3, as its receiver counts it.

use std::fs;
use std::time::Duration;

use selvedge_host::lab::{Interrupt, Stopwatch};
use serde_json::Value;

use crate::pair::Pair;
use crate::process::{Output, Process};
use crate::trouble::Trouble;

/// How long iperf3 may take beyond the traffic.
const GRACE: Duration = Duration::from_secs(8);
/// How long its server may take to listen.
const LISTENS_WITHIN: Duration = Duration::from_secs(10);
/// Port 5201, local address before it and any remote one after it, in state LISTEN: in `/proc/net/tcp`.
const LISTENING: &str = ":1451 00000000:0000 0A";

/// What is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Load {
    /// Streams of TCP side by side.
    Tcp { streams: u8 },
    /// Datagrams with so many bytes of payload, as fast as they can be sent.
    Udp { payload: u16 },
}

/// What the receiver got.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    pub(crate) bytes: f64,
    pub(crate) seconds: f64,
}

impl Received {
    pub(crate) fn gigabits(self) -> f64 {
        self.bytes * 8.0 / 1e9
    }

    pub(crate) fn gigabits_per_second(self) -> f64 {
        self.gigabits() / self.seconds
    }
}

/// Traffic that is under way; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Traffic<'a> {
    interrupt: &'a Interrupt,
    limit: Duration,
    client: Process,
    /// For this traffic alone: one that hangs takes no other with it.
    _server: Process,
}

impl<'a> Traffic<'a> {
    /// Starts to send from one pod to the other.
    pub(crate) fn start(pair: &'a Pair, load: Load, seconds: u32) -> Result<Self, Trouble> {
        let server = start_server(pair)?;
        Ok(Self {
            interrupt: &pair.interrupt,
            limit: Duration::from_secs(seconds.into()) + GRACE,
            client: start_client(pair, load, seconds)?,
            _server: server,
        })
    }

    /// Waits for its end.
    pub(crate) fn finish(self) -> Result<Received, Trouble> {
        received(&self.client.finish(self.limit, self.interrupt)?)
    }
}

fn start_server(pair: &Pair) -> Result<Process, Trouble> {
    let pod = pair.receiving_pod();
    let server = Process::start(&pod, &["iperf3", "--server", "--one-off", "--version4"])?;
    let waiting = Stopwatch::start();
    while !pod.enter(is_listening)? {
        if waiting.elapsed() > LISTENS_WITHIN {
            let problem = format!("does not listen after {} s", LISTENS_WITHIN.as_secs());
            return Err(Trouble::with("iperf3 --server", problem));
        }
        pair.interrupt.sleep(Duration::from_millis(10))?;
    }
    Ok(server)
}

fn is_listening() -> bool {
    let sockets = fs::read_to_string("/proc/thread-self/net/tcp").unwrap_or_default();
    sockets.contains(LISTENING)
}

fn start_client(pair: &Pair, load: Load, seconds: u32) -> Result<Process, Trouble> {
    let (to, seconds) = (pair.receiver()?.to_string(), seconds.to_string());
    let common = [
        "iperf3",
        "--json",
        "--interval",
        "0",
        "--time",
        &seconds,
        "--client",
        &to,
    ];
    let special = match load {
        Load::Tcp { streams } => vec!["--parallel".to_owned(), streams.to_string()],
        Load::Udp { payload } => ["--udp", "--bitrate", "0", "--length"]
            .map(str::to_owned)
            .into_iter()
            .chain([payload.to_string()])
            .collect(),
    };
    let words: Vec<&str> = common
        .into_iter()
        .chain(special.iter().map(String::as_str))
        .collect();
    Process::start(&pair.sending_pod(), &words)
}

fn received(output: &Output) -> Result<Received, Trouble> {
    let report: Value = serde_json::from_str(&output.said)
        .map_err(|_| Trouble::with("iperf3", format!("no JSON: {}", output.complained.trim())))?;
    if let Some(error) = report.get("error").and_then(Value::as_str) {
        return Err(Trouble::with("iperf3", error));
    }
    let figure = |name: &str| {
        let found = report.pointer(&format!("/end/sum_received/{name}"));
        found.and_then(Value::as_f64).filter(|figure| *figure > 0.0)
    };
    match (figure("bytes"), figure("seconds")) {
        (Some(bytes), Some(seconds)) => Ok(Received { bytes, seconds }),
        (None, _) | (_, None) => Err(Trouble::with("iperf3", "the receiver got nothing")),
    }
}
