//! The editor of the Region's namespace: `admin` in it, which is more than `edit`, and a few rights on top that `admin` has
//! not, so that what refuses is admission. Requests; no I/O but the editor's rights.
#![allow(clippy::too_many_lines, reason = "a table is read from top to bottom")]

use serde_json::{Value, json};

use super::region::{bind, role, unbind};
use super::{Adversary, Attempt, Expected, How, live, with};
use crate::cluster::Cluster;
use crate::failure::Outcome;
use crate::request::{Ask, Who};

const PERSON: &str = "e2e-namespace-editor";
/// Bound in the whole cluster, because admission lets nobody bind it in the namespace.
const ADMIN: &str = "e2e-namespace-admin";
const CORE: &str = "/api/v1/namespaces/tr";

/// The name of all that is tried to be made.
pub const NAME: &str = "e2e-attack";

/// What the editor tries.
pub fn attempts() -> Vec<Attempt> {
    let adversary = Adversary::NamespaceEditor;
    let rows = traffic()
        .into_iter()
        .chain(pods())
        .chain(tunnels())
        .chain(keys_and_rights())
        .chain(volumes());
    let mut attempts = super::attempts(adversary, rows, |ask| How::Ask(Who::Person(PERSON), ask));
    attempts.extend(super::attempts(
        adversary,
        [
            (
                "a bucket is opened to everybody with the store's root key",
                live::Intrusion::PublicBucket,
                Expected::Undone,
            ),
            (
                "the primary's Service is pointed elsewhere",
                live::Intrusion::Service,
                Expected::Undone,
            ),
            (
                "Patroni is told to log how long each statement takes",
                live::Intrusion::Patroni,
                Expected::Undone,
            ),
        ],
        How::Live,
    ));
    attempts
}

type Row = (&'static str, Ask, Expected);

/// A Service that admission lets pass.
pub fn service(edit: Value) -> Value {
    with(
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": NAME, "namespace": "tr" },
            "spec": { "selector": { "app": NAME }, "ports": [{ "port": 80 }] } }),
        edit,
    )
}

/// A NetworkPolicy that opens a way outside, and nothing that the operator itself might not open.
pub fn opening() -> Value {
    json!({ "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": { "name": NAME, "namespace": "tr" },
        "spec": { "podSelector": {}, "policyTypes": ["Egress"],
            "egress": [{ "to": [{ "ipBlock": { "cidr": "198.51.100.0/24" } }] }] } })
}

/// A pod that admission lets pass, with an edit of its spec.
pub fn pod(edit: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": NAME, "namespace": "tr" },
        "spec": with(
            json!({
                "automountServiceAccountToken": false,
                "nodeSelector": { "topology.kubernetes.io/region": "tr-ist-1" },
                "securityContext": { "runAsNonRoot": true, "runAsUser": 65532,
                    "seccompProfile": { "type": "RuntimeDefault" } },
                "containers": [container("bailiwick.dev/probe:0.1.0")],
            }),
            edit,
        ),
    })
}

/// A container with an image.
pub fn container(image: &str) -> Value {
    json!({ "name": "main", "image": image, "securityContext": {
        "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } } })
}

/// A claim of a storage class.
pub fn claim(class: &str, edit: Value) -> Value {
    with(
        json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": NAME, "namespace": "tr" },
            "spec": { "accessModes": ["ReadWriteOnce"], "storageClassName": class,
                "resources": { "requests": { "storage": "1Mi" } } } }),
        edit,
    )
}

/// An Ingress to the store.
pub fn ingress() -> Value {
    json!({ "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": { "name": NAME, "namespace": "tr" },
        "spec": { "defaultBackend": { "service": { "name": "tr-s3", "port": { "number": 9000 } } } } })
}

/// A RoleBinding of a ClusterRole to a ServiceAccount.
pub fn binding(role: &str, namespace: &str, account: &str) -> Value {
    json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": { "name": NAME, "namespace": "tr" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
        "subjects": [{ "kind": "ServiceAccount", "namespace": namespace, "name": account }] })
}

