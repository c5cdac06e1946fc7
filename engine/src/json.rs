//! JSON objects as Go reads them: key names in any case, the last of equal keys wins.
//!
//! Go's `encoding/json` wrote and reads everything in the store, so its reading is the format's definition
//! (control-plane.md, 2.1 and 3.2).

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::Deserialize;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// How deep arrays and objects may be nested.
const MAX_DEPTH: usize = 128;

/// The top level of a JSON object; what lies below it stays raw text.
#[derive(Debug, Default)]
pub(crate) struct Object<'a> {
    entries: Vec<(String, &'a str)>,
}

/// Why a text is not the JSON object that it should be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum JsonError {
    /// The text is longer than allowed.
    #[error("it has {length} bytes; at most {limit} are allowed")]
    TooLarge {
        /// Its length in bytes.
        length: usize,
        /// The longest allowed.
        limit: usize,
    },
    /// Arrays and objects are nested too deeply.
    #[error("arrays and objects are nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// Not UTF-8.
    #[error("it is not UTF-8 text after byte {0}")]
    NotUtf8(usize),
    /// Something else than an object.
    #[error("it does not begin with an opening brace")]
    NotAnObject,
    /// Not JSON, or followed by something else; in the parser's words, with line and column.
    #[error("{0}")]
    Syntax(String),
}

/// A key that holds another type than it should.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct WrongType<'a> {
    /// The value's text.
    pub(crate) value: &'a str,
}

impl<'a> Object<'a> {
    /// Reads an object of at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// [`JsonError`] if the text is not exactly one JSON object within the bounds.
    pub(crate) fn parse(text: &'a [u8], limit: usize) -> Result<Self, JsonError> {
        let length = text.len();
        if length > limit {
            return Err(JsonError::TooLarge { length, limit });
        }
        let text = core::str::from_utf8(text).map_err(|error| JsonError::NotUtf8(error.valid_up_to()))?;
        if !is_shallow(text) {
            return Err(JsonError::TooDeep);
        }
        if !text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
            return Err(JsonError::NotAnObject);
        }
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let object = deserializer
            .deserialize_map(ObjectVisitor)
            .and_then(|object| deserializer.end().map(|()| object));
        object.map_err(|error| JsonError::Syntax(error.to_string()))
    }

    /// Returns the key's value as it stands in the text; `null` counts as absent.
    pub(crate) fn raw(&self, key: &str) -> Option<&'a str> {
        self.values(key).next().filter(|value| *value != "null")
    }

    /// Tells whether the key is there, whatever its value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.values(key).next().is_some()
    }

    /// Returns the key's value as a type of Rust; a `null` changes nothing.
    ///
    /// # Errors
    ///
    /// [`WrongType`] if the value cannot be read as `T`.
    pub(crate) fn get<T: Deserialize<'a>>(&self, key: &str) -> Result<Option<T>, WrongType<'a>> {
        let Some(value) = self.values(key).find(|value| *value != "null") else {
            return Ok(None);
        };
        serde_json::from_str(value)
            .map(Some)
            .map_err(|_| WrongType { value })
    }

    /// Returns the keys, as written, that are none of `known`.
    pub(crate) fn unknown_keys(&self, known: &[&str]) -> Vec<&str> {
        let is_known = |key: &str| known.iter().any(|name| fold(name).eq(fold(key)));
        let keys = self.entries.iter().map(|(key, _)| key.as_str());
        keys.filter(|key| !is_known(key)).collect()
    }

    /// Returns the values under a key, the last one first.
    fn values(&self, key: &str) -> impl Iterator<Item = &'a str> {
        let entries = self.entries.iter().rev();
        entries.filter_map(move |(name, value)| fold(name).eq(fold(key)).then_some(*value))
    }
}

