//! The sizes of volumes: what a StatefulSet's template may say, which claims are to grow, and what keeps them from it.
//! A plan and facts in, sizes and steps out; no I/O.

use std::collections::BTreeMap;

use crate::facts::{ClaimFact, Facts};
use crate::names::{ANNOTATION_ARGO_SYNC, LABEL_NAME, Names, RETAINED};
use crate::plan::Plan;
use crate::quantity;
use crate::region::RegionSpec;

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

/// A claim that is to grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Growth {
    /// The PersistentVolumeClaim's name.
    pub claim: String,
    /// The uid that it must still have.
    pub uid: String,
    /// The size to ask for, a Kubernetes quantity.
    pub size: String,
}

/// A claim that nothing keeps from being pruned yet: of a StatefulSet from before its claim templates said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmarked {
    /// The PersistentVolumeClaim's name.
    pub claim: String,
    /// The uid that it must still have.
    pub uid: String,
}

/// The claims of the live Region that whoever deploys it from Git might prune, bound or not.
#[must_use]
pub fn unmarked(facts: &Facts) -> Vec<Unmarked> {
    facts
        .claims
        .live
        .iter()
        .filter(|(_, claim)| claim.prunable)
        .map(|(name, claim)| Unmarked {
            claim: name.clone(),
            uid: claim.uid.clone(),
        })
        .collect()
}

/// The size of Postgres' data volumes.
#[must_use]
pub fn postgres(names: &Names, spec: &RegionSpec, facts: &Facts) -> VolumeSize {
    size(
        "spec.postgres.storage.data.size",
        &spec.postgres.storage.data.size,
        &names.postgres(),
        crate::desired::postgres::COMPONENT,
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
        crate::desired::object_store::COMPONENT,
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
fn claims<'a>(
    facts: &'a Facts,
    component: &'a str,
) -> impl Iterator<Item = (&'a String, &'a ClaimFact)> {
    facts.claims.live.iter().filter(move |(_, claim)| {
        claim.capacity.is_some()
            && claim.labels.get(LABEL_NAME).map(String::as_str) == Some(component)
    })
}

fn sizes(plan: &Plan) -> [(&VolumeSize, &'static str); 2] {
    [
        (&plan.postgres_volume, crate::desired::postgres::COMPONENT),
        (
            &plan.object_store_volume,
            crate::desired::object_store::COMPONENT,
        ),
    ]
}

/// The annotations of a claim template.
#[must_use]
pub fn template_annotations(size: &VolumeSize) -> Option<BTreeMap<String, String>> {
    size.marked
        .then(|| [(ANNOTATION_ARGO_SYNC.to_owned(), RETAINED.to_owned())].into())
}

/// The claims that ask for less than the spec does.
fn small<'a>(
    facts: &'a Facts,
    size: &VolumeSize,
    component: &'static str,
) -> impl Iterator<Item = (&'a String, &'a ClaimFact)> {
    let wanted = quantity::bytes(&size.wanted).unwrap_or_default();
    claims(facts, component)
        .filter(move |(_, claim)| claim.requested.is_some_and(|asked| asked < wanted))
}

/// Whether the storage class of a claim says that its volumes may grow.
fn expands(facts: &Facts, claim: &ClaimFact) -> bool {
    claim
        .class
        .as_ref()
        .and_then(|class| facts.storage_classes.get(class))
        .is_some_and(|class| class.expands)
}

/// The claims that are to ask for more now. One whose class cannot grow is left to [`stuck`]: the API server would
/// refuse it (<https://kubernetes.io/docs/concepts/storage/persistent-volumes/#expanding-persistent-volumes-claims>).
#[must_use]
pub fn growths(plan: &Plan, facts: &Facts) -> Vec<Growth> {
    sizes(plan)
        .into_iter()
        .flat_map(|(size, component)| {
            small(facts, size, component)
                .filter(|(_, claim)| expands(facts, claim))
                .map(|(name, claim)| Growth {
                    claim: name.clone(),
                    uid: claim.uid.clone(),
                    size: size.wanted.clone(),
                })
        })
        .collect()
}

/// What keeps volumes from the size that the spec asks for, as sentences; empty when nothing does.
#[must_use]
pub fn stuck(plan: &Plan, facts: &Facts) -> Vec<String> {
    sizes(plan)
        .into_iter()
        .flat_map(|(size, component)| {
            small(facts, size, component)
                .filter(|(_, claim)| !expands(facts, claim))
                .map(|(name, claim)| {
                    format!(
                        "PersistentVolumeClaim {name} is smaller than {} asks ({}), and storage class {} does not let \
                         volumes grow: set its allowVolumeExpansion to true if its driver can, or move the data to a \
                         Region with another class",
                        size.field,
                        size.wanted,
                        claim.class.as_deref().unwrap_or("(none)")
                    )
                })
        })
        .collect()
}

/// The claims whose volumes do not hold yet what they ask for.
#[must_use]
pub fn growing<'a>(plan: &Plan, facts: &'a Facts) -> Vec<&'a str> {
    sizes(plan)
        .into_iter()
        .flat_map(|(_, component)| claims(facts, component))
        .filter(|(_, claim)| {
            claim
                .requested
                .zip(claim.capacity)
                .is_some_and(|(asked, held)| held < asked)
        })
        .map(|(name, _)| name.as_str())
        .collect()
}
