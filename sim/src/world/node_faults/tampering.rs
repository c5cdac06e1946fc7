//! What others change on a node behind the daemon's back.

use std::net::Ipv4Addr;

use selvedge_engine::{KernelEvent, KernelObject, LinkName, MacAddress};

use crate::fault::{NodeFault, Tampering};
use crate::linux::{Linux, Lost};
use crate::node_id::NodeId;
use crate::underlay;
use crate::world::World;

impl World {
    /// Changes something in a node's kernel, which tells the daemon of it.
    pub(super) fn tamper(&mut self, node: NodeId, tampering: Tampering) {
        let choice = self.tamper_rng.next_u64();
        let address = underlay::net(&self.scenario, self.other_address_of(node));
        let Some(state) = self.nodes.get_mut(node.index()) else {
            return;
        };
        let linux = &mut state.linux;
        let was_moved = matches!(tampering, Tampering::MoveUnderlay) && linux.is_attached();
        let told = if was_moved {
            linux.move_to(address);
            Some(Vec::new())
        } else {
            change(linux, tampering, choice)
        };
        let Some(mut notices) = told else {
            self.detail(Some(node), "has nothing of the kind");
            return;
        };
        notices.push(KernelEvent::Doubted);
        self.note_presence(node);
        self.scars.tamper(node);
        self.notify(node, notices);
        self.reference.disturb(node, self.now);
    }

    /// Sets a node's card down or up again, as the faults that last at the moment want it.
    pub(super) fn change_attachment(&mut self, node: NodeId) {
        let is_down = self
            .lasting_node_faults(node)
            .any(|fault| *fault == NodeFault::UnderlayDown);
        let Some(state) = self.nodes.get_mut(node.index()) else {
            return;
        };
        if state.linux.is_attached() != is_down {
            return;
        }
        if is_down {
            state.linux.detach();
        } else {
            state.linux.attach();
        }
        self.notify(node, vec![KernelEvent::Doubted]);
        self.note_presence(node);
        self.reference.disturb(node, self.now);
        self.apply_path_faults();
    }

    /// Returns the one of a node's two addresses that it does not have at the moment.
    fn other_address_of(&self, node: NodeId) -> Ipv4Addr {
        let [first, second] = [node.public_ip(), node.second_public_ip()];
        if self.address_of(node) == first {
            second
        } else {
            first
        }
    }
}

/// Changes a kernel; returns what it tells besides that something is different, `None` if there is nothing to change.
fn change(linux: &mut Linux, tampering: Tampering, choice: u64) -> Option<Vec<KernelEvent>> {
    let did = |is_done: bool| is_done.then(Vec::new);
    let tunnel = linux.tunnel().cloned();
    match tampering {
        Tampering::DeleteTunnel => {
            let link = tunnel?;
            linux.delete_link(&link);
            Some(vec![KernelEvent::LinkVanished(link)])
        }
        Tampering::SetTunnelDown => {
            let link = tunnel?;
            linux.set_link_down(&link);
            Some(Vec::new())
        }
        Tampering::DeleteRoutes => {
            let routes = linux.delete_routes();
            let vanished = routes.into_iter().map(KernelObject::Route);
            Some(vanished.map(KernelEvent::Vanished).collect())
        }
        Tampering::RenameTunnel => {
            linux.rename_link(&tunnel?, LinkName(STRANGE_NAME.to_owned()));
            Some(Vec::new())
        }
        Tampering::ChangeTunnelMac => {
            let link = tunnel.filter(|link| linux.has_mac(link))?;
            let [bytes @ .., _, _] = choice.to_be_bytes();
            linux.set_link_mac(&link, MacAddress::local(bytes));
            Some(Vec::new())
        }
        Tampering::ChangeTunnelMtu => {
            let link = tunnel?;
            let mtu = linux.link_mtu(&link)?;
            linux.set_link_mtu(&link, mtu.saturating_sub(LESS_MTU));
            Some(Vec::new())
        }
        Tampering::LoseRoute => did(linux.lose(Lost::Route, choice)),
        Tampering::LoseNeighbour => did(linux.lose(Lost::Neighbour, choice)),
        Tampering::LoseFdbEntry => did(linux.lose(Lost::FdbEntry, choice)),
        Tampering::LoseAddress => did(linux.lose(Lost::Address, choice)),
        Tampering::MisdirectRoute => did(linux.misdirect_route(choice)),
        Tampering::FlapUnderlay => {
            let is_up = linux.is_attached();
            if is_up {
                linux.detach();
                linux.attach();
            }
            did(is_up)
        }
        // Only a card that is up has an address to change.
        Tampering::MoveUnderlay => None,
        Tampering::ChangeUnderlayMtu => {
            let usual = linux.attachment().mtu == underlay::MTU;
            linux.set_underlay_mtu(if usual {
                underlay::MTU - LESS_MTU
            } else {
                underlay::MTU
            });
            Some(Vec::new())
        }
    }
}

/// What a program calls a device that it thinks is its own.
const STRANGE_NAME: &str = "ethtun7";
/// By how much an MTU is lowered.
const LESS_MTU: u32 = 100;
