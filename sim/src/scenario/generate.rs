//! Scenarios made from seeds.
