//! The model that knows the right answer: who holds which subnet, since when, and which node has to know it.
//!
//! It hears every write in the store at once and every fault as it happens, and is independent of the engine. From
//! this follows for each decision of a node whether it is right, excusable because the node could not know
//! better yet, or wrong.

mod claims;
mod deafness;
#[cfg(test)]
pub(crate) mod fixture;
mod hand;
mod holders;
mod keys;
mod knowledge;
mod presence;
mod stale;
mod subnet_map;
mod tenure;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;
use selvedge_engine::{Instant, KeyValue, LeaseRecord, MacAddress, Revision, WatchEvent};

use crate::checker::reservation::Reservation;
use crate::node_id::NodeId;
use crate::scenario::{Backend, DirectRouting, Model};
pub(crate) use claims::overlap;
pub(crate) use hand::Hand;
use holders::Holders;
use keys::{Key, Keys};
use knowledge::Knowledge;
pub(crate) use knowledge::{DataPath, Windows};
pub(crate) use presence::{Announced, Presence};
use subnet_map::SubnetMap;
pub(crate) use tenure::Tenure;
use tenure::{parse_key, parse_subnet};

/// The truth about a cluster.
#[derive(Debug)]
pub(crate) struct RefCluster {
    prefix: Vec<u8>,
    backend: Backend,
    /// Where each node is at the moment, whatever the store says.
    presences: Vec<Presence>,
    /// The nodes that ever had another address.
    moved: BTreeSet<NodeId>,
    junk: BTreeSet<Vec<u8>>,
    /// All tenures of each subnet, the newest last.
    tenures: SubnetMap<Ipv4Net, Vec<Tenure>>,
    /// The tenures that last.
    holders: Holders,
    knowledge: Vec<Knowledge>,
    windows: Windows,
    last_change: Instant,
    /// When a record last went, so that a subnet may have become free.
    last_freed: Instant,
    /// How often the leases became others.
    changes: u64,
    keys: Keys,
    /// The subnets that ever were written for an owner, and when the last record for it went.
    records_of: BTreeMap<Ipv4Addr, BTreeMap<Ipv4Net, Option<Instant>>>,
    /// The most records that the store ever held below the leases' prefix.
    most_records: usize,
    /// How many records a node may hold besides: of histories that are gone, and for want of what it never heard.
    stale_records: usize,
    /// Whether nodes reached others of their segment by plain routes before the cluster began, although they have VTEPs.
    direct_routing: DirectRouting,
    /// Whose writes it hears at the moment.
    hand: Hand,
}

/// What a write to the store was, as the model sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Write {
    /// A node took or renewed a subnet; the value is unreadable if there is no owner.
    Lease {
        subnet: Ipv4Net,
        owner: Option<Ipv4Addr>,
        /// Who held the subnet until this write.
        before: Option<Ipv4Addr>,
        /// Another node's key that has addresses of either family in common with this one.
        rival: Option<String>,
        reservation: Reservation,
    },
    /// A lease is gone.
    Gone { subnet: Ipv4Net },
    /// A record that an operator wrote, and that is no lease.
    Junk,
    /// A key that no node should have written.
    Stray,
}

impl RefCluster {
    pub(crate) fn new(nodes: usize, prefix: Vec<u8>, backend: Backend, windows: Windows) -> Self {
        let ids = (1..).map(NodeId::new).take(nodes);
        Self {
            prefix,
            backend,
            presences: ids.map(Presence::first).collect(),
            moved: BTreeSet::new(),
            junk: BTreeSet::new(),
            tenures: SubnetMap::new(),
            holders: Holders::new(),
            knowledge: vec![Knowledge::default(); nodes],
            windows,
            last_change: Instant::ZERO,
            last_freed: Instant::ZERO,
            changes: 0,
            keys: Keys::new(),
            records_of: BTreeMap::new(),
            most_records: 0,
            stale_records: 0,
            direct_routing: DirectRouting::Off,
            hand: Hand::Node,
        }
    }

    /// Takes note of how nodes reached others of their segment before the cluster began.
    pub(crate) const fn expect_routes(&mut self, direct_routing: DirectRouting) {
        self.direct_routing = direct_routing;
    }

    /// Takes note of whose writes it hears from now on.
    pub(crate) const fn set_hand(&mut self, hand: Hand) {
        self.hand = hand;
    }

    /// Returns whose writes it hears.
    pub(crate) const fn hand(&self) -> Hand {
        self.hand
    }

    /// Takes note that an operator is about to write junk under this key.
    pub(crate) fn expect_junk(&mut self, key: Vec<u8>) {
        self.junk.insert(key);
        self.count_records();
    }

