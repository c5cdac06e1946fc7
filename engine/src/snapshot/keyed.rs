//! Maps whose keys follow from their values, as lists of the values.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value that knows the key that it is kept under.
pub(crate) trait Keyed {
    type Key: Ord;

    fn key(&self) -> Self::Key;
}

/// Writes the values.
pub(crate) fn serialize<K, V: Serialize, S: Serializer>(
    map: &BTreeMap<K, V>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(map.values())
}

/// Reads the values, and finds their keys.
pub(crate) fn deserialize<'de, V, D>(deserializer: D) -> Result<BTreeMap<V::Key, V>, D::Error>
where
    V: Keyed + Deserialize<'de>,
    D: Deserializer<'de>,
{
    let values = Vec::<V>::deserialize(deserializer)?;
    Ok(values.into_iter().map(|value| (value.key(), value)).collect())
}
