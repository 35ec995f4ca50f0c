//! The admission policies.

use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::regions;

pub async fn policies_are_in_force(client: &Client) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let dry = DeleteParams {
        dry_run: true,
        ..DeleteParams::default()
    };
    for _ in 0..300 {
        let label = json!({"metadata": {"labels": {"bailiwick.dev/region": "es"}}});
        let patch = PatchParams {
            dry_run: true,
            ..PatchParams::default()
        };
        if regions(client).delete("tr", &dry).await.is_err()
            && namespaces.delete("tr", &dry).await.is_err()
            && namespaces
                .patch("tr", &patch, &Patch::Merge(&label))
                .await
                .is_err()
        {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the policies are not in force after 30 s");
}

pub async fn protected_regions_and_namespaces_stay(client: &Client) {
    let api = regions(client);
    let delete = DeleteParams::default();
    let error = api.delete("tr", &delete).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("spec.lifecycle.deletionProtection"),
        "{error}"
    );
    let all = kube::api::ListParams::default();
    assert!(
        api.delete_collection(&delete, &all).await.is_err(),
        "all Regions at once"
    );
    assert!(api.get_opt("tr").await.unwrap().is_some());

    let unprotected = json!({"spec": {"lifecycle": {"deletionProtection": false}}});
    api.patch("es", &PatchParams::default(), &Patch::Merge(&unprotected))
        .await
        .unwrap();
    api.delete("es", &delete).await.unwrap();
    assert!(api.get_opt("es").await.unwrap().is_none());

    let namespaces: Api<Namespace> = Api::all(client.clone());
    for name in ["tr", "tr-obs", "tr-drill"] {
        let error = namespaces.delete(name, &delete).await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("bailiwick.dev/deletion-protection"),
            "{error}"
        );
    }
    let unlabelled = json!({"metadata": {"labels": {"bailiwick.dev/deletion-protection": null}}});
    namespaces
        .patch(
            "es-drill",
            &PatchParams::default(),
            &Patch::Merge(&unlabelled),
        )
        .await
        .unwrap();
    namespaces.delete("es-drill", &delete).await.unwrap();
    // Others are none of the policy's business.
    let other = Namespace {
        metadata: kube::api::ObjectMeta {
            name: Some("other".to_owned()),
            ..kube::api::ObjectMeta::default()
        },
        ..Namespace::default()
    };
    namespaces
        .create(&PostParams::default(), &other)
        .await
        .unwrap();
    namespaces.delete("other", &delete).await.unwrap();
}

pub async fn labels_of_a_regions_namespace_stay(client: &Client) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let parameters = PatchParams::default();
    for (label, value) in [
        ("region", json!("es")),
        ("location", json!("es-mad-1")),
        ("jurisdiction", Value::Null),
    ] {
        let label = format!("bailiwick.dev/{label}");
        let patch = json!({"metadata": {"labels": {label.as_str(): value}}});
        let error = namespaces
            .patch("tr", &parameters, &Patch::Merge(&patch))
            .await
            .unwrap_err();
        assert!(error.to_string().contains(&label), "{error}");
    }
    let other = json!({"metadata": {"labels": {"team": "storage"}}});
    namespaces
        .patch("tr", &parameters, &Patch::Merge(&other))
        .await
        .unwrap();
}
