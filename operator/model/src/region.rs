//! The Region custom resource: what users write, what they read back, and the rules the API server checks.
//! Types only; no I/O. The docs on the fields are the reference that users read.

mod rules;

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, CustomResourceExt, KubeSchema};
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};

pub use rules::{
    DATABASE_ROLE_SUFFIXES, RESERVED_BUCKET_PREFIXES, RESERVED_BUCKET_SUFFIXES, RESERVED_BUCKETS,
    RESERVED_DATABASES, RESERVED_PREFIXES, RESERVED_ROLES, RESERVED_SCHEMAS,
};

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

/// Who may reach the Region's services, and what they may reach.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Network {
    /// The pods that may connect to the Region's services. Network plugins let connections live on that were made before a
    /// client was taken out or its selectors or services were changed. So half a minute later the operator ends, once, all
    /// connections of applications to Postgres: whoever is let in connects again. Those to the object store stand until its
    /// pods are made anew, and channel 2 is Unknown until then: see docs/how-to/remove-a-client.md.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub clients: Vec<Client>,
    /// The only addresses outside the cluster that the Region's pods may connect to. When one is taken out or its addresses
    /// or ports are changed, connections of applications to Postgres are ended once, as with `clients`, since a session may
    /// hold one to it; channel 9 is Unknown until the pods of Postgres are made anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub external: Vec<External>,
}

/// Pods that may connect to the Region's services.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Client {
    /// A name for the client, a DNS label, unique in the list.
    #[schemars(length(max = 63))]
    #[x_kube(validation = rules::dns_label())]
    pub name: String,
    /// The namespaces of the client's pods, among those that carry the label `bailiwick.dev/region` of this Region: no
    /// other is let in, whatever the selector says. It must select something: an empty selector is refused.
    #[schemars(schema_with = "bounded_selector")]
    #[x_kube(
        validation = rules::selects_something(),
        validation = rules::selector_labels(),
        validation = rules::selector_expressions()
    )]
    pub namespace_selector: LabelSelector,
    /// The client's pods in these namespaces; all, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounded_selector")]
    #[x_kube(
        validation = rules::selector_labels(),
        validation = rules::selector_expressions()
    )]
    pub pod_selector: Option<LabelSelector>,
    /// The services that the client may connect to, at least one: `Postgres` (port 5432), `ObjectStore` (S3, port 9000).
    #[schemars(length(min = 1, max = 2), extend("x-kubernetes-list-type" = "set"))]
    pub to: Vec<Service>,
}

/// A Kubernetes quantity above zero, as text or as a whole number. Its form is a rule's affair: of a pattern the API server
/// would tell nothing but the pattern.
fn quantity(_: &mut SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "x-kubernetes-int-or-string": true,
        "maxLength": crate::quantity::LONGEST,
        "minimum": 1,
    })
}

/// A selector whose lists and texts have bounds: without them the cost of the rules on it cannot be told.
fn bounded_selector(generator: &mut SchemaGenerator) -> schemars::Schema {
    let mut schema = LabelSelector::json_schema(generator);
    for (path, bound, most) in [
        ("/properties/matchLabels", "maxProperties", 16),
        (
            "/properties/matchLabels/additionalProperties",
            "maxLength",
            63,
        ),
        ("/properties/matchExpressions", "maxItems", 16),
        (
            "/properties/matchExpressions/items/properties/key",
            "maxLength",
            317,
        ),
        (
            "/properties/matchExpressions/items/properties/operator",
            "maxLength",
            12,
        ),
        (
            "/properties/matchExpressions/items/properties/values",
            "maxItems",
            16,
        ),
        (
            "/properties/matchExpressions/items/properties/values/items",
            "maxLength",
            63,
        ),
    ] {
        if let Some(part) = schema
            .pointer_mut(path)
            .and_then(serde_json::Value::as_object_mut)
        {
            part.insert(bound.to_owned(), most.into());
        }
    }
    schema
}

