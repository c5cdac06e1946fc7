//! What goes wrong on every link of the underlay.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::duration_text;
use crate::probability::Probability;

/// Something that every link does to datagrams for as long as it lasts.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum LinkFault {
    /// Datagrams are lost, in addition to what the scenario's links lose.
    Loss(Probability),
    /// Datagrams are lost in bursts: each link has good times and bad ones (Gilbert-Elliott).
    Bursts {
        /// How likely a bad time begins with a datagram.
        begin: Probability,
        /// How likely it ends with one.
        end: Probability,
        /// How likely a datagram is lost in a bad time.
        loss: Probability,
    },
    /// Datagrams take longer by this.
    Slow(#[serde(with = "duration_text")] Duration),
    /// Some datagrams take longer by up to this, so that later ones overtake them.
    Late {
        /// How many.
        share: Probability,
        /// How much longer.
        #[serde(with = "duration_text")]
        by: Duration,
    },
    /// Some datagrams arrive more than once.
    Repeat {
        /// How many.
        share: Probability,
        /// How many copies there are of such a datagram besides itself.
        copies: u8,
    },
    /// Some datagrams are changed on their way.
    Damage {
        /// How many.
        share: Probability,
        /// How.
        damage: Damage,
    },
    /// Each link carries only so much; what waits too long in its queue is lost (tail drop).
    Limit {
        /// What a link carries, with IPv4 and UDP headers.
        bytes_per_second: u32,
        /// The longest that a datagram may wait.
        #[serde(with = "duration_text")]
        queue: Duration,
    },
    /// Packets larger than this are lost without a word: a black hole for path MTU discovery.
    Mtu(u16),
}

/// How a datagram is changed on its way.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Damage {
    /// So many bits of its payload are flipped; what the UDP checksum notices, the receiver's kernel drops.
    Bits(u8),
    /// The same, with a network card that says that every checksum is right.
    BitsUnnoticed(u8),
    /// It ends early, with headers that say so: what a middle box makes of it.
    Truncation,
}

impl fmt::Display for LinkFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loss(probability) => write!(f, "links lose {probability} more"),
            Self::Bursts { begin, end, loss } => {
                write!(
                    f,
                    "links have bursts of loss: {begin} begin, {loss} lost, {end} end"
                )
            }
            Self::Slow(by) => write!(f, "links slower by {by:?}"),
            Self::Late { share, by } => write!(f, "links delay {share} by up to {by:?} more"),
            Self::Repeat { share, copies } => write!(f, "links repeat {share} {copies} times"),
            Self::Damage { share, damage } => match damage {
                Damage::Bits(bits) => write!(f, "links flip {bits} bits in {share}"),
                Damage::BitsUnnoticed(bits) => {
                    write!(f, "links flip {bits} bits in {share}, checksums ignored")
                }
                Damage::Truncation => write!(f, "links truncate {share}"),
            },
            Self::Limit {
                bytes_per_second,
                queue,
            } => {
                write!(
                    f,
                    "links carry {bytes_per_second} bytes a second, queue {queue:?}"
                )
            }
            Self::Mtu(mtu) => write!(f, "links lose packets larger than {mtu}"),
        }
    }
}
