//! Hardware addresses.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// A hardware address of 48 bits; its text is lower case with colons.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress(pub [u8; 6]);

/// A text that is no hardware address.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a hardware address has six hexadecimal bytes with colons between them")]
pub struct MacAddressError;

impl MacAddress {
    /// Returns an address that nobody was given by its maker: the group bit is clear, the local bit set (IEEE 802, 8.4).
    pub const fn local(mut bytes: [u8; 6]) -> Self {
        bytes[0] = (bytes[0] & 0xfc) | 0x02;
        Self(bytes)
    }

    /// Tells whether a single device can have it.
    pub fn is_unicast(self) -> bool {
        let [first, ..] = self.0;
        first & 0x01 == 0 && self.0 != [0; 6]
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(f, "{first:02x}")?;
        rest.iter().try_for_each(|byte| write!(f, ":{byte:02x}"))
    }
}

impl FromStr for MacAddress {
    type Err = MacAddressError;

    /// Reads six bytes of two hexadecimal digits each, in any case, with colons.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2);
            let digits = part.filter(|part| part.bytes().all(|digit| digit.is_ascii_hexdigit()));
            let digits = digits.ok_or(MacAddressError)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| MacAddressError)?;
        }
        match parts.next() {
            Some(_) => Err(MacAddressError),
            None => Ok(Self(bytes)),
        }
    }
}

impl TryFrom<String> for MacAddress {
    type Error = MacAddressError;

    fn try_from(text: String) -> Result<Self, MacAddressError> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(address: MacAddress) -> Self {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_six_bytes_of_two_digits_are_an_address() {
        for bad in [
            "",
            "46:3d:a8:dc:ed",
            "46:3d:a8:dc:ed:cb:00",
            "46-3d-a8-dc-ed-cb",
            "4:3d:a8:dc:ed:cb",
            "+4:3d:a8:dc:ed:cb",
            "46:3d:a8:dc:ed:cg",
        ] {
            assert_eq!(bad.parse::<MacAddress>(), Err(MacAddressError), "{bad}");
        }
        assert_eq!(
            "46:3D:a8:dc:ed:CB".parse(),
            Ok(MacAddress([0x46, 0x3d, 0xa8, 0xdc, 0xed, 0xcb]))
        );
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(bytes in any::<[u8; 6]>()) {
            let address = MacAddress(bytes);

            prop_assert_eq!(address.to_string().parse(), Ok(address));
            prop_assert!(MacAddress::local(bytes).is_unicast());
        }
    }
}
