//! What is retained of a Region, and the Secrets of roles and users that left.

use serde_json::{Value, json};

use super::{SOON, deleted, key, names, pods};
use crate::support::fake_api::{Key, text};
use crate::support::harness::{Harness, USER, tr};
use crate::support::journal::Fault;

const SYNC: &str = "argocd.argoproj.io/sync-options";
const RETAINED: &str = "Prune=false,Delete=false";

fn tr_with_roles(roles: &Value) -> Value {
    let mut region = tr();
    region["spec"]["postgres"]["roles"] = roles.clone();
    region
}

/// A retained role, with what removes it.
const ROLE_KEPT: &str = "role kept (as a superuser, in each database, REASSIGN OWNED BY kept TO its db_admin and DROP OWNED BY kept; then \
     DROP ROLE kept removes it)";

#[tokio::test]
async fn nobody_who_deploys_from_git_prunes_a_secret_or_a_claim_whichever_age_they_have() {
    // From the first moment on.
    let mut harness = Harness::running().await;
    let unmarked = |harness: &Harness| -> Vec<String> {
        ["secrets", "persistentvolumeclaims"]
            .iter()
            .flat_map(|resource| harness.api.all(resource, "tr"))
            .filter(|object| object["metadata"]["annotations"][SYNC] != RETAINED)
            .map(|object| text(&object, "/metadata/name").to_owned())
            .collect()
    };
    assert_eq!(unmarked(&harness), Vec::<String>::new());

    // Those that an operator before this one made.
    let mut count = 0;
    for resource in ["secrets", "persistentvolumeclaims"] {
        for object in harness.api.all(resource, "tr") {
            let object = key(resource, text(&object, "/metadata/name"));
            harness.api.edit(&object, "kube-controller-manager", |it| {
                it["metadata"]["annotations"] = json!({});
            });
            count += 1;
        }
    }
    assert_eq!(count, 15 + 3);
    let values = |harness: &Harness| -> Vec<Value> {
        let all = harness.api.all("secrets", "tr");
        all.iter().map(|secret| secret["data"].clone()).collect()
    };
    let before = values(&harness);
    let running = [pods(&harness, "tr-pg-"), pods(&harness, "tr-s3-")];
    harness.crash();
    harness.journal.take();
    harness.settle().await;
    assert_eq!(unmarked(&harness), Vec::<String>::new());
    let writes: Vec<String> = harness
        .journal
        .take()
        .iter()
        .filter(|call| ["secrets", "persistentvolumeclaims"].contains(&call.resource.as_str()))
        .filter(|call| call.is_write())
        .map(ToString::to_string)
        .collect();
    assert_eq!(writes.len(), count, "{writes:#?}");
    assert_eq!(values(&harness), before);
    assert_eq!(
        [pods(&harness, "tr-pg-"), pods(&harness, "tr-s3-")],
        running
    );
}

#[tokio::test]
async fn a_claim_that_grew_keeps_its_size_when_it_is_marked() {
    let mut harness = Harness::running().await;
    let class = Key::new("storageclasses", "", "tr-ist-1-local");
    harness.api.edit(&class, "admin", |it| {
        it["allowVolumeExpansion"] = json!(true);
    });
    let mut region = tr();
    region["spec"]["postgres"]["storage"]["data"]["size"] = json!("64Gi");
    harness.apply(&region);
    harness.settle().await;
    let claim = key("persistentvolumeclaims", "data-tr-pg-0");
    harness.api.edit(&claim, USER, |it| {
        it["metadata"]["annotations"] = json!({});
    });
    harness.settle().await;
    let claim = harness.api.get(&claim).unwrap();
    assert_eq!(claim["metadata"]["annotations"][SYNC], RETAINED);
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "64Gi");
}

#[tokio::test]
async fn the_secret_of_a_role_that_left_is_listed_with_what_removes_it_or_is_removed() {
    let mut harness = Harness::new();
    harness.apply(&tr_with_roles(&json!([
        {"name": "kept", "login": true, "database": "clinical"},
        {"name": "gone", "login": true, "database": "clinical", "reclaim": "Delete"},
    ])));
    harness.settle().await;
    let [kept, gone] = ["tr-pg-role-kept", "tr-pg-role-gone"].map(|name| key("secrets", name));
    assert!(harness.api.get(&kept).is_some() && harness.api.get(&gone).is_some());
    assert_eq!(
        harness.status().postgres.unwrap().retained,
        Vec::<String>::new()
    );

    harness.apply(&tr());
    harness.journal.take();
    harness.settle().await;
    let listed = [
        ROLE_KEPT,
        "Secret tr-pg-role-kept (kubectl -n tr delete secret tr-pg-role-kept removes it)",
    ];
    assert_eq!(harness.status().postgres.unwrap().retained, listed);
    assert!(harness.api.get(&kept).is_some());
    assert_eq!(harness.api.get(&gone), None);
    let calls = harness.journal.take();
    assert_eq!(deleted(&calls, "secrets"), ["tr/tr-pg-role-gone"]);
    // Not before the role.
    let dropped = calls.iter().position(|call| call.name == "drop role gone");
    let removed = calls
        .iter()
        .position(|call| call.verb == "delete" && call.resource == "secrets");
    assert!(dropped.is_some() && dropped < removed, "{calls:?}");

    // An operator that remembers nothing finds it again; once it is gone, it is said no longer.
    harness.crash();
    harness.settle().await;
    assert_eq!(harness.status().postgres.unwrap().retained, listed);
    harness.api.remove(&kept);
    harness.now_is(SOON);
    harness.settle().await;
    assert_eq!(harness.status().postgres.unwrap().retained, [ROLE_KEPT]);
}

