//! The object store in the model: what a plan of one or several servers becomes, which specs are refused, and that
//! steps lead from nothing to nothing left to do and back from each drift. Plans in, values out; no I/O.

mod manifests;
mod policies;
mod refusals;
mod status;
mod steps;

use bailiwick_api::region::Region;
use bailiwick_model::facts::store::{BucketFact, StoreFacts, UserFact};
use bailiwick_model::plan::Plan;
use bailiwick_model::store::steps;

use crate::fixture;
use crate::fixture::store::apply;

/// Buckets of each kind and users of each access.
fn region() -> Region {
    fixture::tr_with(
        "
spec:
  objectStore:
    buckets:
      - name: documents
        quota: 1Gi
        noncurrentRetentionDays: 30
      - name: images
        objectLock: true
        reclaim: Delete
      - name: scratch
        versioning: false
    users:
      - name: patient-api
        grants: [{bucket: documents, access: ReadWrite}]
      - name: auditor
        grants: [{bucket: documents, access: ReadOnly}]
",
    )
}

/// What the store says before anything is made.
fn nothing() -> StoreFacts {
    StoreFacts {
        region: "tr-ist-1".to_owned(),
        encrypts: true,
        ..StoreFacts::default()
    }
}

/// The store once all steps from nothing are done.
fn made(plan: &Plan) -> StoreFacts {
    let mut facts = nothing();
    for step in steps(plan, &facts.clone()) {
        apply(&mut facts, &step);
    }
    facts
}

fn bucket<'a>(facts: &'a mut StoreFacts, name: &str) -> &'a mut BucketFact {
    facts.buckets.get_mut(name).expect("the bucket is there")
}

fn user<'a>(facts: &'a mut StoreFacts, name: &str) -> &'a mut UserFact {
    facts.users.get_mut(name).expect("the user is there")
}