    /// Takes a change of the store.
    pub(crate) fn observe(&mut self, event: &WatchEvent, now: Instant) -> Write {
        match event {
            WatchEvent::Put(kv) if self.junk.contains(&kv.key) => Write::Junk,
            WatchEvent::Put(kv) => {
                let Some(subnet) = self.subnet_of(&kv.key) else {
                    return Write::Stray;
                };
                let record = LeaseRecord::decode(&kv.value).ok();
                let record = record.filter(|record| presence::may_be_of(self.backend, record));
                let owner = record.as_ref().map(|record| record.public_ip);
                let oldest = self.keys.oldest_of(subnet).and_then(|key| key.owner);
                let before = self.holders.holder(subnet).or(oldest);
                let (rival, reservation) = self.write_key(kv, record.as_ref());
                let holder = self.keys.oldest_of(subnet).and_then(Key::holder);
                self.begin_tenure(subnet, holder, kv.mod_revision, now);
                Write::Lease {
                    subnet,
                    owner,
                    before,
                    rival,
                    reservation,
                }
            }
            WatchEvent::Delete { key, .. } if self.junk.remove(key) => {
                self.last_freed = now;
                Write::Junk
            }
            WatchEvent::Delete { key, .. } => {
                self.last_freed = now;
                let Some(subnet) = self.subnet_of(key) else {
                    return Write::Stray;
                };
                if let Some(Key {
                    v4,
                    owner: Some(owner),
                    ..
                }) = self.keys.remove(key)
                {
                    self.records_of.entry(owner).or_default().insert(v4, Some(now));
                }
                match self.keys.oldest_of(subnet).and_then(Key::holder) {
                    Some(holder) => self.begin_tenure(subnet, Some(holder), event_revision(event), now),
                    None => self.end_tenure(subnet, now),
                }
                Write::Gone { subnet }
            }
        }
    }

    /// Takes a lease that was gone before the cluster began, and that a node's kernel may know.
    pub(crate) fn remember(&mut self, subnet: Ipv4Net, owner: NodeId, vtep: Option<MacAddress>) {
        let holder = Some((owner.public_ip(), vtep));
        self.begin_tenure(subnet, holder, Revision(0), Instant::ZERO);
        self.end_tenure(subnet, Instant::ZERO);
    }

    /// Tells whether a plain route may be left that flannel made, and that nothing tells from an operator's: the peer has had
    /// no lease for it since, as far as the node has seen.
    fn may_be_left(&self, knowledge: &Knowledge, destination: Ipv4Addr, peer: Ipv4Addr) -> bool {
        let is_former = |tenure: &Tenure| {
            let was_plain = tenure.vtep.is_none() || self.direct_routing == DirectRouting::On;
            tenure.from_revision == Revision(0) && was_plain
        };
        self.history_of(destination).any(|(_, tenures)| {
            let of_peer = tenures.iter().filter(|tenure| tenure.owner == peer);
            let may_be_known = |tenure: &&Tenure| is_former(tenure) || knowledge.may_have_seen(tenure);
            let mut of_peer = of_peer.filter(may_be_known).peekable();
            of_peer.peek().is_some() && of_peer.all(is_former)
        })
    }

    /// Takes the leases of a store that was restored or wiped: what is not among them is gone, and every node has to find
    /// back. A lease that the store still has counts as seen by whoever has seen it in either history.
    pub(crate) fn restart_history(&mut self, kvs: &[Arc<KeyValue>], now: Instant) {
        self.stale_records += self.keys.len() + self.junk.len();
        for knowledge in &mut self.knowledge {
            knowledge.lose_history(&self.windows, now);
        }
        self.last_freed = now;
        let records = self.records_of.values_mut().flat_map(BTreeMap::values_mut);
        records.for_each(|gone| *gone = gone.or(Some(now)));
        self.keys.clear();
        let held: BTreeSet<Ipv4Net> = kvs.iter().filter_map(|kv| self.subnet_of(&kv.key)).collect();
        let gone: Vec<Ipv4Net> = self
            .leases()
            .map(|(subnet, _)| subnet)
            .filter(|subnet| !held.contains(subnet))
            .collect();
        for subnet in gone {
            self.end_tenure(subnet, now);
        }
        for kv in kvs {
            self.observe(&WatchEvent::Put(KeyValue::clone(kv)), now);
            let subnet = self.subnet_of(&kv.key);
            let tenures = subnet.and_then(|subnet| self.tenures.get_mut(subnet));
            if let Some(last) = tenures.and_then(|tenures| tenures.last_mut()) {
                last.from_revision = last.from_revision.min(kv.mod_revision);
            }
        }
    }

