//! x

use super::Manifest;
use crate::names::Names;
use crate::plan::Plan;
use crate::region::RegionSpec;
use crate::secret::SecretWanted;
use crate::violation::Violation;

/// The objects, in apply order.
#[must_use]
pub fn manifests(_plan: &Plan) -> Vec<Manifest> {
    Vec::new()
}

/// The Secrets.
#[must_use]
pub fn secrets(_names: &Names, _spec: &RegionSpec) -> Vec<SecretWanted> {
    Vec::new()
}

/// What is wrong with the spec that CEL cannot say.
#[must_use]
pub fn violations(_spec: &RegionSpec) -> Vec<Violation> {
    Vec::new()
}
