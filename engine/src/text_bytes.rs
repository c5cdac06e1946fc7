//! Bytes as text, for people who read recordings: UTF-8 as it is, anything else as `{"hex":"00ff"}`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Form {
    Text(String),
    Hex { hex: String },
}

/// Writes bytes.
pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    match core::str::from_utf8(bytes) {
        Ok(text) => serializer.serialize_str(text),
        Err(_) => Form::Hex { hex: to_hex(bytes) }.serialize(serializer),
    }
}

/// Reads bytes.
pub(crate) fn deserialize<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: From<Vec<u8>>,
{
    match Form::deserialize(deserializer)? {
        Form::Text(text) => Ok(text.into_bytes().into()),
        Form::Hex { hex } => from_hex(&hex)
            .map(T::from)
            .ok_or_else(|| de::Error::custom("not bytes in hexadecimal")),
    }
}

/// Bytes of any container, in this form.
#[derive(Deserialize, Serialize)]
#[serde(transparent)]
struct Text<T: AsRef<[u8]> + From<Vec<u8>>>(
    #[serde(serialize_with = "serialize_any", deserialize_with = "deserialize")] T,
);

fn serialize_any<T: AsRef<[u8]>, S: Serializer>(bytes: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serialize(bytes.as_ref(), serializer)
}

/// Bytes that may be missing.
pub(crate) mod option {
    use alloc::vec::Vec;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Text;

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(crate) fn serialize<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        bytes.clone().map(Text).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        let text = Option::<Text<Vec<u8>>>::deserialize(deserializer)?;
        Ok(text.map(|Text(bytes)| bytes))
    }
}

/// Maps whose keys are bytes, as lists of pairs.
pub(crate) mod map {
    use alloc::collections::BTreeMap;
    use alloc::sync::Arc;
    use alloc::vec::Vec;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Text;

    pub(crate) fn serialize<V: Serialize, S: Serializer>(
        map: &BTreeMap<Arc<[u8]>, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map.iter().map(|(key, value)| (Text(key.clone()), value)))
    }

    pub(crate) fn deserialize<'de, V, D>(deserializer: D) -> Result<BTreeMap<Arc<[u8]>, V>, D::Error>
    where
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        let pairs = Vec::<(Text<Arc<[u8]>>, V)>::deserialize(deserializer)?;
        Ok(pairs.into_iter().map(|(Text(key), value)| (key, value)).collect())
    }
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        write!(hex, "{byte:02x}").unwrap_or_default();
        hex
    })
}

pub(crate) fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let (pairs, []) = hex.as_bytes().as_chunks::<2>() else {
        return None;
    };
    pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect()
}

fn digit(letter: u8) -> Option<u8> {
    let digit = char::from(letter).to_digit(16)?;
    u8::try_from(digit).ok()
}
