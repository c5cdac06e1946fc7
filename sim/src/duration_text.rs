//! Durations in files: a number and its unit, as in `12.5s`, or several, as in `1h30m`.

use std::fmt;
use std::time::Duration;

use serde::{Deserializer, Serializer, de};

use crate::decimal;

pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(*duration))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_str(DurationText)
}

struct DurationText;

impl de::Visitor<'_> for DurationText {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration: a number with a unit, one of h, m, s, ms, us and ns, as in \"12.5s\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
        parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

/// The same for a duration that may be missing.
pub(crate) mod optional {
    use std::time::Duration;

    use serde::{Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde hands a field over like this")]
    pub(crate) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        super::deserialize(deserializer).map(Some)
    }
}

/// Returns the shortest exact text with one unit.
pub(crate) fn text(duration: Duration) -> String {
    let nanos = nanos(duration);
    if nanos == 0 {
        return "0s".to_owned();
    }
    for (name, size) in [("h", HOUR), ("m", MINUTE)] {
        if nanos.is_multiple_of(size) {
            return format!("{}{name}", nanos / size);
        }
    }
    for (name, decimals) in DECIMAL_UNITS {
        if nanos >= 10_u64.pow(decimals) {
            return format!("{}{name}", decimal::text(nanos, decimals));
        }
    }
    format!("{nanos}ns")
}

/// Reads one number with a unit, or several that add up.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = split_at(rest, |c| !(c.is_ascii_digit() || c == '.'));
        let (unit, after) = split_at(after, |c| c.is_ascii_digit());
        total = total.checked_add(part(number, unit)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(Duration::from_nanos(total))
}

const HOUR: u64 = 60 * MINUTE;
const MINUTE: u64 = 60 * 1_000_000_000;
/// The units with as many nanoseconds as a power of ten, and which power.
const DECIMAL_UNITS: [(&str, u32); 4] = [("s", 9), ("ms", 6), ("us", 3), ("ns", 0)];

/// Durations in a scenario are shorter than 584 years.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn part(number: &str, unit: &str) -> Option<u64> {
    match unit {
        "h" => decimal::scaled(number, 0)?.checked_mul(HOUR),
        "m" => decimal::scaled(number, 0)?.checked_mul(MINUTE),
        _ => {
            let (_, decimals) = DECIMAL_UNITS.into_iter().find(|(name, _)| *name == unit)?;
            decimal::scaled(number, decimals)
        }
    }
}

fn split_at(text: &str, at: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(at).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_prints_short_and_exact() {
        let printed = [
            Duration::ZERO,
            Duration::from_nanos(7),
            Duration::from_micros(1500),
            Duration::from_millis(200),
            Duration::from_millis(12_500),
            Duration::from_secs(90),
            Duration::from_mins(10),
            Duration::from_hours(24),
            Duration::new(61, 1),
        ]
        .map(text);

        assert_eq!(
            printed,
            [
                "0s",
                "7ns",
                "1.5ms",
                "200ms",
                "12.5s",
                "90s",
                "10m",
                "24h",
                "61.000000001s"
            ]
        );
    }

    #[test]
    fn what_prints_reads_back() {
        for nanos in [0, 1, 999, 1_000, 60_000_000_000, 3_600_000_000_001, u64::MAX] {
            let duration = Duration::from_nanos(nanos);
            assert_eq!(parse(&text(duration)), Some(duration));
        }
    }

    #[test]
    fn parts_add_up_and_nonsense_is_refused() {
        assert_eq!(parse("1h30m0.5s"), Some(Duration::from_millis(5_400_500)));
        for bad in [
            "", "5", "s", "5 s", "-5s", "1.5h", "5sec", "5s ", "1.s", "0.1ns", "9999999h",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
