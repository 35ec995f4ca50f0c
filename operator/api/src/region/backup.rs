//! The Region's archive as users write it. Types only; no I/O.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;

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
