//! What stands behind S3, SQL and Patroni, and what Kubernetes does not take as an apply, as data: the smallest
//! differences between wanted and seen. The controller's adapters do them one by one. No I/O.

use std::collections::BTreeSet;

use crate::canary;
use crate::desired::Manifest;
use crate::facts::Facts;
use crate::patroni::{self, PatroniStep};
use crate::plan::Plan;
use crate::sql::{self, SqlStep};
use crate::store::{self, StoreStep};
use crate::volume::{self, Growth};

/// One thing to do. What cannot be done yet is not in the list: the next look finds it.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// In the object store.
    Store(StoreStep),
    /// In Postgres, over SQL.
    Sql(SqlStep),
    /// With Patroni.
    Patroni(PatroniStep),
    /// In Kubernetes: create an object that is never changed (a Job).
    Create(Box<Manifest>),
    /// In Kubernetes: let a claim ask for more.
    Grow(Growth),
    /// In Kubernetes: delete a pod, so that its StatefulSet makes it anew.
    DeletePod {
        /// The pod's name.
        name: String,
        /// The uid that it must still have.
        uid: String,
    },
    /// In Kubernetes: delete a Job that failed, so that it can be tried again.
    DeleteJob {
        /// The Job's name.
        name: String,
        /// The uid that it must still have.
        uid: String,
    },
}

/// What a step is about. When a step fails for what it is about, later steps about the same are left out: they may need
/// it. Steps about others go on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A bucket.
    Bucket(String),
    /// A user of the object store, with its policy.
    StoreUser(String),
    /// A database of Postgres, with all that is in it.
    Database(String),
    /// A role of Postgres.
    Role(String),
}

impl Step {
    /// What the step is about; empty when all that follows in its system may depend on it.
    #[must_use]
    pub fn subjects(&self) -> BTreeSet<Subject> {
        match self {
            Self::Store(step) => step.subjects(),
            Self::Sql(step) => step.subjects(),
            Self::Patroni(_)
            | Self::Create(_)
            | Self::Grow(_)
            | Self::DeletePod { .. }
            | Self::DeleteJob { .. } => BTreeSet::new(),
        }
    }
}

/// What is to be done now; of a Region that is paused, only what a leak asks for. In order: room first; then the store, since the archive needs it; then canaries, which wait
/// for nothing else; then Patroni, then SQL.
#[must_use]
pub fn steps(plan: &Plan, facts: &Facts) -> Vec<Step> {
    if plan.spec.lifecycle.paused {
        let seen = facts.postgres.seen();
        let steps = seen.map(|seen| sql::steps_while_paused(plan, seen));
        return steps.into_iter().flatten().map(Step::Sql).collect();
    }
    let mut steps: Vec<Step> = volume::growths(plan, facts)
        .into_iter()
        .map(Step::Grow)
        .collect();
    if let Some(seen) = facts.store.seen() {
        steps.extend(store::steps(plan, seen).into_iter().map(Step::Store));
    }
    steps.extend(canary::steps(plan, facts));
    steps.extend(patroni::steps(plan, facts));
    if let Some(seen) = facts.postgres.seen() {
        steps.extend(sql::steps(plan, seen).into_iter().map(Step::Sql));
    }
    steps
}

/// What left the spec and was retained: databases and roles, then buckets and users.
#[must_use]
pub fn retained(plan: &Plan, facts: &Facts) -> (Vec<String>, Vec<String>) {
    (
        facts
            .postgres
            .seen()
            .map(|seen| sql::retained(plan, seen))
            .unwrap_or_default(),
        facts
            .store
            .seen()
            .map(|seen| store::retained(plan, seen))
            .unwrap_or_default(),
    )
}