/// Appends a string with the escapes that Go's encoder uses, which keep it harmless inside HTML.
pub(crate) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            _ if letter < ' ' || is_escaped_for_html(letter) => push_escape(out, letter),
            _ => out.push(letter),
        }
    }
    out.push('"');
}

/// Appends JSON text as Go's encoder does: without blanks between tokens, harmless inside HTML.
pub(crate) fn write_compact(out: &mut String, json: &str) {
    for (letter, place) in scan(json) {
        match place {
            Place::Between if matches!(letter, ' ' | '\t' | '\n' | '\r') => {}
            Place::InString if is_escaped_for_html(letter) => push_escape(out, letter),
            Place::Between | Place::InString => out.push(letter),
        }
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
            entries.push((key, value.get()));
        }
        Ok(Object { entries })
    }
}

/// Where a character of a JSON text stands.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Place {
    Between,
    InString,
}

/// Walks through JSON text; the quotes around a string count as part of it.
fn scan(json: &str) -> impl Iterator<Item = (char, Place)> {
    let mut place = Place::Between;
    let mut is_escaped = false;
    json.chars().map(move |letter| {
        let before = place;
        match (place, letter) {
            (Place::Between, '"') => place = Place::InString,
            (Place::InString, '"') if !is_escaped => place = Place::Between,
            (Place::Between | Place::InString, _) => {}
        }
        is_escaped = before == Place::InString && letter == '\\' && !is_escaped;
        let here = if letter == '"' { Place::InString } else { before };
        (letter, here)
    })
}

fn is_shallow(json: &str) -> bool {
    let mut depth = 0_usize;
    for (letter, place) in scan(json) {
        match (place, letter) {
            (Place::Between, '{' | '[') => depth = depth.saturating_add(1),
            (Place::Between, '}' | ']') => depth = depth.saturating_sub(1),
            (Place::Between | Place::InString, _) => {}
        }
        if depth > MAX_DEPTH {
            return false;
        }
    }
    true
}

/// Folds a key as Go does: two letters beyond ASCII are upper cases of ASCII ones.
fn fold(key: &str) -> impl Iterator<Item = char> {
    key.chars().map(|letter| match letter {
        '\u{212a}' => 'k',
        '\u{17f}' => 's',
        _ => letter.to_ascii_lowercase(),
    })
}

fn is_escaped_for_html(letter: char) -> bool {
    matches!(letter, '<' | '>' | '&' | '\u{2028}' | '\u{2029}')
}

