//! What is wrong with a command line, in one line.

use std::collections::BTreeSet;
use std::error::Error as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::environment::variable;

/// Flags of flannel that mean something which Selvedge does not do yet.
const NOT_YET: &[&str] = &[
    "iface-regex",
    "ip-blackhole-route",
    "kube-annotation-prefix",
    "kube-api-url",
    "kube-subnet-mgr",
    "kubeconfig-file",
    "log_backtrace_at",
    "net-config-path",
    "set-node-network-unavailable",
    "vmodule",
];

/// A command line, or a variable, that cannot be understood.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(String);

impl UsageError {
    /// Makes an error from its line.
    pub fn new(line: impl Into<String>) -> Self {
        Self(line.into())
    }

    /// Puts clap's error into one line; `from_environment` are the flags that variables gave.
    pub fn of_clap(error: &clap::Error, from_environment: &BTreeSet<String>) -> Self {
        let arg = text(error, ContextKind::InvalidArg).unwrap_or_default();
        let flag = flag_of(&arg);
        let kind = error.kind();
        if kind == ErrorKind::UnknownArgument {
            return Self(unknown(error, &arg, flag));
        }
        if matches!(kind, ErrorKind::InvalidValue | ErrorKind::ValueValidation) {
            return Self(bad_value(error, &arg, from_environment));
        }
        if kind == ErrorKind::InvalidSubcommand {
            let given = text(error, ContextKind::InvalidSubcommand).unwrap_or_default();
            return Self(format!("unknown command {given}; see selvedge --help"));
        }
        Self(first_line(error))
    }
}

fn unknown(error: &clap::Error, arg: &str, flag: &str) -> String {
    if !arg.starts_with('-') {
        return format!(
            "{arg} belongs to no flag; booleans take their value after an equals sign, as in --ip-masq=false"
        );
    }
    if NOT_YET.contains(&flag) {
        return format!("flannel's --{flag} is not supported yet");
    }
    match text(error, ContextKind::SuggestedArg) {
        Some(suggested) => format!("unknown flag --{flag}; did you mean {suggested}?"),
        None => format!("unknown flag --{flag}; see selvedge run --help"),
    }
}

fn bad_value(error: &clap::Error, arg: &str, from_environment: &BTreeSet<String>) -> String {
    let flag = flag_of(arg);
    let place = if arg.starts_with('<') {
        arg.to_owned()
    } else if from_environment.contains(flag) {
        variable(flag)
    } else {
        format!("--{flag}")
    };
    let value = text(error, ContextKind::InvalidValue).unwrap_or_default();
    if value.is_empty() {
        return format!("{place} needs a value");
    }
    let cause = match (error.source(), valid_values(error)) {
        (Some(source), _) => source.to_string(),
        (None, Some(valid)) => format!("must be one of {valid}"),
        (None, None) => "not a valid value".to_owned(),
    };
    if flag.contains("password") {
        return format!("{place}: {cause}");
    }
    format!("{place} {value}: {cause}")
}

fn valid_values(error: &clap::Error) -> Option<String> {
    let ContextValue::Strings(values) = error.get(ContextKind::ValidValue)? else {
        return None;
    };
    (!values.is_empty()).then(|| values.join(", "))
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    let value = error.get(kind)?;
    if let ContextValue::String(text) = value {
        return Some(text.clone());
    }
    if let ContextValue::Strings(texts) = value {
        return texts.first().cloned();
    }
    None
}

/// Returns the flag's name in clap's way of writing it: `--iface <NAME|ADDRESS>` or `--ip-masq[=<BOOL>]`.
fn flag_of(arg: &str) -> &str {
    let name = arg.trim_start_matches('-');
    let end = name.find([' ', '=', '[']).unwrap_or(name.len());
    &name[..end]
}

fn first_line(error: &clap::Error) -> String {
    let rendered = error.render().to_string();
    let line = rendered.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
