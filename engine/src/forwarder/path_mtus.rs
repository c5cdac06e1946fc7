//! What the underlay lets through on the way to single nodes.

use alloc::collections::BTreeMap;
use core::net::Ipv4Addr;
use core::time::Duration;

use crate::time::Instant;

/// How long a path's MTU is believed; then a larger one is tried (RFC 1191, 6.3).
const BELIEVED: Duration = Duration::from_mins(10);

/// No path's MTU is taken to be less: whoever forges ICMP errors shall not make packets tiny (RFC 879 has hosts take
/// 576 bytes).
const SMALLEST: u32 = 576;

/// The most paths that are remembered.
const MOST: usize = 4_096;

/// The largest inner packets that go to some nodes, where that is less than to all.
#[derive(Clone, Debug, Default)]
pub(super) struct PathMtus(BTreeMap<Ipv4Addr, PathMtu>);

#[derive(Clone, Copy, Debug)]
struct PathMtu {
    inner: u32,
    until: Instant,
}

impl PathMtus {
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Takes note that inner packets of at most so many bytes get to a node.
    pub(super) fn learn(&mut self, node: Ipv4Addr, inner: u32, now: Instant) {
        if self.0.len() >= MOST {
            self.0.retain(|_, path| path.until > now);
        }
        if self.0.len() >= MOST {
            return;
        }
        let path = PathMtu {
            inner: inner.max(SMALLEST),
            until: now + BELIEVED,
        };
        self.0.insert(node, path);
    }

    /// Returns the largest inner packet for a node, at most that of the tunnel.
    #[inline]
    pub(super) fn limit(&self, node: Ipv4Addr, tunnel: u32, now: Instant) -> u32 {
        self.get(node, now).map_or(tunnel, |inner| inner.min(tunnel))
    }

    /// Returns the largest inner packet for a node, if it was learned and is still believed.
    #[inline]
    pub(super) fn get(&self, node: Ipv4Addr, now: Instant) -> Option<u32> {
        // Usually there are none.
        if self.0.is_empty() {
            return None;
        }
        let believed = self.0.get(&node).filter(|path| path.until > now);
        believed.map(|path| path.inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

    #[test]
    fn a_path_counts_for_its_node_alone_and_for_ten_minutes() {
        let mut paths = PathMtus::new();

        paths.learn(NODE, 1_272, Instant::ZERO);

        let later = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        assert_eq!(paths.limit(NODE, 1_472, later(599)), 1_272);
        assert_eq!(paths.limit(NODE, 1_472, later(600)), 1_472);
        assert_eq!(paths.limit(NODE, 1_200, later(1)), 1_200);
        assert_eq!(paths.limit(Ipv4Addr::LOCALHOST, 1_472, later(1)), 1_472);
    }

    #[test]
    fn a_forged_path_does_not_make_packets_tiny() {
        let mut paths = PathMtus::new();

        paths.learn(NODE, 68, Instant::ZERO);

        assert_eq!(paths.limit(NODE, 1_472, Instant::ZERO), SMALLEST);
    }

    #[test]
    fn the_memory_for_paths_is_bounded_and_old_ones_make_room() {
        let mut paths = PathMtus::new();
        for node in 0..10_000_u32 {
            paths.learn(node.into(), 1_000, Instant::ZERO);
        }
        let full = paths.0.len();

        paths.learn(NODE, 1_000, Instant::ZERO + BELIEVED);

        assert_eq!((full, paths.0.len()), (MOST, 1));
    }
}
