//! The Region's Postgres as users write it. Types only; no I/O.

use std::collections::BTreeMap;
use std::fmt;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::{self, RESERVED_DATABASES, RESERVED_ROLES, RESERVED_SCHEMAS};
use super::{Reclaim, Resources, Volume, default_true};

/// The Postgres cluster.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(
    validation = rules::instances_in_range(),
    validation = rules::zero_loss_has_a_replica(),
    validation = rules::bounded_is_odd(),
    validation = rules::login_has_database(),
    validation = rules::role_database_is_listed(),
    validation = rules::role_is_not_a_databases()
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Postgres {
    /// The major version of PostgreSQL.
    #[x_kube(validation = rules::version_supported(), validation = rules::version_rises())]
    pub version: i32,
    /// How many members the cluster has, one of them the primary. Lowered, members leave one at a time, the highest
    /// ordinal first; the primary hands over to one that stays first. Their volumes stay.
    pub instances: i32,
    /// What a commit waits for. `Bounded`: the primary's disk alone, so a failover may lose the last moments.
    /// `PreferZeroLoss`: a replica too, as long as one is there. `ZeroLoss`: a replica too, always; without one, writes
    /// wait.
    #[serde(default)]
    pub durability: Durability,
    /// The members' CPU and memory. The memory limit sizes Postgres' shared memory.
    #[serde(default)]
    pub resources: Resources,
    /// The members' volumes.
    pub storage: PostgresStorage,
    /// Settings of PostgreSQL, as in `postgresql.conf`: those that docs/reference/postgres-parameters.md lists, in lower
    /// case. A whole number may stand bare, as `200`; everything else is text, as `"1.1"`, `64MB` or `"on"`, which
    /// YAML would otherwise read as something else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, String>", extend("maxProperties" = 100, "additionalProperties" = {"x-kubernetes-int-or-string": true, "maxLength": 1024, "pattern": "^[^\\n\\r]*$"}, "x-kubernetes-validations" = rules::parameters()))]
    pub parameters: BTreeMap<String, SettingValue>,
    /// The databases. One that is removed from the list is retained unless its `reclaim` said `Delete`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub databases: Vec<Database>,
    /// Roles beside those that each database brings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub roles: Vec<Role>,
    /// The timing of failover.
    #[serde(default)]
    pub failover: Failover,
}

/// A setting's value. Kubernetes takes a number for a number, so a whole one need not be text.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
// In the form of all other complaints of the decoder: that no variant fits says nothing of what would.
#[serde(
    untagged,
    expecting = "invalid type, expected a whole number of at most 64 bits or text"
)]
pub enum SettingValue {
    /// A whole number.
    Whole(i64),
    /// Anything else.
    Text(String),
}

impl fmt::Display for SettingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// What a commit waits for.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The primary's disk alone: a failover may lose the last moments.
    Bounded,
    /// A replica too, as long as one is there.
    #[default]
    PreferZeroLoss,
    /// A replica too, always: without one, writes wait.
    ZeroLoss,
}

/// The volumes of one Postgres member.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostgresStorage {
    /// The data directory, with the WAL.
    pub data: Volume,
}

/// A database with its roles, schemas and extensions.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Database {
    /// Its name: lower-case letters, digits and underscores. The roles `<name>_db_admin` (owns the schemas and
    /// runs migrations), `<name>_app_writer` and `<name>_app_reader` come with it.
    #[schemars(length(max = 40))]
    #[x_kube(validation = rules::postgres_name_shape(), validation = rules::postgres_name_free(RESERVED_DATABASES))]
    pub name: String,
    /// The extensions in it. Defaults to `postgis`, `uuid-ossp` and `pgcrypto`.
    #[serde(default = "default_extensions")]
    #[schemars(
        length(max = 64),
        inner(length(max = 63)),
        extend("x-kubernetes-list-type" = "set")
    )]
    #[x_kube(validation = rules::extensions())]
    pub extensions: Vec<String>,
    /// The schemas in it. Defaults to `app`, which the writer may change, and `audit`, which it may only add to.
    #[serde(default = "default_schemas")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub schemas: Vec<Schema>,
    /// What becomes of it when it leaves the list. `Retain`: it stays, and the status names it. `Delete`: it is dropped
    /// with what is in it.
    #[serde(default)]
    pub reclaim: Reclaim,
}

fn default_extensions() -> Vec<String> {
    ["postgis", "uuid-ossp", "pgcrypto"]
        .map(str::to_owned)
        .to_vec()
}

fn default_schemas() -> Vec<Schema> {
    vec![
        Schema {
            name: "app".to_owned(),
            append_only: false,
        },
        Schema {
            name: "audit".to_owned(),
            append_only: true,
        },
    ]
}

/// A schema.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Schema {
    /// Its name: lower-case letters, digits and underscores.
    #[schemars(length(max = 63))]
    #[x_kube(validation = rules::postgres_name_shape(), validation = rules::postgres_name_free(RESERVED_SCHEMAS))]
    pub name: String,
    /// Whether the writer may add rows but not change or remove them.
    #[serde(default)]
    pub append_only: bool,
}

/// A role of Postgres.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Role {
    /// Its name: lower-case letters, digits and underscores; not one that Postgres or the operator reserves.
    #[schemars(length(max = 63))]
    #[x_kube(validation = rules::postgres_name_shape(), validation = rules::postgres_name_free(RESERVED_ROLES))]
    pub name: String,
    /// Whether it may log in; a Secret with its credential is made when it may.
    #[serde(default)]
    pub login: bool,
    /// The database that its Secret connects to; needed when `login` is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub database: Option<String>,
    /// The roles whose rights it has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(length(max = 63)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub member_of: Vec<String>,
    /// How many connections it may hold; -1 for no limit.
    #[serde(default = "default_connection_limit")]
    #[x_kube(validation = rules::connection_limit())]
    pub connection_limit: i32,
    /// What becomes of it when it leaves the list. `Retain`: it stays, and the status names it. `Delete`: it is dropped,
    /// and no data with it: what it owns in a database is given to the database's `_db_admin` role (`REASSIGN OWNED`).
    #[serde(default)]
    pub reclaim: Reclaim,
}

const fn default_connection_limit() -> i32 {
    -1
}

/// The timing of failover, as Patroni names it. `ttlSeconds` must be at least
/// `loopWaitSeconds + 2 * retryTimeoutSeconds`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(
    validation = rules::ttl_outlasts_retries(),
    validation = rules::failover_in_range()
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Failover {
    /// Seconds after which a silent primary is replaced.
    #[serde(default = "default_ttl")]
    pub ttl_seconds: i32,
    /// Seconds between two looks of Patroni.
    #[serde(default = "default_loop_wait")]
    pub loop_wait_seconds: i32,
    /// Seconds for which a failing call to the API server or Postgres is retried.
    #[serde(default = "default_retry_timeout")]
    pub retry_timeout_seconds: i32,
    /// Whether the primary stays primary while the API server is away and all members can be reached.
    #[serde(default = "default_true")]
    pub failsafe: bool,
}

const fn default_ttl() -> i32 {
    30
}
const fn default_loop_wait() -> i32 {
    10
}
const fn default_retry_timeout() -> i32 {
    10
}

impl Default for Failover {
    fn default() -> Self {
        Self {
            ttl_seconds: default_ttl(),
            loop_wait_seconds: default_loop_wait(),
            retry_timeout_seconds: default_retry_timeout(),
            failsafe: true,
        }
    }
}
