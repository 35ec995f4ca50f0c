//! What must go on, with all policies in force: the cluster's own controllers, the operator, clients, and people who
//! do ordinary things. Sends requests.
#![allow(clippy::too_many_lines, reason = "a table is read from top to bottom")]

use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cases::{
    APPROVER, BREAK_GLASS, CLIENT, OPERATOR, OWN, STANDING_APPROVER, STANDS, create, ephemeral,
    excepting, exception, region, tunnel,
};
use crate::objects::{
    WORKLOADS, account, claim, config_map, container, endpoint_slice, endpoints, foreign,
    namespace, network_policy, pod, pod_by_terms, pod_spec, pod_with_container, role, role_binding,
    secret, service, snapshot, subject, term, with, workload,
};
use crate::request::{Ask, Verdict, Who, send};

/// Tries all of it and returns how much it was.
pub async fn are_admitted(client: &Client) -> usize {
    let good = good();
    let mut faults = Vec::new();
    for (who, name, ask) in &good {
        let verdict = send(client, *who, ask).await;
        faults
            .push((verdict != Verdict::Admitted).then(|| format!("{name}: {verdict:?}: {ask:?}")));
    }
    crate::hold(faults);
    good.len()
}

/// The NetworkPolicies and pods of the pages for clients, as of a client's namespace.
fn documented() -> Vec<Value> {
    let mut objects = Vec::new();
    for page in ["connect-an-application.md", "verify-evidence.md"] {
        let path = crate::policies::repository().join("docs/how-to").join(page);
        let text = std::fs::read_to_string(path).unwrap();
        for rest in text.split("\n```yaml\n").skip(1) {
            let (block, _) = rest.split_once("\n```").unwrap();
            for document in serde_yaml::Deserializer::from_str(block) {
                let mut object = Value::deserialize(document).unwrap();
                if ["NetworkPolicy", "Pod"]
                    .iter()
                    .any(|it| object["kind"] == *it)
                {
                    object["metadata"]["namespace"] = json!(CLIENT);
                    objects.push(object);
                }
            }
        }
    }
    objects
}

fn patch(path: &str, body: Value) -> Ask {
    Ask {
        method: "PATCH",
        path: path.to_owned(),
        body,
    }
}

fn delete(path: &str) -> Ask {
    Ask {
        method: "DELETE",
        path: path.to_owned(),
        body: Value::Null,
    }
}

const fn controller(name: &'static str) -> Who {
    Who::Program(name)
}

