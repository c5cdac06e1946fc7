//! What processors and memory are used.

use std::fs;
use std::time::Duration;

use nix::unistd::Pid;
use selvedge_host::lab::Interrupt;
use selvedge_tests::real_nodes::cpu_time;

use crate::pair::Pair;
use crate::trouble::Trouble;

/// Processor time that has been used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// By the whole machine.
    pub(crate) machine: Duration,
    /// By the daemons, the sender's first.
    pub(crate) daemons: Option<[Duration; 2]>,
}

impl Usage {
    /// Reads it.
    pub(crate) fn now(pair: &Pair) -> Result<Self, Trouble> {
        Ok(Self {
            machine: machine_time()?,
            daemons: pair.daemons()?.map(|pids| pids.map(cpu_time)),
        })
    }

    /// Returns what has been used since.
    pub(crate) fn since(self, earlier: Self) -> Self {
        let both = self.daemons.zip(earlier.daemons);
        Self {
            machine: self.machine.saturating_sub(earlier.machine),
            daemons: both.map(|([sender, receiver], [sender_before, receiver_before])| {
                [
                    sender.saturating_sub(sender_before),
                    receiver.saturating_sub(receiver_before),
                ]
            }),
        }
    }
}

/// Returns a process's resident memory in MiB.
pub(crate) fn resident(pid: Pid) -> Result<f64, Trouble> {
    let file = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&file).map_err(|error| Trouble::with(&file, error))?;
    let kib = status.lines().find_map(|line| {
        line.strip_prefix("VmRSS:")?
            .split_whitespace()
            .next()?
            .parse::<u32>()
            .ok()
    });
    let kib = kib.ok_or_else(|| Trouble::with(&file, "no VmRSS"))?;
    Ok(f64::from(kib) / 1024.0)
}

/// Describes the machine, and how much of it others use just now.
pub(crate) fn machine(interrupt: &Interrupt) -> Result<String, Trouble> {
    let second = Duration::from_secs(1);
    let before = machine_time()?;
    interrupt.sleep(second)?;
    let busy = machine_time()?.saturating_sub(before).as_secs_f64();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let word = |file: &str| fs::read_to_string(file).unwrap_or_default().trim().to_owned();
    Ok(format!(
        "{processors} processors, {busy:.1} of them busy before the first measurement; Linux {}; TCP {}",
        word("/proc/sys/kernel/osrelease"),
        word("/proc/sys/net/ipv4/tcp_congestion_control"),
    ))
}

fn machine_time() -> Result<Duration, Trouble> {
    // proc(5): user, nice, system, idle, iowait, irq, softirq, steal, in ticks of 10 ms, of all processors.
    let file = "/proc/stat";
    let stat = fs::read_to_string(file).map_err(|error| Trouble::with(file, error))?;
    let first = stat.lines().next().unwrap_or_default();
    let fields: Vec<u64> = first
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, ..] = fields[..] else {
        return Err(Trouble::with(file, "no line of all processors"));
    };
    Ok(Duration::from_millis(10 * (user + nice + system + irq + softirq)))
}
