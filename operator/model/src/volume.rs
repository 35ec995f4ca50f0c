//! The sizes of volumes: what a StatefulSet's template may say, which claims are to grow, and what keeps them from it.
//! A plan and facts in, sizes and steps out; no I/O.

use std::collections::BTreeMap;

use bailiwick_api::quantity;
use bailiwick_api::region::RegionSpec;

use crate::facts::{ClaimFact, Facts};
use crate::names::{ANNOTATION_ARGO_SYNC, LABEL_NAME, Names, RETAINED, component};

/// The size of the volumes of one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeSize {
    /// The field that asks for it.
    pub field: &'static str,
    /// What the spec asks for, a Kubernetes quantity.
    pub wanted: String,
    /// What the claim templates of the StatefulSet say, a Kubernetes quantity. They cannot be changed, so a StatefulSet
    /// that exists keeps its own; the claims made from it grow afterwards
    /// (<https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/>, "Limitations").
    pub template: String,
    /// Whether the claim templates of the StatefulSet mark claims as ones that nobody prunes: an older one does not.
    pub marked: bool,
    /// What every volume holds by now, in bytes: less than wanted while one has not grown.
    pub present: u64,
}

/// The size of Postgres' data volumes.
#[must_use]
pub fn postgres(names: &Names, spec: &RegionSpec, facts: &Facts) -> VolumeSize {
    size(
        "spec.postgres.storage.data.size",
        &spec.postgres.storage.data.size,
        &names.postgres(),
        component::POSTGRES,
        facts,
    )
}

/// The size of the object store's volumes.
#[must_use]
pub fn object_store(names: &Names, spec: &RegionSpec, facts: &Facts) -> VolumeSize {
    size(
        "spec.objectStore.volume.size",
        &spec.object_store.volume.size,
        &names.object_store(),
        component::OBJECT_STORE,
        facts,
    )
}

fn size(
    field: &'static str,
    wanted: &str,
    stateful_set: &str,
    component: &str,
    facts: &Facts,
) -> VolumeSize {
    let asked = quantity::bytes(wanted).unwrap_or_default();
    VolumeSize {
        field,
        wanted: wanted.to_owned(),
        template: facts
            .stateful_sets
            .get(stateful_set)
            .and_then(|set| set.volume_size.clone())
            .unwrap_or_else(|| wanted.to_owned()),
        marked: facts
            .stateful_sets
            .get(stateful_set)
            .is_none_or(|set| set.marks_claims),
        present: claims(facts, component)
            .filter_map(|(_, claim)| claim.capacity)
            .fold(asked, u64::min),
    }
}

/// The claims of a component of the live Region. One that is not bound yet has no volume to speak of.
pub(crate) fn claims<'a>(
    facts: &'a Facts,
    component: &'a str,
) -> impl Iterator<Item = (&'a String, &'a ClaimFact)> {
    facts.claims.live.iter().filter(move |(_, claim)| {
        claim.capacity.is_some()
            && claim.labels.get(LABEL_NAME).map(String::as_str) == Some(component)
    })
}

/// The annotations of a claim template.
#[must_use]
pub fn template_annotations(size: &VolumeSize) -> Option<BTreeMap<String, String>> {
    size.marked
        .then(|| [(ANNOTATION_ARGO_SYNC.to_owned(), RETAINED.to_owned())].into())
}
