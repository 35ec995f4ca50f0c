//! Buckets, users and policies of the object store as facts and steps. Values in, values out; no I/O.

use crate::plan::Plan;

/// What the object store says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreFacts {}

/// One change in the object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreStep {}

/// What to change in the object store now.
#[must_use]
pub fn steps(_plan: &Plan, _seen: &StoreFacts) -> Vec<StoreStep> {
    Vec::new()
}
