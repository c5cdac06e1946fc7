//! The firewall's rules on the real kernel, in network namespaces: what they do to packets, that they are exact, and that
//! whatever befalls them is noticed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;
mod frames;
mod masquerading;
mod membership;
mod rules;
mod rulesets;
mod space;
mod tools;
mod watching;