fn traffic() -> Vec<Row> {
    use Expected::Refused;
    let services = || format!("{CORE}/services");
    let make = |edit: Value| Ask::create(services(), service(json!({ "spec": edit })));
    let policies = "/apis/networking.k8s.io/v1/namespaces/tr/networkpolicies";
    vec![
        (
            "a Service that is a name outside",
            make(
                json!({ "type": "ExternalName", "externalName": "outside.test", "selector": null, "ports": null }),
            ),
            Refused("are of type ClusterIP"),
        ),
        (
            "a Service on every node's port",
            make(json!({ "type": "NodePort" })),
            Refused("are of type ClusterIP"),
        ),
        (
            "a Service behind a load balancer",
            make(json!({ "type": "LoadBalancer" })),
            Refused("are of type ClusterIP"),
        ),
        (
            "a Service with an address outside",
            make(json!({ "externalIPs": ["198.51.100.10"] })),
            Refused("have no externalIPs"),
        ),
        (
            "a Service without a selector",
            make(json!({ "selector": null })),
            Refused("without a selector their endpoints could be anywhere"),
        ),
        (
            "a Service that is announced outside",
            Ask::create(
                services(),
                service(json!({ "metadata": { "annotations": {
                "external-dns.alpha.kubernetes.io/hostname": "tr.example.org" } } })),
            ),
            Refused("are not announced outside of the cluster"),
        ),
        (
            "endpoints by hand",
            Ask::create(
                "/apis/discovery.k8s.io/v1/namespaces/tr/endpointslices",
                json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": { "name": NAME, "labels": { "kubernetes.io/service-name": "tr-s3" } },
                "addressType": "IPv4", "endpoints": [{ "addresses": ["198.51.100.10"] }],
                "ports": [{ "port": 443 }] }),
            ),
            Refused("are written by the cluster's controllers alone"),
        ),
        (
            "a NetworkPolicy that opens a way outside",
            Ask::create(policies, opening()),
            Refused("are written by the operator alone"),
        ),
        (
            "the default deny is deleted",
            Ask::delete(format!("{policies}/default-deny")),
            Refused("are written by the operator alone"),
        ),
        (
            "the default deny selects nothing",
            Ask::merge(
                format!("{policies}/default-deny"),
                json!({ "spec": { "podSelector": { "matchLabels": { "none": "such" } } } }),
            ),
            Refused("are written by the operator alone"),
        ),
        (
            "an Ingress",
            Ask::create(
                "/apis/networking.k8s.io/v1/namespaces/tr/ingresses",
                ingress(),
            ),
            Refused("is exposed outside of the cluster"),
        ),
    ]
}

