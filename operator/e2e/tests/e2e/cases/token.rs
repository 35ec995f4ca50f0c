//! The operator's token is stolen: what it opens is within the Regions' own namespaces, and is a closed list. I/O: a token of
//! the operator's real account, and requests with it that leave nothing behind.

use std::collections::BTreeSet;

use bailiwick_model::names::{OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, Subject,
};
use kube::api::{Api, ListParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::failure::{Failure, Outcome, While, ensure};
use crate::request::{Answer, Ask, Who};

/// How many escalations are tried at least: issue 4, section 4.
const LEAST: usize = 40;
/// How long the token is good for, in seconds: the least that the API server gives.
const SECONDS: i64 = 600;
/// The name of all that is tried to be made.
const NAME: &str = "e2e-stolen";

/// What comes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comes {
    /// It has no right to.
    Forbidden,
    /// It has a right to, and admission does not let it.
    Denied,
    /// It succeeds. The operator could not do its work without.
    Succeeds,
}

/// Tries everything.
pub async fn stolen(cluster: &Cluster) -> Outcome<String> {
    let client = thief(cluster).await?;
    let table = attempts();
    ensure(table.len() >= LEAST, || format!("only {} attempts", table.len()))?;
    let names: BTreeSet<&str> = table.iter().map(|(name, ..)| *name).collect();
    ensure(names.len() == table.len(), || "two attempts have one name".to_owned())?;
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
            ensure(inside.iter().any(|prefix| ask.path().contains(prefix)), || {
                format!("{name}: {} is in no Region's namespace", ask.path())
            })?;
            succeeded.push(*name);
        }
    }
    ensure(wrong.is_empty(), || wrong.join("\n    "))?;
    let held = held(cluster).await?;
    held.check(cluster)?;
    println!("       what succeeds, within the Regions' namespaces: {}", succeeded.join("; "));
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
        answer => Err(Failure::new(format!("the token is not the operator's: {answer:?}"))),
    }
}

type Row = (&'static str, Ask, Comes);

fn attempts() -> Vec<Row> {
    cluster_wide()
        .into_iter()
        .chain(elsewhere())
        .chain(within())
        .chain(own())
        .collect()
}

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";

/// A binding of cluster-admin to the operator's account.
fn binding(kind: &str) -> Value {
    json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": { "name": NAME },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
        "subjects": [{ "kind": "ServiceAccount", "namespace": OPERATOR_NAMESPACE, "name": OPERATOR_SERVICE_ACCOUNT }] })
}

fn role(kind: &str) -> Value {
    json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": { "name": NAME },
        "rules": [{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }] })
}

