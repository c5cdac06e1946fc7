//! Which of the kernel's notifications cast doubt on what the engine knows of the node.
//!
//! The kernel marks what a request of ours did with our port, but for addresses of IPv6, forwarding entries and what follows
//! from a request by itself; there the notification is compared with what was made and removed. To be told of a change
//! that was none costs a look at the node; to miss one costs traffic. So whatever is not clearly ours is suspicious.

mod place;
mod seen;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_packet_route::route::{RouteMessage, RouteProtocol};
use selvedge_engine::{FoundLink, KernelFacts, Link, Survey};

pub(super) use self::place::{Content, Place};
use self::seen::Seen;
use super::netlink::Notification;
use super::{addresses, links, neighbours, routes};

/// What we know of the node, for comparison with what the kernel tells.
#[derive(Debug)]
pub(super) struct Watch {
    /// The port of our requests.
    port: u32,
    /// The devices that are ours.
    ours: BTreeMap<u32, Stage>,
    /// The devices that were ours until we deleted them.
    deleted: BTreeSet<u32>,
    /// All devices as they were last seen.
    seen: BTreeMap<u32, Seen>,
    /// What we made on devices and did not remove.
    made: BTreeMap<Place, Content>,
    /// What we removed and the kernel has not told about yet.
    leaving: BTreeSet<Place>,
}

/// What a device of ours is to the watch.
#[derive(Debug)]
enum Stage {
    /// We described it, and the kernel has not told yet that it is so.
    Making(Link),
    /// It is as it was last seen until the engine wants something else.
    Standing,
}

impl Watch {
    /// Makes the watch for one who sends requests from this port.
    pub(super) fn new(port: u32) -> Self {
        Self {
            port,
            ours: BTreeMap::new(),
            deleted: BTreeSet::new(),
            seen: BTreeMap::new(),
            made: BTreeMap::new(),
            leaving: BTreeSet::new(),
        }
    }

    /// Notes a device that was made as described, of one that was there before or of none.
    pub(super) fn link_made(&mut self, index: u32, link: Link, before: Option<&FoundLink>) {
        self.ours.insert(index, Stage::Making(link));
        if let Some(before) = before {
            self.seen.entry(index).or_insert_with(|| Seen::from(before));
        }
    }

    /// Notes that we deleted a device, and with it all that hung on it.
    pub(super) fn link_deleted(&mut self, index: u32) {
        self.ours.remove(&index);
        self.deleted.insert(index);
        self.made.retain(|place, _| place.link() != index);
        self.leaving.retain(|place| place.link() != index);
    }

    /// Notes what is about to be made.
    pub(super) fn making(&mut self, place: Place, content: Content) {
        self.leaving.remove(&place);
        self.made.insert(place, content);
    }

    /// Notes that something could not be made.
    pub(super) fn not_made(&mut self, place: &Place) {
        self.made.remove(place);
    }

    /// Notes what is about to be removed; tells whether it can be there, because we have not put something else into its
    /// place since.
    pub(super) fn removing(&mut self, place: Place, content: &Content) -> bool {
        if self.made.get(&place).is_some_and(|made| made != content) {
            return false;
        }
        self.made.remove(&place);
        self.leaving.insert(place);
        true
    }

    /// Notes that what was to be removed is still there.
    pub(super) fn not_removed(&mut self, place: &Place) {
        self.leaving.remove(place);
    }

    /// Notes what the engine is told: the tunnels are ours with all that is permanent on them, whoever made it, and devices
    /// that nothing was heard of yet are as they were found.
    pub(super) fn surveyed(&mut self, survey: &Survey, facts: &KernelFacts) {
        let mut tunnels = BTreeMap::new();
        for link in &facts.links {
            if survey.tunnels.contains(&link.name) {
                tunnels.insert(&link.name, link.index);
                self.ours.entry(link.index).or_insert(Stage::Standing);
            }
            // What the kernel has to tell of a device that we made is still to come.
            if !matches!(self.ours.get(&link.index), Some(Stage::Making(_))) {
                self.seen.entry(link.index).or_insert_with(|| Seen::from(link));
            }
        }
        let index_of = |name| tunnels.get(name).copied();
        let neighbours = facts
            .neighbours
            .iter()
            .filter_map(|found| Some(Place::of_neighbour(index_of(&found.link)?, found)));
        let entries = facts
            .fdb
            .iter()
            .filter_map(|found| Some(Place::of_fdb_entry(index_of(&found.link)?, found)));
        self.made.extend(neighbours.chain(entries));
    }