    /// Returns the most records that a node may hold: those that the store ever held below the leases' prefix, and what it
    /// could not know to be gone. It hears of its own writes before it hears what went before them.
    pub(crate) fn most_records(&self, now: Instant) -> usize {
        let is_on_the_way = now < self.last_freed + self.windows.propagation;
        let unheard_of = if is_on_the_way { 2 } else { 0 };
        self.most_records + self.stale_records + unheard_of
    }

    /// Tells whether anything covers a subnet that is no node's lease.
    pub(crate) fn has_strangers(&self) -> bool {
        let nodes = self.knowledge.len();
        let is_node =
            |owner: Option<Ipv4Addr>| owner.and_then(|ip| NodeId::by_public_ip(ip, nodes)).is_some();
        !self.junk.is_empty() || self.keys.owners().any(|owner| !is_node(owner))
    }

    /// Returns the subnets that keys cover, whoever holds them.
    pub(crate) fn covered(&self) -> impl Iterator<Item = Ipv4Net> {
        self.keys.subnets().chain(self.junk_subnets())
    }

    /// Returns the leases that live now, in the order of their subnets.
    pub(crate) fn leases(&self) -> impl ExactSizeIterator<Item = (Ipv4Net, Ipv4Addr)> {
        self.holders.iter()
    }

    /// Returns the leases that live now and share an address with a subnet, in order.
    pub(crate) fn leases_within(&self, subnet: Ipv4Net) -> impl Iterator<Item = (Ipv4Net, Ipv4Addr)> {
        self.holders.overlapping(subnet)
    }

    /// Returns the subnets that a node holds now, in order: those under its present address, or if there are none, those
    /// under another that it had.
    pub(crate) fn subnets_held_by(&self, node: NodeId) -> impl Iterator<Item = Ipv4Net> {
        let present = self.address_of(node);
        let before = node.public_ips().into_iter().find(|address| *address != present);
        let before = before.filter(|_| self.holders.of_owner(present).next().is_none());
        let of_before = before
            .into_iter()
            .flat_map(|before| self.holders.of_owner(before));
        self.holders.of_owner(present).chain(of_before)
    }

    /// Tells whether an operator gives a subnet to a node for good.
    pub(crate) fn is_reserved(&self, node: NodeId, subnet: Ipv4Net) -> bool {
        self.keys.is_reserved(subnet, node)
    }

    /// Returns when a subnet may last have become free.
    pub(crate) const fn last_freed(&self) -> Instant {
        self.last_freed
    }

