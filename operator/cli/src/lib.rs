//! `kubectl bailiwick`: what the status of Regions says, for people and scripts. What decides (freshness, audit, report)
//! is pure; [`cluster`] alone speaks with the API server, and [`commands`] write what came of it.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod advice;
pub mod audit;
pub mod children;
pub mod cluster;
pub mod commands;
pub mod complete;
pub mod condition;
pub mod error;
pub mod explain;
pub mod freshness;
pub mod report;
pub mod text;
