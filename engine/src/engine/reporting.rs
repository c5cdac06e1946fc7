//! What people are told about peers and records.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use super::Engine;
use crate::event::Event;
use crate::leases::key_text;
use crate::peers::{PeerNews, Refusal};

/// Up to how many peers, or records, people are told each by its name when they change at once.
const MOST_NAMED: usize = 20;

impl Engine {
    /// Names each peer and each record, unless there are many.
    pub(super) fn tell_peers(&mut self, news: &PeerNews) {
        self.tell_stale(news.stale.len());
        let (added, removed) = (news.added.len(), news.removed.len());
        if added.saturating_add(removed) > MOST_NAMED {
            let peers = self.peers.iter().count();
            self.outbox.tell(Event::PeersChanged {
                added,
                removed,
                peers,
            });
        } else {
            for (&subnet, &public_ip) in &news.added {
                self.outbox.tell(Event::PeerAdded { subnet, public_ip });
            }
            for &subnet in &news.removed {
                self.outbox.tell(Event::PeerRemoved { subnet });
            }
        }
        self.tell_rejected(&news.rejected);
    }

    fn tell_rejected(&mut self, rejected: &BTreeMap<Arc<[u8]>, Refusal>) {
        for (_, reason) in rejected.values().flat_map(|refusal| refusal.reasons()) {
            *self.rejected.entry(reason).or_default() += 1;
        }
        let mut named = rejected.iter().flat_map(|(key, refusal)| {
            let reasons = refusal.reasons();
            reasons.map(move |(version, reason)| (key_text(key), version, reason))
        });
        let count = rejected.len();
        if count <= MOST_NAMED {
            for (key, version, reason) in named {
                self.outbox.tell(Event::RecordRejected { key, version, reason });
            }
        } else if let Some((key, _, reason)) = named.next() {
            self.outbox.tell(Event::RecordsRejected { count, key, reason });
        }
    }

    pub(super) fn tell_stale(&mut self, peers: usize) {
        if peers > 0 {
            self.outbox.tell(Event::PeersStale {
                peers,
                grace: self.setup.peer_grace,
            });
        }
    }
}
