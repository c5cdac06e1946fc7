//! Taking what a look at the node shows: the underlay, the ways to other nodes, and what is there of ours.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use ipnet::IpNet;

use super::{Active, Custody, Engine};
use crate::action::{Action, ExitReason, OpId};
use crate::backend::ConfigError;
use crate::engine::config_reader::ActiveConfig;
use crate::event::Event;
use crate::kernel::{FoundKind, FoundLink, KernelError, KernelFacts, LinkName, Survey};
use crate::network_config::NetworkConfig;
use crate::ownership::{Ownership, Tuns};
use crate::setup::{Errand, OnOverlap};
use crate::underlay::{Attachments, Underlay};
use crate::ways::Ways;

impl Engine {
    /// Looks at the node when it is time to.
    pub(super) fn survey(&mut self) {
        if !self.surveyor.is_due(self.outbox.now) {
            return;
        }
        let survey = Survey {
            tunnels: self.tunnels(),
            destination: self.setup.selection.destination(),
        };
        self.surveyor.ask(survey, &mut self.outbox);
    }

    pub(super) fn handle_surveyed(&mut self, id: OpId, result: Result<Box<KernelFacts>, KernelError>) {
        if !self.surveyor.awaits(id) {
            return;
        }
        match result {
            Ok(facts) => {
                self.surveyor.handle_found(&mut self.outbox);
                self.take(&facts);
                self.take_custody();
            }
            Err(error) => {
                let retry_in = self.surveyor.handle_failed(&mut self.outbox);
                self.outbox.tell(Event::SurveyFailed { error, retry_in });
            }
        }
    }

    fn take(&mut self, facts: &KernelFacts) {
        self.follow_underlay(facts);
        self.note_vteps(facts);
        self.note_ways(facts);
        self.note_objects(facts);
        match self.found_config.take() {
            Some(config) => self.begin_serving(config, facts),
            None => self.announce(),
        }
    }

    /// Looks at the node once more as soon as it is known what is wanted of it, and when it carries another subnet: some of
    /// what flannel left is known by that alone.
    pub(super) fn claim_custody(&mut self) {
        let carried = self.keeper.carried();
        if carried.is_none() || carried == self.looked_for {
            return;
        }
        self.looked_for = carried;
        if self.custody == Custody::Untouched {
            self.custody = Custody::Claimed;
        }
        self.surveyor.begin(self.outbox.now);
        self.survey();
    }

    fn take_custody(&mut self) {
        match self.custody {
            Custody::Untouched | Custody::Taken => {}
            Custody::Claimed if self.setup.errand == Errand::Plan => self.exit(ExitReason::Planned),
            Custody::Claimed => self.custody = Custody::Taken,
        }
    }

    /// Follows the interface, if it is still there; without one everything stays as it is.
    fn follow_underlay(&mut self, facts: &KernelFacts) {
        let attachments = Attachments::of(facts);
        let Some(underlay) = self.setup.underlay.follow(&attachments, &self.setup.selection) else {
            return;
        };
        if underlay == self.setup.underlay {
            return;
        }
        self.outbox.tell(Event::UnderlayChanged {
            underlay: underlay.clone(),
        });
        let addresses = |underlay: &Underlay| (underlay.address, underlay.address_v6);
        if addresses(&underlay) != addresses(&self.setup.underlay) {
            self.outbox.push(Action::Reconnect);
        }
        self.setup.underlay = underlay;
        self.placed = None;
        self.reconciler.hurry(&self.outbox);
    }

    /// Takes over the hardware addresses that the devices have, whoever gave them.
    fn note_vteps(&mut self, facts: &KernelFacts) {
        let tunnels = self.tunnels();
        let alias = self.setup.prefix.alias();
        let is_ours = |link: &&FoundLink| {
            let is_marked = link.alias == alias || link.alias.is_empty();
            is_marked && tunnels.contains(&link.name) && matches!(link.kind, FoundKind::Vxlan(_))
        };
        for link in facts.links.iter().filter(is_ours) {
            if let Some(mac) = link.mac
                && self.vteps.note(&link.name, mac)
            {
                self.placed = None;
            }
        }
    }

