//! A hash over everything that an engine wanted done.

use alloc::format;
use alloc::string::String;
use core::fmt::{self, Write as _};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::action::Action;

/// The hash of a sequence of actions; [`fmt::Display`] gives 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ActionHash(u64);

impl ActionHash {
    /// The hash of no actions.
    pub const EMPTY: Self = Self(0xcbf2_9ce4_8422_2325);

    /// Adds the next action.
    pub fn add(&mut self, action: &Action) {
        // Neither hashing nor the debug forms of actions can fail.
        writeln!(self, "{action:?}").unwrap_or_default();
    }
}

impl fmt::Write for ActionHash {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}

impl fmt::Display for ActionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for ActionHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ActionHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match u64::from_str_radix(&text, 16) {
            Ok(hash) if text.len() == 16 => Ok(Self(hash)),
            Ok(_) | Err(_) => Err(de::Error::custom(format!("{text:?} is no hash of 16 digits"))),
        }
    }
}
