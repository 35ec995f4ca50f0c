//! Who connects to the object store. Data; no I/O.

use bailiwick_api::region;

use crate::flow::{Connection, Flow, Peer};
use crate::names::port;

/// Who connects to the object store.
pub const CONNECTIONS: &[Connection] = &[
    Connection::to(
        Peer::Pods(Flow::ObjectStore),
        Flow::ObjectStore,
        port::S3,
        "its servers share the objects among them",
    ),
    Connection::to(
        Peer::Pods(Flow::Postgres),
        Flow::ObjectStore,
        port::S3,
        "WAL is archived and fetched",
    ),
    Connection::to(
        Peer::Pods(Flow::Backup),
        Flow::ObjectStore,
        port::S3,
        "backups are written",
    ),
    Connection::to(
        Peer::Pods(Flow::Canary),
        Flow::ObjectStore,
        port::S3,
        "what reaches nothing shows nothing: a canary has this one door",
    ),
    Connection::to(
        Peer::Operator,
        Flow::ObjectStore,
        port::S3,
        "the operator reads and changes what the spec asks for",
    ),
    Connection::to(
        Peer::Clients(region::Service::ObjectStore),
        Flow::ObjectStore,
        port::S3,
        "applications",
    ),
];
