//! The Region's object store as users write it. Types only; no I/O.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::resources::quantity;
use super::rules;
use super::{Reclaim, Resources, Volume, default_true};

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