fn good() -> Vec<(Who, String, Ask)> {
    let mut good = Vec::new();
    let mut add = |who: Who, name: &str, ask: Ask| good.push((who, name.to_owned(), ask));
    let core = "/api/v1/namespaces";
    let none = json!([]);

    // Exceptions: an approver's own; nobody's leave is asked to take one out, or to write what stands beside it.
    let stands = exception("45", STANDING_APPROVER, STANDS);
    let own = exception("39", "mallory", STANDS);
    for (who, name, ask) in [
        (
            APPROVER,
            "an approver's exception",
            excepting("tr", &json!([own])),
        ),
        (APPROVER, "one more", excepting("es", &json!([own, stands]))),
        (
            APPROVER,
            "another approver's, taken over",
            excepting("es", &json!([exception("45", "mallory", STANDS)])),
        ),
        (
            APPROVER,
            "a Region with an exception",
            region(&json!([own])),
        ),
        (
            Who::Editor,
            "an exception is taken out",
            excepting("es", &none),
        ),
        (Who::Editor, "all of them", excepting("es", &Value::Null)),
        (
            Who::Editor,
            "none is added",
            excepting("es", &json!([stands])),
        ),
        (Who::Editor, "a Region without an exception", region(&none)),
    ] {
        add(who, name, ask);
    }
    let es = "/apis/bailiwick.dev/v1alpha1/regions/es";
    add(
        Who::Editor,
        "another field of a Region with an exception",
        patch(es, json!({"spec": {"lifecycle": {"paused": true}}})),
    );
    add(
        OPERATOR,
        "a finalizer of a Region with an exception",
        patch(
            es,
            json!({"metadata": {"finalizers": ["bailiwick.dev/test"]}}),
        ),
    );
    add(
        OPERATOR,
        "the status of a Region with an exception",
        patch(
            &format!("{es}/status"),
            json!({"status": {"location": "es-mad-1"}}),
        ),
    );

    // Pods and workloads.
    let here = term("In", &["tr-ist-1"]);
    add(
        BREAK_GLASS,
        "a pod placed by nodeSelector",
        create(OWN, pod("new")),
    );
    add(
        BREAK_GLASS,
        "a pod placed by affinity",
        create(OWN, pod_by_terms(&json!([here]))),
    );
    add(
        BREAK_GLASS,
        "a pod placed by two terms",
        create(
            OWN,
            pod_by_terms(&json!([
                here,
                with(
                    here.clone(),
                    json!({"matchFields": [
            {"key": "metadata.name", "operator": "In", "values": ["tr-1"]}]})
                )
            ])),
        ),
    );
    for kind in WORKLOADS {
        let object = workload(kind, "new", &pod_spec(&json!([container()])));
        add(BREAK_GLASS, kind, create(OWN, object.clone()));
        add(OPERATOR, kind, create(OWN, object.clone()));
        add(Who::Editor, "a client's workload", create(CLIENT, object));
    }
    for name in [
        "system:serviceaccount:kube-system:statefulset-controller",
        "system:serviceaccount:kube-system:job-controller",
        "system:kube-controller-manager",
    ] {
        add(controller(name), "its pods", create(OWN, pod("new")));
    }
    add(Who::Editor, "a client's pod", create(CLIENT, pod("new")));
    add(
        BREAK_GLASS,
        "an image by digest",
        create(
            OWN,
            pod_with_container(
                json!({"image": format!("bailiwick.dev/a/b@sha256:{}", "0".repeat(64))}),
            ),
        ),
    );
    add(
        BREAK_GLASS,
        "volumes of the kinds that may be",
        create(
            OWN,
            with(
                pod("new"),
                json!({"spec": {"volumes": [
            {"name": "a", "emptyDir": {}}, {"name": "b", "configMap": {"name": "a"}},
            {"name": "c", "secret": {"secretName": "a"}},
            {"name": "d", "persistentVolumeClaim": {"claimName": "a"}},
            {"name": "e", "downwardAPI": {"items": []}},
            {"name": "f", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]}}),
            ),
        ),
    );
    add(
        Who::Editor,
        "a pod is labelled and annotated",
        patch(
            &format!("{core}/tr/pods/standing"),
            json!({"metadata": {"labels": {"a": "b"}, "annotations": {"a": "b", "k8s.v1.cni.cncf.io/network-status": "[]"}}}),
        ),
    );
    add(
        Who::Editor,
        "a Deployment is scaled",
        patch(
            "/apis/apps/v1/namespaces/tr/deployments/standing",
            json!({"spec": {"replicas": 3}}),
        ),
    );
    add(
        Who::Editor,
        "a pod is deleted",
        delete(&format!("{core}/tr/pods/standing")),
    );
    add(
        controller("system:kube-scheduler"),
        "a pod is scheduled",
        Ask {
            method: "POST",
            path: format!("{core}/tr/pods/standing/binding"),
            body: json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "standing"},
                "target": {"apiVersion": "v1", "kind": "Node", "name": "tr-1"}}),
        },
    );
    add(
        Who::Member("system:nodes"),
        "a node gets a token for its pod",
        Ask {
            method: "POST",
            path: format!("{core}/tr/serviceaccounts/tr-pg/token"),
            body: json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}),
        },
    );

    // Services and networks.
    add(OPERATOR, "a Service", create(OWN, service("new")));
    add(
        OPERATOR,
        "a headless Service",
        create(
            OWN,
            with(service("new"), json!({"spec": {"clusterIP": "None"}})),
        ),
    );
    for name in [
        "system:serviceaccount:kube-system:endpointslice-controller",
        "system:serviceaccount:kube-system:endpoint-controller",
    ] {
        add(
            controller(name),
            "endpoint slices",
            create(OWN, endpoint_slice("new")),
        );
        add(controller(name), "endpoints", create(OWN, endpoints("new")));
    }
    let dns = json!([{"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}], "ports": [{"port": 53, "protocol": "UDP"}]}]);
    let own = json!([{"to": [{"podSelector": {}}]}, {"to": [{"namespaceSelector":
        {"matchLabels": {"bailiwick.dev/region": "tr"}}}]}, {"to": [{"ipBlock": {"cidr": "203.0.113.0/28"}}]}]);
    let clients = json!([{"from": [{"namespaceSelector": {"matchLabels": {"team": "patient"}}},
        {"namespaceSelector": {"matchExpressions": [{"key": "reports", "operator": "Exists"}]}}]}]);
    add(
        OPERATOR,
        "default deny",
        create(OWN, network_policy("new", &none, &none)),
    );
    add(
        OPERATOR,
        "DNS",
        create(OWN, network_policy("new", &dns, &none)),
    );
    add(
        OPERATOR,
        "the Region's flows",
        create(OWN, network_policy("new", &own, &clients)),
    );
    for name in [
        "system:serviceaccount:kube-system:generic-garbage-collector",
        "system:serviceaccount:kube-system:namespace-controller",
    ] {
        add(
            controller(name),
            "a NetworkPolicy is collected",
            delete("/apis/networking.k8s.io/v1/namespaces/tr/networkpolicies/standing"),
        );
    }
    add(
        Who::Editor,
        "a client's own default deny",
        create(CLIENT, network_policy("new", &none, &none)),
    );
    add(
        Who::Editor,
        "a client's own flows",
        create(CLIENT, network_policy("new", &own, &none)),
    );
    let documented = documented();
    assert_eq!(documented.len(), 6, "three, two and a pod");
    for object in documented {
        let Ask { method, path, body } = create(CLIENT, object);
        let path = format!("{path}?fieldValidation=Strict");
        add(
            Who::Editor,
            "what the documentation has clients apply",
            Ask { method, path, body },
        );
    }
    add(
        Who::Editor,
        "a client's own image",
        create(
            CLIENT,
            pod_with_container(json!({"image": "registry.example.org/app:1"})),
        ),
    );
    add(
        Who::Editor,
        "a client's Ingress",
        create(
            CLIENT,
            with(
                foreign("networking.k8s.io", "Ingress"),
                json!({"spec": {"defaultBackend": {"service": {"name": "standing", "port": {"number": 80}}}}}),
            ),
        ),
    );

    // Volumes.
    add(
        controller("system:serviceaccount:kube-system:statefulset-controller"),
        "a claim",
        create(OWN, claim("new")),
    );
    let standing = format!("{core}/tr/persistentvolumeclaims/standing");
    add(
        controller("system:kube-scheduler"),
        "a claim's node is chosen",
        patch(
            &standing,
            json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "tr-1"}}}),
        ),
    );
    add(
        controller("system:serviceaccount:kube-system:persistent-volume-binder"),
        "a claim is bound",
        patch(&standing, json!({"spec": {"volumeName": "pv-1"}})),
    );
    add(
        BREAK_GLASS,
        "a volume that was kept is bound again",
        create(
            OWN,
            with(claim("new"), json!({"spec": {"volumeName": "pv-1"}})),
        ),
    );
    add(
        Who::Editor,
        "a volume is cloned within the namespace",
        create(
            OWN,
            with(
                claim("new"),
                json!({"spec": {"dataSource":
            {"kind": "PersistentVolumeClaim", "name": "standing"}}}),
            ),
        ),
    );
    add(Who::Editor, "a snapshot", create(OWN, snapshot("new")));

    // Tunnels, with the glass broken.
    for method in ["GET", "POST"] {
        for path in [
            "pods/standing/exec?command=sh&stdout=true",
            "pods/standing/attach?stdout=true",
            "pods/standing/portforward?ports=5432",
            "pods/standing/proxy/",
            "services/standing/proxy/",
        ] {
            add(BREAK_GLASS, path, tunnel(method, OWN, path));
        }
    }
    add(
        BREAK_GLASS,
        "an ephemeral container",
        ephemeral(OWN, "bailiwick.dev/probe:0.1.0"),
    );

    // Secrets and rights.
    add(OPERATOR, "a Secret", create(OWN, secret("new")));
    add(
        controller("system:serviceaccount:tr:tr-pg"),
        "Patroni's ConfigMap",
        create(
            OWN,
            with(
                config_map("tr-pg-leader"),
                json!({"metadata": {"annotations": {
            "leader": "tr-pg-0", "renewTime": "2026-01-01T00:00:00", "ttl": "30"}}}),
            ),
        ),
    );
    add(
        controller("system:serviceaccount:kube-system:root-ca-cert-publisher"),
        "the cluster's authority",
        patch(
            &format!("{core}/tr/configmaps/standing"),
            json!({"metadata": {"annotations": {"kubernetes.io/description": "an authority"}}}),
        ),
    );
    add(
        Who::Editor,
        "a Role that reads a Secret by name",
        create(
            OWN,
            with(role("new", &[""], &["secrets"], &["get"]), json!({})),
        ),
    );
    add(
        Who::Editor,
        "a Role to read logs",
        create(
            OWN,
            role(
                "new",
                &[""],
                &["pods", "pods/log"],
                &["get", "list", "watch"],
            ),
        ),
    );
    let jane = subject("User", "jane");
    add(
        Who::Editor,
        "a binding for a person",
        create(OWN, role_binding("new", ("ClusterRole", "view"), &jane)),
    );
    for subject in [
        account("tr-obs", "default"),
        account("bailiwick-system", "bailiwick-operator"),
    ] {
        add(
            Who::Editor,
            "a binding for an account of the Region",
            create(OWN, role_binding("new", ("Role", "standing"), &subject)),
        );
    }
    add(
        Who::Editor,
        "a client's binding for a program of the cluster",
        create(
            CLIENT,
            role_binding(
                "new",
                ("Role", "standing"),
                &account("argocd", "controller"),
            ),
        ),
    );

    // Namespaces.
    let labels = |edit: Value| json!({"metadata": {"labels": edit}});
    for name in ["new", "new-obs", "new-drill"] {
        add(
            Who::Editor,
            "a new Region's namespace",
            create("", namespace(name, "new")),
        );
    }
    add(
        Who::Editor,
        "a new client's namespace",
        create(
            "",
            with(
                namespace("app", "tr"),
                labels(json!({"bailiwick.dev/client": "true",
            "pod-security.kubernetes.io/enforce": "baseline"})),
            ),
        ),
    );
    add(
        Who::Editor,
        "any other namespace",
        create(
            "",
            json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "any"}}),
        ),
    );
    for (name, edit) in [
        (
            "the protection of a namespace is taken away",
            json!({"bailiwick.dev/deletion-protection": null}),
        ),
        (
            "Pod Security is raised",
            json!({"pod-security.kubernetes.io/enforce-version": "v1.35"}),
        ),
        (
            "Pod Security is that of the newest version",
            json!({"pod-security.kubernetes.io/enforce-version": "latest"}),
        ),
        ("a label of others", json!({"team": "storage"})),
    ] {
        add(
            Who::Editor,
            name,
            patch(&format!("{core}/tr"), labels(edit)),
        );
    }
    add(
        Who::Editor,
        "the label of a namespace without a Region",
        patch(
            &format!("{core}/other"),
            labels(json!({"team": "storage", "pod-security.kubernetes.io/enforce": null})),
        ),
    );
    good
}
