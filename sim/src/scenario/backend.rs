//! The backend that the network config asks for.

use selvedge_engine::{GroupPolicy, Learning, NetworkConfig};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Scenario;

/// The way that packets take between nodes.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// Through the daemons, in UDP datagrams.
    #[default]
    Udp,
    /// Through the kernels, in VXLAN datagrams.
    Vxlan,
    /// Through the kernels, as they are.
    HostGw,
}

/// The options of the `vxlan` backend; the usual ones are those of a config that has none.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct VxlanOptions {
    /// The network identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vni: Option<u32>,
    /// The UDP port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The MTU of the underlay in bytes, if not the card's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Whether packets carry a group policy.
    pub group_policy: GroupPolicy,
    /// Whether the devices learn.
    pub learning: Learning,
    /// How nodes reach others of their segment.
    pub direct_routing: DirectRouting,
}

/// Whether nodes send packets to nodes of their segment as they are.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DirectRouting {
    /// All are in VXLAN datagrams.
    #[default]
    Off,
    /// They do.
    On,
}

impl Backend {
    /// Returns the `Backend.Type` of the network config.
    const fn kind(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Vxlan => "vxlan",
            Self::HostGw => "host-gw",
        }
    }
}

impl Scenario {
    /// Returns the network config with the backend, unless that is the usual one or the config says another itself.
    pub fn network_config(&self) -> String {
        let Ok(Value::Object(config)) = serde_json::from_str(&self.config) else {
            return self.config.clone();
        };
        let has_backend = config.keys().any(|key| key.eq_ignore_ascii_case(KEY));
        let body = self.config.trim_end().strip_suffix('}');
        match body.filter(|_| !has_backend && self.backend != Backend::Udp) {
            Some(body) => {
                let comma = if config.is_empty() { "" } else { "," };
                format!(r#"{body}{comma}"{KEY}":{}}}"#, self.backend_object())
            }
            None => self.config.clone(),
        }
    }

    /// Returns the backend that the nodes run; those of `alloc` write their leases as those of `udp` do.
    pub(crate) fn backend_served(&self) -> Backend {
        let config = NetworkConfig::parse(self.network_config().as_bytes());
        let kind = config.map(|config| config.backend.kind);
        let all = [Backend::Vxlan, Backend::HostGw];
        let served = all
            .into_iter()
            .find(|backend| kind.as_deref() == Ok(backend.kind()));
        served.unwrap_or(Backend::Udp)
    }

    fn backend_object(&self) -> Value {
        let mut object = Map::new();
        object.insert("Type".to_owned(), json!(self.backend.kind()));
        match self.backend {
            Backend::Udp | Backend::HostGw => {}
            Backend::Vxlan => object.extend(self.vxlan.options()),
        }
        Value::Object(object)
    }
}

impl VxlanOptions {
    /// Returns what the network config has to say.
    fn options(&self) -> impl Iterator<Item = (String, Value)> + use<> {
        let Self {
            vni,
            port,
            mtu,
            group_policy,
            learning,
            direct_routing,
        } = *self;
        let is_on = |is_on: bool| is_on.then_some(Value::Bool(true));
        let options = [
            ("VNI", vni.map(|vni| json!(vni))),
            ("Port", port.map(|port| json!(port))),
            ("MTU", mtu.map(|mtu| json!(mtu))),
            ("GBP", is_on(group_policy == GroupPolicy::On)),
            ("Learning", is_on(learning == Learning::On)),
            ("DirectRouting", is_on(direct_routing == DirectRouting::On)),
        ];
        let unusual = options.into_iter().filter_map(|(key, value)| Some((key, value?)));
        unusual.map(|(key, value)| (key.to_owned(), value))
    }
}

/// The key of the network config.
const KEY: &str = "Backend";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_usual_backend_is_not_said() {
        let scenario = Scenario::new(1, 2, Duration::ZERO);

        assert_eq!(scenario.network_config(), scenario.config);
    }

    #[test]
    fn a_backend_and_its_unusual_options_are_in_the_network_config() {
        let mut scenario = Scenario::new(1, 2, Duration::ZERO);
        scenario.backend = Backend::Vxlan;
        scenario.vxlan.port = Some(4789);
        scenario.vxlan.direct_routing = DirectRouting::On;

        let text = scenario.network_config();

        let config = NetworkConfig::parse(text.as_bytes()).unwrap();
        assert_eq!(config.backend.kind, "vxlan");
        assert_eq!(
            text,
            r#"{"Network":"10.5.0.0/16","Backend":{"DirectRouting":true,"Port":4789,"Type":"vxlan"}}"#
        );
    }

    #[test]
    fn what_is_no_config_and_what_names_a_backend_stays_as_it_is() {
        let mut scenario = Scenario::new(1, 2, Duration::ZERO);
        scenario.backend = Backend::HostGw;
        for config in [
            "{",
            "[]",
            r#"{"Network":"10.5.0.0/16","backend":{"Type":"alloc"}}"#,
        ] {
            config.clone_into(&mut scenario.config);

            assert_eq!(scenario.network_config(), config);
        }
    }
}