/// A Region with a role that is to be dropped when it leaves the spec, and the Secret of that.
async fn with_a_role_to_drop() -> (Harness, Value, Key) {
    let mut harness = Harness::new();
    let with = tr_with_roles(&json!([
        {"name": "gone", "login": true, "database": "clinical", "reclaim": "Delete"},
    ]));
    harness.apply(&with);
    harness.settle().await;
    (harness, with, key("secrets", "tr-pg-role-gone"))
}

#[tokio::test]
async fn a_role_that_cannot_be_dropped_keeps_its_secret_and_its_password() {
    let (mut harness, with, secret) = with_a_role_to_drop().await;
    let before = harness.api.get(&secret).unwrap();
    // As for want of an heir.
    harness
        .journal
        .fault_on(Fault::Fail, |call| call.name == "drop role gone");
    harness.apply(&tr());
    for _ in 0..6 {
        harness.look().await.result.unwrap();
    }
    assert_eq!(harness.api.get(&secret).unwrap(), before);
    let listed = "Secret tr-pg-role-gone (it goes once its role is dropped; kubectl -n tr delete secret tr-pg-role-gone \
                  removes it)";
    let told = harness.status().postgres.unwrap();
    assert_eq!(told.retained, [listed]);
    assert_eq!(told.secrets_to_delete, ["tr-pg-role-gone"]);
    let (_, reason, message) = harness.condition("Degraded");
    assert_eq!(reason, "StepFailed");
    assert!(message.contains("drop role gone"), "{message}");

    harness.journal.heal();
    harness.apply(&with);
    harness.settle().await;
    assert_eq!(harness.api.get(&secret).unwrap()["data"], before["data"]);
    assert_eq!(
        harness.status().postgres.unwrap().retained,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn an_operator_that_ends_between_a_role_and_its_secret_leaves_no_secret_behind() {
    for fault in [Fault::Fail, Fault::DieBefore, Fault::DieAfter] {
        let (mut harness, _, secret) = with_a_role_to_drop().await;
        harness.apply(&tr());
        harness.journal.fault_on(fault, |call| {
            call.verb == "delete" && call.resource == "secrets"
        });
        let mut died = false;
        for _ in 0..8 {
            died |= harness.look_or_die().await.is_none();
            if died {
                break;
            }
        }
        assert!(!harness.world.of("tr").postgres.roles.contains_key("gone"));
        assert_eq!(died, fault != Fault::Fail);
        harness.journal.heal();
        harness.crash();
        harness.settle_through_errors().await;
        assert_eq!(harness.api.get(&secret), None);
        assert_eq!(
            harness.status().postgres.unwrap().retained,
            Vec::<String>::new()
        );
    }
}

#[tokio::test]
async fn no_other_secret_goes_for_what_stands_in_a_status() {
    let mut harness = Harness::new();
    let kept = json!([{"name": "kept", "login": true, "database": "clinical"}]);
    harness.apply(&tr_with_roles(&kept));
    harness.settle().await;
    harness.apply(&tr());
    harness.settle().await;
    let key_of_region = Key::new("regions", "", "tr");
    let mut region = harness.api.get(&key_of_region).unwrap();
    region["status"]["postgres"]["secretsToDelete"] = json!([
        "tr-ca",
        "tr-backup-key",
        "tr-pg-role-kept",
        names().postgres_role("clinical_app_writer"),
    ]);
    harness.api.put(&key_of_region, USER, "status", region);
    let before = harness.api.all("secrets", "tr");
    harness.crash();
    harness.journal.take();
    harness.settle().await;
    assert_eq!(
        deleted(&harness.journal.take(), "secrets"),
        Vec::<String>::new()
    );
    assert_eq!(harness.api.all("secrets", "tr"), before);
}

#[tokio::test]
async fn the_secret_of_a_store_user_that_left_is_listed() {
    let mut harness = Harness::running().await;
    let mut region = tr();
    region["spec"]["objectStore"]["users"] = json!([]);
    harness.apply(&region);
    harness.settle().await;
    assert_eq!(
        harness.status().object_store.unwrap().retained,
        [
            "user patient-api (it may not sign in; as root, DELETE /minio/admin/v3/remove-user?accessKey=patient-api removes \
             it: see docs/how-to/remove-from-the-object-store.md)",
            "Secret tr-s3-user-patient-api (kubectl -n tr delete secret tr-s3-user-patient-api removes it)",
        ]
    );
}