fn pods() -> Vec<Row> {
    use Expected::Refused;
    let make = |edit: Value| Ask::create(format!("{CORE}/pods"), pod(edit));
    vec![
        (
            "a pod in another location",
            make(json!({ "nodeSelector": { "topology.kubernetes.io/region": "es-mad-1" } })),
            Refused("pods of a Region's namespace run in its location"),
        ),
        (
            "a pod past the scheduler",
            make(json!({ "nodeName": "es-1" })),
            Refused("spec.nodeName passes the scheduler by"),
        ),
        (
            "a pod is put on a node by hand",
            Ask::create(
                format!("{CORE}/pods/tr-pg-0/binding"),
                json!({ "apiVersion": "v1", "kind": "Binding",
                "metadata": { "name": "tr-pg-0" },
                "target": { "apiVersion": "v1", "kind": "Node", "name": "es-1" } }),
            ),
            Refused("are put on nodes by system:kube-scheduler alone"),
        ),
        (
            "a pod of an image from elsewhere",
            make(json!({ "containers": [container("registry.example.org/tool:1")] })),
            Refused("come from registries of its location"),
        ),
        (
            "a pod that keeps to every other rule and carries a label of the Region's flows",
            Ask::create(
                format!("{CORE}/pods"),
                with(
                    pod(json!({})),
                    json!({ "metadata": { "labels": { "bailiwick.dev/flow": "postgres" } } }),
                ),
            ),
            Refused("pods of a Region's namespace are the operator's"),
        ),
        // Pod Security refuses the next three before the policies are asked.
        (
            "a pod with its node's network",
            make(json!({ "hostNetwork": true })),
            Refused("hostNetwork=true"),
        ),
        (
            "a pod with its node's disk",
            make(json!({ "volumes": [{ "name": "disk", "hostPath": { "path": "/" } }] })),
            Refused("restricted volume type \"hostPath\""),
        ),
        (
            "a pod that mounts a share elsewhere",
            make(
                json!({ "volumes": [{ "name": "share", "nfs": { "server": "198.51.100.10", "path": "/" } }] }),
            ),
            Refused("restricted volume type \"nfs\""),
        ),
        (
            "a pod with a second network",
            Ask::create(
                format!("{CORE}/pods"),
                with(
                    pod(json!({})),
                    json!({ "metadata": { "annotations": { "k8s.v1.cni.cncf.io/networks": "outside" } } }),
                ),
            ),
            Refused("have the cluster's network and no other"),
        ),
    ]
}

fn tunnels() -> Vec<Row> {
    use Expected::Refused;
    let alone = Refused("are for group bailiwick:break-glass alone");
    let tunnel = |path: &str| Ask::create(format!("{CORE}/{path}"), Value::Null);
    vec![
        (
            "a shell in the primary",
            tunnel("pods/tr-pg-0/exec?command=id&container=postgres&stdout=true"),
            alone,
        ),
        (
            "the same by WebSocket",
            Ask::get(format!("{CORE}/pods/tr-pg-0/exec?command=id&stdout=true")),
            alone,
        ),
        (
            "a hand on the primary's terminal",
            tunnel("pods/tr-pg-0/attach?stdout=true"),
            alone,
        ),
        (
            "a port of the primary's",
            tunnel("pods/tr-pg-0/portforward?ports=5432"),
            alone,
        ),
        (
            "Patroni through the API server",
            Ask::get(format!("{CORE}/pods/https:tr-pg-0:8008/proxy/config")),
            alone,
        ),
        (
            "the store through the API server",
            Ask::get(format!("{CORE}/services/https:tr-s3:9000/proxy/documents")),
            alone,
        ),
        (
            "a container more in the primary",
            Ask::merge(
                format!("{CORE}/pods/tr-pg-0/ephemeralcontainers"),
                json!({ "spec": { "ephemeralContainers": [
                with(container("bailiwick.dev/probe:0.1.0"), json!({ "name": NAME })) ] } }),
            ),
            alone,
        ),
    ]
}

