//! What pods of a Region may talk to, by the label that the policies select, and what a canary passes for. No I/O.

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
    /// The value of [`LABEL_FLOW`].
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
