//! What stands behind S3, SQL and Patroni, and what Kubernetes does not take as an apply, as data: the controller's
//! adapters do it one by one. No I/O.

use std::collections::BTreeSet;

use crate::growth::{Growth, Unmarked};
use crate::manifest::Manifest;
use crate::patroni::step::PatroniStep;
use crate::sql::step::SqlStep;
use crate::store::step::StoreStep;
use crate::subject::Subject;

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
    /// In Kubernetes: delete the Secret of a role that went.
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
