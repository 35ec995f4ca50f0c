//! The controller: all the I/O and no decision. It watches Regions, reads Facts, lets the model plan, applies what
//! the model desires, writes the status, and knows when to look again.
#![forbid(unsafe_code)]

pub mod credentials;
pub mod error;
