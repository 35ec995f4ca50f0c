//! Children that are deleted or edited, and what counts as a change of somebody else.

use std::collections::BTreeSet;
use std::sync::Arc;

use bailiwick_model::facts::store::BucketOutlet;
use serde_json::json;

use super::{children, key, tr_with};
use crate::support::harness::{Harness, Look, USER};

#[tokio::test]

async fn a_child_that_is_deleted_is_made_again_with_one_write() {
    let mut harness = Harness::running().await;
    let mut kinds = BTreeSet::new();
    for child in children(&harness) {
        // Not watched: their loss is found when they are looked at again.
        if matches!(child.resource.as_str(), "secrets" | "configmaps" | "jobs") {
            continue;
        }
        kinds.insert(child.resource.clone());
        harness.api.remove(&child);
        harness.journal.take();
        let look = harness.look().await;
        assert_eq!(
            look.repairs(),
            [format!(
                "apply {} {}/{}",
                child.resource, child.namespace, child.name
            )]
        );
        assert!(harness.api.get(&child).is_some());
        harness.settle().await;
        assert_eq!(harness.condition("Ready").0, "True", "{child:?}");
    }
    assert_eq!(kinds.len(), 5, "{kinds:?}");
}

#[tokio::test]
async fn a_child_that_is_edited_is_repaired_with_one_write() {
    let mut harness = Harness::running().await;
    let before = harness
        .api
        .get(&key("networkpolicies", "postgres"))
        .unwrap();
    harness
        .api
        .edit(&key("networkpolicies", "postgres"), USER, |policy| {
            policy["spec"]["ingress"] = json!([{}]);
        });
    let look = harness.look().await;
    assert_eq!(look.writes(), ["apply networkpolicies tr/postgres"]);
    let after = harness
        .api
        .get(&key("networkpolicies", "postgres"))
        .unwrap();
    assert_eq!(after["spec"], before["spec"]);
    assert_eq!(undone(&harness), 1);
    assert_eq!(harness.look().await.requests(), Vec::<String>::new());
}

/// How many changes by somebody else were put right.
fn undone(harness: &Harness) -> u64 {
    let name = "bailiwick_foreign_changes_undone_total{region=\"tr\"} ";
    let text = harness.ctx.metrics.text();
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.parse().ok())
        .unwrap_or_default()
}

#[tokio::test]
async fn what_follows_from_the_spec_is_no_foreign_change() {
    let mut harness = Harness::running().await;
    assert_eq!(undone(&harness), 0, "making a Region");
    harness.apply(&tr_with(&[("/spec/network/external", json!([]))]));
    harness.settle().await;
    assert_eq!(undone(&harness), 0, "changing its spec");
    harness.world.change("tr", |data| {
        let bucket = data.store.buckets.get_mut("documents").unwrap();
        bucket.outlets.insert(BucketOutlet::Policy);
    });
    harness.settle().await;
    assert_eq!(undone(&harness), 1, "opening its store");
}

#[tokio::test]
async fn what_is_around_a_region_is_read_again_with_its_spec() {
    let mut harness = Harness::running().await;
    let read = |look: &Look| {
        look.requests()
            .iter()
            .any(|request| request.starts_with("rules selfsubjectrulesreviews"))
    };
    assert!(!read(&harness.look().await), "nothing has changed");
    harness.apply(&tr_with(&[("/spec/network/external", json!([]))]));
    let look = harness.look().await;
    assert!(read(&look), "{:?}", look.requests());
    harness.settle().await;
    assert!(!read(&harness.look().await), "nothing has changed");
}

#[tokio::test]
async fn what_somebody_else_adds_to_a_child_is_taken_away() {
    let mut harness = Harness::running().await;
    let deny = key("networkpolicies", "default-deny");
    harness.api.edit(&deny, USER, |policy| {
        // A field that our manifest does not have: an apply alone would leave it.
        policy["spec"]["ingress"] = json!([{}]);
    });
    let look = harness.look().await;
    assert!(look.writes().len() <= 2, "{:?}", look.writes());
    assert_eq!(harness.api.get(&deny).unwrap()["spec"].get("ingress"), None);
    assert_eq!(harness.look().await.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn an_edit_that_comes_while_we_apply_is_not_lost() {
    let mut harness = Harness::running().await;
    let deny = key("networkpolicies", "default-deny");
    harness.api.edit(&deny, USER, |policy| {
        policy["spec"]["policyTypes"] = json!(["Egress"]);
    });
    harness.sync().await;
    // Before its answer reaches us somebody edits again, and the watch is faster than our answer.
    let (api, watched) = (
        harness.api.clone(),
        harness.ctx.watched.network_policies.clone(),
    );
    let late = deny.clone();
    harness.api.after_next(&deny.clone(), move || {
        api.edit(&late, USER, |policy| {
            policy["spec"]["ingress"] = json!([{}]);
        });
        let live = api.get(&late).unwrap();
        let object: kube::api::DynamicObject = serde_json::from_value(live).unwrap();
        let place = bailiwick_operator::watch::Object {
            namespace: "tr".to_owned(),
            name: "default-deny".to_owned(),
        };
        watched.put(
            "tr",
            place,
            bailiwick_operator::version::Version::of(&object),
        );
    });
    let region = Arc::new(harness.region());
    harness.look_at(region.clone()).await.result.unwrap();
    // The watch has told already, and tells it no second time.
    harness.look_at(region).await.result.unwrap();
    assert_eq!(harness.api.get(&deny).unwrap()["spec"].get("ingress"), None);
}