/// A service of a Region.
#[derive(
    Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord,
)]
pub enum Service {
    /// Postgres, port 5432.
    Postgres,
    /// The S3 API, port 9000.
    ObjectStore,
}

/// A place outside the cluster that the Region's pods may connect to.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct External {
    /// A name for the place, a DNS label, unique in the list.
    #[schemars(length(max = 63))]
    #[x_kube(validation = rules::dns_label())]
    pub name: String,
    /// Its host name, for people and for TLS.
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::host())]
    pub host: String,
    /// Its addresses, in CIDR notation: no range wider than /20 (IPv6: /116), and at most 4096 addresses in all of a
    /// Region's. They lie in what the operator was told of the location (`--location-addresses`), and hold no address of
    /// the cluster, of a metadata service or of what the canary tries outside.
    #[schemars(
        length(min = 1, max = 32),
        inner(length(max = 43)),
        extend("x-kubernetes-list-type" = "set")
    )]
    #[x_kube(validation = rules::cidrs())]
    pub cidrs: Vec<String>,
    /// Its TCP ports.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = rules::ports())]
    pub ports: Vec<i32>,
    /// Where it is; one of `residency.allowedLocations`.
    #[schemars(length(max = 63))]
    pub location: String,
}

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

/// CPU and memory of one container.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// CPU that is set aside, a Kubernetes quantity from `1m` to `1000`, as `500m`, `2` or `"0.5"`.
    #[serde(
        default = "default_cpu",
        deserialize_with = "crate::quantity::number_or_text"
    )]
    #[schemars(schema_with = "quantity")]
    #[x_kube(validation = rules::cpu())]
    pub cpu: String,
    /// Memory that is set aside and also the limit, a Kubernetes quantity of at least 256Mi.
    #[serde(
        default = "default_memory",
        deserialize_with = "crate::quantity::number_or_text"
    )]
    #[schemars(schema_with = "quantity")]
    #[x_kube(validation = rules::memory())]
    pub memory: String,
}

fn default_cpu() -> String {
    "250m".to_owned()
}

fn default_memory() -> String {
    "512Mi".to_owned()
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            cpu: default_cpu(),
            memory: default_memory(),
        }
    }
}

/// The volumes of one Postgres member.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostgresStorage {
    /// The data directory, with the WAL.
    pub data: Volume,
}

/// A volume.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Volume {
    /// Its size, a Kubernetes quantity. May grow, never shrink. The volumes that are there grow too, where the storage
    /// class lets them (`allowVolumeExpansion`); where it does not, the condition `Degraded` says so and all else goes
    /// on.
    #[serde(deserialize_with = "crate::quantity::number_or_text")]
    #[schemars(schema_with = "quantity")]
    #[x_kube(validation = rules::size(), validation = rules::grows_only())]
    pub size: String,
    /// Its storage class, whose topology must lie in the Region's location. Cannot be changed.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::storage_class_is_kept())]
    pub storage_class: String,
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

