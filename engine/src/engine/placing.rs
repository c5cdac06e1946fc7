//! Putting the node into the overlay: what it wants in its kernel, and by what its packets are forwarded.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::IpNet;

use super::{Custody, Engine, Filtering, Position};
use crate::action::Action;
use crate::backend::{OffLink, Placement};
use crate::desired::{Admission, Owner};
use crate::event::Event;
use crate::firewall::{FilteredNode, MembershipFilter, traffic_rulesets};
use crate::forwarding_table::{ForwardingTable, TunnelParams};
use crate::kernel::KernelObject;
use crate::leases::Changes;
use crate::peers::{PeerNews, Place, Standpoint};
use crate::setup::{Errand, Membership};
use crate::subnet::Subnet;

impl Engine {
    /// Sets the desired state and the forwarding table from the subnet that the node carries, as far as what they
    /// depend on has changed.
    pub(super) fn place(&mut self) {
        let Some(active) = &self.active else { return };
        let changes = self.follower.take_changes();
        let Some(subnet) = self.keeper.carried() else {
            self.judged = None;
            self.placed = None;
            let now = self.followed_now();
            let backend = &active.config.backend;
            let stale = self
                .peers
                .note_departures(&changes, self.follower.leases(), backend, now);
            self.tell_stale(stale.len());
            self.reconciler.desire_nothing();
            if self.is_robbed() {
                self.custody = Custody::Taken;
            }
            return;
        };
        let news = self.judge_peers(subnet, &changes);
        self.tell_peers(&news);
        let position = Position {
            subnet,
            names_taken: self.names_taken,
            membership: self.membership(),
        };
        if self.placed != Some(position) {
            self.placed = Some(position);
            return self.move_to(position, &news);
        }
        if let Some(table) = self.table.as_ref().filter(|_| !news.routes.is_empty()) {
            self.forward(*table.params(), &news);
        }
        for (net, place) in news.routes {
            self.reach(net, place);
        }
    }

    /// Tells whether the subnet is another node's that an earlier run left traffic on.
    fn is_robbed(&self) -> bool {
        let former = self.setup.previous.subnet();
        former
            .zip(self.active.as_ref())
            .is_some_and(|(former, active)| self.keeper.is_anothers(&former, &active.claim(), &self.follower))
    }

    fn move_to(&mut self, position: Position, news: &PeerNews) {
        let Some(active) = &self.active else { return };
        let placement = Placement {
            setup: &self.setup,
            network: &active.config.network,
            subnet: position.subnet,
            vteps: &self.vteps,
            names_taken: position.names_taken,
        };
        let mut own = active.config.backend.desired(&placement);
        let filter = match position.membership {
            Membership::Off => MembershipFilter::default(),
            Membership::Log | Membership::Enforce => active.config.backend.filter(&placement),
        };
        let traffic = traffic_rulesets(
            placement.network,
            &placement.subnet,
            self.setup.masquerade,
            &self.setup.traffic,
        );
        let rulesets = traffic.into_iter().chain(filter.ruleset(position.membership));
        own.extend(rulesets.map(KernelObject::Ruleset));
        let tunnel = active.config.backend.tunnel(&placement);
        self.filter = filter;
        self.reconciler.desire(Owner::Node, own);
        let peers: BTreeMap<_, _> = self.peers.places().collect();
        let gone = self.reconciler.peers().filter(|net| !peers.contains_key(net));
        for net in gone.collect::<Vec<_>>() {
            self.reach(net, None);
        }
        for (net, place) in peers {
            self.reach(net, Some(place));
        }
        if let Some(params) = tunnel {
            self.forward(params, news);
        }
    }

    /// Wants what leads to a peer, or nothing any more.
    fn reach(&mut self, net: IpNet, place: Option<Place>) {
        let Some(active) = &self.active else { return };
        let way = place.map(|place| {
            let objects = active.config.backend.peer_objects(net, &place, &self.ways);
            (place, objects)
        });
        if let Some((Place { public_ip, .. }, Err(OffLink))) = way {
            if self.off_link.insert(net) {
                self.outbox.tell(Event::PeerOffLink { net, public_ip });
            }
            return self.reconciler.desire(Owner::Peer(net), Vec::new());
        }
        self.off_link.remove(&net);
        let mut objects = Vec::new();
        if let Some((place, Ok(leading))) = way {
            let members = self.filter.members(&filtered(net, &place));
            objects.extend(leading);
            objects.extend(members.into_iter().map(KernelObject::Member));
        }
        self.reconciler.desire(Owner::Peer(net), objects);
    }

    fn forward(&mut self, params: TunnelParams, news: &PeerNews) {
        let table = match &self.table {
            Some(table) if *table.params() == params && news.routes.is_empty() => return,
            Some(table) => table.with(params, news.v4_routes()),
            None => ForwardingTable::new(params, self.peers.v4()),
        };
        let table = Arc::new(table);
        self.outbox.push(Action::Forwarding(table.clone()));
        self.table = Some(table);
    }

    /// Returns what happens to packets that are not members': nothing is dropped before all members are known.
    fn membership(&mut self) -> Membership {
        // Whoever plans for a node that runs drops nothing himself.
        if self.setup.errand == Errand::Plan {
            return self.setup.membership;
        }
        if self.setup.membership != Membership::Enforce || self.filtering == Filtering::Enforced {
            return self.setup.membership;
        }
        if self.placed.is_none() || !self.reconciler.has_all_members() {
            return Membership::Log;
        }
        self.filtering = Filtering::Enforced;
        self.reconciler.admit(Admission::MembersOnly);
        Membership::Enforce
    }

    fn judge_peers(&mut self, subnet: Subnet, changes: &Changes) -> PeerNews {
        let now = self.followed_now();
        let leases = self.follower.leases();
        if let Some((judged, standpoint)) = &self.judged
            && *judged == subnet
        {
            return self.peers.judge(changes, leases, standpoint, now);
        }
        let Some(active) = &self.active else {
            return PeerNews::default();
        };
        let standpoint = Standpoint::new(
            leases.key_of(&subnet).into(),
            &subnet,
            &active.record,
            &active.config.backend,
            &active.config.network,
        );
        let news = self.peers.judge_all(changes, leases, &standpoint, now);
        self.judged = Some((subnet, standpoint));
        news
    }
}

/// Describes a peer to the packet filter.
fn filtered(net: IpNet, place: &Place) -> FilteredNode {
    let (v4, v6) = match place.public_ip {
        IpAddr::V4(address) => (Some(address), None),
        IpAddr::V6(address) => (None, Some(address)),
    };
    FilteredNode {
        v4,
        v6,
        subnet: Subnet::from(net),
    }
}
