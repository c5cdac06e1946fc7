//! Recordings: everything that an engine was told, so that it can be run again and does the same.
//!
//! An engine is a function of its setup, its seed and its inputs with their times. A recording holds these, and
//! a running hash of the actions, by which a replay shows that it did the same, or where it first did not.
//!
//! A recording may go on in another one, so that the newest inputs can be kept in bounded room: the other begins with a
//! [snapshot](crate::Snapshot) of the engine, and needs nothing of the first.
//!
//! # Form
//!
//! Text, one JSON object to a line, each with one key that names its kind:
//!
//! ```text
//! {"recording":{"format":2,"program":"0.1.0","seed":7,"start":81000000,"setup":{...}}}
//! {"input":{"at":82000000,"actions":"00c0ffee00c0ffee","told":{"kernel":{"op_done":{...}}}}}
//! {"input":{"at":83000000,"actions":"...","told":{"store":{...}},"lists":[[{"same":{"from":"/a","count":3}}]]}}
//! {"end":{"at":84000000,"actions":"...","why":"exit"}}
//! ```
//!
//! - The first line describes the engine. A reader refuses a `format` that it does not know; format 1 is the same
//!   without what goes on in another recording.
//! - `continued`, in the first line, says that the recording before goes on here: `at` is when, `actions` the hash of
//!   the actions until then, `engine` the engine's state.
//! - `at` and `start` are nanoseconds of the driver's clock ([`Instant`](crate::Instant)); they never decrease.
//! - `actions` is the hash of all actions before this line: FNV-1a with 64 bits over their debug form, in 16
//!   hexadecimal digits. It compares runs of one version of the program; another may word an action differently.
//! - `told` is the input as [`Input`](crate::Input) is serialised. Keys and values are text if they are UTF-8, and
//!   `{"hex":"00ff"}` otherwise.
//! - `lists` holds the key lists that were taken out of `told`, in order. A piece of a list is `{"kv":{...}}`, or
//!   `{"same":{"from":KEY,"count":N}}`: the N keys from KEY on, unchanged since an earlier line. What was seen of
//!   the keys is kept up to date by lists and by watch events alike, so a list that tells nothing new takes one
//!   piece, however long it is.
//! - The last line says how the recording ended: `exit` if the engine did, `continued` if it goes on in another one,
//!   `full` if it reached its bound. Without one the program was killed, or is still at work.
//!
//! # What is not in it
//!
//! Packets: they never reach this half of the engine. Credentials: no input has any. The pre-shared keys that some
//! network configs hold (`PSK`) are replaced by as many `x`, in snapshots as well.

mod action_hash;
mod line;
mod mirror;
mod reader;
mod recorder;
mod redaction;
#[cfg(test)]
mod tests;

pub use self::action_hash::ActionHash;
pub use self::line::{Continued, RecordingEnd, RecordingHeader};
pub use self::reader::{Recorded, Recording, RecordingError};
pub use self::recorder::{Continuation, Recorder};