    /// Tells whether a notification may mean that something has changed that the engine cares for.
    pub(super) fn suspects(&mut self, notification: &Notification) -> bool {
        if let NetlinkPayload::Overrun(_) = notification.payload {
            // What they would have told is lost.
            self.leaving.clear();
            return true;
        }
        let NetlinkPayload::InnerMessage(message) = &notification.payload else {
            return false;
        };
        let is_own = notification.header.port_number == self.port;
        #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else is subscribed to")]
        match message {
            RouteNetlinkMessage::NewLink(link) => self.suspects_link(link),
            RouteNetlinkMessage::DelLink(link) => self.suspects_deleted_link(link),
            RouteNetlinkMessage::NewAddress(address) => {
                let found = addresses::found(address);
                !is_own && found.is_none_or(|found| self.suspects_address(Place::address(&found)))
            }
            RouteNetlinkMessage::DelAddress(address) => {
                let found = addresses::found(address);
                found.is_none_or(|found| self.suspects_loss(Place::address(&found))) && !is_own
            }
            RouteNetlinkMessage::NewNeighbour(neighbour) => !is_own && self.suspects_neighbour(neighbour),
            RouteNetlinkMessage::DelNeighbour(neighbour) => self.suspects_lost_neighbour(neighbour),
            RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
                !is_own && self.suspects_route(route)
            }
            _ => false,
        }
    }

    fn suspects_link(&mut self, message: &LinkMessage) -> bool {
        let Some(link) = links::found(message) else {
            return false;
        };
        let now = Seen::from(&link);
        let before = self.seen.insert(link.index, now.clone());
        if self.deleted.contains(&link.index) {
            return false;
        }
        let Some(stage) = self.ours.get_mut(&link.index) else {
            return before != Some(now);
        };
        let is_ours = match stage {
            Stage::Making(wanted) => now.approaches(before.as_ref(), wanted),
            Stage::Standing => false,
        };
        let is_whole = matches!(stage, Stage::Making(wanted) if now.is(wanted));
        if is_whole || !is_ours {
            *stage = Stage::Standing;
        }
        !is_ours && before != Some(now)
    }

    fn suspects_deleted_link(&mut self, message: &LinkMessage) -> bool {
        let index = message.header.index;
        self.seen.remove(&index);
        self.ours.remove(&index);
        self.made.retain(|place, _| place.link() != index);
        !self.deleted.contains(&index)
    }

    fn suspects_address(&self, place: Place) -> bool {
        !self.is_by_the_way(place) && !self.made.contains_key(&place)
    }

    fn suspects_loss(&mut self, place: Place) -> bool {
        !self.leaving.remove(&place) && !self.is_by_the_way(place)
    }

    /// Tells whether an address is one that the kernel gives each device that is up, or went with a device that we deleted.
    fn is_by_the_way(&self, place: Place) -> bool {
        let is_foreign = !self.ours.contains_key(&place.link()) && self.seen.contains_key(&place.link());
        self.deleted.contains(&place.link()) || (place.is_link_local() && !is_foreign)
    }

    /// Only permanent entries matter, and only those on our devices; but one of ours matters in any state.
    fn suspects_neighbour(&self, message: &NeighbourMessage) -> bool {
        if !self.ours.contains_key(&message.header.ifindex) {
            return false;
        }
        let Some((place, content)) = Place::neighbour(message) else {
            return false;
        };
        let is_permanent = neighbours::is_permanent(message);
        match self.made.get(&place) {
            Some(made) => !is_permanent || *made != content,
            None => is_permanent && !self.leaving.contains(&place),
        }
    }

    fn suspects_lost_neighbour(&mut self, message: &NeighbourMessage) -> bool {
        let Some((place, _)) = Place::neighbour(message) else {
            return false;
        };
        let is_expected = self.leaving.remove(&place);
        // The kernel marks what it forgets by itself as failed before it tells about it.
        let is_entry = self.made.contains_key(&place) || neighbours::is_permanent(message);
        self.ours.contains_key(&place.link()) && !is_expected && is_entry
    }

    /// All routes of the main table matter, even other programs': they may lead to the peers. Those that the kernel makes for
    /// a device of ours do not.
    fn suspects_route(&self, message: &RouteMessage) -> bool {
        let Some(route) = routes::found(message) else {
            return false;
        };
        let Some(index) = routes::output(message) else {
            return true;
        };
        if RouteProtocol::from(route.protocol) == RouteProtocol::Kernel && self.ours.contains_key(&index) {
            return false;
        }
        !self.deleted.contains(&index)
    }
}
