//! Bulk traffic by iperf3, as its receiver counts it.

use std::time::Duration;

use serde_json::Value;

use crate::pair::Pair;
use crate::process::{Output, Process};
use crate::trouble::Trouble;

/// How long iperf3 may take beyond the traffic.
const GRACE: Duration = Duration::from_secs(8);
/// A server that is not yet listening is tried again.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

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
    pair: &'a Pair,
    load: Load,
    seconds: u32,
    /// For this traffic alone: one that hangs takes no other with it.
    _server: Process,
    client: Process,
}

impl<'a> Traffic<'a> {
    /// Starts to send from one pod to the other.
    pub(crate) fn start(pair: &'a Pair, load: Load, seconds: u32) -> Result<Self, Trouble> {
        Ok(Self {
            pair,
            load,
            seconds,
            _server: Process::start(&pair.receiving_pod(), &["iperf3", "--server", "--one-off"])?,
            client: start_client(pair, load, seconds)?,
        })
    }

    /// Waits for its end.
    pub(crate) fn finish(self) -> Result<Received, Trouble> {
        let limit = Duration::from_secs(self.seconds.into()) + GRACE;
        let mut client = self.client;
        for _ in 1..ATTEMPTS {
            let output = client.finish(limit, &self.pair.interrupt)?;
            if !is_refused(&output) {
                return received(&output);
            }
            self.pair.interrupt.sleep(PAUSE)?;
            client = start_client(self.pair, self.load, self.seconds)?;
        }
        received(&client.finish(limit, &self.pair.interrupt)?)
    }
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

fn is_refused(output: &Output) -> bool {
    !output.status.success() && output.said.contains("Connection refused")
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
