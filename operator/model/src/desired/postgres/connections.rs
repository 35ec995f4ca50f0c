//! Who connects to Postgres, and where its members connect to. Data; no I/O.

use bailiwick_api::region;

use crate::flow::{Connection, Flow, Peer};
use crate::names::port;

/// Who connects to Postgres, and where its members connect to beside what others list.
pub const CONNECTIONS: &[Connection] = &[
    Connection::to(
        Peer::Pods(Flow::Postgres),
        Flow::Postgres,
        port::POSTGRES,
        "standbys stream from the primary",
    ),
    Connection::to(
        Peer::Operator,
        Flow::Postgres,
        port::POSTGRES,
        "the operator reads and changes what the spec asks for",
    ),
    Connection::to(
        Peer::Clients(region::Service::Postgres),
        Flow::Postgres,
        port::POSTGRES,
        "applications",
    ),
    Connection::to(
        Peer::Pods(Flow::Postgres),
        Flow::Postgres,
        port::PATRONI,
        "Patroni asks the other members",
    ),
    Connection::to(
        Peer::Operator,
        Flow::Postgres,
        port::PATRONI,
        "the operator asks Patroni",
    ),
    Connection::to(
        Peer::Pods(Flow::Backup),
        Flow::Postgres,
        port::PGBACKREST,
        "backups are read from the members",
    ),
    Connection {
        from: Peer::Pods(Flow::Postgres),
        to: Peer::ApiServer,
        port: None,
        why: "Patroni keeps its state there",
    },
];
