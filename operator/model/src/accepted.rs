//! The spec that was accepted last: what is tended while a newer one is refused. Values in, values out; no I/O.

use std::collections::BTreeMap;

use bailiwick_api::region::{Region, RegionSpec, Residency};
use bailiwick_api::violation::{Reason, Violation};
use k8s_openapi::api::core::v1::ConfigMap;

use crate::manifest::{Manifest, owned};
use crate::plan::Plan;

/// The key of the ConfigMap with the generation.
const GENERATION: &str = "generation";
/// The key of the ConfigMap with the spec, as JSON.
const SPEC: &str = "spec.json";

/// A spec that was accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct AcceptedSpec {
    /// The generation of the Region that had it.
    pub generation: i64,
    /// The spec.
    pub spec: RegionSpec,
}

impl AcceptedSpec {
    /// The spec of a Region that was planned; none of one that no API server has given a generation.
    #[must_use]
    pub fn of(region: &Region) -> Option<Self> {
        Some(Self {
            generation: region.metadata.generation?,
            spec: region.spec.clone(),
        })
    }

    /// What a ConfigMap made of [`manifest`] holds; none when it does not decode.
    #[must_use]
    pub fn read(data: &BTreeMap<String, String>) -> Option<Self> {
        Some(Self {
            generation: data.get(GENERATION)?.parse().ok()?,
            spec: serde_json::from_str(data.get(SPEC)?).ok()?,
        })
    }

    /// Where it holds the Region.
    #[must_use]
    pub fn place(&self) -> Residency {
        place(&self.spec.residency)
    }

    /// The Region with this spec, to be planned in the place of the one that was refused for `violations`. None when that
    /// one is refused for where it is or for what became of its data, or when it is to be held in place otherwise: then
    /// nothing is tended.
    #[must_use]
    pub fn in_place_of(&self, refused: &Region, violations: &[Violation]) -> Option<Region> {
        if is_of_place(violations) || self.place() != place(&refused.spec.residency) {
            return None;
        }
        let mut region = refused.clone();
        region.spec = self.spec.clone();
        Some(region)
    }
}

/// A residency without its exceptions: they end by the clock, whoever's spec names them.
fn place(residency: &Residency) -> Residency {
    Residency {
        exceptions: Vec::new(),
        ..residency.clone()
    }
}

/// Whether a Region is refused for where it is, or for what became of its data: then no spec of it is tended.
#[must_use]
pub fn is_of_place(violations: &[Violation]) -> bool {
    violations.iter().any(|violation| match violation.reason {
        Reason::NotThisCluster
        | Reason::NotDelegated
        | Reason::OutsideJurisdiction
        | Reason::ForeignVolume
        | Reason::KeyMissing => true,
        Reason::NotFound
        | Reason::Invalid
        | Reason::Undecodable
        | Reason::FenceResponderMissing
        | Reason::Unfenced => false,
    })
}

/// The ConfigMap that remembers the accepted spec for an operator that starts anew. A spec holds no secret.
#[must_use]
pub fn manifest(plan: &Plan) -> Option<Manifest> {
    let spec = serde_json::to_string(&plan.spec).ok()?;
    let data = BTreeMap::from([
        (GENERATION.to_owned(), plan.generation?.to_string()),
        (SPEC.to_owned(), spec),
    ]);
    Some(Manifest::of(&ConfigMap {
        metadata: owned(
            plan,
            &plan.names.namespace(),
            &plan.names.accepted(),
            "region",
        ),
        data: Some(data),
        ..ConfigMap::default()
    }))
}
