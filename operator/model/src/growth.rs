//! Volumes that are to grow, and what keeps them from it. A plan and facts in, steps and sentences out; no I/O.

use bailiwick_api::quantity;

use crate::facts::{ClaimFact, Facts};
use crate::names::component;
use crate::plan::Plan;
use crate::volume::{VolumeSize, claims};

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

fn sizes(plan: &Plan) -> [(&VolumeSize, &'static str); 2] {
    [
        (&plan.postgres_volume, component::POSTGRES),
        (&plan.object_store_volume, component::OBJECT_STORE),
    ]
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
