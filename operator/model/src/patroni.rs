//! Patroni as facts and steps: what its members say, and what to change so that the wanted configuration comes
//! into force with the replicas first. Values in, values out; no I/O.

use std::collections::BTreeMap;

use crate::facts::Facts;
use crate::plan::Plan;
use crate::step::Step;

/// What Patroni says of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatroniFacts {
    /// The members, by name (`GET /cluster`).
    pub members: BTreeMap<String, MemberFact>,
    /// The dynamic configuration (`GET /config`).
    pub config: serde_json::Value,
    /// The system identifier of the database (`GET /patroni`).
    pub system_identifier: Option<String>,
}

impl PatroniFacts {
    /// The name of the running primary.
    #[must_use]
    pub fn primary(&self) -> Option<&str> {
        self.members
            .iter()
            .find(|(_, member)| member.role == MemberRole::Primary && member.state == "running")
            .map(|(name, _)| name.as_str())
    }
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberFact {
    /// Its role.
    pub role: MemberRole,
    /// Patroni's word for its state.
    pub state: String,
    /// Its timeline.
    pub timeline: Option<i64>,
    /// How many bytes its replay is behind; unknown when Patroni does not say.
    pub lag_bytes: Option<i64>,
    /// Whether a changed setting waits for a restart.
    pub pending_restart: bool,
}

/// The role of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberRole {
    /// It takes writes.
    Primary,
    /// It follows, and commits may wait for it.
    SyncStandby,
    /// It follows.
    Replica,
}

/// One call to Patroni's REST API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatroniStep {
    /// `PATCH /config` on any member.
    PatchConfig(serde_json::Value),
    /// `POST /reload` on a member.
    Reload {
        /// The member.
        member: String,
    },
    /// `POST /restart` on a member whose changed settings wait for it.
    Restart {
        /// The member.
        member: String,
    },
    /// `POST /switchover`.
    Switchover {
        /// The primary that steps down.
        from: String,
        /// The replica that takes over.
        to: String,
    },
}

/// What to do with Patroni and its pods now.
#[must_use]
pub fn steps(_plan: &Plan, _facts: &Facts) -> Vec<Step> {
    Vec::new()
}
