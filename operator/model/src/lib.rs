//! What a Region is and what it becomes. Pure: no async, client, clock, environment, randomness or file.
//!
//! One event travels through this crate like this: `plan(&Region, &Platform, &Facts)` either refuses with
//! every [`violation::Violation`] at once or yields a [`plan::Plan`]; [`desired::desired`] lists the Kubernetes
//! objects, [`step::steps`] the differences that stand behind S3, SQL and Patroni, and `status` says how it went.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod accepted;
pub mod admission;
pub mod archive;
pub mod assumption;
pub mod breach;
pub mod canary;
pub mod channel;
pub mod component;
mod condition;
pub mod delegation;
pub mod desired;
pub mod draft;
pub mod drift;
pub mod endpoint;
pub mod evidence;
pub mod facts;
pub mod fence;
pub mod flow;
pub mod growth;
pub mod manifest;
pub mod names;
pub mod offline;
pub mod outcome;
pub mod patroni;
#[cfg(feature = "arguments")]
pub mod piped;
pub mod plan;
pub mod planner;
pub mod policy;
pub mod reconciled;
pub mod reference;
pub mod region_object;
pub mod repository;
pub mod requeue;
pub mod residency;
pub mod resync;
pub mod retire;
pub mod rights;
pub mod rotation;
pub mod scale;
pub mod secret;
pub mod sql;
pub mod status;
pub mod step;
pub mod step_failures;
pub mod steps;
pub mod store;
pub mod subject;
pub mod volume;
pub mod ways;
pub mod workload;
pub mod yaml;
