//! How a reconcile of a Region went. No I/O.

use bailiwick_api::region::BackupRecord;
use bailiwick_api::violation::Violation;

use crate::archive::Archive;
use crate::facts::{Facts, ReadFailure};
use crate::plan::Plan;

/// How a look at a Region went.
#[derive(Clone, Debug)]
pub enum Outcome<'a> {
    /// It was refused; nothing was applied.
    Refused(&'a [Violation]),
    /// Everything that can be done now was done.
    Applied(Applied<'a>),
    /// The API server did not let us.
    Failed {
        /// A closed word.
        reason: &'a str,
        /// The object and what the API server called it.
        message: &'a str,
        /// Why the spec is refused, where that was found before: what was accepted of it is not news then.
        refused: &'a [Violation],
    },
}

/// A Region that was applied.
#[derive(Clone, Debug)]
pub struct Applied<'a> {
    /// What was planned.
    pub plan: &'a Plan,
    /// What was observed.
    pub facts: &'a Facts,
    /// How many steps were due when the look began, apart from those that failed.
    pub steps_due: usize,
    /// The steps that failed: which, why, and the code that the system answered with.
    pub failed_steps: &'a [(String, ReadFailure, Option<String>)],
    /// What the archive does.
    pub archive: Archive,
    /// The newest full backup that a Job of this look reported.
    pub full_backup: Option<BackupRecord>,
    /// What left the spec and was retained.
    pub retained: Retained,
    /// Why the newest spec is refused, while an older one is in force: then the plan is of that one.
    pub refused: &'a [Violation],
}

/// What is left of what a spec does not name any more, for the status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// Databases, roles and the Secrets of such roles, each with what removes it.
    pub postgres: Vec<String>,
    /// Buckets, users and the Secrets of such users, each with what removes it.
    pub object_store: Vec<String>,
    /// The Secrets that go once their roles are dropped.
    pub secrets_to_delete: Vec<String>,
}
