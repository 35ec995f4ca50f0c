//! What keeps data in its place, and what tells when it does not.

pub mod again;
pub mod apart;
pub mod canary;
pub mod channels;
pub mod conformance;
pub mod controls;
pub mod evidence;
pub mod fence;
pub mod marker;
