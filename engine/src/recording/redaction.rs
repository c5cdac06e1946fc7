//! Secrets that the store holds and a recording must not.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::mem;

use serde_json::Value;

use crate::action::StoreEvent;
use crate::input::Input;
use crate::snapshot::{Snapshot, SnapshotError};
use crate::store::WatchEvent;
use crate::text_bytes;

use super::line::lists;

/// The key of a pre-shared key in the network configs of flannel's `ipsec` and `wireguard` backends.
const SECRET_KEY: &[u8] = b"\"psk\"";

/// Puts `x` in the place of every byte of every pre-shared key.
pub(super) fn redact(input: &mut Input) {
    for kv in lists(input).into_iter().flatten() {
        redact_value(&mut kv.value);
    }
    let Input::Store(StoreEvent::WatchBatch { events, .. }) = input else {
        return;
    };
    for event in events {
        match event {
            WatchEvent::Put(kv) => redact_value(&mut kv.value),
            WatchEvent::Delete { .. } => {}
        }
    }
}

/// Does the same to an engine's state, wherever in it the network config is.
pub(super) fn masked(snapshot: Snapshot) -> Result<Snapshot, SnapshotError> {
    // Most networks have no secrets, and their snapshots need no second look. Bytes that are no text may hide one.
    if !mentions(snapshot.text(), b"psk") && !mentions(snapshot.text(), b"\"hex\"") {
        return Ok(snapshot);
    }
    let mut value = snapshot.to_value()?;
    mask(&mut value);
    Snapshot::from_text(value.to_string())
}

fn mentions(text: &str, word: &[u8]) -> bool {
    text.as_bytes()
        .windows(word.len())
        .any(|window| window.eq_ignore_ascii_case(word))
}

fn mask(value: &mut Value) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) => mask_string(text, redact_value),
        Value::Array(values) => values.iter_mut().for_each(mask),
        Value::Object(fields) => fields
            .iter_mut()
            .for_each(|(name, value)| mask_field(name, value)),
    }
}

fn mask_field(name: &str, value: &mut Value) {
    match value {
        Value::String(secret) if name.eq_ignore_ascii_case("psk") => {
            mask_string(secret, |bytes| bytes.fill(b'x'));
        }
        Value::String(hex) if name == "hex" => mask_hex(hex),
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => mask(value),
    }
}

fn mask_string(text: &mut String, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = mem::take(text).into_bytes();
    change(&mut bytes);
    // What is replaced lies between quotes, so that the rest stays text.
    *text = String::from_utf8(bytes).unwrap_or_default();
}

fn mask_hex(hex: &mut String) {
    if let Some(mut bytes) = text_bytes::from_hex(hex) {
        redact_value(&mut bytes);
        *hex = text_bytes::to_hex(&bytes);
    }
}

fn redact_value(value: &mut Vec<u8>) {
    let mut rest = value.as_mut_slice();
    while let Some(at) = find_key(rest) {
        let (_, after) = rest.split_at_mut(at);
        rest = redact_string(after);
    }
}

/// Returns the position after the next secret's key.
fn find_key(text: &[u8]) -> Option<usize> {
    let mut windows = text.windows(SECRET_KEY.len());
    let at = windows.position(|window| window.eq_ignore_ascii_case(SECRET_KEY))?;
    at.checked_add(SECRET_KEY.len())
}

/// Replaces the JSON string after a colon, and returns what follows it.
fn redact_string(text: &mut [u8]) -> &mut [u8] {
    let between = |byte: &u8| byte.is_ascii_whitespace() || *byte == b':';
    let start = text.iter().take_while(|byte| between(byte)).count();
    let Some((_, [b'"', string @ ..])) = text.split_at_mut_checked(start) else {
        return &mut [];
    };
    let end = end_of_string(string);
    let Some((secret, after)) = string.split_at_mut_checked(end) else {
        return &mut [];
    };
    secret.fill(b'x');
    after
}

/// Returns the position of the quote that ends a string, or the text's end.
fn end_of_string(text: &[u8]) -> usize {
    let mut escaped = false;
    let ends = |byte: &u8| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    };
    text.iter().position(ends).unwrap_or(text.len())
}
