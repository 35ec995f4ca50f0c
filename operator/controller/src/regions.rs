//! What of a Region wakes it, and which Regions are known, so that those that went while nobody watched are forgotten.
//! Events of the watch in, names out; no I/O.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use bailiwick_model::names::FIELD_MANAGER;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::ResourceExt;

/// Annotations that tools write for themselves, and that change without anybody meaning the Region.
const OF_TOOLS: [&str; 2] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "argocd.argoproj.io/",
];

/// What of a Region wakes it: its uid, generation, time of deletion, a hash of its annotations, and who else wrote into its
/// status when.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    // Of a Region made anew while the watch was down only the uid tells.
    uid: Option<String>,
    generation: Option<i64>,
    deletion: Option<Timestamp>,
    annotations: u64,
    foreign: Vec<(Option<String>, Option<Timestamp>)>,
}

/// Whether somebody else owns part of a status.
fn is_foreign(entry: &ManagedFieldsEntry) -> bool {
    entry.subresource.as_deref() == Some("status")
        && entry.manager.as_deref() != Some(FIELD_MANAGER)
}

/// Leaves of who manages which fields of a Region what [`Known`] needs: with 46 channels it is longer than all the rest.
pub fn shorten(region: &mut impl ResourceExt) {
    let entries = region.managed_fields_mut();
    entries.retain(is_foreign);
    for entry in entries {
        entry.fields_v1 = None;
    }
}

impl Seen {
    fn of(region: &impl ResourceExt) -> Self {
        let meta = region.meta();
        let mut hasher = DefaultHasher::new();
        meta.annotations
            .iter()
            .flatten()
            .filter(|(key, _)| !OF_TOOLS.iter().any(|tool| key.starts_with(tool)))
            .for_each(|annotation| annotation.hash(&mut hasher));
        Self {
            uid: meta.uid.clone(),
            generation: meta.generation,
            deletion: meta.deletion_timestamp.as_ref().map(|time| time.0),
            annotations: hasher.finish(),
            foreign: (region.managed_fields().iter())
                .filter(|entry| is_foreign(entry))
                .map(|entry| {
                    (
                        entry.manager.clone(),
                        entry.time.as_ref().map(|time| time.0),
                    )
                })
                .collect(),
        }
    }
}

/// The Regions that the watch has told of.
#[derive(Debug, Default)]
pub struct Known {
    seen: HashMap<String, Seen>,
    listing: BTreeSet<String>,
}

impl Known {
    /// A new list begins.
    pub fn list_begins(&mut self) {
        self.listing.clear();
    }

    /// A Region was listed. Tells whether that is news.
    pub fn listed(&mut self, region: &impl ResourceExt) -> bool {
        self.listing.insert(region.name_any());
        self.changed(region)
    }

    /// A Region was made or changed. Tells whether it is to be woken.
    pub fn changed(&mut self, region: &impl ResourceExt) -> bool {
        let seen = Seen::of(region);
        self.seen.insert(region.name_any(), seen.clone()) != Some(seen)
    }

    /// A Region is gone.
    pub fn gone(&mut self, region: &str) {
        self.seen.remove(region);
    }

    /// The list is complete: returns those of `remembered`, and of all that were told of before, that are not in it.
    pub fn list_ends(&mut self, remembered: impl IntoIterator<Item = String>) -> BTreeSet<String> {
        let listing = std::mem::take(&mut self.listing);
        let gone: BTreeSet<String> = remembered
            .into_iter()
            .chain(self.seen.keys().cloned())
            .filter(|name| !listing.contains(name))
            .collect();
        for name in &gone {
            self.seen.remove(name);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bailiwick_api::region::Region;
    use serde_json::json;

    fn region(annotations: &serde_json::Value) -> Region {
        serde_json::from_value(json!({
            "apiVersion": "bailiwick.dev/v1alpha1", "kind": "Region",
            "metadata": {"name": "tr", "uid": "u", "generation": 1, "annotations": annotations},
            "spec": {
                "residency": {"jurisdiction": "TR", "location": "tr-ist-1"},
                "postgres": {
                    "version": 17, "instances": 2,
                    "storage": {"data": {"size": "1Gi", "storageClass": "tr-ist-1-local"}},
                },
                "objectStore": {"servers": 1, "volume": {"size": "1Gi", "storageClass": "tr-ist-1-local"}},
            },
        }))
        .expect("it is a Region")
    }

    #[test]
    fn the_value_of_an_annotation_wakes_a_region_and_what_tools_note_does_not() {
        let mut known = Known::default();
        assert!(known.changed(&region(&json!({"a": "1"}))));
        assert!(!known.changed(&region(&json!({"a": "1"}))));
        assert!(
            known.changed(&region(&json!({"a": "2"}))),
            "as many as before"
        );
        for of_a_tool in [
            "kubectl.kubernetes.io/last-applied-configuration",
            "argocd.argoproj.io/tracking-id",
        ] {
            let more = region(&json!({"a": "2", of_a_tool: "x"}));
            assert!(!known.changed(&more), "{of_a_tool}");
        }
    }

    #[test]
    fn what_others_write_into_a_status_wakes_a_region_and_what_the_operator_writes_does_not() {
        let written = |by: &[(&str, &str, &str)]| {
            let mut region = region(&json!({}));
            let entries = by.iter().map(|(manager, subresource, time)| {
                json!({"manager": manager, "subresource": subresource, "time": time, "fieldsV1": {"f:status": {}}})
            });
            region.metadata.managed_fields =
                serde_json::from_value(entries.collect()).expect("they are entries");
            shorten(&mut region);
            region
        };
        let (ours, then, now) = (
            FIELD_MANAGER,
            "2026-11-27T08:00:00Z",
            "2026-11-27T09:00:00Z",
        );
        let mut known = Known::default();
        assert!(known.changed(&written(&[(ours, "status", then)])));
        assert!(!known.changed(&written(&[(ours, "status", now), ("kubectl", "", now)])));
        assert!(known.changed(&written(&[("kubectl", "status", then)])));
        assert!(!known.changed(&written(&[
            ("kubectl", "status", then),
            (ours, "status", now)
        ])));
        assert!(known.changed(&written(&[("kubectl", "status", now)])));
    }

    #[test]
    fn what_a_list_does_not_have_is_gone() {
        let mut known = Known::default();
        known.list_begins();
        assert!(known.listed(&region(&json!({}))));
        let remembered = || ["es".to_owned(), "tr".to_owned()];
        assert_eq!(known.list_ends(remembered()), ["es".to_owned()].into());
        known.list_begins();
        assert_eq!(known.list_ends([]), ["tr".to_owned()].into());
        assert!(
            known.changed(&region(&json!({}))),
            "one of its name is news"
        );
    }
}
