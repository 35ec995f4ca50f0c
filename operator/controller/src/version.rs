//! Which version of a child the API server holds, and what our last apply of it sent. Values in, values out; no I/O.

use std::collections::BTreeMap;

use crate::watch::Object;

/// Which version of a child the API server holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its uid: a child that was deleted and made anew is another.
    pub uid: String,
    /// Its generation, where its kind counts one: status updates do not move it.
    pub generation: Option<i64>,
    /// Its resourceVersion, where its kind has no generation.
    pub resource_version: Option<String>,
}

impl Version {
    /// The version of any object.
    pub fn of<K: kube::Resource>(object: &K) -> Self {
        let meta = object.meta();
        Self {
            uid: meta.uid.clone().unwrap_or_default(),
            generation: meta.generation,
            resource_version: if meta.generation.is_some() {
                None
            } else {
                meta.resource_version.clone()
            },
        }
    }
}

/// What our last apply of an object sent, and what it returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// A hash of the manifest.
    pub sent: u64,
    /// The version that the API server answered with.
    pub version: Version,
}

/// The records of one Region, by kind and object.
pub type Records = BTreeMap<(String, Object), Record>;
