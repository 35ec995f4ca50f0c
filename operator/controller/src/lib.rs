//! The controller: all the I/O and no decision. It watches Regions, reads Facts, lets the model plan, applies what
//! the model desires, writes the status, and knows when to look again.
#![forbid(unsafe_code)]

pub mod accepted;
pub mod apply;
pub mod cause;
pub mod commands;
pub mod context;
pub mod controller;
pub mod converge;
pub mod credentials;
pub mod error;
pub mod events;
pub mod evidence;
mod fence;
pub mod glance;
pub mod health;
pub mod inventory;
pub mod lease;
pub mod mint;
pub mod observe;
pub mod patroni;
pub mod perform;
pub mod postgres;
pub mod reconcile;
pub mod record;
pub mod refusals;
pub mod regions;
pub mod retire;
pub mod serve;
pub mod store;
pub mod systems;
pub mod telemetry;
pub mod tls;
pub mod undecodable;
pub mod version;
pub mod watch;
pub mod watched;
pub mod write_status;
