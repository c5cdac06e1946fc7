//! The look-up from a destination to the longest prefix's next hop.

use alloc::sync::Arc;
use core::net::Ipv4Addr;

use ipnet::Ipv4Net;

const SLOTS: usize = 256;
const ROWS: usize = 16;

/// Takes a byte of the address at each page.
///
/// A prefix fills all the slots of one page that it covers, unless a longer one of that page has them. Pages that are
/// shared do not change: an edit copies those between the root and the prefix, four at most, and shares all others with
/// the clones made before it.
#[derive(Clone)]
pub(super) struct Trie {
    root: Arc<Page>,
    /// The next hop of the prefix of length 0.
    default: Option<Ipv4Addr>,
}

/// Where a search in a [`Trie`] begins: the addresses that have a next hop have their first bytes in common.
#[derive(Clone)]
pub(super) struct Entrance {
    page: Arc<Page>,
    /// How many bits of an address come before this page's byte.
    depth: u32,
    /// Those bits, with zeros behind them.
    common: u32,
    default: Option<Ipv4Addr>,
}

#[derive(Clone)]
struct Page {
    hops: [Option<Ipv4Addr>; SLOTS],
    /// How many of the byte's bits the prefix that fills a slot has; zero if none does.
    lengths: [u8; SLOTS],
    /// The pages of the next byte, in rows: so a copy of a page that has many counts few of them up.
    rows: [Option<Arc<Row>>; ROWS],
}

type Row = [Option<Arc<Page>>; ROWS];

/// What a prefix puts into its slots.
#[derive(Clone, Copy)]
struct Filling {
    hop: Option<Ipv4Addr>,
    /// As in [`Page::lengths`].
    length: u8,
}

impl Trie {
    pub(super) fn new() -> Self {
        Self {
            root: Arc::new(Page::empty()),
            default: None,
        }
    }

    /// Sets the next hop of a prefix.
    pub(super) fn insert(&mut self, net: Ipv4Net, hop: Ipv4Addr) {
        let Some(end) = End::of(net) else {
            self.default = Some(hop);
            return;
        };
        let filling = Filling {
            hop: Some(hop),
            length: end.length,
        };
        fill(&mut self.root, net.network().to_bits(), end, filling);
    }

    /// Removes a prefix; `next_hop` knows those that stay.
    pub(super) fn remove(&mut self, net: Ipv4Net, next_hop: impl Fn(Ipv4Net) -> Option<Ipv4Addr>) {
        let Some(end) = End::of(net) else {
            self.default = None;
            return;
        };
        let outer = (1..end.length).rev().find_map(|length| {
            let bits = end.pages.saturating_mul(8).saturating_add(length);
            let outer = Ipv4Net::new(net.network(), bits).ok()?.trunc();
            let hop = Some(next_hop(outer)?);
            Some(Filling { hop, length })
        });
        let filling = outer.unwrap_or(Filling { hop: None, length: 0 });
        fill(&mut self.root, net.network().to_bits(), end, filling);
    }

    /// Returns the first page that leaves a choice.
    pub(super) fn entrance(&self) -> Entrance {
        let mut entrance = Entrance {
            page: self.root.clone(),
            depth: 0,
            common: 0,
            default: self.default,
        };
        while let Some((slot, page)) = entrance.page.only_child() {
            let shift = 24_u32.saturating_sub(entrance.depth);
            entrance.common |= u32::from(slot).unbounded_shl(shift);
            entrance.depth = entrance.depth.saturating_add(8);
            entrance.page = page;
        }
        entrance
    }
}

impl Entrance {
    /// Returns the next hop of the longest prefix that contains `destination`.
    #[inline(never)]
    pub(super) fn find(&self, destination: Ipv4Addr) -> Option<Ipv4Addr> {
        let destination = destination.to_bits();
        let outside = (destination ^ self.common).unbounded_shr(32_u32.saturating_sub(self.depth));
        if outside != 0 {
            return self.default;
        }
        let mut best = self.default;
        let mut page = &*self.page;
        let mut rest = destination.unbounded_shl(self.depth);
        loop {
            let [slot, ..] = rest.to_be_bytes();
            best = page.hop(slot).or(best);
            let Some(child) = page.child(slot) else {
                return best;
            };
            page = child;
            rest = rest.unbounded_shl(8);
        }
    }
}

