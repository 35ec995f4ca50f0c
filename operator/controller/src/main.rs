//! The operator's command line.
#![forbid(unsafe_code)]

fn main() {}