fn keys_and_rights() -> Vec<Row> {
    use Expected::Refused;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/tr";
    let grants = |rule: Value| {
        Ask::create(
            format!("{rbac}/roles"),
            json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": { "name": NAME }, "rules": [rule] }),
        )
    };
    let binds = |object: Value| Ask::create(format!("{rbac}/rolebindings"), object);
    vec![
        (
            "a Secret that a controller copies",
            Ask::merge(
                format!("{CORE}/secrets/tr-backup-key"),
                json!({ "metadata": { "annotations": {
                "reflector.v1.k8s.emberstack.com/reflection-allowed": "true" } } }),
            ),
            Refused("are not replicated"),
        ),
        (
            "a token that never ends",
            Ask::create(
                format!("{CORE}/secrets"),
                json!({ "apiVersion": "v1", "kind": "Secret",
                "metadata": { "name": NAME, "annotations": { "kubernetes.io/service-account.name": "tr-pg" } },
                "type": "kubernetes.io/service-account-token" }),
            ),
            Refused("holds a token without an end"),
        ),
        (
            "a token of Patroni's account",
            Ask::create(
                format!("{CORE}/serviceaccounts/tr-pg/token"),
                json!({
                "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {} }),
            ),
            Refused("are made for its pods by their nodes alone"),
        ),
        (
            "a Role that reads every Secret",
            grants(json!({ "apiGroups": [""], "resources": ["secrets"], "verbs": ["list"] })),
            Refused("list and watch read them all"),
        ),
        (
            "a Role that opens shells",
            grants(json!({ "apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"] })),
            Refused("grant no exec, attach"),
        ),
        (
            "edit for everybody in the namespace",
            binds(with(
                binding("edit", "tr", "default"),
                json!({ "subjects": [{ "kind": "Group",
                "apiGroup": "rbac.authorization.k8s.io", "name": "system:authenticated" }] }),
            )),
            Refused("name who they are for, not everybody"),
        ),
        (
            "edit for an account of the Region's own",
            binds(binding("edit", "tr", "default")),
            Refused("edit and ClusterRoles of the system grant more than"),
        ),
        (
            "view for an account of the neighbour",
            binds(binding("view", "es", "es-pg")),
            Refused("serve people, ServiceAccounts of that Region and the operator; nobody else"),
        ),
        (
            "the namespace moves",
            Ask::merge(
                CORE,
                json!({ "metadata": { "labels": { "bailiwick.dev/location": "es-mad-1" } } }),
            ),
            Refused("the label bailiwick.dev/location of a Region's namespace cannot be changed"),
        ),
        (
            "the namespace becomes a client's",
            Ask::merge(
                CORE,
                json!({ "metadata": { "labels": { "bailiwick.dev/client": "true" } } }),
            ),
            Refused("the label bailiwick.dev/client of a Region's namespace cannot be changed"),
        ),
        (
            "Pod Security is taken off",
            Ask::merge(
                CORE,
                json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "privileged" } } }),
            ),
            Refused("a Region's namespace enforces Pod Security"),
        ),
    ]
}

fn volumes() -> Vec<Row> {
    use Expected::Refused;
    let make = |claim: Value| Ask::create(format!("{CORE}/persistentvolumeclaims"), claim);
    vec![
        (
            "a volume in another location",
            make(claim("es-mad-1-local", json!({}))),
            Refused("are of a storage class of its location"),
        ),
        (
            "a volume that is there already",
            make(claim(
                "tr-ist-1-local",
                json!({ "spec": { "volumeName": "any" } }),
            )),
            Refused("spec.volumeName is written by the cluster"),
        ),
        (
            "a volume filled by a program",
            make(claim(
                "tr-ist-1-local",
                json!({ "spec": { "dataSourceRef": {
                "apiGroup": "populator.example.org", "kind": "Download", "name": "any" } } }),
            )),
            Refused("is filled from a PersistentVolumeClaim or a VolumeSnapshot"),
        ),
    ]
}

/// Gives the editor its rights.
pub async fn grant(cluster: &Cluster) -> Outcome {
    let rules = json!([
        { "apiGroups": [""], "resources": ["pods/ephemeralcontainers", "pods/binding", "bindings", "endpoints"],
          "verbs": ["get", "create", "update", "patch"] },
        { "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["create", "update", "patch"] },
        { "apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "patch"], "resourceNames": ["tr"] },
    ]);
    role(cluster, PERSON, rules).await?;
    bind(cluster, PERSON, PERSON, PERSON).await?;
    bind(cluster, ADMIN, "admin", PERSON).await
}

/// Takes them away.
pub async fn revoke(cluster: &Cluster) -> Outcome {
    unbind(cluster, &[PERSON, ADMIN]).await
}

/// Who the editor is.
pub const WHO: Who = Who::Person(PERSON);
