//! What users read back of a Region. Types only; no I/O.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Assurance;

/// What the operator found. It changes only when a fact changes; numbers that always move are metrics.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RegionStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The newest generation of the spec whose databases, roles, buckets and users were all there; absent until the Region
    /// was first provisioned. While changes are being made, `Ready` speaks of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioned_generation: Option<i64>,
    /// The location that the Region runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// What is known of residency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residency: Option<ResidencyStatus>,
    /// What is known of Postgres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres: Option<PostgresStatus>,
    /// What is known of the object store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_store: Option<ObjectStoreStatus>,
    /// What is known of the archive and backups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupStatus>,
    /// What is known of certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificates: Option<CertificatesStatus>,
    /// The state in the ecosystem's own terms, one entry a type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// What is known of residency.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ResidencyStatus {
    /// How well the data is held in place, computed.
    pub assurance: Assurance,
    /// Every leakage channel and how well it is closed. See docs/reference/channels.md.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"]))]
    pub channels: Vec<ChannelStatus>,
    /// The exceptions of the spec.
    #[serde(default)]
    pub exceptions: ExceptionsStatus,
    /// When the channels were last looked at; moves in steps of five minutes, and when one of them changes (RFC 3339).
    /// One that does not move any more says that nobody looks: take every state for Unknown then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub checked_at: Option<Timestamp>,
    /// The leaks that were proven. While one is, clients and declared endpoints are shut off: see condition Quarantined.
    #[serde(default, skip_serializing_if = "BreachStatus::is_none")]
    pub breach: BreachStatus,
    /// The ways that the network policies let through, and those that were shut and may still have connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ways: Option<WaysStatus>,
    /// The end of the evidence log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceStatus>,
}

/// The ways into and out of the Region that `spec.network` opens, each as what it connects (`Postgres`, `ObjectStore`,
/// `External`), its name and a hash of what the spec says of it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WaysStatus {
    /// Those that are let through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub open: Vec<String>,
    /// Those that were shut, until it is known that no connection stands that was made by them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["way"]))]
    pub shut: Vec<ShutWay>,
}

/// A way that was shut. Network plugins let connections live on that were made before.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ShutWay {
    /// The way.
    pub way: String,
    /// When it was shut (RFC 3339).
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: Timestamp,
}

/// The leaks that were proven.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct BreachStatus {
    /// How often the Region was shut off.
    pub count: i32,
    /// Since when it is shut off (RFC 3339); absent while it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub since: Option<Timestamp>,
    /// The channels by which data was seen to get out, until it is seen that it does not any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"]))]
    pub channels: Vec<BreachedChannel>,
}

impl BreachStatus {
    /// Whether there never was one.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.count == 0
    }

    /// Whether the Region is shut off now.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        !self.channels.is_empty()
    }
}

/// A channel by which data was seen to get out.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct BreachedChannel {
    /// Its number.
    pub id: String,
    /// When that was first seen (RFC 3339).
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: Timestamp,
    /// What was seen, and what to do.
    pub finding: String,
}

/// How well a leakage channel is closed.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ChannelStatus {
    /// Its number.
    pub id: String,
    /// How well it is closed.
    pub state: ChannelState,
    /// What that was observed by.
    pub evidence: String,
    /// What was found open, and what to do; absent when nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<String>,
}

/// How well a leakage channel is closed.
#[derive(
    Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord,
)]
pub enum ChannelState {
    /// A control closes it, and was seen to be there in the last look.
    Enforced,
    /// It is looked at, and nothing was found; nothing would have prevented it.
    Audited,
    /// It is not closed, and somebody answers for it until a given time.
    Exception,
    /// What it leads through is not there, as was seen in the last look.
    NotApplicable,
    /// It could not be checked, or was found open.
    Unknown,
}

/// The exceptions of the spec.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ExceptionsStatus {
    /// How many are in force.
    pub active: i32,
    /// How many have expired and are still in the spec.
    pub expired: i32,
    /// When the next of those in force ends (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub next_expiry: Option<Timestamp>,
}

/// The end of the evidence log. Kept here and not in the log, it shows when the log was cut off or written anew:
/// `bailiwick-operator evidence verify` takes `<sequence>:<hash>` as its `--anchor`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceStatus {
    /// The sequence of the last record; 1 is the first.
    pub sequence: i64,
    /// The SHA-256 of the last record's object, in hexadecimal.
    pub hash: String,
    /// The key that signed it: the SHA-256 of its SubjectPublicKeyInfo, in hexadecimal.
    pub key_id: String,
    /// The canary runs, placements, violations and exceptions that are there now and in the log: 16 hexadecimal digits each,
    /// by which the operator's next start knows what it need not record again.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub told: String,
}

/// What is known of Postgres.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PostgresStatus {
    /// The member that is primary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
    /// The members.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<InstanceStatus>,
    /// The system identifier that Postgres gave itself at initdb; a retained volume is known by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_identifier: Option<String>,
    /// How often the cluster was restored, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<i32>,
    /// Databases and roles that left the spec and were retained, and the Secrets that are left of such roles, each with the
    /// command that removes it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retained: Vec<String>,
    /// The Secrets of logins that are deleted once their roles are dropped, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets_to_delete: Vec<String>,
}

/// What is known of a member.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// The pod's name.
    pub name: String,
    /// `Primary`, `Replica`, `SyncStandby` or `Unknown`.
    pub role: String,
    /// Patroni's word for its state, for example `running` or `streaming`.
    pub state: String,
    /// The node that it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The location of that node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_location: Option<String>,
    /// The timeline that it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<i64>,
    /// Whether a changed setting waits for a restart.
    #[serde(default)]
    pub pending_restart: bool,
}

/// What is known of the object store.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStoreStatus {
    /// How many servers are ready.
    pub ready: i32,
    /// Where clients inside the cluster reach it.
    pub endpoint: String,
    /// Buckets and users that left the spec and were retained, and the Secrets that are left of such users, each with the
    /// command that removes it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retained: Vec<String>,
}

/// What is known of the archive and backups.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BackupStatus {
    /// A moment to which a restore is possible at least; moves in steps of five minutes (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub latest_restorable: Option<Timestamp>,
    /// What is known of WAL archiving.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal_archive: Option<WalArchiveStatus>,
    /// The repositories.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repos: Vec<RepoStatus>,
}

/// What is known of WAL archiving.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WalArchiveStatus {
    /// The moment since when archiving fails (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub failing_since: Option<Timestamp>,
}

/// What is known of a repository.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RepoStatus {
    /// Its name in the spec.
    pub name: String,
    /// Its location.
    pub location: String,
    /// The stanza that is written to.
    pub stanza: String,
    /// The newest full backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_full: Option<BackupRecord>,
}

/// A backup.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BackupRecord {
    /// pgBackRest's label of it.
    pub label: String,
    /// When it ended (RFC 3339).
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// Its size in the repository, in bytes.
    pub bytes: i64,
}

/// What is known of certificates.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CertificatesStatus {
    /// When the first of them expires (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub soonest_expiry: Option<Timestamp>,
}
