//! What the membership filter counted.

use std::collections::BTreeMap;

use selvedge_engine::{FilterCounter, KernelError, RulesetName};
use serde_json::Value;

use super::Firewall;
use super::tool::{self, Purpose};

/// How many packets were counted for one reason.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FilterCount {
    /// The packets, dropped or only logged.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Firewall {
    /// Reads the filter's counters, which count on over changes of its rules and restarts of the daemon.
    ///
    /// # Errors
    ///
    /// If there is no filter, or `nft` cannot be run.
    pub async fn counters(&mut self) -> Result<BTreeMap<FilterCounter, FilterCount>, KernelError> {
        let (family, table) = RulesetName::Membership.table().unwrap_or_default();
        let args = ["-j", "list", "counters", "table", family, table];
        let listed = tool::run_nft(&args, "", &mut self.watch).await;
        let json = listed.map_err(|error| error.of(Purpose::Ruleset(RulesetName::Membership)))?;
        Ok(parse(&json))
    }
}

fn parse(json: &str) -> BTreeMap<FilterCounter, FilterCount> {
    let listed: Value = serde_json::from_str(json).unwrap_or_default();
    let counters = listed["nftables"].as_array().into_iter().flatten();
    let counters = counters.filter_map(|object| object.get("counter"));
    counters
        .filter_map(|counter| {
            let name = counter["name"].as_str()?;
            let reason = FilterCounter::ALL
                .into_iter()
                .find(|reason| reason.name() == name)?;
            let count = FilterCount {
                packets: counter["packets"].as_u64()?,
                bytes: counter["bytes"].as_u64()?,
            };
            Some((reason, count))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_ours_are_read() {
        let listed = r#"{"nftables": [{"metainfo": {}},
            {"counter": {"name": "unknown_sender", "packets": 3, "bytes": 252}},
            {"counter": {"name": "theirs", "packets": 9, "bytes": 9}}, {"counter": {"name": "foreign_source"}}]}"#;

        let counters = parse(listed);

        let count = FilterCount {
            packets: 3,
            bytes: 252,
        };
        assert_eq!(counters, BTreeMap::from([(FilterCounter::UnknownSender, count)]));
        assert_eq!(parse("no json"), BTreeMap::new());
    }
}
