//! Roles, databases, schemas, extensions and privileges as facts and steps. Values in, values out; no I/O.

use crate::plan::Plan;

/// What the primary says over SQL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PostgresFacts {}

/// One change over SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SqlStep {}

/// What to change over SQL now.
#[must_use]
pub fn steps(_plan: &Plan, _seen: &PostgresFacts) -> Vec<SqlStep> {
    Vec::new()
}
