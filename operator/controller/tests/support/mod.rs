//! What several tests of the controller need.

pub mod api_server;
