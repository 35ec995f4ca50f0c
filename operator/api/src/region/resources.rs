//! What several parts of a Region's spec share: CPU and memory, volumes, and what becomes of what leaves the spec. Types
//! only; no I/O.

use kube::KubeSchema;
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::rules;

/// A Kubernetes quantity above zero, as text or as a whole number. Its form is a rule's affair: of a pattern the API server
/// would tell nothing but the pattern.
pub(super) fn quantity(_: &mut SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "x-kubernetes-int-or-string": true,
        "maxLength": crate::quantity::LONGEST,
        "minimum": 1,
    })
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

/// What becomes of a database, role or bucket that is removed from the spec.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reclaim {
    /// It stays as it is, and the status names it.
    #[default]
    Retain,
    /// It is deleted with what is in it.
    Delete,
}
