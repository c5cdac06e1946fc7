//! What must hold for any bytes that reach the engine from outside, and for any cluster that bytes stand for.
//!
//! Each target is a function that takes bytes and panics if a promise is broken. `fuzz/run` drives them by
//! coverage and keeps the inputs that matter in `fuzz/corpus`; the tests replay those.

mod cluster;
mod inner_packet;
mod lease_value;
mod network_config;
mod offload;
mod scenario_text;
mod subnet_file;
mod subnet_key;

pub use cluster::cluster;
pub use inner_packet::inner_packet;
pub use lease_value::lease_value;
pub use network_config::network_config;
pub use offload::offload;
pub use scenario_text::scenario_text;
pub use subnet_file::subnet_file;
pub use subnet_key::subnet_key;

/// A target by the name of its folder in the corpus.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 8] = [
    ("cluster", cluster),
    ("inner_packet", inner_packet),
    ("lease_value", lease_value),
    ("network_config", network_config),
    ("offload", offload),
    ("scenario_text", scenario_text),
    ("subnet_file", subnet_file),
    ("subnet_key", subnet_key),
];