fn push_escape(out: &mut String, letter: char) {
    out.push_str("\\u");
    for shift in [12, 8, 4, 0] {
        let digit = (u32::from(letter) >> shift) & 0xf;
        out.extend(char::from_digit(digit, 16));
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 1 << 16;

    #[test]
    fn keys_match_in_any_case() {
        let object = parse(r#"{"NETWORK":"a","Bac\u212Aend":{},"\u017fubnetlen":3}"#);

        assert_eq!(object.get("Network"), Ok(Some("a")));
        assert_eq!(object.raw("Backend"), Some("{}"));
        assert_eq!(object.get("SubnetLen"), Ok(Some(3)));
    }

    #[test]
    fn the_last_of_equal_keys_wins() {
        let object = parse(r#"{"a":1,"A":2,"a":3,"b":4}"#);

        assert_eq!(object.get("a"), Ok(Some(3)));
    }

    #[test]
    fn null_changes_nothing_but_removes_a_raw_value() {
        let object = parse(r#"{"a":1,"a":null,"b":null}"#);

        assert_eq!(object.get("a"), Ok(Some(1)));
        assert_eq!(object.raw("a"), None);
        assert_eq!(object.get::<u32>("b"), Ok(None));
        assert!(object.has("b"));
        assert!(!object.has("c"));
    }

    #[test]
    fn raw_text_is_kept_byte_for_byte() {
        let object = parse("{\"a\" : { \"x\" :1.0e2 , \"x\":\"\\u0041\"} }");

        assert_eq!(object.raw("a"), Some("{ \"x\" :1.0e2 , \"x\":\"\\u0041\"}"));
    }

    #[test]
    fn unknown_keys_are_ignored_and_named() {
        let object = parse(r#"{"Netwrok":"a","network":"b"}"#);

        assert_eq!(object.unknown_keys(&["Network"]), vec!["Netwrok"]);
    }

    #[test]
    fn a_value_of_another_type_is_an_error_with_the_value() {
        let object = parse(r#"{"a":"1","b":1.5,"c":-1,"d":99999999999999999999}"#);

        for (key, value) in [
            ("a", "\"1\""),
            ("b", "1.5"),
            ("c", "-1"),
            ("d", "99999999999999999999"),
        ] {
            assert_eq!(object.get::<u64>(key), Err(WrongType { value }));
        }
    }

    #[test]
    fn what_is_not_one_object_is_an_error() {
        for text in ["", "null", "[]", "1", "\"{}\"", "\u{feff}{}"] {
            assert_eq!(
                Object::parse(text.as_bytes(), LIMIT).err(),
                Some(JsonError::NotAnObject),
                "{text}"
            );
        }
        for text in ["{", "{\"a\":}", "{} x", "{}{}", "{\"a\":1,}", "{a:1}"] {
            assert!(
                matches!(Object::parse(text.as_bytes(), LIMIT), Err(JsonError::Syntax(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn size_depth_and_encoding_are_bounded() {
        let nested = |depth: usize| alloc::format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));

        assert!(Object::parse(nested(MAX_DEPTH - 1).as_bytes(), LIMIT).is_ok());
        assert_eq!(
            Object::parse(nested(MAX_DEPTH).as_bytes(), LIMIT).err(),
            Some(JsonError::TooDeep)
        );
        assert_eq!(
            Object::parse(b"{\"a\":\"\xff\"}", LIMIT).err(),
            Some(JsonError::NotUtf8(6))
        );
        assert_eq!(
            Object::parse(b"{}  ", 3).err(),
            Some(JsonError::TooLarge { length: 4, limit: 3 })
        );
    }

    #[test]
    fn brackets_inside_strings_do_not_nest() {
        let text = alloc::format!("{{\"a\":\"\\\"{}\"}}", "[".repeat(1000));

        assert!(Object::parse(text.as_bytes(), LIMIT).is_ok());
    }

    #[test]
    fn strings_are_escaped_as_go_does() {
        let mut out = String::new();

        write_string(&mut out, "a\"\\\n\r\t\u{8}\u{c}\u{1}<>&\u{2028}\u{7f}é");

        assert_eq!(
            out,
            "\"a\\\"\\\\\\n\\r\\t\\b\\f\\u0001\\u003c\\u003e\\u0026\\u2028\u{7f}é\""
        );
    }

    #[test]
    fn compact_text_has_blanks_in_strings_only() {
        let mut out = String::new();

        write_compact(&mut out, "{ \"a b\\\" <\" :\t[ 1,\n 2 ] }");

        assert_eq!(out, "{\"a b\\\" \\u003c\":[1,2]}");
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _parsed = Object::parse(&text, LIMIT);
        }

        #[test]
        fn written_strings_read_back(text in any::<String>()) {
            let mut out = String::new();

            write_string(&mut out, &text);

            prop_assert_eq!(serde_json::from_str::<String>(&out).ok(), Some(text));
        }

        #[test]
        fn compacting_twice_changes_nothing_more(text in "[ \\[\\]{}\":,a<\\\\1\n]{0,40}") {
            let (mut once, mut twice) = (String::new(), String::new());

            write_compact(&mut once, &text);
            write_compact(&mut twice, &once);

            prop_assert_eq!(once, twice);
        }
    }

    fn parse(text: &str) -> Object<'_> {
        Object::parse(text.as_bytes(), LIMIT).unwrap()
    }
}
