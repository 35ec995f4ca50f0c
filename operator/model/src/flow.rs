//! Who may connect to whom in a Region, as data: the NetworkPolicies of both sides, what canaries try, and the table in
//! the documentation are made from it. No I/O.

use bailiwick_api::region::Service;
use serde::{Deserialize, Serialize};

/// What a pod of ours may talk to. NetworkPolicies select pods by this label and by nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// A member of the Postgres cluster.
    Postgres,
    /// A server of the object store.
    ObjectStore,
    /// A Job that speaks to Postgres' pgBackRest server and to the object store.
    Backup,
    /// A probe that stands for a pod without rights of its own: cluster DNS and the object store's door.
    Canary,
}

impl Flow {
    /// All of them, in the order of their NetworkPolicies.
    pub const ALL: [Self; 4] = [
        Self::Postgres,
        Self::ObjectStore,
        Self::Backup,
        Self::Canary,
    ];

    /// The value of [`crate::names::LABEL_FLOW`], and the name of the NetworkPolicy of its pods.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::ObjectStore => "object-store",
            Self::Backup => "backup",
            Self::Canary => "canary",
        }
    }
}

/// What a canary passes for. Each has all that the boundary opens to its flow, and nothing that a Service, a
/// StatefulSet or Patroni selects.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guise {
    /// A pod without more rights than any.
    Plain,
    /// A member of Postgres: the policy that surrounds the data is the one that is tried.
    Postgres,
}

impl Guise {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Plain, Self::Postgres];

    /// The flow whose label it carries.
    #[must_use]
    pub const fn flow(self) -> Flow {
        match self {
            Self::Plain => Flow::Canary,
            Self::Postgres => Flow::Postgres,
        }
    }

    /// The value of [`crate::names::LABEL_TASK`], and what the names of its objects end with.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Plain => "canary",
            Self::Postgres => "canary-pg",
        }
    }
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The Region's pods with this flow.
    Pods(Flow),
    /// The operator's pods.
    Operator,
    /// The clients that the spec lets in to this service; nobody while the Region is shut off.
    Clients(Service),
    /// The API server, by its addresses and ports: no selector can name it.
    ApiServer,
}

/// A connection that the boundary lets through, over TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Who connects.
    pub from: Peer,
    /// Who listens.
    pub to: Peer,
    /// The port that it listens on; none where the peer has ports of its own.
    pub port: Option<i32>,
    /// What for.
    pub why: &'static str,
}

impl Connection {
    /// To the pods of a flow.
    #[must_use]
    pub const fn to(from: Peer, to: Flow, port: i32, why: &'static str) -> Self {
        Self {
            from,
            to: Peer::Pods(to),
            port: Some(port),
            why,
        }
    }
}

impl Peer {
    /// The order in which a NetworkPolicy lists where a pod may connect to.
    #[must_use]
    pub fn rank(self) -> usize {
        let flow = |own: Flow| Flow::ALL.iter().position(|it| *it == own);
        match self {
            Self::Pods(own) => flow(own).unwrap_or(Flow::ALL.len()),
            Self::Operator => Flow::ALL.len() + 1,
            Self::Clients(_) => Flow::ALL.len() + 2,
            Self::ApiServer => Flow::ALL.len() + 3,
        }
    }
}
