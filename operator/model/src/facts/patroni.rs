//! What Patroni says of the members. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// How far a replica may be behind and still count as one that could take over, in bytes: a WAL segment.
const SMALL_LAG: i64 = 16 << 20;
/// How far a replica may be behind and still take over, in bytes: beyond it Patroni lets none lead, not even one that a
/// switchover names, and the primary has stopped by then (`maximum_lag_on_failover`).
pub(crate) const MAX_LAG_ON_FAILOVER: i64 = 1 << 20;

/// What Patroni says of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatroniFacts {
    /// The members, by name (`GET /cluster`, and `GET /patroni` of each).
    pub members: BTreeMap<String, MemberFact>,
    /// The dynamic configuration (`GET /config`).
    pub config: Value,
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

    /// Whether somebody has put Patroni into its maintenance mode, in which nothing is restarted or moved.
    #[must_use]
    pub fn in_maintenance(&self) -> bool {
        self.config.get("pause").and_then(Value::as_bool) == Some(true)
    }

    /// The settings that wait for a restart of some member.
    #[must_use]
    pub fn pending_settings(&self) -> BTreeSet<&str> {
        self.members
            .values()
            .flat_map(|member| member.pending_settings.keys())
            .map(String::as_str)
            .collect()
    }
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberFact {
    /// Its role.
    pub role: MemberRole,
    /// Patroni's word for its state: `running` for a primary, `streaming` for a replica that follows;
    /// [`UNREACHABLE`] when its Patroni does not answer.
    pub state: String,
    /// Its timeline.
    pub timeline: Option<i64>,
    /// How many bytes its replay is behind; unknown when Patroni does not say.
    pub lag_bytes: Option<i64>,
    /// Whether a changed setting waits for a restart.
    pub pending_restart: bool,
    /// The changed settings that wait for a restart, by name; empty when Patroni does not say which.
    pub pending_settings: BTreeMap<String, SettingChange>,
}

/// The state of a member whose Patroni does not answer.
pub const UNREACHABLE: &str = "unreachable";

/// A setting that a restart changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingChange {
    /// Its value now.
    pub from: String,
    /// Its value after the restart.
    pub to: String,
}

impl SettingChange {
    /// Whether a number gets smaller.
    pub(crate) fn decreases(&self) -> bool {
        match (self.from.parse::<i64>(), self.to.parse::<i64>()) {
            (Ok(from), Ok(to)) => to < from,
            _ => false,
        }
    }
}

impl MemberFact {
    /// Whether it serves: as the primary, or as a replica that could take over with next to nothing to replay.
    #[must_use]
    pub fn serves(&self) -> bool {
        match self.role {
            MemberRole::Primary => self.state == "running",
            MemberRole::SyncStandby | MemberRole::Replica => {
                self.state == "streaming" && self.lag_bytes.is_some_and(|lag| lag <= SMALL_LAG)
            }
        }
    }

    /// Whether Patroni would let it lead: one that serves and is no further behind than [`MAX_LAG_ON_FAILOVER`]. One that
    /// counts as a synchronous standby may have ceased to receive anything.
    #[must_use]
    pub fn could_take_over(&self) -> bool {
        self.serves() && self.lag_bytes.is_some_and(|lag| lag <= MAX_LAG_ON_FAILOVER)
    }
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

/// Whether Patroni takes two values of its configuration for the same.
pub(crate) fn same(one: &Value, other: &Value) -> bool {
    as_patroni_compares(one) == as_patroni_compares(other)
}

/// A value as the text by which Patroni decides whether a patch changes anything: what it takes for equal it does
/// not write, and a patch of it would be sent for ever.
fn as_patroni_compares(value: &Value) -> String {
    match value {
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
