//! The custom resources of `bailiwick.dev`: spec, status, and the rules that they are checked by, in CEL and in Rust. For
//! the operator, its plugin, and whoever writes Regions from a program. Pure: no async, client, clock or file.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod duration;
pub mod quantity;
pub mod region;
pub mod settings;
pub mod spelling;
pub mod violation;

/// The most members that a Postgres cluster may have.
pub const MAX_INSTANCES: i32 = 9;
