//! Scenario files: what is read means the same when it is written, what is refused is refused in one readable line.

use selvedge_sim::Scenario;

/// The longest that an error may be, in bytes, apart from what it quotes.
const MAX_ERROR: usize = 1024;

/// Reads the bytes as a scenario's text.
///
/// # Panics
///
/// If a scenario that was read is another one after it was printed and read again, or a refusal is no line for people.
pub fn scenario_text(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let recognized = Scenario::recognizes(text);
    match Scenario::parse(text) {
        Ok(scenario) => {
            let printed = scenario.to_string();
            assert!(Scenario::recognizes(&printed), "{printed}");
            assert_eq!(Scenario::parse(&printed), Ok(scenario), "{printed}");
        }
        Err(error) => {
            let lines = text.lines().count().max(1);
            assert!((1..=lines + 1).contains(&error.line), "{error} of {lines} lines");
            let message = error.to_string();
            assert!(message.len() <= MAX_ERROR + text.len(), "{message}");
            assert!(!message.contains('\n'), "{recognized}: {message:?}");
        }
    }
}