    fn note_ways(&mut self, facts: &KernelFacts) {
        let ways = Ways::of(facts, &self.networks());
        if ways != self.ways {
            self.ways = ways;
            self.placed = None;
        }
    }

    fn note_objects(&mut self, facts: &KernelFacts) {
        let ownership = Ownership {
            alias: &self.setup.prefix.alias(),
            tunnels: &self.tunnels(),
            networks: &self.networks(),
            reconciler: &self.reconciler,
            tuns: match self.setup.errand {
                Errand::Serve => Tuns::OwnAlone,
                Errand::Plan => Tuns::Daemons,
            },
            carried: self.keeper.carried(),
            underlay: Some(&self.setup.underlay.interface),
        };
        let found = ownership.of(facts);
        self.reconciler.handle_survey(found, &mut self.outbox);
    }

    /// Serves a network config, if the node has what its backend needs.
    fn begin_serving(&mut self, config: ActiveConfig, facts: &KernelFacts) {
        let underlay = &self.setup.underlay;
        let needed = config.backend.needs(&config.network);
        if !underlay.serves(needed) {
            let interface = underlay.interface.clone();
            return self.exit(ExitReason::Underlay { interface, needed });
        }
        let checked = config.backend.check(underlay, &config.network);
        if let Err(error) = checked.and_then(|()| self.check_overlap(&config.network, facts)) {
            return self.exit(ExitReason::Config { error });
        }
        let record = config
            .backend
            .lease_record(underlay, &config.network, &self.vteps);
        self.active = Some(Active { config, record });
        self.follower.list(&mut self.outbox);
    }

    /// Refuses an overlay that would take addresses of the interface's networks, or the store's.
    fn check_overlap(&self, network: &NetworkConfig, facts: &KernelFacts) -> Result<(), ConfigError> {
        if self.setup.on_overlap == OnOverlap::Serve {
            return Ok(());
        }
        let Underlay { interface, index, .. } = &self.setup.underlay;
        let attached = facts.addresses.iter().filter(|found| found.link == *index);
        let attached = attached.filter_map(|found| {
            let net = IpNet::new(found.address, found.prefix_len).ok()?;
            Some((net.trunc(), format!("the network of {interface}")))
        });
        let stores = self.setup.store_addresses.iter();
        let stores = stores.map(|address| (IpNet::from(*address), "etcd's address".to_string()));
        let clash = attached.chain(stores).find_map(|(underlay, role)| {
            let network = network.claims(underlay)?;
            Some(ConfigError::OverlapsUnderlay {
                network,
                underlay,
                role,
            })
        });
        clash.map_or(Ok(()), Err)
    }

    /// Works out what the node's lease has to say.
    fn announce(&mut self) {
        let Some(active) = &mut self.active else { return };
        let config = &active.config;
        let record = config
            .backend
            .lease_record(&self.setup.underlay, &config.network, &self.vteps);
        if record != active.record {
            active.record = record;
            self.judged = None;
        }
    }

    fn config_to_serve(&self) -> Option<&ActiveConfig> {
        let active = self.active.as_ref().map(|active| &active.config);
        self.found_config.as_ref().or(active)
    }

    fn tunnels(&self) -> Vec<LinkName> {
        let config = self.config_to_serve();
        config.map_or_else(Vec::new, |config| config.backend.tunnels(&config.network))
    }

    /// Returns the overlay's networks, and those of the subnets that the node had before.
    fn networks(&self) -> Vec<IpNet> {
        let config = self.config_to_serve();
        let networks = config.map_or_else(Vec::new, |config| config.network.networks());
        networks
            .into_iter()
            .chain(self.setup.former_networks.iter().copied())
            .collect()
    }
}
