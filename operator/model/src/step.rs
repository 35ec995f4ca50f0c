//! What stands behind S3, SQL and Patroni, and what Kubernetes does not take as an apply, as data: the smallest
//! differences between wanted and seen. The controller's adapters do them one by one. No I/O.

use std::collections::BTreeSet;

use crate::canary;
use crate::desired::Manifest;
use crate::facts::Facts;
use crate::names::Names;
use crate::patroni::{self, PatroniStep};
use crate::plan::{self, Plan};
use crate::region::RegionSpec;
use crate::rotation;
use crate::sql::{self, SqlStep};
use crate::store::{self, StoreStep};
use crate::volume::{self, Growth, Unmarked};

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
    /// In Kubernetes: mark a claim as one that nobody prunes.
    MarkClaim(Unmarked),
    /// In Kubernetes: delete the Secret of a role that goes.
    DeleteSecret {
        /// The Secret's name.
        name: String,
        /// The uid that it must still have.
        uid: String,
    },
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
            | Self::MarkClaim(_)
            | Self::DeleteSecret { .. }
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
    steps.extend(volume::unmarked(facts).into_iter().map(Step::MarkClaim));
    steps.extend(orphans(plan, facts));
    steps.extend(rotation::steps(plan, facts));
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

/// The Secrets that may be left of roles and users without a login in the spec: whether each is there is to be read.
#[must_use]
pub fn may_be_left(names: &Names, spec: &RegionSpec, facts: &Facts) -> BTreeSet<String> {
    let wanted: BTreeSet<String> = plan::secrets(names, spec)
        .into_iter()
        .map(|wanted| wanted.name)
        .collect();
    let roles = facts.postgres.seen().into_iter().flat_map(|seen| {
        let ours = seen.roles.iter().filter(|(_, role)| role.mark.is_some());
        ours.map(|(role, _)| names.postgres_role(role))
    });
    let users = facts.store.seen().into_iter().flat_map(|seen| {
        let users = seen.users.keys();
        users.map(|user| names.object_store_user(user))
    });
    roles
        .chain(users)
        .filter(|secret| !wanted.contains(secret))
        .collect()
}

/// The Secrets of roles that are to go: they go first, while the role still tells of them.
fn orphans(plan: &Plan, facts: &Facts) -> Vec<Step> {
    let Some(seen) = facts.postgres.seen() else {
        return Vec::new();
    };
    sql::left_roles(&plan.names, &plan.spec.postgres, seen)
        .filter(|(_, goes)| *goes)
        .filter_map(|(role, _)| {
            let left = facts
                .left_over
                .get_key_value(&plan.names.postgres_role(role));
            left.map(|(name, uid)| Step::DeleteSecret {
                name: name.clone(),
                uid: uid.clone(),
            })
        })
        .collect()
}

/// What left the spec and was retained: databases and roles, then buckets and users; each with the Secrets that are left of
/// their logins.
#[must_use]
pub fn retained(plan: &Plan, facts: &Facts) -> (Vec<String>, Vec<String>) {
    let going: BTreeSet<String> = orphans(plan, facts)
        .into_iter()
        .filter_map(|step| match step {
            Step::DeleteSecret { name, .. } => Some(name),
            _ => None,
        })
        .collect();
    let namespace = plan.names.namespace();
    let secrets = |of: &str| {
        let left = facts.left_over.keys();
        left.filter(|name| name.starts_with(of) && !going.contains(*name))
            .map(|name| {
                format!("Secret {name} (kubectl -n {namespace} delete secret {name} removes it)")
            })
            .collect::<Vec<_>>()
    };
    let mut postgres = facts
        .postgres
        .seen()
        .map(|seen| sql::retained(plan, seen))
        .unwrap_or_default();
    postgres.extend(secrets(&plan.names.postgres_role("")));
    let mut store = facts
        .store
        .seen()
        .map(|seen| store::retained(plan, seen))
        .unwrap_or_default();
    store.extend(secrets(&plan.names.object_store_user("")));
    (postgres, store)
}
