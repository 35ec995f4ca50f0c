//! The object store in memory, which the tests of the model and of the controller stand on, beside the real one: the same
//! steps are done on both, both are read after each, and what is read must be the same.

use std::collections::BTreeMap;
use std::time::Duration;

use bailiwick_api::region::{Reclaim, Region};
use bailiwick_model::facts::ReadFailure;
use bailiwick_model::facts::store::StoreFacts;
use bailiwick_model::plan::Plan;
use bailiwick_model::store::step::StoreStep;
use bailiwick_model::store::steps;
use bailiwick_operator::store::Store;

use crate::fixture;
use crate::server::Server;

/// What a Region says of its store, one after the other: made, changed, emptied, made again.
const SPECS: [&str; 4] = [
    FIRST,
    SECOND,
    "spec: {objectStore: {buckets: [], users: []}}",
    FIRST,
];

const FIRST: &str = "
spec:
  objectStore:
    buckets:
      - {name: documents, quota: 1Gi, noncurrentRetentionDays: 30}
      - {name: images, objectLock: true, reclaim: Delete}
      - {name: scratch, versioning: false, reclaim: Delete}
    users:
      - name: patient-api
        grants: [{bucket: documents, access: ReadWrite}, {bucket: scratch, access: ReadWrite}]
      - name: auditor
        grants: [{bucket: documents, access: ReadOnly}]
";

/// Every field of a bucket that may change is another, a grant is less and a user more.
const SECOND: &str = "
spec:
  objectStore:
    buckets:
      - {name: documents, versioning: false, reclaim: Delete}
      - {name: images, objectLock: true, quota: 2Gi, retention: {mode: Governance, days: 1}}
      - {name: scratch, versioning: true, noncurrentRetentionDays: 7, reclaim: Delete}
    users:
      - name: patient-api
        grants: [{bucket: scratch, access: ReadOnly}]
      - name: imaging
        grants: [{bucket: images, access: ReadWrite}]
";

/// How many steps of how many kinds the two are compared after, at least: fewer compare less.
const STEPS: usize = 128;
const KINDS: usize = 13;

async fn read(store: &Store, plan: &Plan, region: &Region, server: &Server) -> StoreFacts {
    for _ in 0..100 {
        match store
            .observe(&plan.names, region, &server.credentials)
            .await
        {
            // It answers a moment before it has read its settings.
            Err(unread) if unread.failure == ReadFailure::NotReady => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(failure) => panic!("cannot be read: {failure:?}\n{}", server.log()),
            Ok(facts) => return facts,
        }
    }
    panic!("it does not become ready\n{}", server.log());
}

/// The store in memory as the operator reads a store: whether a bucket is empty is asked only where it decides.
fn read_memory(facts: &StoreFacts, region: &Region) -> StoreFacts {
    let mut facts = facts.clone();
    let wanted = &region.spec.object_store.buckets;
    for (name, fact) in &mut facts.buckets {
        let left = !name.starts_with("bailiwick-") && !wanted.iter().any(|it| it.name == *name);
        fact.empty &= left && fact.reclaim == Some(Reclaim::Delete);
    }
    facts
}

fn kind(step: &StoreStep) -> String {
    let text = format!("{step:?}");
    text.split([' ', '{']).next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_store_in_memory_is_after_each_step_what_the_real_one_is() {
    let regions = SPECS.map(fixture::tr_with);
    // With the Secrets of all users that any of the specs has.
    let mut all = regions[0].clone();
    all.spec
        .object_store
        .users
        .extend(regions[1].spec.object_store.users.iter().skip(1).cloned());
    let first = fixture::planned(&all);
    let server = Server::start(&first, &[]).await;
    let root = first.names.object_store_root();
    let text = |key| server.credentials.text(&root, key).expect("root's Secret");
    let store = Store::new(
        &server.endpoint,
        first.store_region(),
        text("access-key"),
        text("secret-key"),
        &server.authority,
    )
    .expect("a client");
    let mut memory = StoreFacts {
        region: "tr-ist-1".to_owned(),
        encrypts: true,
        ..StoreFacts::default()
    };
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for (number, region) in regions.iter().enumerate() {
        let plan = fixture::planned(region);
        // A second look finds what the first one's steps made possible.
        for _ in 0..2 {
            let real = read(&store, &plan, region, &server).await;
            assert_eq!(read_memory(&memory, region), real, "at spec {number}");
            for step in steps(&plan, &real) {
                // A lost answer has it done twice.
                let times = if matches!(step, StoreStep::DeleteBucket { .. }) {
                    1
                } else {
                    2
                };
                for time in 1..=times {
                    if let Err(error) = store.perform(&step, &server.credentials).await {
                        panic!("{error}: {:?}\n{}", error.source, server.log());
                    }
                    fixture::store::apply(&mut memory, &step);
                    let real = read(&store, &plan, region, &server).await;
                    assert_eq!(
                        read_memory(&memory, region),
                        real,
                        "after {step} of spec {number}, time {time}"
                    );
                    *kinds.entry(kind(&step)).or_default() += 1;
                }
            }
        }
        assert_eq!(
            steps(&plan, &read_memory(&memory, region)),
            [],
            "spec {number}"
        );
    }
    let compared: usize = kinds.values().sum();
    println!("compared after {compared} steps: {kinds:?}");
    assert!(compared >= STEPS && kinds.len() >= KINDS, "{kinds:?}");
}
