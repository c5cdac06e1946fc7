//! The look-up from a destination to the longest prefix's next hop.

use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// The most slots that a direct index may have: at 5 bytes each it stays within a few megabytes.
const MAX_SLOTS: usize = 1 << 20;

/// A way to find the longest prefix that matches.
#[derive(Clone)]
pub(super) enum Index {
    /// For subnets of one size: a slot for each of their size, from the first to the last.
    Direct {
        first: u32,
        host_bits: u32,
        slots: Vec<Option<Ipv4Addr>>,
    },
    /// For all others: the addresses in order, cut wherever the next hop changes.
    Ranges(Vec<Range>),
}

/// The addresses from `first` up to the next range.
#[derive(Clone, Copy)]
pub(super) struct Range {
    first: u32,
    hop: Option<Ipv4Addr>,
}

impl Index {
    /// Makes an index of peers that are truncated, unique and sorted with an outer subnet before those within.
    pub(super) fn new(peers: &[(Ipv4Net, Ipv4Addr)]) -> Self {
        direct(peers).unwrap_or_else(|| Self::Ranges(ranges(peers)))
    }

    /// Returns the next hop of the longest prefix that contains `destination`.
    pub(super) fn find(&self, destination: Ipv4Addr) -> Option<Ipv4Addr> {
        let destination = u32::from(destination);
        match self {
            Self::Direct {
                first,
                host_bits,
                slots,
            } => {
                let slot = destination.checked_sub(*first)?.unbounded_shr(*host_bits);
                *slots.get(usize::try_from(slot).ok()?)?
            }
            Self::Ranges(ranges) => {
                let after = ranges.partition_point(|range| range.first <= destination);
                ranges.get(after.checked_sub(1)?)?.hop
            }
        }
    }
}

/// Makes the direct index, if the subnets are of one size and near enough to each other.
fn direct(peers: &[(Ipv4Net, Ipv4Addr)]) -> Option<Index> {
    let ((lowest, _), (highest, _)) = (peers.first()?, peers.last()?);
    let length = lowest.prefix_len();
    if peers.iter().any(|(subnet, _)| subnet.prefix_len() != length) {
        return None;
    }
    let first = u32::from(lowest.network());
    let host_bits = u32::from(lowest.max_prefix_len().saturating_sub(length));
    let slot_of = |subnet: &Ipv4Net| {
        let distance = u32::from(subnet.network()).checked_sub(first)?;
        usize::try_from(distance.unbounded_shr(host_bits)).ok()
    };
    let last_slot = slot_of(highest)?;
    if last_slot >= MAX_SLOTS {
        return None;
    }
    let mut slots = vec![None; last_slot + 1];
    for (subnet, hop) in peers {
        *slots.get_mut(slot_of(subnet)?)? = Some(*hop);
    }
    Some(Index::Direct {
        first,
        host_bits,
        slots,
    })
}

/// Flattens nested subnets into ranges that do not overlap.
fn ranges(peers: &[(Ipv4Net, Ipv4Addr)]) -> Vec<Range> {
    let mut ranges = Vec::with_capacity(peers.len().saturating_mul(2));
    let mut open: Vec<(Ipv4Net, Ipv4Addr)> = Vec::new();
    for &(subnet, hop) in peers {
        while let Some((ended, _)) = open.pop_if(|(outer, _)| !outer.contains(&subnet)) {
            resume(&mut ranges, ended, &open);
        }
        begin(&mut ranges, u32::from(subnet.network()), Some(hop));
        open.push((subnet, hop));
    }
    while let Some((ended, _)) = open.pop() {
        resume(&mut ranges, ended, &open);
    }
    ranges
}

/// Goes on after the end of `ended` with the innermost subnet that is still open.
fn resume(ranges: &mut Vec<Range>, ended: Ipv4Net, open: &[(Ipv4Net, Ipv4Addr)]) {
    let Some(next) = u32::from(ended.broadcast()).checked_add(1) else {
        return;
    };
    begin(ranges, next, open.last().map(|(_, hop)| *hop));
}

/// Begins a range; one of no length before it is replaced.
fn begin(ranges: &mut Vec<Range>, first: u32, hop: Option<Ipv4Addr>) {
    let _ = ranges.pop_if(|range| range.first == first);
    ranges.push(Range { first, hop });
}
