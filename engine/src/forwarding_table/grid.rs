//! The look-up among subnets of one size: the number of the subnet is the place of its holder.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::num::NonZeroU32;

use ipnet::Ipv4Net;

/// The most cells, as a power of two: 4 MiB if all are taken.
const MOST: u8 = 20;

/// The subnets of one size that a network has room for, numbered in order, with the holder of each.
///
/// It lies in chunks. Chunks that are shared do not change: an edit copies one, and the list of them, so that both are
/// short; a chunk without holders is left out. The list is a sixteenth or an eighth as long as a chunk: copying a cell costs
/// less than counting a shared chunk up.
#[derive(Clone)]
pub(super) struct Grid {
    shape: Shape,
    /// The network's first address.
    first: u32,
    /// How many bits of an address number the hosts of a subnet.
    host_bits: u32,
    /// How many bits of a subnet's number lie within a chunk.
    chunk_bits: u32,
    /// Empty if the grid has no cells.
    chunks: Vec<Option<Arc<[Cell]>>>,
}

/// What a grid is laid over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Shape {
    /// The whole.
    pub(super) network: Ipv4Net,
    /// The prefix length of a cell.
    pub(super) subnet_len: u8,
}

/// The address of a holder; no holder has the address zero.
type Cell = Option<NonZeroU32>;

impl Grid {
    /// Makes a grid without holders; it has no cells if there would be too many, or the network is smaller than one.
    pub(super) fn new(shape: Shape) -> Self {
        let bits = shape.subnet_len.checked_sub(shape.network.prefix_len());
        let bits = bits.filter(|bits| *bits <= MOST).map(u32::from);
        let chunk_bits = bits.map_or(0, |bits| bits.min(bits / 2 + 2));
        let chunks = bits.map_or(0, |bits| 1_usize.unbounded_shl(bits.saturating_sub(chunk_bits)));
        Self {
            shape,
            first: shape.network.network().to_bits(),
            host_bits: 32_u32.saturating_sub(shape.subnet_len.into()),
            chunk_bits,
            chunks: alloc::vec![None; chunks],
        }
    }

    pub(super) const fn shape(&self) -> Shape {
        self.shape
    }

    /// Returns the cell that the subnet fills or lies in, as a subnet.
    pub(super) fn cell_of(&self, subnet: Ipv4Net) -> Option<Ipv4Net> {
        let Shape { network, subnet_len } = self.shape;
        let is_within =
            !self.chunks.is_empty() && subnet.prefix_len() >= subnet_len && network.contains(&subnet);
        let cell = Ipv4Net::new(subnet.addr(), subnet_len).ok()?;
        is_within.then(|| cell.trunc())
    }

    /// Returns the holder of the cell that contains `address`.
    #[inline]
    pub(super) fn find(&self, address: Ipv4Addr) -> Option<Ipv4Addr> {
        let (chunk, place) = self.place_of(address)?;
        let cell = *self.chunks.get(chunk)?.as_deref()?.get(place)?;
        cell.map(|holder| Ipv4Addr::from_bits(holder.get()))
    }

    /// Sets the holder of the cell that contains `address`.
    pub(super) fn set(&mut self, address: Ipv4Addr, holder: Cell) {
        let Some((chunk, place)) = self.place_of(address) else {
            return;
        };
        let Some(chunk) = self.chunks.get_mut(chunk) else {
            return;
        };
        if chunk.is_none() && holder.is_none() {
            return;
        }
        let len = 1_usize.unbounded_shl(self.chunk_bits);
        let cells = chunk.get_or_insert_with(|| alloc::vec![None; len].into());
        let cells = Arc::make_mut(cells);
        if let Some(cell) = cells.get_mut(place) {
            *cell = holder;
        }
        if holder.is_none() && cells.iter().all(Option::is_none) {
            *chunk = None;
        }
    }

    /// Returns a chunk, beyond the last one for addresses outside the network, and a place in it.
    #[inline]
    fn place_of(&self, address: Ipv4Addr) -> Option<(usize, usize)> {
        let offset = address.to_bits().wrapping_sub(self.first);
        let number = usize::try_from(offset.unbounded_shr(self.host_bits)).ok()?;
        let chunk = number.unbounded_shr(self.chunk_bits);
        Some((chunk, number ^ chunk.unbounded_shl(self.chunk_bits)))
    }
}
