//! Go's flag syntax, which flannel's users write, put into the form that clap reads.

/// A flag as far as the syntax needs to know it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct GoFlag {
    /// Its name without dashes.
    pub(super) name: String,
    /// Whether it can stand alone.
    pub(super) arity: Arity,
}

/// Whether a flag takes the next word as its value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Arity {
    /// A boolean: a value only after `=`.
    Bare,
    /// A value after `=` or as the next word.
    Valued,
}

/// Rewrites arguments in Go's syntax to `--name=value` (control-plane.md, 1.1).
///
/// One dash and two are equal; `--f v` becomes `--f=v` even if `v` starts with a dash, as Go reads it; a bare
/// boolean stays bare. What Go would silently ignore (words that belong to no flag, and all after them) is
/// kept, so that it can be refused. Unknown flags are kept as they are, with two dashes.
pub(super) fn normalise(args: impl IntoIterator<Item = String>, flags: &[GoFlag]) -> Vec<String> {
    let mut args = args.into_iter();
    let mut normal = Vec::new();

    while let Some(arg) = args.next() {
        let Some((name, value)) = split_flag(&arg) else {
            normal.push(arg);
            continue;
        };
        let arity = flags.iter().find(|flag| flag.name == name).map(|flag| flag.arity);
        match (arity, value) {
            (_, Some(value)) => normal.push(format!("--{name}={value}")),
            (Some(Arity::Valued), None) => match args.next() {
                Some(value) => normal.push(format!("--{name}={value}")),
                None => normal.push(format!("--{name}")),
            },
            (Some(Arity::Bare) | None, None) => normal.push(format!("--{name}")),
        }
    }
    normal
}

/// Returns the name of the flag in a normalised argument.
pub(super) fn name_of(arg: &str) -> Option<&str> {
    split_flag(arg).map(|(name, _)| name)
}

fn split_flag(arg: &str) -> Option<(&str, Option<&str>)> {
    let body = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-'))?;
    if body.is_empty() || body.starts_with('-') {
        return None;
    }
    let body = if body == "h" { "help" } else { body };
    match body.split_once('=') {
        Some((name, value)) => Some((name, Some(value))),
        None => Some((body, None)),
    }
}

/// Reads a boolean as Go does.
///
/// # Errors
///
/// If the text is none of Go's twelve spellings.
pub(super) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("neither true nor false".to_owned()),
    }
}

/// Reads a number as Go does: decimal, or with `0x`, `0o` or `0b` in front.
///
/// # Errors
///
/// If the text is no such number or does not fit.
pub(super) fn parse_u32(text: &str) -> Result<u32, String> {
    let (digits, radix) = match text.get(..2) {
        Some("0x" | "0X") => (&text[2..], 16),
        Some("0o" | "0O") => (&text[2..], 8),
        Some("0b" | "0B") => (&text[2..], 2),
        Some(_) | None => (text, 10),
    };
    u32::from_str_radix(digits, radix).map_err(|_| "not a whole number".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_dash_and_two_are_equal() {
        assert_eq!(normal(&["-iface", "eth0"]), ["--iface=eth0"]);
        assert_eq!(normal(&["--iface", "eth0"]), ["--iface=eth0"]);
        assert_eq!(normal(&["-iface=eth0"]), ["--iface=eth0"]);
    }

    #[test]
    fn the_next_word_is_the_value_even_with_a_dash() {
        assert_eq!(
            normal(&["-etcd-password", "-x", "-iface", "a"]),
            ["--etcd-password=-x", "--iface=a"]
        );
    }

    #[test]
    fn a_value_keeps_its_equals_signs() {
        assert_eq!(normal(&["-etcd-password=a=b"]), ["--etcd-password=a=b"]);
        assert_eq!(normal(&["-etcd-password", "a=b"]), ["--etcd-password=a=b"]);
    }

    #[test]
    fn a_bare_boolean_takes_no_word() {
        assert_eq!(normal(&["-ip-masq", "false"]), ["--ip-masq", "false"]);
        assert_eq!(normal(&["-ip-masq=false"]), ["--ip-masq=false"]);
    }

    #[test]
    fn a_missing_value_and_unknown_flags_are_left_to_be_refused() {
        assert_eq!(normal(&["-iface"]), ["--iface"]);
        assert_eq!(normal(&["-ifac", "eth0"]), ["--ifac", "eth0"]);
    }

    #[test]
    fn a_lone_dash_and_a_double_dash_are_words() {
        assert_eq!(normal(&["-", "--"]), ["-", "--"]);
    }

    #[test]
    fn h_is_help() {
        assert_eq!(normal(&["-h"]), ["--help"]);
    }

    #[test]
    fn booleans_and_numbers_are_spelt_as_in_go() {
        assert_eq!(parse_bool("T"), Ok(true));
        assert_eq!(parse_bool("False"), Ok(false));
        assert!(parse_bool("yes").is_err());
        assert_eq!(parse_u32("0x3c"), Ok(60));
        assert_eq!(parse_u32("0b11"), Ok(3));
        assert_eq!(parse_u32("60"), Ok(60));
        assert!(parse_u32("").is_err());
        assert!(parse_u32("-1").is_err());
        assert!(parse_u32("0x").is_err());
        assert!(parse_u32("é").is_err());
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(args in proptest::collection::vec("-{0,3}[a-z]{0,8}(=[a-z-]{0,3})?", 0..6)) {
            let flags = flags();
            let once = normalise(args, &flags);

            let twice = normalise(once.clone(), &flags);

            // A valued flag at the very end has no value to take the first time either.
            prop_assert_eq!(once, twice);
        }
    }

    fn normal(args: &[&str]) -> Vec<String> {
        normalise(args.iter().map(|arg| (*arg).to_owned()), &flags())
    }

    fn flags() -> Vec<GoFlag> {
        let flag = |name: &str, arity| GoFlag {
            name: name.to_owned(),
            arity,
        };
        vec![
            flag("iface", Arity::Valued),
            flag("etcd-password", Arity::Valued),
            flag("ip-masq", Arity::Bare),
        ]
    }
}
