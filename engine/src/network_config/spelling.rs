//! Keys of a network config that mean nothing, and what may be meant (faults.md, 52).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::mem;

use super::error::excerpt;
use super::{KEYS, MAX_CONFIG};
use crate::json::Object;

/// Every option of every backend (backends.md).
const OPTIONS: [&str; 22] = [
    "Type",
    "Port",
    "VNI",
    "MTU",
    "GBP",
    "Learning",
    "DirectRouting",
    "Name",
    "MacPrefix",
    "ListenPort",
    "ListenPortV6",
    "PSK",
    "PersistentKeepaliveInterval",
    "Mode",
    "UDPEncap",
    "ESPProposal",
    "PreStartupCommand",
    "PostStartupCommand",
    "SubnetAddCommand",
    "SubnetRemoveCommand",
    "ShutdownCommand",
    "RouteTableID",
];

/// How many keys are named.
const MOST: usize = 5;

/// A key that means nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnknownKey {
    /// Its path, such as `Backend.Prot`.
    pub path: String,
    /// The key that is written much like it.
    pub meant: Option<&'static str>,
}

impl fmt::Display for UnknownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} means nothing and is not looked at", self.path)?;
        match self.meant {
            Some(meant) => write!(f, "; did you mean {meant}?"),
            None => Ok(()),
        }
    }
}

/// Returns the first few keys of a network config, and of its `Backend`, that mean nothing.
pub(crate) fn unknown_keys(text: &[u8]) -> Vec<UnknownKey> {
    let Ok(object) = Object::parse(text, MAX_CONFIG) else {
        return Vec::new();
    };
    let options = object.raw("Backend").unwrap_or("{}");
    let options = Object::parse(options.as_bytes(), MAX_CONFIG).unwrap_or_default();
    let above = unknown(&object, "", &KEYS);
    let below = unknown(&options, "Backend.", &OPTIONS);
    above.into_iter().chain(below).take(MOST).collect()
}

fn unknown(object: &Object<'_>, prefix: &str, known: &[&'static str]) -> Vec<UnknownKey> {
    let keys = object.unknown_keys(known).into_iter().take(MOST);
    keys.map(|key| UnknownKey {
        path: alloc::format!("{prefix}{}", excerpt(key)),
        meant: nearest(key, known),
    })
    .collect()
}

/// Returns the known key from which the fewest letters are wrong, if these are at most two and half of it.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let key: Vec<char> = key
        .chars()
        .take(MAX_LETTERS)
        .map(|letter| letter.to_ascii_lowercase())
        .collect();
    let distances = known.iter().map(|name| (distance(&key, name), *name));
    let (wrong, name) = distances.min()?;
    (wrong <= 2 && wrong * 2 <= name.len()).then_some(name)
}

/// No known key has as many letters.
const MAX_LETTERS: usize = 40;

/// Returns how many letters have to be inserted, deleted or replaced (Levenshtein), whatever their case.
fn distance(key: &[char], name: &str) -> usize {
    let mut row: Vec<usize> = (0..=key.len()).collect();
    for (line, letter) in name.chars().enumerate() {
        let mut left = line + 1;
        let mut diagonal = row
            .first_mut()
            .map_or(line, |first| mem::replace(first, line + 1));
        for (cell, other) in row.iter_mut().skip(1).zip(key) {
            let replaced = diagonal + usize::from(letter.to_ascii_lowercase() != *other);
            left = replaced.min(left + 1).min(*cell + 1);
            diagonal = mem::replace(cell, left);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn a_misspelt_key_is_named_with_what_is_meant() {
        let config = br#"{"Netwrok":"10.5.0.0/16","SubnetLenn":24,
            "Backend":{"Type":"vxlan","DirectRoutin":true,"Prot":8472,"VN":1}}"#;

        let told: Vec<_> = unknown_keys(config)
            .iter()
            .map(|key| format!("{} -> {}", key.path, key.meant.unwrap_or("?")))
            .collect();

        assert_eq!(
            told,
            [
                "Netwrok -> Network",
                "SubnetLenn -> SubnetLen",
                "Backend.DirectRoutin -> DirectRouting",
                "Backend.Prot -> Port",
                "Backend.VN -> VNI",
            ]
        );
    }

    #[test]
    fn every_known_key_is_known_in_any_case_and_recognised_with_a_letter_missing() {
        for (prefix, known) in [("", &KEYS[..]), ("Backend.", &OPTIONS[..])] {
            for name in known {
                let text = |key: &str| match prefix {
                    "" => format!(r#"{{"{key}":null}}"#),
                    _ => format!(r#"{{"Backend":{{"{key}":null}}}}"#),
                };
                assert_eq!(unknown_keys(text(&name.to_ascii_lowercase()).as_bytes()), []);
                let shorter = &name[1..];
                if known.contains(&shorter) || name.len() < 4 {
                    continue;
                }
                let told = unknown_keys(text(shorter).as_bytes());
                assert_eq!(told.len(), 1, "{shorter}");
                assert!(told[0].meant.is_some(), "{shorter}");
            }
        }
    }

    #[test]
    fn distances_are_those_of_levenshtein() {
        let letters = |text: &str| text.chars().collect::<Vec<_>>();
        for (key, name, expected) in [
            ("", "Port", 4),
            ("port", "Port", 0),
            ("prot", "Port", 2),
            ("kitten", "sitting", 3),
            ("portv6", "Port", 2),
        ] {
            assert_eq!(distance(&letters(key), name), expected, "{key} {name}");
        }
    }

    #[test]
    fn what_is_no_config_has_no_keys_and_many_are_not_all_named() {
        assert_eq!(unknown_keys(b"no JSON"), []);
        let many: Vec<_> = (0..50).map(|number| format!(r#""key{number}":1"#)).collect();
        let text = format!("{{{}}}", many.join(","));

        assert_eq!(unknown_keys(text.as_bytes()).len(), MOST);
    }
}