/// What becomes of a database, role or bucket that is removed from the spec.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reclaim {
    /// It stays as it is, and the status names it.
    #[default]
    Retain,
    /// It is deleted with what is in it.
    Delete,
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
const fn default_true() -> bool {
    true
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

/// The S3 object store.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(
    validation = rules::servers_in_range(),
    validation = rules::servers_are_enough(),
    validation = rules::servers_are_kept(),
    validation = rules::volumes_per_server_are_kept(),
    validation = rules::grants()
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectStore {
    /// How many servers it has. One server with one volume, or at least four volumes in all.
    pub servers: i32,
    /// How many volumes each server has.
    #[serde(default = "default_volumes_per_server")]
    pub volumes_per_server: i32,
    /// Each volume.
    pub volume: Volume,
    /// The servers' CPU and memory.
    #[serde(default)]
    pub resources: Resources,
    /// The buckets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub buckets: Vec<Bucket>,
    /// The users.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub users: Vec<StoreUser>,
}

const fn default_volumes_per_server() -> i32 {
    1
}

/// A bucket.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(
    validation = rules::object_lock_has_versions(),
    validation = rules::retention_has_versions(),
    validation = rules::object_lock_is_kept(),
    validation = rules::retention_has_a_lock()
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bucket {
    /// Its name, as S3 allows: 3 to 63 lower-case letters, digits and hyphens.
    #[schemars(length(max = 63))]
    #[x_kube(validation = rules::bucket_name_shape(), validation = rules::bucket_name_free())]
    pub name: String,
    /// Whether overwritten and deleted objects are kept as versions.
    #[serde(default = "default_true")]
    pub versioning: bool,
    /// Whether objects can be locked against deletion, and no client can force the deletion of old versions. Only
    /// when the bucket is made; needs `versioning`.
    #[serde(default)]
    pub object_lock: bool,
    /// Days after which versions that are no longer current are removed; they stay when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::retention_days())]
    pub noncurrent_retention_days: Option<i32>,
    /// For how long each new object is locked, unless whoever writes it says otherwise; not at all when left out. Needs
    /// `objectLock`. A change holds for objects written after it: S3 keeps the lock that an object has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<ObjectRetention>,
    /// The most bytes that it may hold, a Kubernetes quantity, as `5Gi`; no limit when left out.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::quantity::some_number_or_text"
    )]
    #[schemars(schema_with = "quantity")]
    #[x_kube(validation = rules::quota())]
    pub quota: Option<String>,
    /// What becomes of it when it leaves the list. `Retain`: it stays, and the status names it. `Delete`: it is deleted
    /// once it is empty; a bucket with objects in it never is.
    #[serde(default)]
    pub reclaim: Reclaim,
}

/// For how long an object is locked.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectRetention {
    /// Who may shorten it. `Governance`: the store's administrator. `Compliance`: nobody, so that the bucket's volumes
    /// cannot be emptied before.
    pub mode: RetentionMode,
    /// Days.
    #[x_kube(validation = rules::retention_days())]
    pub days: i32,
}

/// Who may shorten the lock of an object.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetentionMode {
    /// The store's administrator.
    Governance,
    /// Nobody.
    Compliance,
}

/// A user of the object store.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StoreUser {
    /// The user's name: 3 to 32 lower-case letters, digits and hyphens.
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::store_user_name_shape(), validation = rules::store_user_name_free())]
    pub name: String,
    /// What the user may do; nothing else.
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["bucket"]))]
    pub grants: Vec<Grant>,
}

/// What a user may do with a bucket.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grant {
    /// A bucket of the list.
    #[schemars(length(max = 63))]
    pub bucket: String,
    /// What the user may do with its objects. `ReadOnly`: list and read. `ReadWrite`: list, read, write and delete;
    /// versions stay.
    pub access: Access,
}

/// What a user may do with the objects of a bucket.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// List and read.
    ReadOnly,
    /// List, read, write and delete. Old versions stay, unless a client that means harm forces their deletion with
    /// a call of the server's own, which only `objectLock` prevents.
    ReadWrite,
}

/// The WAL archive and backups.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backup {
    /// The most time whose changes a disaster may lose, as `30s`, `5m` or `1h`: WAL is archived at least so often.
    #[serde(default = "default_rpo")]
    #[schemars(length(max = 8))]
    #[x_kube(validation = rules::rpo())]
    pub rpo: String,
    /// Where WAL and backups go: exactly one repository, in the Region's own store.
    #[serde(default = "default_repos")]
    #[schemars(length(max = 4), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[x_kube(validation = rules::in_region_repo())]
    pub repos: Vec<Repo>,
    /// How WAL and backups are encrypted. They always are.
    #[serde(default)]
    pub encryption: Encryption,
}

fn default_rpo() -> String {
    "5m".to_owned()
}

fn default_repos() -> Vec<Repo> {
    vec![Repo::default()]
}

impl Default for Backup {
    fn default() -> Self {
        Self {
            rpo: default_rpo(),
            repos: default_repos(),
            encryption: Encryption::default(),
        }
    }
}

