//! What the programs and the kernel of this node can do.

use selvedge_engine::{ForwardRules, SourcePorts, TrafficOptions};

use super::Firewall;
use super::tool;

/// The first release of iptables with `--random-fully`.
const FIRST_RANDOM_FULLY: [u32; 3] = [1, 6, 2];

/// A rule that is checked and never made.
const PROBE: &str = "table ip selvedge-probe {
\tchain postrouting {
\t\ttype nat hook postrouting priority 100; policy accept;
\t\tmasquerade fully-random
\t}
}
";

impl Firewall {
    /// Puts what the operator wants of the traffic rules together with what this node can do.
    pub async fn traffic_options(
        &mut self,
        forward_rules: ForwardRules,
        wanted: SourcePorts,
    ) -> TrafficOptions {
        let (nftables_ports, iptables_ports) = match wanted {
            SourcePorts::Kept => (SourcePorts::Kept, SourcePorts::Kept),
            SourcePorts::FullyRandom => (self.nftables_ports().await, self.iptables_ports().await),
        };
        TrafficOptions {
            forward_rules,
            nftables_ports,
            iptables_ports,
        }
    }

    /// Finds out how nftables can pick the source ports of masqueraded connections.
    async fn nftables_ports(&mut self) -> SourcePorts {
        match tool::run_nft(&["-c", "-f", "-"], PROBE, &mut self.watch).await {
            Ok(_) => SourcePorts::FullyRandom,
            Err(error) => {
                tracing::debug!("nftables picks no random source ports: {error}");
                SourcePorts::Kept
            }
        }
    }

    /// Finds out how iptables can.
    async fn iptables_ports(&mut self) -> SourcePorts {
        match tool::start("iptables", &["--version"], "", &mut self.watch).await {
            Ok(text) if version(&text).is_some_and(|version| version >= FIRST_RANDOM_FULLY) => {
                SourcePorts::FullyRandom
            }
            Ok(text) => {
                tracing::debug!("iptables picks no random source ports: {}", text.trim());
                SourcePorts::Kept
            }
            Err(error) => {
                tracing::debug!("iptables picks no random source ports: {error}");
                SourcePorts::Kept
            }
        }
    }
}

/// Reads a version from a text such as `iptables v1.8.9 (nf_tables)`.
fn version(text: &str) -> Option<[u32; 3]> {
    let word = text.split_whitespace().find_map(|word| word.strip_prefix('v'))?;
    let mut parts = word.split('.').map(str::parse);
    let version = [parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?];
    Some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared_by_their_numbers() {
        assert_eq!(version("iptables v1.8.9 (nf_tables)\n"), Some([1, 8, 9]));
        assert_eq!(version("iptables v1.4.21"), Some([1, 4, 21]));
        assert!(version("iptables v1.4.21") < Some(FIRST_RANDOM_FULLY));
        assert_eq!(version("iptables v1.8"), None);
        assert_eq!(version(""), None);
    }
}
