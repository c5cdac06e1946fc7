//! Round-trip times.

use std::time::Duration;

use crate::pair::Pair;
use crate::process::Process;
use crate::trouble::Trouble;

const INTERVAL: &str = "0.002";
const GRACE: Duration = Duration::from_secs(5);

/// Round-trip times in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoundTrips {
    pub(crate) median: f64,
    pub(crate) p99: f64,
}

/// Sends echo requests from one pod to the other for some seconds.
pub(crate) fn ping(pair: &Pair, seconds: u32) -> Result<RoundTrips, Trouble> {
    let (to, deadline) = (pair.receiver()?.to_string(), seconds.to_string());
    let words = ["ping", "-n", "-i", INTERVAL, "-w", &deadline, &to];
    let ping = Process::start(&pair.sending_pod(), &words)?;
    let output = ping.finish(Duration::from_secs(seconds.into()) + GRACE, &pair.interrupt)?;
    let mut times: Vec<f64> = output.said.lines().filter_map(microseconds).collect();
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times.get(times.len() * percent / 100).copied();
    let (Some(median), Some(p99)) = (at(50), at(99)) else {
        let said = format!("no answer {}", output.complained.trim());
        return Err(Trouble::with("ping", said.trim_end()));
    };
    Ok(RoundTrips { median, p99 })
}

/// Reads `64 bytes from 10.50.2.2: icmp_seq=1 ttl=60 time=0.102 ms`.
fn microseconds(line: &str) -> Option<f64> {
    let (_, time) = line.split_once("time=")?;
    let milliseconds: f64 = time.strip_suffix(" ms")?.parse().ok()?;
    Some(milliseconds * 1000.0)
}
