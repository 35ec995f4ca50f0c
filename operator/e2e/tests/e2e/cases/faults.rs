//! What breaks below the operator, and what it does then.

pub mod failover;
pub mod outage;
pub mod reboot;
pub mod rebuilt;
pub mod repair;
pub mod takeover;
