//! Two nodes with a pod behind each, joined by one of the ways.

use std::net::Ipv4Addr;
use std::path::Path;

use nix::unistd::Pid;
use selvedge_host::lab::{Interrupt, Lab, LabOptions, Namespace, NodeNumber, Place};

use crate::kernel_ways;
use crate::trouble::Trouble;
use crate::way::Way;

/// Two nodes with a pod behind each; dropping it removes them.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) way: Way,
    pub(crate) lab: Lab,
    pub(crate) interrupt: Interrupt,
    sender: NodeNumber,
    receiver: NodeNumber,
}

impl Pair {
    /// Brings it up and waits until the pods reach each other.
    pub(crate) fn up(
        number: usize,
        way: Way,
        program: &Path,
        interrupt: &Interrupt,
    ) -> Result<Self, Trouble> {
        let options = LabOptions {
            nodes: 2,
            node_flags: flags(way),
            ..LabOptions::new(format!("bench-{number}").parse()?, program.to_owned())
        };
        let lab = match way {
            Way::Ours(_) => Lab::up(options, interrupt.clone())?,
            Way::Vxlan => kernel_ways::vxlan(options, interrupt)?,
            Way::Plain => kernel_ways::plain(options, interrupt)?,
        };
        let [sender, receiver] = lab.nodes()[..] else {
            return Err(Trouble::Failed("a pair is two nodes".to_owned()));
        };
        Ok(Self {
            way,
            lab,
            interrupt: interrupt.clone(),
            sender,
            receiver,
        })
    }

    /// Returns both nodes, that of the sending pod first.
    pub(crate) fn nodes(&self) -> [NodeNumber; 2] {
        [self.sender, self.receiver]
    }

    /// Returns the namespace of the pod that sends.
    pub(crate) fn sending_pod(&self) -> Namespace {
        self.lab.namespace(Place::Pod(self.sender))
    }

    /// Returns the namespace of the pod that receives.
    pub(crate) fn receiving_pod(&self) -> Namespace {
        self.lab.namespace(Place::Pod(self.receiver))
    }

    /// Returns the address of the pod that receives.
    pub(crate) fn receiver(&self) -> Result<Ipv4Addr, Trouble> {
        let network = self.lab.pod_network(self.receiver)?;
        let no_room = || Trouble::Failed(format!("no room for a pod in {}", network.subnet()));
        network.pod().ok_or_else(no_room)
    }

    /// Returns the daemons' processes, that of the sending pod's node first, if the way has any.
    pub(crate) fn daemons(&self) -> Result<Option<[Pid; 2]>, Trouble> {
        match self.way {
            Way::Ours(_) => Ok(Some([self.daemon(self.sender)?, self.daemon(self.receiver)?])),
            Way::Vxlan | Way::Plain => Ok(None),
        }
    }

    fn daemon(&self, node: NodeNumber) -> Result<Pid, Trouble> {
        let place = Place::Node(node);
        match self.lab.namespace(place).pids()?[..] {
            [daemon] => Ok(daemon),
            [] | [_, _, ..] => Err(Trouble::Failed(format!("{place} has not exactly one process"))),
        }
    }
}

fn flags(way: Way) -> Vec<String> {
    match way {
        Way::Ours(level) => level.flags.iter().map(|flag| (*flag).to_owned()).collect(),
        Way::Vxlan | Way::Plain => Vec::new(),
    }
}
