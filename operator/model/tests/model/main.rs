//! The tests of the model, as one program: what a Region is, what it becomes, and what follows from what is seen of it. No
//! I/O but for files of the repository.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod architecture;
mod breach;
mod canary;
#[path = "../cases/mod.rs"]
mod cases;
mod causes;
mod cel;
mod channels;
mod crds;
mod delegation;
mod documented_policies;
mod editor;
mod endpoints;
mod evidence;
mod fence;
#[path = "../fixture/mod.rs"]
mod fixture;
mod invariants;
mod namesakes;
mod object_store;
mod patroni_steps;
mod plan;
mod postgres_manifests;
mod postgres_parameters;
mod postgres_rules;
mod postgres_status;
mod preloaded;
mod reconciled;
mod regions;
mod rotation;
mod scaling;
mod volumes;
mod ways;