/// What belongs to no namespace, or to all of them.
fn cluster_wide() -> Vec<Row> {
    use Comes::Forbidden;
    vec![
        ("Secrets of all namespaces", Ask::get("/api/v1/secrets"), Forbidden),
        ("ConfigMaps of all namespaces", Ask::get("/api/v1/configmaps"), Forbidden),
        ("ServiceAccounts of all namespaces", Ask::get("/api/v1/serviceaccounts"), Forbidden),
        ("Events of all namespaces", Ask::get("/api/v1/events"), Forbidden),
        ("a ClusterRole is made", Ask::create(format!("{RBAC}/clusterroles"), role("ClusterRole")), Forbidden),
        ("its own ClusterRole grows",
            Ask::merge(format!("{RBAC}/clusterroles/bailiwick-operator"), json!({ "rules": role("ClusterRole")["rules"] })),
            Forbidden),
        ("the Regions' ClusterRole grows",
            Ask::merge(format!("{RBAC}/clusterroles/bailiwick-region"), json!({ "rules": role("ClusterRole")["rules"] })),
            Forbidden),
        ("cluster-admin is bound",
            Ask::create(format!("{RBAC}/clusterrolebindings"), binding("ClusterRoleBinding")), Forbidden),
        ("its own binding is turned",
            Ask::merge(format!("{RBAC}/clusterrolebindings/bailiwick-operator"), json!({ "subjects": [] })), Forbidden),
        ("an admission policy is deleted",
            Ask::delete(format!("{ADMISSION}/validatingadmissionpolicies/bailiwick-pods")), Forbidden),
        ("a binding of an admission policy is deleted",
            Ask::delete(format!("{ADMISSION}/validatingadmissionpolicybindings/bailiwick-pods")), Forbidden),
        ("an admission policy only warns",
            Ask::merge(format!("{ADMISSION}/validatingadmissionpolicybindings/bailiwick-pods"),
                json!({ "spec": { "validationActions": ["Audit"] } })),
            Forbidden),
        ("a webhook is made",
            Ask::create(format!("{ADMISSION}/mutatingwebhookconfigurations"), json!({
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
                "metadata": { "name": NAME } })),
            Forbidden),
        ("the definition of Region is changed",
            Ask::merge("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/regions.bailiwick.dev",
                json!({ "metadata": { "labels": { "e2e": "true" } } })),
            Forbidden),
        ("a definition is made",
            Ask::create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": NAME } })),
            Forbidden),
        ("a node is relabelled",
            Ask::merge("/api/v1/nodes/es-1", json!({ "metadata": { "labels": { "topology.kubernetes.io/region": "tr-ist-1" } } })),
            Forbidden),
        ("a node's proxy", Ask::get("/api/v1/nodes/tr-1/proxy/pods"), Forbidden),
        ("a node is deleted", Ask::delete("/api/v1/nodes/tr-1"), Forbidden),
        ("a namespace is made",
            Ask::create("/api/v1/namespaces", json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAME } })),
            Forbidden),
        ("a Region's namespace moves",
            Ask::merge("/api/v1/namespaces/tr", json!({ "metadata": { "labels": { "bailiwick.dev/location": "es-mad-1" } } })),
            Forbidden),
        ("a Region's namespace is deleted", Ask::delete("/api/v1/namespaces/tr"), Forbidden),
        ("a volume is made",
            Ask::create("/api/v1/persistentvolumes", json!({ "apiVersion": "v1", "kind": "PersistentVolume",
                "metadata": { "name": NAME } })),
            Forbidden),
        ("a StorageClass is made",
            Ask::create("/apis/storage.k8s.io/v1/storageclasses", json!({ "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass", "metadata": { "name": NAME }, "provisioner": "none.example.org" })),
            Forbidden),
        ("a certificate is asked for",
            Ask::create("/apis/certificates.k8s.io/v1/certificatesigningrequests", json!({
                "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": { "name": NAME } })),
            Forbidden),
        ("a priority is made",
            Ask::create("/apis/scheduling.k8s.io/v1/priorityclasses", json!({ "apiVersion": "scheduling.k8s.io/v1",
                "kind": "PriorityClass", "metadata": { "name": NAME }, "value": 1 })),
            Forbidden),
        ("an API of its own is served",
            Ask::create("/apis/apiregistration.k8s.io/v1/apiservices", json!({ "apiVersion": "apiregistration.k8s.io/v1",
                "kind": "APIService", "metadata": { "name": NAME } })),
            Forbidden),
        ("a Region is made",
            Ask::create("/apis/bailiwick.dev/v1alpha1/regions", json!({ "apiVersion": "bailiwick.dev/v1alpha1",
                "kind": "Region", "metadata": { "name": NAME }, "spec": {} })),
            Forbidden),
        ("a Region is deleted", Ask::delete("/apis/bailiwick.dev/v1alpha1/regions/tr"), Forbidden),
        ("Argo CD's applications", Ask::get("/apis/argoproj.io/v1alpha1/applications"), Forbidden),
        ("the API server's metrics", Ask::get("/metrics"), Forbidden),
        ("the API server's settings", Ask::get("/configz"), Forbidden),
    ]
}

