//! Names for what differs from run to run in what `ip` and others print.

use std::net::Ipv6Addr;

use selvedge_host::lab::Place;

use crate::real_nodes::{RealNodes, node};

/// The random subnets and hardware addresses of a lab's nodes, and what they are called instead.
#[derive(Clone, Debug)]
pub struct Names(Vec<(String, String)>);

impl Names {
    /// Finds what the nodes have: the subnets of node N become `10.50.N.0/24` and `fd50:0:0:N::/64`, the hardware addresses
    /// of these devices `<mac of DEVICE on node-N>`.
    ///
    /// # Panics
    ///
    /// If a node has no such device.
    pub fn of(real: &RealNodes, devices: &[&str]) -> Self {
        let mut names = Vec::new();
        for (number, place) in (1_u8..).zip(real.lab.nodes()) {
            let [a, b, c, _] = real.subnet_address(number).octets();
            names.push((format!("{a}.{b}.{c}."), format!("10.50.{number}.")));
            if let Some([a, b, c, d, ..]) = real.subnet_address_v6(number).map(|net| net.segments()) {
                // Programs leave out the longest run of zeros, which is at the end.
                let prefix = Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).to_string();
                names.push((prefix, format!("fd50:0:0:{number}::")));
            }
            for device in devices {
                let file = format!("/sys/class/net/{device}/address");
                let namespace = real.lab.namespace(Place::Node(place));
                let shown = namespace.command("cat").arg(&file).output().expect("cat runs");
                assert!(shown.status.success(), "{shown:?}");
                let mac = String::from_utf8_lossy(&shown.stdout).trim().to_owned();
                names.push((mac, format!("<mac of {device} on {}>", Place::Node(node(number)))));
            }
        }
        Self(names)
    }

    /// Puts the names in place of what they stand for; link-local addresses lose their digits, and blanks
    /// are made equal.
    pub fn replace_in(&self, text: &str) -> String {
        let mut text = text.to_owned();
        // Not in one step: one node's real subnet may be what another's becomes.
        for (number, (real, _)) in self.0.iter().enumerate() {
            text = text.replace(real, &format!("{{{number}}}"));
        }
        for (number, (_, name)) in self.0.iter().enumerate() {
            text = text.replace(&format!("{{{number}}}"), name);
        }
        text.lines().map(line).collect::<Vec<_>>().join("\n")
    }
}

fn line(line: &str) -> String {
    line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

fn word(word: &str) -> String {
    let address = word.split_once('/').map_or(word, |(address, _)| address);
    match address.parse::<Ipv6Addr>() {
        Ok(address) if address.is_unicast_link_local() => "<link-local>".to_owned(),
        Ok(_) | Err(_) => word.to_owned(),
    }
}
