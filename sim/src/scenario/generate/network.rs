//! Drawing a network config.

use crate::scenario::Scenario;
use crate::scenario::draw::Draw;

/// Draws a network config for so many nodes: with much room or little, for one family or both.
pub(super) fn draw(rng: &mut dyn Draw, nodes: usize) -> String {
    let is_tight = rng.chance(500_000);
    let is_dual = rng.chance(250_000);
    let tight = tight_subnet_len(nodes).filter(|_| is_tight);
    if tight.is_none() && !is_dual {
        return Scenario::usual_config(nodes);
    }
    let network = Scenario::usual_network(nodes);
    let length = tight.map_or(String::new(), |length| format!(r#","SubnetLen":{length}"#));
    let v6 = if is_dual { V6 } else { "" };
    format!(r#"{{"Network":"{network}"{length}{v6}}}"#)
}

const V6: &str = r#","EnableIPv6":true,"IPv6Network":"fd05::/48""#;

/// Returns a length of subnets of which there are little more than the nodes need, so that they contend for them; `None`
/// for more nodes than a network of 65,536 addresses has room for.
fn tight_subnet_len(nodes: usize) -> Option<u32> {
    (18..=28).find(|length| (1_usize << (length - 16)) > nodes + nodes / 4 + 1)
}