/// Namespaces that are no Region's.
fn elsewhere() -> Vec<Row> {
    use Comes::Forbidden;
    let token = || json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {} });
    vec![
        ("Secrets of kube-system", Ask::get("/api/v1/namespaces/kube-system/secrets"), Forbidden),
        ("ConfigMaps of kube-system", Ask::get("/api/v1/namespaces/kube-system/configmaps/coredns"), Forbidden),
        ("DNS is turned",
            Ask::merge("/api/v1/namespaces/kube-system/configmaps/coredns", json!({ "data": { "Corefile": "" } })), Forbidden),
        ("a token of the namespace controller",
            Ask::create("/api/v1/namespaces/kube-system/serviceaccounts/namespace-controller/token", token()), Forbidden),
        ("a Secret of its own namespace", Ask::get("/api/v1/namespaces/bailiwick-system/secrets"), Forbidden),
        ("a token of its own account",
            Ask::create("/api/v1/namespaces/bailiwick-system/serviceaccounts/bailiwick-operator/token", token()), Forbidden),
        ("its own image",
            Ask::merge("/apis/apps/v1/namespaces/bailiwick-system/deployments/bailiwick-operator",
                json!({ "metadata": { "labels": { "e2e": "true" } } })),
            Forbidden),
        ("its own NetworkPolicy is deleted",
            Ask::delete("/apis/networking.k8s.io/v1/namespaces/bailiwick-system/networkpolicies/default-deny"), Forbidden),
        ("the scheduler's Lease",
            Ask::merge("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-scheduler",
                json!({ "metadata": { "labels": { "e2e": "true" } } })),
            Forbidden),
        ("a node's Lease", Ask::get("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/tr-1"), Forbidden),
        ("a client's Secrets", Ask::get("/api/v1/namespaces/e2e-client-tr/secrets"), Forbidden),
        ("a client's Secret by its name", Ask::get("/api/v1/namespaces/e2e-client-tr/secrets/tr-s3-user-documents"), Forbidden),
        ("a client's NetworkPolicy is deleted",
            Ask::delete("/apis/networking.k8s.io/v1/namespaces/e2e-client-tr/networkpolicies/default-deny"), Forbidden),
        ("a pod in a stranger's namespace",
            Ask::create("/api/v1/namespaces/e2e-stranger/pods", pod()), Forbidden),
        ("a shell in the cluster's DNS",
            Ask::create("/api/v1/namespaces/kube-system/pods/any/exec?command=id", Value::Null), Forbidden),
        ("a Job in default",
            Ask::create("/apis/batch/v1/namespaces/default/jobs", job(&json!({}))), Forbidden),
        ("Argo CD's Secrets", Ask::get("/api/v1/namespaces/argocd/secrets"), Forbidden),
        ("a RoleBinding in kube-system",
            Ask::create(format!("{RBAC}/namespaces/kube-system/rolebindings"), binding("RoleBinding")), Forbidden),
    ]
}

fn pod() -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": NAME }, "spec": template() })
}

