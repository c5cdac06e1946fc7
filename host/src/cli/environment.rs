//! The `FLANNELD_*` variables.

use std::collections::BTreeSet;

use super::go_flags::{GoFlag, name_of};

/// Returns the variable that stands for a flag: `FLANNELD_ETCD_PREFIX` for `etcd-prefix`.
pub(super) fn variable(flag: &str) -> String {
    format!("FLANNELD_{}", flag.to_uppercase().replace('-', "_"))
}

/// Appends to normalised arguments what variables say about flags that are not among them (control-plane.md,
/// 1.3): the command line wins, an empty variable counts as unset, and its text is one single value.
///
/// Returns also which flags came from variables. `--version` and `--help` have no variable.
pub(super) fn append(
    mut args: Vec<String>,
    flags: &[GoFlag],
    lookup: impl Fn(&str) -> Option<String>,
) -> (Vec<String>, BTreeSet<String>) {
    let given: BTreeSet<String> = args
        .iter()
        .filter_map(|arg| name_of(arg))
        .map(str::to_owned)
        .collect();
    let mut from_environment = BTreeSet::new();

    for flag in flags.iter().filter(|flag| !given.contains(&flag.name)) {
        let Some(value) = lookup(&variable(&flag.name)).filter(|value| !value.is_empty()) else {
            continue;
        };
        args.push(format!("--{}={value}", flag.name));
        from_environment.insert(flag.name.clone());
    }
    (args, from_environment)
}

#[cfg(test)]
mod tests {
    use super::super::go_flags::Arity;
    use super::*;

    #[test]
    fn a_variable_stands_in_for_an_absent_flag() {
        let (args, from) = append_with(&[], &[("FLANNELD_ETCD_PREFIX", "/x")]);

        assert_eq!(args, ["--etcd-prefix=/x"]);
        assert_eq!(from.into_iter().collect::<Vec<_>>(), ["etcd-prefix"]);
    }

    #[test]
    fn the_command_line_wins() {
        let (args, from) = append_with(&["--etcd-prefix=/y"], &[("FLANNELD_ETCD_PREFIX", "/x")]);

        assert_eq!(args, ["--etcd-prefix=/y"]);
        assert!(from.is_empty());
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let (args, _) = append_with(&[], &[("FLANNELD_ETCD_PREFIX", "")]);

        assert!(args.is_empty());
    }

    fn append_with(args: &[&str], variables: &[(&str, &str)]) -> (Vec<String>, BTreeSet<String>) {
        let flags = [GoFlag {
            name: "etcd-prefix".to_owned(),
            arity: Arity::Valued,
        }];
        append(
            args.iter().map(|arg| (*arg).to_owned()).collect(),
            &flags,
            |wanted| {
                variables
                    .iter()
                    .find(|(name, _)| *name == wanted)
                    .map(|(_, value)| (*value).to_owned())
            },
        )
    }
}
