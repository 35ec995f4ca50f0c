//! The Region custom resource: what users write, what they read back, and the rules the API server checks.
//! Types only; no I/O. The docs on the fields are the reference that users read.

mod backup;
mod crd;
mod network;
mod object_store;
mod postgres;
mod resources;
mod rules;
mod status;

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use backup::*;
pub use crd::*;
pub use network::*;
pub use object_store::*;
pub use postgres::*;
pub use resources::*;
pub use rules::{
    DATABASE_ROLE_SUFFIXES, RESERVED_BUCKET_PREFIXES, RESERVED_BUCKET_SUFFIXES, RESERVED_BUCKETS,
    RESERVED_DATABASES, RESERVED_PREFIXES, RESERVED_ROLES, RESERVED_SCHEMAS,
};
pub use status::*;

/// One place's data services: a replicated Postgres, an S3 object store and an encrypted archive, held to a
/// jurisdiction's locations. Deleting a Region keeps its data unless `lifecycle.deletionPolicy` says otherwise.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "bailiwick.dev",
    version = "v1alpha1",
    kind = "Region",
    plural = "regions",
    shortname = "rg",
    category = "residency",
    status = "RegionStatus",
    derive = "PartialEq",
    doc = "A place's data services, held to a jurisdiction: Postgres, an S3 object store and an encrypted archive.",
    printcolumn(
        name = "LOCATION",
        type_ = "string",
        json_path = ".status.location",
        description = "Where the Region runs"
    ),
    printcolumn(
        name = "ASSURANCE",
        type_ = "string",
        json_path = ".status.residency.assurance",
        description = "How well its data is held in place"
    ),
    printcolumn(
        name = "READY",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether clients can use it now"
    ),
    printcolumn(
        name = "RESIDENCY",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"ResidencyEnforced\")].status",
        description = "Whether its residency is enforced"
    ),
    printcolumn(
        name = "PRIMARY",
        type_ = "string",
        json_path = ".status.postgres.primary",
        description = "The member that takes writes"
    ),
    printcolumn(
        name = "ARCHIVED",
        type_ = "date",
        json_path = ".status.backup.latestRestorable",
        description = "How long ago the newest restorable moment is"
    ),
    printcolumn(
        name = "BACKUP",
        type_ = "date",
        json_path = ".status.backup.repos[0].lastFull.at",
        description = "How long ago the newest full backup ended"
    ),
    printcolumn(
        name = "AGE",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "How long ago it was made"
    ),
    printcolumn(
        name = "PG",
        type_ = "integer",
        json_path = ".spec.postgres.version",
        description = "The major version of PostgreSQL",
        priority = 1
    ),
    printcolumn(
        name = "REASON",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why it is ready or not",
        priority = 1
    ),
    validation = rules::region_name_shape(),
    validation = rules::region_name_free(),
    cel
)]
#[x_kube(validation = rules::external_locations())]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegionSpec {
    /// Where the data may be. Cannot be changed, except that `minimumAssurance` may rise.
    pub residency: Residency,
    /// Who may reach the Region's services, and what they may reach. Nothing, unless listed here.
    #[serde(default)]
    pub network: Network,
    /// The Postgres cluster.
    pub postgres: Postgres,
    /// The S3 object store.
    pub object_store: ObjectStore,
    /// The WAL archive and backups.
    #[serde(default)]
    pub backup: Backup,
    /// Pausing, hibernating and deleting.
    #[serde(default)]
    pub lifecycle: Lifecycle,
}

impl Region {
    /// Which restore of the database this is, counted from 1, as the status remembers it.
    #[must_use]
    pub fn incarnation(&self) -> i32 {
        self.status
            .as_ref()
            .and_then(|status| status.postgres.as_ref())
            .and_then(|postgres| postgres.incarnation)
            .unwrap_or(1)
    }
}

