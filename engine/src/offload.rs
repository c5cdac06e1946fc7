//! Super-packets: what a TUN device with segmentation offloads takes and gives instead of single packets.
//!
//! A super-packet is one TCP or UDP packet of up to 64 KiB that stands for many on the wire. Segmentation makes
//! the packets of it, coalescing makes it of the packets. Both are pure functions over byte slices: they copy no
//! payload and allocate nothing for a packet.

mod coalescing;
mod error;
mod headers;
mod segmentation;
mod vnet_header;

pub use coalescing::{Coalesced, Coalescer, CoalescerOptions, Merging, PushError};
pub use error::OffloadError;
pub use segmentation::{Segmentation, SuperPacket};
pub use vnet_header::{Ecn, Gso, GsoKind, PartialChecksum, VnetHeader};

#[cfg(test)]
mod support;
#[cfg(test)]
mod tests;
