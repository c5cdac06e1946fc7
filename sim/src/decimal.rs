//! Decimal numbers as exact integers: `12.5` with three decimals is 12,500.

/// Returns the number with the point moved to the right by so many places; `None` unless it is digits, perhaps with
/// a point and at most that many digits after it.
pub(crate) fn scaled(text: &str, decimals: u32) -> Option<u64> {
    let (whole, rest) = match text.split_once('.') {
        Some((whole, rest)) => (digits(whole)?, digits(rest)?),
        None => (digits(text)?, ""),
    };
    let missing = decimals.checked_sub(u32::try_from(rest.len()).ok()?)?;
    let number: u64 = format!("{whole}{rest}").parse().ok()?;
    number.checked_mul(10_u64.checked_pow(missing)?)
}

/// Returns the text of the number with the point moved to the left by so many places, without needless zeros.
pub(crate) fn text(number: u64, decimals: u32) -> String {
    let scale = 10_u64.pow(decimals);
    let (whole, rest) = (number / scale, number % scale);
    if rest == 0 {
        return whole.to_string();
    }
    let width = usize::try_from(decimals).unwrap_or_default();
    let rest = format!("{rest:0width$}");
    format!("{whole}.{}", rest.trim_end_matches('0'))
}

fn digits(text: &str) -> Option<&str> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_both_ways() {
        assert_eq!(scaled("12.5", 3), Some(12_500));
        assert_eq!(text(12_500, 3), "12.5");
        assert_eq!(scaled("7", 0), Some(7));
        assert_eq!(text(0, 4), "0");
    }

    #[test]
    fn what_does_not_fit_is_no_number() {
        for bad in ["", ".", "1.", ".1", "1.2345", "-1", "1 ", "18446744073709551616"] {
            assert_eq!(scaled(bad, 3), None, "{bad}");
        }
        assert_eq!(scaled("18446744073709551615", 1), None);
    }
}
