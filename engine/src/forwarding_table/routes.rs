//! The peers of a table, by all that they are looked up by.

use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::num::NonZeroU32;
use core::ops::Bound;

use ipnet::Ipv4Net;
use rpds::RedBlackTreeMapSync;

use super::grid::{Grid, Shape};
use super::trie::{Entrance, Trie};

/// The peers' subnets and public IPs.
///
/// A subnet of the usual size is in the grid. Others are in the trie, and so is a subnet of the usual size that holds
/// smaller ones: what the grid knows is right, and what it does not know the trie does.
#[derive(Clone)]
pub(super) struct Routes {
    grid: Grid,
    trie: Trie,
    /// Truncated; an outer subnet comes before those within.
    by_subnet: RedBlackTreeMapSync<Ipv4Net, Ipv4Addr>,
    /// The subnets of each node, in order.
    by_holder: RedBlackTreeMapSync<Ipv4Addr, Vec<Ipv4Net>>,
}

impl Routes {
    pub(super) fn new(shape: Shape) -> Self {
        Self {
            grid: Grid::new(shape),
            trie: Trie::new(),
            by_subnet: RedBlackTreeMapSync::new_sync(),
            by_holder: RedBlackTreeMapSync::new_sync(),
        }
    }

    /// Returns the same routes with a grid of this shape, in O(n log n) steps if it is another.
    pub(super) fn shaped(&self, shape: Shape) -> Self {
        if self.grid.shape() == shape {
            return self.clone();
        }
        let mut shaped = Self::new(shape);
        for (subnet, public_ip) in &self.by_subnet {
            shaped.set(*subnet, Some(*public_ip));
        }
        shaped
    }

    /// Sets the holder of a truncated subnet, or that it has none.
    pub(super) fn set(&mut self, subnet: Ipv4Net, public_ip: Option<Ipv4Addr>) {
        let before = self.by_subnet.get(&subnet).copied();
        if let Some(before) = before {
            self.set_held(before, |held| held.retain(|other| *other != subnet));
        }
        if let Some(public_ip) = public_ip {
            self.by_subnet.insert_mut(subnet, public_ip);
            self.set_held(public_ip, |held| {
                held.push(subnet);
                held.sort_unstable();
            });
        } else {
            self.by_subnet.remove_mut(&subnet);
        }
        match self.grid.cell_of(subnet) {
            Some(cell) if cell == subnet => self.settle(cell, before),
            Some(cell) => {
                self.set_in_trie(subnet, public_ip);
                self.settle(cell, self.by_subnet.get(&cell).copied());
            }
            None => self.set_in_trie(subnet, public_ip),
        }
    }

    /// Returns where a search for what the grid does not know begins.
    pub(super) fn entrance(&self) -> Entrance {
        self.trie.entrance()
    }

    /// Returns the holder of a cell that holds no smaller subnets.
    #[inline]
    pub(super) fn find_in_grid(&self, address: Ipv4Addr) -> Option<Ipv4Addr> {
        self.grid.find(address)
    }

    pub(super) const fn by_subnet(&self) -> &RedBlackTreeMapSync<Ipv4Net, Ipv4Addr> {
        &self.by_subnet
    }

    pub(super) fn subnets_of(&self, public_ip: Ipv4Addr) -> &[Ipv4Net] {
        self.by_holder.get(&public_ip).map_or(&[], Vec::as_slice)
    }

    /// Brings the subnet that fills a cell to where it belongs; `before` held it until now.
    fn settle(&mut self, cell: Ipv4Net, before: Option<Ipv4Addr>) {
        let was_in_trie = before.is_some() && self.grid.find(cell.addr()).is_none();
        let holder = self.by_subnet.get(&cell).copied();
        let alone = holder.filter(|_| !self.holds_others(cell));
        let in_grid = alone.and_then(|holder| NonZeroU32::new(holder.to_bits()));
        self.grid.set(cell.addr(), in_grid);
        let in_trie = holder.filter(|_| in_grid.is_none());
        if in_trie.is_some() || was_in_trie {
            self.set_in_trie(cell, in_trie);
        }
    }

    /// Tells whether there are smaller subnets within this one.
    fn holds_others(&self, subnet: Ipv4Net) -> bool {
        let mut behind = self.by_subnet.range((Bound::Excluded(subnet), Bound::Unbounded));
        behind.next().is_some_and(|(next, _)| subnet.contains(next))
    }

    fn set_in_trie(&mut self, subnet: Ipv4Net, public_ip: Option<Ipv4Addr>) {
        let by_subnet = &self.by_subnet;
        match public_ip {
            Some(public_ip) => self.trie.insert(subnet, public_ip),
            // Whatever holds a subnet of the trie is in the trie.
            None => self.trie.remove(subnet, |outer| by_subnet.get(&outer).copied()),
        }
    }

    /// Changes what a node holds, usually one subnet.
    fn set_held(&mut self, public_ip: Ipv4Addr, change: impl FnOnce(&mut Vec<Ipv4Net>)) {
        let mut held = self.by_holder.get(&public_ip).cloned().unwrap_or_default();
        change(&mut held);
        if held.is_empty() {
            self.by_holder.remove_mut(&public_ip);
        } else {
            self.by_holder.insert_mut(public_ip, held);
        }
    }
}
