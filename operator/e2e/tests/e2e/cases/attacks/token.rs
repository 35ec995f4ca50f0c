//! The operator's token is stolen: what it opens is within the Regions' own namespaces, and is a closed list. I/O: a token of
//! the operator's real account, and requests with it that leave nothing behind.

mod escalations;

use std::collections::BTreeSet;

use bailiwick_model::names::{FENCE_NAMESPACE, OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, Subject,
};
use kube::api::{Api, ListParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use escalations::{Comes, attempts};

use crate::cluster::Cluster;
use crate::failure::{Failure, Outcome, While, ensure};
use crate::request::{Answer, Ask, Who};

/// How many escalations are tried at least: issue 4, section 4.
const LEAST: usize = 40;
/// How long the token is good for, in seconds: the least that the API server gives.
const SECONDS: i64 = 600;

/// Tries everything.
pub async fn stolen(cluster: &Cluster) -> Outcome<String> {
    let client = thief(cluster).await?;
    let table = attempts();
    ensure(table.len() >= LEAST, || {
        format!("only {} attempts", table.len())
    })?;
    let names: BTreeSet<&str> = table.iter().map(|(name, ..)| *name).collect();
    ensure(names.len() == table.len(), || {
        "two attempts have one name".to_owned()
    })?;
    let inside: Vec<String> = cluster
        .places
        .iter()
        .flat_map(|place| place.names.namespaces())
        .map(|namespace| format!("/namespaces/{namespace}/"))
        .collect();
    let mut wrong = Vec::new();
    let mut succeeded = Vec::new();
    for (name, ask, expected) in &table {
        let (came, words) = match ask.dry(&client, Who::Own).await? {
            Answer::Taken(_) => (Some(Comes::Succeeds), "it succeeded".to_owned()),
            Answer::Refused(_, message) if message.contains("ValidatingAdmissionPolicy") => {
                (Some(Comes::Denied), message)
            }
            // As RBAC says it, of this user: not the refusal of somebody else, nor of something that is not there.
            Answer::Refused(403, message) if message.contains(&user()) => {
                (Some(Comes::Forbidden), message)
            }
            Answer::Refused(code, message) => (None, format!("{code} {message}")),
        };
        if came != Some(*expected) {
            wrong.push(format!("{name}: expected {expected:?}: {words}"));
        }
        if came == Some(Comes::Succeeds) {
            if !inside.iter().any(|prefix| ask.path().contains(prefix)) {
                wrong.push(format!(
                    "{name}: {} is in no Region's namespace",
                    ask.path()
                ));
            }
            succeeded.push(*name);
        }
    }
    ensure(wrong.is_empty(), || wrong.join("\n    "))?;
    let held = held(cluster).await?;
    held.check(cluster)?;
    println!(
        "       what succeeds, within the Regions' namespaces: {}",
        succeeded.join("; ")
    );
    Ok(format!(
        "{} escalations, {} of them within the Regions' own namespaces succeed; cluster-wide: Secrets 0, pods/exec 0, roles \
         and rolebindings written 0, wildcards 0, of {} rules",
        table.len(),
        succeeded.len(),
        held.everywhere.len()
    ))
}

fn user() -> String {
    format!("system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR_SERVICE_ACCOUNT}")
}

/// A client with a token of the operator's account, and nothing else.
async fn thief(cluster: &Cluster) -> Outcome<Client> {
    let request = TokenRequest {
        spec: TokenRequestSpec {
            expiration_seconds: Some(SECONDS),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let token = Api::<ServiceAccount>::namespaced(cluster.client.clone(), OPERATOR_NAMESPACE)
        .create_token_request(OPERATOR_SERVICE_ACCOUNT, &PostParams::default(), &request)
        .await
        .during("make a token of the operator's account")?
        .status
        .map(|status| status.token)
        .unwrap_or_default();
    let client = cluster.with_token(&token).await?;
    let review = Ask::create(
        "/apis/authentication.k8s.io/v1/selfsubjectreviews",
        json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" }),
    );
    match review.send(&client, Who::Own).await? {
        Answer::Taken(text) if text.contains(&format!("\"{}\"", user())) => Ok(client),
        answer => Err(Failure::new(format!(
            "the token is not the operator's: {answer:?}"
        ))),
    }
}

/// What the operator's account is granted, by itself or as one of its groups.
struct Held {
    /// Rules of the whole cluster, with the ClusterRole that each is of.
    everywhere: Vec<(String, PolicyRule)>,
    /// The namespaces in which a RoleBinding grants it more.
    namespaces: BTreeSet<String>,
}

fn is_operator(subject: &Subject) -> bool {
    match subject.kind.as_str() {
        "ServiceAccount" => {
            subject.namespace.as_deref() == Some(OPERATOR_NAMESPACE)
                && subject.name == OPERATOR_SERVICE_ACCOUNT
        }
        "User" => subject.name == user(),
        _ => [
            "system:authenticated",
            "system:serviceaccounts",
            "system:serviceaccounts:bailiwick-system",
        ]
        .contains(&subject.name.as_str()),
    }
}

async fn held(cluster: &Cluster) -> Outcome<Held> {
    let all = ListParams::default();
    let cluster_roles = Api::<ClusterRole>::all(cluster.client.clone())
        .list(&all)
        .await?;
    let bindings = Api::<ClusterRoleBinding>::all(cluster.client.clone())
        .list(&all)
        .await?;
    let mut everywhere = Vec::new();
    for binding in bindings {
        if binding.subjects.iter().flatten().any(is_operator) {
            let granted = cluster_roles
                .iter()
                .filter(|role| role.name_any() == binding.role_ref.name)
                .flat_map(|role| role.rules.iter().flatten());
            everywhere.extend(granted.map(|rule| (binding.role_ref.name.clone(), rule.clone())));
        }
    }
    let bindings = Api::<RoleBinding>::all(cluster.client.clone())
        .list(&all)
        .await?;
    let namespaces = bindings
        .iter()
        .filter(|binding| binding.subjects.iter().flatten().any(is_operator))
        .filter_map(ResourceExt::namespace)
        .collect();
    // Outside of Regions there are two Roles, and they grant what is no data.
    for (namespace, most) in [("default", 2), (OPERATOR_NAMESPACE, 2)] {
        let role = Api::<Role>::namespaced(cluster.client.clone(), namespace)
            .get(OPERATOR_SERVICE_ACCOUNT)
            .await?;
        let rules = role.rules.unwrap_or_default();
        let allowed = ["endpointslices", "events", "leases"];
        ensure(
            rules.len() <= most
                && rules.iter().all(|rule| {
                    rule.resources
                        .iter()
                        .flatten()
                        .all(|resource| allowed.contains(&resource.as_str()))
                }),
            || format!("the operator's Role in {namespace} grants {rules:?}"),
        )?;
    }
    Ok(Held {
        everywhere,
        namespaces,
    })
}

impl Held {
    fn check(&self, cluster: &Cluster) -> Outcome {
        ensure(
            self.everywhere
                .iter()
                .any(|(role, _)| role == "bailiwick-operator"),
            || "the operator's own binding was not found: nothing was counted".to_owned(),
        )?;
        let writes = |rule: &PolicyRule| {
            rule.verbs
                .iter()
                .any(|verb| !["get", "list", "watch"].contains(&verb.as_str()))
        };
        let names = |rule: &PolicyRule, resources: &[&str]| {
            rule.resources
                .iter()
                .flatten()
                .any(|resource| resources.contains(&resource.as_str()))
        };
        for (role, rule) in &self.everywhere {
            let any = [&Some(rule.verbs.clone()), &rule.resources, &rule.api_groups]
                .into_iter()
                .flatten()
                .flatten()
                .any(|word| word.contains('*'));
            ensure(!any, || {
                format!("ClusterRole {role} grants a wildcard: {rule:?}")
            })?;
            ensure(!names(rule, &["secrets"]), || {
                format!("ClusterRole {role} grants Secrets everywhere: {rule:?}")
            })?;
            ensure(
                !names(
                    rule,
                    &[
                        "pods/exec",
                        "pods/attach",
                        "pods/portforward",
                        "pods/proxy",
                        "nodes/proxy",
                    ],
                ),
                || format!("ClusterRole {role} grants a tunnel everywhere: {rule:?}"),
            )?;
            let rights = [
                "roles",
                "rolebindings",
                "clusterroles",
                "clusterrolebindings",
            ];
            ensure(!(names(rule, &rights) && writes(rule)), || {
                format!("ClusterRole {role} grants rights everywhere: {rule:?}")
            })?;
        }
        let expected: BTreeSet<String> = cluster
            .places
            .iter()
            .flat_map(|place| place.names.namespaces())
            .chain(["default", OPERATOR_NAMESPACE, FENCE_NAMESPACE].map(str::to_owned))
            .collect();
        ensure(self.namespaces == expected, || {
            format!(
                "the operator is bound in {:?}, expected {expected:?}",
                self.namespaces
            )
        })
    }
}
