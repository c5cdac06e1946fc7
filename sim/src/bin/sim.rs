//! Runs simulated clusters from the command line.

fn main() {}
