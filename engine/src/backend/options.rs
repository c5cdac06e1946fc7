//! Reading a backend's options.

use alloc::string::ToString;

use serde::Deserialize;

use super::ConfigError;
use crate::json::Object;
use crate::network_config::BackendConfig;

/// The options in a network config's `Backend`, whose key names match in any case.
#[derive(Debug)]
pub(super) struct Options<'a> {
    object: Object<'a>,
}

impl<'a> Options<'a> {
    pub(super) fn of(backend: &'a BackendConfig) -> Self {
        let text = backend.options.as_bytes();
        Self {
            object: Object::parse(text, text.len()).unwrap_or_default(),
        }
    }

    /// Returns an option of which `rule` says what it must be, in words; `null` counts as absent.
    pub(super) fn read<T: Deserialize<'a>>(
        &self,
        key: &'static str,
        rule: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        self.object.get(key).map_err(|wrong| ConfigError::BadOption {
            key,
            value: wrong.value.to_string(),
            rule,
        })
    }

    /// Returns an option that is on or off; off if it is absent.
    pub(super) fn is_on(&self, key: &'static str) -> Result<bool, ConfigError> {
        Ok(self.read(key, "true or false")?.unwrap_or_default())
    }
}

/// Refuses a value of the right type.
pub(super) fn bad(key: &'static str, value: &impl ToString, rule: &'static str) -> ConfigError {
    ConfigError::BadOption {
        key,
        value: value.to_string(),
        rule,
    }
}
