//! Claims that grow, and what is marked as retained.

use bailiwick_model::facts::ReadFailure;
use bailiwick_model::growth::{Growth, Unmarked};
use bailiwick_model::names::FIELD_MANAGER;
use bailiwick_operator::apply::{grow, mark_claim};
use bailiwick_operator::credentials::{Seen, is_prunable};
use bailiwick_operator::mint::retain;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use crate::support::api_server::ApiServer;

/// A policy takes a moment to be in force; until then this Region can be deleted, which dry run undoes.
/// A claim of `tr` as its StatefulSet's controller and a driver leave it.
async fn bound_claim(client: &Client, name: &str, class: &str) -> PersistentVolumeClaim {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), "tr");
    let claim = json!({
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": class, "volumeName": format!("pv-{name}"),
            "resources": {"requests": {"storage": "1Gi"}},
        },
    });
    let claim = serde_json::from_value(claim).unwrap();
    api.create(&PostParams::default(), &claim).await.unwrap();
    let status = json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}});
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap()
}

pub async fn the_operator_lets_a_volume_grow_and_makes_none(server: &ApiServer) {
    let client = server.client();
    let operator = server.client_as("bailiwick-system", "bailiwick-operator");
    for (name, expands) in [("grows", true), ("fixed", false)] {
        let class = json!({
            "metadata": {"name": name}, "provisioner": "test.bailiwick.dev", "allowVolumeExpansion": expands,
        });
        Api::<StorageClass>::all(client.clone())
            .create(
                &PostParams::default(),
                &serde_json::from_value(class).unwrap(),
            )
            .await
            .unwrap();
    }
    let growth = |claim: &PersistentVolumeClaim, size: &str| Growth {
        claim: claim.name_any(),
        uid: claim.uid().unwrap(),
        size: size.to_owned(),
    };
    let asked = async |name: &str| {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), "tr");
        let claim = api.get(name).await.unwrap();
        claim.spec.unwrap().resources.unwrap().requests.unwrap()["storage"]
            .0
            .clone()
    };

    let claim = bound_claim(&client, "data-grows", "grows").await;
    grow(&operator, "tr", &growth(&claim, "2Gi"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(asked("data-grows").await, "2Gi");
    let refused = grow(&operator, "tr", &growth(&claim, "1Gi"))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(refused.failure, ReadFailure::Refused, "it shrank");

    let claim = bound_claim(&client, "data-fixed", "fixed").await;
    let refused = grow(&operator, "tr", &growth(&claim, "2Gi"))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(refused.what, "grow data-fixed to 2Gi");
    assert_eq!(asked("data-fixed").await, "1Gi");

    // Neither another claim of that name nor one that is gone: a claim is never made.
    for (name, uid) in [("data-grows", "another"), ("data-missing", "any")] {
        let growth = Growth {
            claim: name.to_owned(),
            uid: uid.to_owned(),
            size: "4Gi".to_owned(),
        };
        let done = grow(&operator, "tr", &growth).await;
        assert!(!matches!(done, Ok(Ok(()))), "{name}");
    }
    assert_eq!(asked("data-grows").await, "2Gi");
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), "tr");
    assert!(api.get_opt("data-missing").await.unwrap().is_none());
}

/// A claim that grew keeps its size, and a Secret its values and whose they are; nothing is made.
pub async fn what_is_marked_as_retained_keeps_the_rest(server: &ApiServer) {
    let client = server.client();
    let operator = server.client_as("bailiwick-system", "bailiwick-operator");
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), "tr");
    let unmarked = |claim: &PersistentVolumeClaim| Unmarked {
        claim: claim.name_any(),
        uid: claim.uid().unwrap(),
    };
    let grown = claims.get("data-grows").await.unwrap();
    assert!(is_prunable(grown.annotations()));
    mark_claim(&operator, "tr", &unmarked(&grown))
        .await
        .unwrap();
    let growth = Growth {
        claim: grown.name_any(),
        uid: grown.uid().unwrap(),
        size: "3Gi".to_owned(),
    };
    grow(&operator, "tr", &growth).await.unwrap().unwrap();
    mark_claim(&operator, "tr", &unmarked(&grown))
        .await
        .unwrap();
    let marked = claims.get("data-grows").await.unwrap();
    assert!(!is_prunable(marked.annotations()));
    let asked = marked.spec.unwrap().resources.unwrap().requests.unwrap();
    assert_eq!(asked["storage"].0, "3Gi");
    let missing = Unmarked {
        claim: "data-missing".to_owned(),
        uid: "any".to_owned(),
    };
    mark_claim(&operator, "tr", &missing).await.unwrap();
    assert!(claims.get_opt("data-missing").await.unwrap().is_none());

    let secrets: Api<Secret> = Api::namespaced(client.clone(), "tr");
    let ours: Api<Secret> = Api::namespaced(operator, "tr");
    let made = json!({"metadata": {"name": "tr-s3-user-pgbackrest"}, "stringData": {"secret-key": "of the operator"}});
    let parameters = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let made = serde_json::from_value(made).unwrap();
    let made = ours.create(&parameters, &made).await.unwrap();
    let seen = Seen::of(&made);
    assert!(seen.prunable && seen.made.is_some());
    assert_eq!(seen.edited, None, "nobody but the operator wrote values");
    let marked = retain(&ours, "tr-s3-user-pgbackrest", &made.uid().unwrap())
        .await
        .unwrap()
        .unwrap();
    let seen = Seen::of(&marked);
    assert!(!seen.prunable);
    assert_eq!(seen.edited, None, "a mark is no edit");
    assert_eq!(marked.data, made.data);
    let label = json!({"metadata": {"labels": {"of": "person"}}});
    let edit = json!({"stringData": {"secret-key": "of a person"}});
    for (patch, edited) in [(label, false), (edit, true)] {
        let patched = secrets
            .patch(
                "tr-s3-user-pgbackrest",
                &PatchParams::default(),
                &Patch::Merge(patch),
            )
            .await
            .unwrap();
        assert_eq!(Seen::of(&patched).edited.is_some(), edited);
    }
    for uid in ["another", "any"] {
        assert!(retain(&ours, "tr-missing", uid).await.unwrap().is_none());
    }
    assert!(secrets.get_opt("tr-missing").await.unwrap().is_none());
}