fn template() -> Value {
    json!({ "restartPolicy": "Never", "automountServiceAccountToken": false,
        "nodeSelector": { "topology.kubernetes.io/region": "tr-ist-1" },
        "securityContext": { "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" } },
        "containers": [{ "name": "main", "image": "bailiwick.dev/probe:0.1.0",
            "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } } }] })
}

/// A Job of one pod, with other fields in the pod's spec.
fn job(fields: &Value) -> Value {
    let mut template = template();
    for (key, value) in fields.as_object().into_iter().flatten() {
        template[key] = value.clone();
    }
    json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": NAME },
        "spec": { "template": { "spec": template } } })
}

/// A Region's namespace, in which it works: what it has no right to even there, and what admission does not let it.
fn within() -> Vec<Row> {
    use Comes::{Denied, Forbidden};
    let core = "/api/v1/namespaces/tr";
    let jobs = "/apis/batch/v1/namespaces/tr/jobs";
    vec![
        ("every Secret of the Region at once", Ask::get(format!("{core}/secrets")), Forbidden),
        ("every ConfigMap of the Region at once", Ask::get(format!("{core}/configmaps")), Forbidden),
        ("a shell in the primary",
            Ask::create(format!("{core}/pods/tr-pg-0/exec?command=id"), Value::Null), Forbidden),
        ("the same by WebSocket", Ask::get(format!("{core}/pods/tr-pg-0/exec?command=id")), Forbidden),
        ("the primary's terminal", Ask::create(format!("{core}/pods/tr-pg-0/attach"), Value::Null), Forbidden),
        ("a port of the primary's",
            Ask::create(format!("{core}/pods/tr-pg-0/portforward?ports=5432"), Value::Null), Forbidden),
        ("Patroni through the API server", Ask::get(format!("{core}/pods/https:tr-pg-0:8008/proxy/config")), Forbidden),
        ("the store through the API server", Ask::get(format!("{core}/services/https:tr-s3:9000/proxy/")), Forbidden),
        ("the primary's log", Ask::get(format!("{core}/pods/tr-pg-0/log?container=postgres")), Forbidden),
        ("a container more in the primary",
            Ask::merge(format!("{core}/pods/tr-pg-0/ephemeralcontainers"), json!({ "spec": {} })), Forbidden),
        ("a pod past its controllers", Ask::create(format!("{core}/pods"), pod()), Forbidden),
        ("a pod is put on a node",
            Ask::create(format!("{core}/pods/tr-pg-0/binding"), json!({ "apiVersion": "v1", "kind": "Binding",
                "metadata": { "name": "tr-pg-0" }, "target": { "kind": "Node", "name": "es-1" } })),
            Forbidden),
        ("a Role in the Region", Ask::create(format!("{RBAC}/namespaces/tr/roles"), role("Role")), Forbidden),
        ("a RoleBinding in the Region",
            Ask::create(format!("{RBAC}/namespaces/tr/rolebindings"), binding("RoleBinding")), Forbidden),
        ("Patroni's Role grows",
            Ask::merge(format!("{RBAC}/namespaces/tr/roles/tr-pg"), json!({ "rules": role("Role")["rules"] })), Forbidden),
        ("a token of Patroni's account",
            Ask::create(format!("{core}/serviceaccounts/tr-pg/token"), json!({
                "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {} })),
            Forbidden),
        ("a ServiceAccount is made",
            Ask::create(format!("{core}/serviceaccounts"), json!({ "apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": { "name": NAME } })),
            Forbidden),
        ("a volume's claim is deleted",
            Ask::delete(format!("{core}/persistentvolumeclaims/data-tr-pg-0")), Forbidden),
        ("a Deployment", Ask::get("/apis/apps/v1/namespaces/tr/deployments"), Forbidden),
        ("a Job on another location's nodes",
            Ask::create(jobs, job(&json!({ "nodeSelector": { "topology.kubernetes.io/region": "es-mad-1" } }))), Denied),
        ("a Job with its node's disk",
            Ask::create(jobs, job(&json!({ "volumes": [{ "name": "disk", "hostPath": { "path": "/" } }] }))), Denied),
        ("a Job with its node's network", Ask::create(jobs, job(&json!({ "hostNetwork": true }))), Denied),
        ("a Job of an image from elsewhere",
            Ask::create(jobs, job(&json!({ "containers": [{ "name": "main", "image": "registry.example.org/tool:1" }] }))),
            Denied),
        ("a Service that is a name outside",
            Ask::create(format!("{core}/services"), json!({ "apiVersion": "v1", "kind": "Service",
                "metadata": { "name": NAME }, "spec": { "type": "ExternalName", "externalName": "outside.test" } })),
            Denied),
        ("a NetworkPolicy that opens everything",
            Ask::create("/apis/networking.k8s.io/v1/namespaces/tr/networkpolicies", json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": { "name": NAME },
                "spec": { "podSelector": {}, "policyTypes": ["Egress"], "egress": [{}] } })),
            Denied),
        ("a Secret that a controller copies",
            Ask::create(format!("{core}/secrets"), json!({ "apiVersion": "v1", "kind": "Secret", "metadata": {
                "name": NAME, "annotations": { "replicator.v1.mittwald.de/replicate-to": "es" } } })),
            Denied),
        ("a token that never ends",
            Ask::create(format!("{core}/secrets"), json!({ "apiVersion": "v1", "kind": "Secret",
                "type": "kubernetes.io/service-account-token", "metadata": { "name": NAME,
                    "annotations": { "kubernetes.io/service-account.name": "tr-pg" } } })),
            Denied),
    ]
}

/// What the operator lives by, which whoever has its token has as well. The list is closed: what is not here fails.
fn own() -> Vec<Row> {
    use Comes::Succeeds;
    let core = "/api/v1/namespaces/tr";
    vec![
        ("a Secret of a Region is read by its name", Ask::get(format!("{core}/secrets/tr-pg-internal")), Succeeds),
        ("another Region's, which this operator serves too",
            Ask::get("/api/v1/namespaces/es/secrets/es-pg-internal"), Succeeds),
        ("a Secret of a Region is deleted", Ask::delete(format!("{core}/secrets/tr-client-tls")), Succeeds),
        ("Postgres' files are changed",
            Ask::merge(format!("{core}/configmaps/tr-pg-files"), json!({ "data": { "e2e": "" } })), Succeeds),
        ("a Job of an image from here",
            Ask::create("/apis/batch/v1/namespaces/tr/jobs", job(&json!({}))), Succeeds),
        ("a pod of a Region is deleted", Ask::delete(format!("{core}/pods/tr-pg-0")), Succeeds),
        ("Postgres is scaled to nothing",
            Ask::merge("/apis/apps/v1/namespaces/tr/statefulsets/tr-pg", json!({ "spec": { "replicas": 0 } })), Succeeds),
        ("the default deny of a Region is deleted",
            Ask::delete("/apis/networking.k8s.io/v1/namespaces/tr/networkpolicies/default-deny"), Succeeds),
        ("the primary's Service leads to another pod",
            Ask::merge(format!("{core}/services/tr-pg-rw"), json!({ "spec": { "selector": { "app": NAME } } })), Succeeds),
    ]
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
    let roles = Api::<ClusterRole>::all(cluster.client.clone()).list(&all).await?;
    let bindings = Api::<ClusterRoleBinding>::all(cluster.client.clone()).list(&all).await?;
    let mut everywhere = Vec::new();
    for binding in bindings {
        if binding.subjects.iter().flatten().any(is_operator) {
            let rules = roles
                .iter()
                .filter(|role| role.name_any() == binding.role_ref.name)
                .flat_map(|role| role.rules.iter().flatten());
            everywhere.extend(rules.map(|rule| (binding.role_ref.name.clone(), rule.clone())));
        }
    }
    let bindings = Api::<RoleBinding>::all(cluster.client.clone()).list(&all).await?;
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
            self.everywhere.iter().any(|(role, _)| role == "bailiwick-operator"),
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
            ensure(!any, || format!("ClusterRole {role} grants a wildcard: {rule:?}"))?;
            ensure(!names(rule, &["secrets"]), || {
                format!("ClusterRole {role} grants Secrets everywhere: {rule:?}")
            })?;
            ensure(
                !names(rule, &["pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "nodes/proxy"]),
                || format!("ClusterRole {role} grants a tunnel everywhere: {rule:?}"),
            )?;
            let rights = ["roles", "rolebindings", "clusterroles", "clusterrolebindings"];
            ensure(!(names(rule, &rights) && writes(rule)), || {
                format!("ClusterRole {role} grants rights everywhere: {rule:?}")
            })?;
        }
        let expected: BTreeSet<String> = cluster
            .places
            .iter()
            .flat_map(|place| place.names.namespaces())
            .chain(["default".to_owned(), OPERATOR_NAMESPACE.to_owned()])
            .collect();
        ensure(self.namespaces == expected, || {
            format!("the operator is bound in {:?}, expected {expected:?}", self.namespaces)
        })
    }
}