    /// Returns how often the leases became others: the same number means the same leases.
    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }

    /// Returns the lease that covers an address now.
    pub(crate) fn lease_of(&self, address: Ipv4Addr) -> Option<(Ipv4Net, &Tenure)> {
        self.history_of(address)
            .find_map(|(subnet, tenures)| Some((subnet, tenures.last()?.current()?)))
    }

    /// Returns the subnet that a node holds now.
    pub(crate) fn subnet_held_by(&self, node: NodeId) -> Option<Ipv4Net> {
        self.subnets_held_by(node).next()
    }

    /// Tells whether `node` may send packets for `destination` to `peer`: it has seen such a lease, and need not know
    /// of its end, or may keep the peer all the same.
    pub(crate) fn may_send(&self, node: NodeId, destination: Ipv4Addr, peer: Ipv4Addr, now: Instant) -> bool {
        let Some(knowledge) = self.knowledge.get(node.index()) else {
            return false;
        };
        let informed = knowledge.carries_by(&self.windows, now);
        let may_believe = self
            .history_of(destination)
            .flat_map(|(_, tenures)| tenures)
            .filter(|tenure| tenure.owner == peer && tenure.from_revision <= knowledge.seen())
            .any(|tenure| {
                tenure
                    .until
                    .is_none_or(|until| informed.is_none_or(|informed| until > informed))
            });
        may_believe
            || self.may_be_left(knowledge, destination, peer)
            || self.may_misjudge(node, destination, peer, now)
            || self
                .history_of(destination)
                .any(|(subnet, _)| self.may_keep(node, subnet, peer, now))
    }

    /// Tells whether `node` may take itself for the holder of `address`: it has seen such a lease, and need not know of
    /// its end.
    pub(crate) fn may_hold(&self, node: NodeId, address: Ipv4Addr, now: Instant) -> bool {
        let mut addresses = node.public_ips().into_iter();
        addresses.any(|own| self.may_send(node, address, own, now))
    }

    /// Tells whether `node` has to know who holds `address`, and that it is `owner`, where it is at the moment.
    pub(crate) fn must_know(&self, node: NodeId, address: Ipv4Addr, owner: NodeId, now: Instant) -> bool {
        let Some((_, tenure)) = self.lease_of(address) else {
            return false;
        };
        let informed = self.informed(node, now);
        self.is_true(owner, tenure) && informed.is_some_and(|informed| tenure.from <= informed)
    }

    /// Tells whether `node` has to carry packets: it holds a lease that it has to know, and its tunnel has had time to
    /// be set up since anything happened to it.
    pub(crate) fn must_carry(&self, node: NodeId, now: Instant) -> bool {
        let Some(subnet) = self.subnet_held_by(node) else {
            return false;
        };
        self.must_know(node, subnet.network(), node, now)
            && self.is_attached(node)
            && self
                .knowledge
                .get(node.index())
                .is_some_and(|knowledge| knowledge.has_to_carry(&self.windows, now))
    }

    /// Tells whether `node` has had time to make sure of a lease that names it.
    pub(crate) fn must_hold(&self, node: NodeId, now: Instant) -> bool {
        self.knowledge
            .get(node.index())
            .is_some_and(|knowledge| knowledge.has_to_hold(&self.windows, now))
    }

    /// Returns until when `node` has to know every change of the store; `None` if it need not know any.
    pub(crate) fn informed(&self, node: NodeId, now: Instant) -> Option<Instant> {
        self.knowledge.get(node.index())?.informed(&self.windows, now)
    }

    /// Tells whether `node` has to know everything that there is to know.
    pub(crate) fn is_up_to_date(&self, node: NodeId, now: Instant) -> bool {
        self.informed(node, now)
            .is_some_and(|informed| informed >= self.last_change)
    }

    /// Returns since when nobody but another node's lease covers `subnet`, and that node's address.
    pub(crate) fn taken_by_other(&self, node: NodeId, subnet: Ipv4Net) -> Option<(Ipv4Addr, Instant)> {
        let (other, owner) = self
            .leases_within(subnet)
            .find(|(_, owner)| !node.is_at(*owner))?;
        Some((owner, self.tenures.get(other)?.last()?.from))
    }

    /// Takes note that a node reaches the store, or that it does not.
    pub(crate) fn set_connected(&mut self, node: NodeId, connected: bool, now: Instant) {
        let windows = self.windows;
        if let Some(knowledge) = self.knowledge.get_mut(node.index()) {
            knowledge.set_connected(connected, &windows, now);
        }
    }

    /// Takes note that a node could keep its lease alive, or that it could not.
    pub(crate) fn set_renewable(&mut self, node: NodeId, renewable: bool, now: Instant) {
        if let Some(knowledge) = self.knowledge.get_mut(node.index()) {
            knowledge.set_renewable(renewable, now);
        }
    }

    /// Takes note that a node says that it stops carrying packets because its lease is about to end.
    pub(crate) fn fence(&mut self, node: NodeId) {
        if let Some(knowledge) = self.knowledge.get_mut(node.index()) {
            knowledge.fence();
        }
    }

    /// Takes note that a node says that it has lost its lease.
    pub(crate) fn lose(&mut self, node: NodeId) {
        if let Some(knowledge) = self.knowledge.get_mut(node.index()) {
            knowledge.lose_lease();
        }
    }

    /// Takes note that what watches say comes late, so that a node may hold what is gone beside what it wrote itself.
    pub(crate) const fn expect_late_changes(&mut self) {
        self.stale_records += 2;
    }

    /// Takes note that a node says that its lease lives.
    pub(crate) fn renew(&mut self, node: NodeId, now: Instant) {
        if let Some(knowledge) = self.knowledge.get_mut(node.index()) {
            knowledge.renew(now);
        }
    }

    /// Takes note that a daemon of this model starts on a node without knowing anything.
    pub(crate) fn forget(&mut self, node: NodeId, model: Model, now: Instant) {
        if let Some(knowledge) = self.knowledge.get_mut(node.index()) {
            knowledge.start_anew(model, DataPath::of(self.backend), now);
        }
    }

    /// Takes note that something happened to a node's tunnel.
    pub(crate) fn disturb(&mut self, node: NodeId, now: Instant) {
        if let Some(knowledge) = self.knowledge.get_mut(node.index()) {
            knowledge.disturb(now);
        }
    }

    /// Takes note that a node received something that the store said at `revision`.
    pub(crate) fn see(&mut self, node: NodeId, revision: Revision) {
        if let Some(knowledge) = self.knowledge.get_mut(node.index()) {
            knowledge.see(revision);
        }
    }

    /// Returns the key of the lease that a node holds now.
    pub(crate) fn key_held_by(&self, node: NodeId) -> Option<&[u8]> {
        let addresses = node.public_ips().into_iter();
        let mut present_first: Vec<Ipv4Addr> = addresses.collect();
        present_first.sort_by_key(|address| *address != self.address_of(node));
        present_first
            .into_iter()
            .find_map(|address| self.keys.of_owner(address))
    }

    fn count_records(&mut self) {
        self.most_records = self.most_records.max(self.keys.len() + self.junk.len());
    }

    fn write_key(&mut self, kv: &KeyValue, record: Option<&LeaseRecord>) -> (Option<String>, Reservation) {
        let owner = record.map(|record| record.public_ip);
        let text = kv
            .key
            .strip_prefix(self.prefix.as_slice())
            .and_then(|text| std::str::from_utf8(text).ok());
        let Some((v4, v6)) = text.and_then(parse_key) else {
            return (None, Reservation::None);
        };
        let key = Key {
            v4,
            v6,
            owner,
            way: record.and_then(|record| presence::way_to(self.backend, record)),
            is_reserved: kv.lease.is_none(),
            create_revision: kv.create_revision,
        };
        if let Some(owner) = owner {
            self.records_of.entry(owner).or_default().insert(v4, None);
        }
        let rival = self.keys.rival_of(&kv.key, &key);
        let rival = rival.map(|name| name.escape_ascii().to_string());
        let stands = key.is_reserved;
        let before = self.keys.insert(&kv.key, key);
        self.count_records();
        let stood = before.is_some_and(|before| before.is_reserved);
        let reservation = match (stood, stands) {
            (_, true) => Reservation::Standing,
            (true, false) => Reservation::Lost,
            (false, false) => Reservation::None,
        };
        (rival, reservation)
    }

    fn subnet_of(&self, key: &[u8]) -> Option<Ipv4Net> {
        let text = key.strip_prefix(self.prefix.as_slice())?;
        Some(parse_key(std::str::from_utf8(text).ok()?)?.0)
    }

    fn history_of(&self, address: Ipv4Addr) -> impl Iterator<Item = (Ipv4Net, &Vec<Tenure>)> {
        self.tenures.overlapping(address.into())
    }

    /// A write that changes nothing about who holds the subnet, such as a renewal, begins nothing.
    fn begin_tenure(
        &mut self,
        subnet: Ipv4Net,
        holder: Option<(Ipv4Addr, Option<MacAddress>)>,
        revision: Revision,
        now: Instant,
    ) {
        let tenures = self.tenures.entry(subnet);
        if let Some(last) = tenures.last_mut().filter(|last| last.until.is_none()) {
            if Some((last.owner, last.vtep)) == holder {
                return;
            }
            last.end(now, self.hand);
        }
        if let Some((owner, vtep)) = holder {
            tenures.push(Tenure {
                owner,
                vtep,
                from_revision: revision,
                from: now,
                until: None,
                ended_by: Hand::Node,
            });
        }
        self.note_holder(subnet, holder.map(|(owner, _)| owner), now);
    }

    fn end_tenure(&mut self, subnet: Ipv4Net, now: Instant) {
        let last = self
            .tenures
            .get_mut(subnet)
            .and_then(|tenures| tenures.last_mut());
        if let Some(last) = last.filter(|last| last.until.is_none()) {
            last.end(now, self.hand);
            self.note_holder(subnet, None, now);
        }
    }

    fn note_holder(&mut self, subnet: Ipv4Net, owner: Option<Ipv4Addr>, now: Instant) {
        self.holders.set(subnet, owner);
        self.last_change = now;
        self.changes += 1;
    }
}

const fn event_revision(event: &WatchEvent) -> Revision {
    match event {
        WatchEvent::Put(kv) => kv.mod_revision,
        WatchEvent::Delete { mod_revision, .. } => *mod_revision,
    }
}

impl Windows {
    /// Returns windows for a store whose answers take at most `round_trip`, and nodes that keep peers and renew their
    /// leases so.
    pub(crate) fn new(round_trip: Duration, peer_grace: Duration, renew_margin: Duration) -> Self {
        Self {
            propagation: Duration::from_secs(2) + round_trip * 4,
            recovery: Duration::from_secs(45) + round_trip * 8,
            peer_grace,
            shortest_end: renew_margin.min(Duration::from_hours(12)),
        }
    }
}