/// A repository of pgBackRest.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Repo {
    /// Its name.
    #[schemars(length(max = 63))]
    #[x_kube(validation = rules::dns_label())]
    pub name: String,
    /// What it is kept in. `InRegion`: a bucket of its own in the Region's object store.
    #[serde(default)]
    pub store: RepoStore,
    /// How many backups are kept.
    #[serde(default)]
    pub retention: Retention,
}

impl Default for Repo {
    fn default() -> Self {
        Self {
            name: "repo1".to_owned(),
            store: RepoStore::default(),
            retention: Retention::default(),
        }
    }
}

/// What a repository is kept in.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RepoStore {
    /// A bucket of its own in the Region's object store.
    #[default]
    InRegion,
}

/// How many backups are kept. WAL is kept for as long as a backup needs it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(
    validation = rules::retention()
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retention {
    /// Full backups.
    #[serde(default = "default_full_retention")]
    pub full: i32,
    /// Differential backups.
    #[serde(default = "default_diff_retention")]
    pub diff: i32,
}

const fn default_full_retention() -> i32 {
    4
}
const fn default_diff_retention() -> i32 {
    7
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            full: default_full_retention(),
            diff: default_diff_retention(),
        }
    }
}

/// How WAL and backups are encrypted.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Encryption {
    /// Where the key comes from. `Generated`: the operator generates it in the Region's namespace, once. Keep a copy of
    /// that Secret: see the runbook.
    #[serde(default)]
    pub mode: EncryptionMode,
}

/// Where the key of the archive comes from.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EncryptionMode {
    /// The operator generates it in the Region's namespace, once. Keep a copy of that Secret: see the runbook.
    #[default]
    Generated,
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

/// The CustomResourceDefinition, as `crds/regions.yaml` holds it.
///
/// Items of lists get no defaults in it: the API server would fill them in, and tools that compare lists whole (Argo
/// CD, `kubectl diff`) would see a difference for ever. The operator fills them in when it reads a Region.
///
/// # Errors
/// The schema could not be written as JSON or read back: a defect of the types.
pub fn crd() -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut definition = serde_json::to_value(Region::crd())?;
    strip_item_defaults(&mut definition, false);
    serde_json::from_value(definition)
}

/// Takes `default` out of every schema beneath `items`, names of properties left alone.
fn strip_item_defaults(schema: &mut serde_json::Value, in_items: bool) {
    match schema {
        serde_json::Value::Object(fields) => {
            if in_items {
                fields.remove("default");
            }
            // Of a field without a type it is taken for granted, and null is no quantity.
            if fields.get("x-kubernetes-int-or-string") == Some(&serde_json::Value::Bool(true)) {
                fields.remove("nullable");
            }
            for (keyword, value) in fields {
                if keyword == "properties" {
                    // The keys here are names of fields, of which one could be called `default`.
                    for property in value
                        .as_object_mut()
                        .into_iter()
                        .flat_map(|all| all.values_mut())
                    {
                        strip_item_defaults(property, in_items);
                    }
                } else {
                    strip_item_defaults(value, in_items || keyword == "items");
                }
            }
        }
        serde_json::Value::Array(values) => {
            for value in values {
                strip_item_defaults(value, in_items);
            }
        }
        _ => {}
    }
}

/// The contents of `crds/regions.yaml`: [`crd`] as YAML, with a line on where it comes from.
///
/// # Errors
/// As [`crd`].
pub fn crd_yaml() -> Result<String, CrdError> {
    Ok(format!(
        "# Generated by `make crds` from operator/model/src/region.rs; do not edit.\n{}",
        serde_yaml::to_string(&crd()?)?
    ))
}

/// The CustomResourceDefinition could not be written: a defect of the types.
#[derive(Debug, thiserror::Error)]
pub enum CrdError {
    /// As JSON.
    #[error("the definition of Region cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// As YAML.
    #[error("the definition of Region cannot be written as YAML")]
    Yaml(#[from] serde_yaml::Error),
}
