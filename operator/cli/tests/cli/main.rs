//! The tests of `kubectl bailiwick`: what it says of a Region, and how it is called. No cluster.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

mod audit;
mod command_line;
mod fixture;
#[path = "../../../model/tests/fixture/mod.rs"]
mod observed;
mod status;