/// Where a prefix ends that is not of length 0.
#[derive(Clone, Copy)]
struct End {
    /// How many pages lie before the one that it ends in.
    pages: u8,
    /// How many bits of that page's byte it has, from 1 to 8.
    length: u8,
}

impl End {
    fn of(net: Ipv4Net) -> Option<Self> {
        let before = net.prefix_len().checked_sub(1)?;
        Some(Self {
            pages: before / 8,
            length: before % 8 + 1,
        })
    }

    /// Returns the same end as the next page sees it.
    fn within(self) -> Option<Self> {
        let pages = self.pages.checked_sub(1)?;
        Some(Self { pages, ..self })
    }
}

/// Fills the slots of a prefix, unless a longer one has them; `rest` is its address without the bytes before this page.
fn fill(page: &mut Arc<Page>, rest: u32, end: End, filling: Filling) {
    let [slot, ..] = rest.to_be_bytes();
    let page = Arc::make_mut(page);
    let Some(within) = end.within() else {
        return page.fill(slot, end.length, filling);
    };
    let Some(place) = page.place_mut(slot) else { return };
    let child = place.get_or_insert_with(|| Arc::new(Page::empty()));
    fill(child, rest.unbounded_shl(8), within, filling);
    if child.is_empty() {
        *place = None;
        page.tidy(slot);
    }
}

impl Page {
    const fn empty() -> Self {
        Self {
            hops: [None; SLOTS],
            lengths: [0; SLOTS],
            rows: [const { None }; ROWS],
        }
    }

    #[inline]
    fn hop(&self, slot: u8) -> Option<Ipv4Addr> {
        *self.hops.get(usize::from(slot))?
    }

    #[inline]
    fn child(&self, slot: u8) -> Option<&Self> {
        let row = self.rows.get(usize::from(slot >> 4))?.as_deref()?;
        row.get(usize::from(slot & 15))?.as_deref()
    }

    /// Returns where a child is or would be.
    fn place_mut(&mut self, slot: u8) -> Option<&mut Option<Arc<Self>>> {
        let row = self.rows.get_mut(usize::from(slot >> 4))?;
        let row = row.get_or_insert_with(|| Arc::new([const { None }; ROWS]));
        Arc::make_mut(row).get_mut(usize::from(slot & 15))
    }

    /// Forgets the row of a child that is gone, if it was the last.
    fn tidy(&mut self, slot: u8) {
        if let Some(row) = self.rows.get_mut(usize::from(slot >> 4))
            && row.as_ref().is_some_and(|row| row.iter().all(Option::is_none))
        {
            *row = None;
        }
    }

    /// Fills the slots that a prefix with so many bits of this page's byte covers.
    fn fill(&mut self, first: u8, length: u8, filling: Filling) {
        let count = SLOTS.unbounded_shr(length.into());
        let slots = self.hops.iter_mut().zip(&mut self.lengths);
        for (hop, filled) in slots.skip(first.into()).take(count) {
            if *filled <= length {
                (*hop, *filled) = (filling.hop, filling.length);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.rows.iter().all(Option::is_none) && self.fills_nothing()
    }

    fn fills_nothing(&self) -> bool {
        self.lengths.iter().all(|length| *length == 0)
    }

    /// Returns the child that everything in this page leads to.
    fn only_child(&self) -> Option<(u8, Arc<Self>)> {
        if !self.fills_nothing() {
            return None;
        }
        let mut children = self.rows.iter().flatten().flat_map(|row| row.iter()).flatten();
        let (child, None) = (children.next()?, children.next()) else {
            return None;
        };
        let slot = (0..=u8::MAX).find(|slot| self.child(*slot).is_some())?;
        Some((slot, child.clone()))
    }
}
