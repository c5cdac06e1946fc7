//! What is measured.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;

use crate::iperf::{Load, Received, Traffic};
use crate::pair::Pair;
use crate::peers;
use crate::ping::ping;
use crate::trouble::Trouble;
use crate::underlay::without_super_packets;
use crate::usage::{Usage, resident};

/// Something that is measured.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, ValueEnum)]
pub(crate) enum Case {
    Tcp1,
    Tcp4,
    Udp1000,
    Udp64,
    PingIdle,
    PingLoaded,
    Tcp1Segmented,
    Udp1000Segmented,
    Udp64Segmented,
    Memory,
    Memory100Peers,
}

/// When a case is measured, and of which ways.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum When {
    /// In every round, of every way.
    EachRound,
    /// Once, after the rounds, of the ways that have daemons.
    AtEnd,
}

/// One of the figures that a case yields.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Figure {
    Throughput,
    Delivered,
    Median,
    P99,
    MachineCpu,
    SenderCpu,
    ReceiverCpu,
    SenderMemory,
    ReceiverMemory,
}

/// The figures of a measurement.
pub(crate) type Measured = Vec<(Figure, f64)>;

impl Case {
    pub(crate) const ALL: [Self; 11] = [
        Self::Tcp1,
        Self::Tcp4,
        Self::Udp1000,
        Self::Udp64,
        Self::PingIdle,
        Self::PingLoaded,
        Self::Tcp1Segmented,
        Self::Udp1000Segmented,
        Self::Udp64Segmented,
        Self::Memory,
        Self::Memory100Peers,
    ];

    pub(crate) fn when(self) -> When {
        match self {
            Self::Tcp1
            | Self::Tcp4
            | Self::Udp1000
            | Self::Udp64
            | Self::PingIdle
            | Self::PingLoaded
            | Self::Tcp1Segmented
            | Self::Udp1000Segmented
            | Self::Udp64Segmented => When::EachRound,
            Self::Memory | Self::Memory100Peers => When::AtEnd,
        }
    }

    /// Measures it once.
    pub(crate) fn measure(self, pair: &Pair, seconds: u32) -> Result<Measured, Trouble> {
        match self {
            Self::Tcp1 => tcp(pair, 1, seconds),
            Self::Tcp4 => tcp(pair, 4, seconds),
            Self::Udp1000 => udp(pair, 1000, seconds),
            Self::Udp64 => udp(pair, 64, seconds),
            Self::PingIdle => round_trips(pair, seconds),
            Self::PingLoaded => round_trips_under_load(pair, seconds),
            Self::Tcp1Segmented => without_super_packets(pair, || tcp(pair, 1, seconds)),
            Self::Udp1000Segmented => without_super_packets(pair, || udp(pair, 1000, seconds)),
            Self::Udp64Segmented => without_super_packets(pair, || udp(pair, 64, seconds)),
            Self::Memory => memory(pair),
            Self::Memory100Peers => {
                peers::add(pair)?;
                memory(pair)
            }
        }
    }
}

impl Figure {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Delivered => "delivered",
            Self::Median => "median",
            Self::P99 => "p99",
            Self::MachineCpu => "CPU, machine",
            Self::SenderCpu => "CPU, sender's daemon",
            Self::ReceiverCpu => "CPU, receiver's daemon",
            Self::SenderMemory => "resident, sender's daemon",
            Self::ReceiverMemory => "resident, receiver's daemon",
        }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Throughput => "Gbit/s",
            Self::Delivered => "kpps",
            Self::Median | Self::P99 => "us",
            Self::MachineCpu | Self::SenderCpu | Self::ReceiverCpu => "s/Gbit",
            Self::SenderMemory | Self::ReceiverMemory => "MiB",
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.pad(value.as_ref().map_or("", |value| value.get_name()))
    }
}

fn tcp(pair: &Pair, streams: u8, seconds: u32) -> Result<Measured, Trouble> {
    let before = Usage::now(pair)?;
    let received = Traffic::start(pair, Load::Tcp { streams }, seconds)?.finish()?;
    let used = Usage::now(pair)?.since(before);
    let throughput = (Figure::Throughput, received.gigabits_per_second());
    Ok([throughput].into_iter().chain(cpu(used, received)).collect())
}

fn cpu(used: Usage, received: Received) -> Measured {
    let per_gigabit = |time: Duration| time.as_secs_f64() / received.gigabits();
    let mut figures = vec![(Figure::MachineCpu, per_gigabit(used.machine))];
    if let Some([sender, receiver]) = used.daemons {
        figures.push((Figure::SenderCpu, per_gigabit(sender)));
        figures.push((Figure::ReceiverCpu, per_gigabit(receiver)));
    }
    figures
}

fn udp(pair: &Pair, payload: u16, seconds: u32) -> Result<Measured, Trouble> {
    let received = Traffic::start(pair, Load::Udp { payload }, seconds)?.finish()?;
    let thousands = received.bytes / f64::from(payload) / 1000.0;
    Ok(vec![(Figure::Delivered, thousands / received.seconds)])
}

fn round_trips(pair: &Pair, seconds: u32) -> Result<Measured, Trouble> {
    let times = ping(pair, seconds)?;
    Ok(vec![(Figure::Median, times.median), (Figure::P99, times.p99)])
}

fn round_trips_under_load(pair: &Pair, seconds: u32) -> Result<Measured, Trouble> {
    // The load begins before the pings and ends after them.
    const BEFORE: Duration = Duration::from_millis(500);
    let traffic = Traffic::start(pair, Load::Tcp { streams: 1 }, seconds + 1)?;
    pair.interrupt.sleep(BEFORE)?;
    let times = round_trips(pair, seconds)?;
    traffic.finish()?;
    Ok(times)
}

fn memory(pair: &Pair) -> Result<Measured, Trouble> {
    let Some([sender, receiver]) = pair.daemons()? else {
        return Ok(Vec::new());
    };
    Ok(vec![
        (Figure::SenderMemory, resident(sender)?),
        (Figure::ReceiverMemory, resident(receiver)?),
    ])
}
