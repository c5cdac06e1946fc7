//! Tests that cannot run here say so, loudly and countably.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;

/// Names the file that [`skip!`](crate::skip!) appends one line per skipped test to.
pub const SKIP_LOG: &str = "SELVEDGE_SKIP_LOG";

/// Records that the enclosing test is skipped and why; the test then returns.
///
/// Prints `SKIPPED <test>: <reason>` to stderr, past the capture of the test runner, and appends the line to the
/// file that the environment variable [`SKIP_LOG`](crate::skip::SKIP_LOG) names.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)+) => {{
        fn here() {}
        $crate::skip::record(::std::any::type_name_of_val(&here), format_args!($($reason)+))
    }};
}

/// Records a skip at the path of a function inside the test; use [`skip!`](crate::skip!).
///
/// # Panics
///
/// Panics if the skip log cannot be written: an uncounted skip would look like a pass.
pub fn record(inside: &str, reason: fmt::Arguments<'_>) {
    let test = inside
        .trim_end_matches("::here")
        .trim_end_matches("::{{closure}}");
    let line = format!("SKIPPED {test}: {reason}\n");
    // `eprint!` would be captured along with the output of the passing test.
    std::io::stderr()
        .write_all(line.as_bytes())
        .expect("stderr takes the skip");
    let Some(log) = std::env::var_os(SKIP_LOG) else {
        return;
    };
    let mut log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .expect("the skip log opens");
    log.write_all(line.as_bytes())
        .expect("the skip log takes the line");
}