/// Where the data may be.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(
    validation = rules::allowed_locations_contain_location(),
    validation = rules::node_selector_agrees(),
    validation = rules::jurisdiction_is_kept(),
    validation = rules::location_is_kept(),
    validation = rules::allowed_locations_are_kept(),
    validation = rules::node_selector_is_kept()
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Residency {
    /// The jurisdiction whose rules the data is under, for example `TR` or `EU`.
    #[schemars(length(max = 16))]
    #[x_kube(validation = rules::jurisdiction())]
    pub jurisdiction: String,
    /// The location that the Region runs in; one that this cluster's operator serves (`--location`).
    #[schemars(length(max = 63))]
    #[x_kube(validation = rules::dns_label())]
    pub location: String,
    /// The locations that copies of the data may be in. Contains `location`; defaults to it alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 16),
        inner(length(max = 63)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub allowed_locations: Vec<String>,
    /// The least assurance with which the Region may be Ready; it may rise, never fall. `Simulated`: nodes only carry
    /// labels of places. `Logical`: nodes, volumes and traffic stay in the location, the control plane is shared.
    /// `Physical`: the control plane and every declared endpoint are in the allowed locations too.
    #[serde(default)]
    #[x_kube(validation = rules::minimum_assurance())]
    pub minimum_assurance: Assurance,
    /// Labels of the nodes that the Region's pods run on. Defaults to the well-known label
    /// `topology.kubernetes.io/region` with the value of `location`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    #[x_kube(validation = rules::labels())]
    pub node_selector: BTreeMap<String, String>,
    /// Leakage channels that somebody answers for, each for a time: an open or unknown channel counts as `Exception`
    /// until then, and blocks again when it has expired. Anybody who may write Regions may take one out; adding or changing
    /// one is for the group `bailiwick:residency-approvers`. See docs/explanation/residency.md.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 46), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["channel"]))]
    pub exceptions: Vec<Exception>,
}

/// A leakage channel that somebody answers for, for a time.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Exception {
    /// The channel's number, `1` to `46`.
    #[schemars(length(max = 2))]
    #[x_kube(validation = rules::channel())]
    pub channel: String,
    /// Why it is accepted. No user data: everybody who may read Regions reads it.
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,
    /// Who answers for it: the user name, as the API server knows it, of whoever adds or changes the exception, who must
    /// be in the group `bailiwick:residency-approvers`.
    #[schemars(length(min = 1, max = 128))]
    pub approved_by: String,
    /// When it ends (RFC 3339), for example `2027-01-31T00:00:00Z`; before the year 2100. One that has ended excepts nothing, and
    /// is refused by `bailiwick-operator check`; a Region that has one stands, and is not ResidencyEnforced.
    #[schemars(with = "String", length(max = 40))]
    #[x_kube(validation = rules::moment())]
    pub expires: Timestamp,
}

/// How well a Region's data is held in place, computed from what is observed and never declared.
#[derive(
    Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord,
)]
pub enum Assurance {
    /// Nodes only carry labels of places: several locations in one cluster, as on a laptop.
    #[default]
    Simulated,
    /// Nodes, volumes and traffic stay in the location; the control plane is shared with others.
    Logical,
    /// The control plane, too, and every declared endpoint are in the allowed locations.
    Physical,
}

/// Pausing, hibernating and deleting.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lifecycle {
    /// Whether the operator leaves everything as it is and only reports. Clients and declared endpoints are shut off for a
    /// proven leak all the same, and stay so until the Region goes on.
    #[serde(default)]
    pub paused: bool,
    /// Whether all pods are stopped while volumes and Secrets stay.
    #[serde(default)]
    pub hibernated: bool,
    /// Whether the API server refuses to delete this Region. Set it to false first to delete it.
    #[serde(default = "default_true")]
    pub deletion_protection: bool,
    /// What a deletion does to volumes, key Secrets and buckets. `Retain`: they stay, and a Region of the same name,
    /// jurisdiction and location takes them up again. There is no other policy yet.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

const fn default_true() -> bool {
    true
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self {
            paused: false,
            hibernated: false,
            deletion_protection: true,
            deletion_policy: DeletionPolicy::default(),
        }
    }
}

/// What a deletion does to volumes, key Secrets and buckets.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// They stay, and a Region of the same name, jurisdiction and location takes them up again.
    #[default]
    Retain,
}
