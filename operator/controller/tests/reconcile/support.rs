//! One Region under the controller's own `reconcile`, with the API server, the cluster and the systems in memory.
#![allow(dead_code, reason = "each test takes what it needs")]

pub mod cluster;
pub mod fake_api;
pub mod harness;
pub mod journal;
pub mod world;
