//! x

use super::Manifest;
use crate::plan::Plan;

/// The objects, in apply order.
#[must_use]
pub fn manifests(_plan: &Plan) -> Vec<Manifest> {
    Vec::new()
}
