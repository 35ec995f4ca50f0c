//! What the Regions are made of, and what becomes of it in their life.

pub mod access;
pub mod archive;
pub mod audit;
pub mod hibernated;
pub mod placement;
pub mod plugin;
pub mod ready;
pub mod renewal;
pub mod restart;
pub mod retention;
pub mod scaled;
