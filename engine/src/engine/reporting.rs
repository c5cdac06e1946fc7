//! What people are told about peers and records.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use super::Engine;
use crate::event::Event;
use crate::leases::key_text;
use crate::peers::PeerNews;
use crate::reject_reason::RejectReason;

/// Up to how many peers, or records, people are told each by its name when they change at once.
const MOST_NAMED: usize = 20;

impl Engine {
    /// Names each peer and each record, unless there are many.
    pub(super) fn tell_peers(&mut self, news: &PeerNews) {
        self.tell_stale(news.stale.len());
        let (added, removed) = (news.added.len(), news.removed.len());
        if added.saturating_add(removed) > MOST_NAMED {
            let (peers, _, _) = self.peers.sizes();
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

    fn tell_rejected(&mut self, rejected: &BTreeMap<Arc<[u8]>, RejectReason>) {
        for &reason in rejected.values() {
            *self.rejected.entry(reason).or_default() += 1;
        }
        let mut named = rejected.iter().map(|(key, &reason)| (key_text(key), reason));
        let count = rejected.len();
        if count <= MOST_NAMED {
            for (key, reason) in named {
                self.outbox.tell(Event::RecordRejected { key, reason });
            }
        } else if let Some((key, reason)) = named.next() {
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
