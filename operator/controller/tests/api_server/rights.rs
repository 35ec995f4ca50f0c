//! What the operator and Patroni may do.

use bailiwick_model::names::FENCE_NAMESPACE;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::regions;
use crate::support::api_server::ApiServer;

/// Whether a ServiceAccount may do something, as `verb resource.group/subresource [name]`.
async fn may(client: &Client, account: (&str, &str), namespace: &str, action: &str) -> bool {
    let words: Vec<&str> = action.split(' ').collect();
    let (resource, subresource) = match words[1].split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (words[1], None),
    };
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(format!("system:serviceaccount:{}:{}", account.0, account.1)),
            resource_attributes: Some(ResourceAttributes {
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                subresource,
                name: words.get(2).map(|&name| name.to_owned()),
                namespace: Some(namespace.to_owned()).filter(|namespace| !namespace.is_empty()),
                verb: Some(words[0].to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let api: Api<SubjectAccessReview> = Api::all(client.clone());
    let answer = api.create(&PostParams::default(), &review).await.unwrap();
    answer.status.unwrap().allowed
}

async fn hold(client: &Client, account: (&str, &str), expected: bool, actions: &[(&str, &str)]) {
    for (namespace, action) in actions {
        assert_eq!(
            may(client, account, namespace, action).await,
            expected,
            "{} may {action} in {namespace:?}",
            account.1
        );
    }
}

pub async fn the_operator_has_the_rights_it_needs_and_no_more(client: &Client) {
    let operator = ("bailiwick-system", "bailiwick-operator");
    hold(
        client,
        operator,
        true,
        &[
            ("", "watch regions.bailiwick.dev"),
            ("", "patch regions.bailiwick.dev/status"),
            ("", "list nodes"),
            ("", "watch statefulsets.apps"),
            ("default", "list endpointslices.discovery.k8s.io"),
            ("default", "create events.events.k8s.io"),
            (FENCE_NAMESPACE, "list endpointslices.discovery.k8s.io"),
            (FENCE_NAMESPACE, "watch endpointslices.discovery.k8s.io"),
            (
                "bailiwick-system",
                "update leases.coordination.k8s.io bailiwick-operator",
            ),
            ("tr", "get secrets tr-ca"),
            ("tr", "create secrets"),
            ("tr", "patch statefulsets.apps"),
            ("tr", "patch cronjobs.batch"),
            ("", "watch cronjobs.batch"),
            ("tr", "delete pods"),
            ("tr", "patch persistentvolumeclaims"),
            ("tr-obs", "patch networkpolicies.networking.k8s.io"),
            ("tr-drill", "patch networkpolicies.networking.k8s.io"),
        ],
    )
    .await;
    hold(
        client,
        operator,
        false,
        &[
            ("", "list secrets"),
            ("", "get secrets"),
            ("", "list configmaps"),
            ("", "create regions.bailiwick.dev"),
            ("", "delete regions.bailiwick.dev"),
            ("", "patch namespaces"),
            ("", "get nodes/proxy"),
            ("kube-system", "get secrets"),
            ("default", "get secrets"),
            ("default", "patch statefulsets.apps"),
            ("bailiwick-system", "get secrets"),
            (
                "bailiwick-system",
                "update leases.coordination.k8s.io another",
            ),
            ("tr", "list secrets"),
            ("tr", "watch configmaps"),
            ("tr", "create pods/exec"),
            ("tr", "get pods/log"),
            ("tr", "create pods"),
            ("tr", "create persistentvolumeclaims"),
            ("tr", "delete persistentvolumeclaims"),
            ("tr", "create roles.rbac.authorization.k8s.io"),
            ("tr", "create rolebindings.rbac.authorization.k8s.io"),
            ("tr", "create serviceaccounts/token"),
        ],
    )
    .await;
}

pub async fn patroni_has_the_rights_it_needs_and_no_more(client: &Client) {
    let patroni = ("tr", "tr-pg");
    hold(
        client,
        patroni,
        true,
        &[
            ("tr", "create configmaps"),
            ("tr", "list configmaps"),
            ("tr", "watch pods"),
            ("tr", "patch configmaps tr-pg-leader"),
            ("tr", "update configmaps tr-pg-sync"),
            ("tr", "patch configmaps tr-pg-config"),
            ("tr", "patch configmaps tr-pg-failover"),
            ("tr", "get configmaps tr-pg-leader"),
            ("tr", "patch pods tr-pg-0"),
            ("tr", "patch pods tr-pg-8"),
        ],
    )
    .await;
    hold(
        client,
        patroni,
        false,
        &[
            ("tr", "delete configmaps tr-pg-leader"),
            ("tr", "patch configmaps tr-pg-files"),
            ("tr", "patch pods tr-s3-0"),
            ("tr", "get secrets tr-ca"),
            ("tr", "create pods"),
            ("tr", "patch endpoints"),
            ("tr-obs", "list pods"),
            ("es", "list configmaps"),
        ],
    )
    .await;
}

pub async fn the_operator_writes_the_status_and_nothing_else_of_a_region(server: &ApiServer) {
    let api = regions(&server.client_as("bailiwick-system", "bailiwick-operator"));
    let status = json!({
        "apiVersion": "bailiwick.dev/v1alpha1",
        "kind": "Region",
        "metadata": {"name": "tr"},
        "status": {
            "observedGeneration": 1,
            "location": "tr-ist-1",
            "conditions": [{
                "type": "Ready", "status": "False", "reason": "Testing", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1
            }]
        }
    });
    let parameters = PatchParams::apply("bailiwick-operator")
        .force()
        .validation_strict();
    let live = api
        .patch_status("tr", &parameters, &Patch::Apply(&status))
        .await
        .unwrap();
    assert_eq!(live.data["status"]["location"], "tr-ist-1");
    let row = server.run_kubectl(&["get", "rg", "tr"]);
    assert!(
        row.contains("LOCATION") && row.contains("tr-ist-1") && row.contains("False"),
        "{row}"
    );
    let error = api
        .delete("tr", &DeleteParams::default())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("forbidden"), "{error}");
}
