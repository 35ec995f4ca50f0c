//! The table of attempts: each breaks one validation of one policy and nothing else. Values; no I/O.
#![allow(clippy::too_many_lines, reason = "a table is read from top to bottom")]

use serde_json::{Value, json};

use crate::objects::{
    WORKLOADS, account, claim, config_map, container, endpoint_slice, endpoints, foreign,
    namespace, network_policy, plural, pod, pod_by_terms, pod_spec, pod_with_container, role,
    role_binding, secret, service, snapshot, subject, term, with, workload,
};
use crate::request::{Ask, Who};

/// The operator.
pub const OPERATOR: Who = Who::Program("system:serviceaccount:bailiwick-system:bailiwick-operator");
/// Those who may open a tunnel.
pub const BREAK_GLASS: Who = Who::Member("bailiwick:break-glass");

/// Those who may answer for a leakage channel.
pub const APPROVER: Who = Who::Member("bailiwick:residency-approvers");
/// Who answers for the exception that stands in Region `es`.
pub const STANDING_APPROVER: &str = "alice";

/// One attempt.
pub struct Case {
    /// The policy that refuses it.
    pub policy: &'static str,
    /// The index of the validation that it breaks.
    pub validation: usize,
    /// What is tried.
    pub name: String,
    /// By whom.
    pub who: Who,
    /// The request.
    pub ask: Ask,
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            policy,
            validation,
            name,
            ..
        } = self;
        write!(f, "{policy} {validation}: {name}")
    }
}

/// A namespace of the Region's own.
pub const OWN: &str = "tr";
/// The namespace of a client.
pub const CLIENT: &str = "tr-app";
/// A namespace of a Region from before the policies, whose Pod Security is weak.
pub const WEAK: &str = "weak";
/// A namespace that is nobody's business.
pub const FOREIGN: &str = "other";

/// The collection of a kind in a namespace.
fn collection(namespace: &str, object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap();
    let version = object["apiVersion"].as_str().unwrap();
    let root = if version.contains('/') { "apis" } else { "api" };
    let resource = match kind {
        "Endpoints" => "endpoints".to_owned(),
        kind => plural(kind),
    };
    if kind == "Namespace" || kind == "Region" {
        return format!("/{root}/{version}/{resource}");
    }
    format!("/{root}/{version}/namespaces/{namespace}/{resource}")
}

/// Makes an object.
pub fn create(namespace: &str, object: Value) -> Ask {
    Ask {
        method: "POST",
        path: collection(namespace, &object),
        body: object,
    }
}

/// Changes the object of that kind and name which stands in each namespace.
fn change(namespace: &str, object: &Value, edit: Value) -> Ask {
    let name = object["metadata"]["name"].as_str().unwrap();
    Ask {
        method: "PATCH",
        path: format!("{}/{name}", collection(namespace, object)),
        body: edit,
    }
}

fn delete(namespace: &str, object: &Value) -> Ask {
    Ask {
        method: "DELETE",
        ..change(namespace, object, Value::Null)
    }
}

/// A tunnel to what stands in each namespace.
pub fn tunnel(method: &'static str, namespace: &str, path: &str) -> Ask {
    Ask {
        method,
        path: format!("/api/v1/namespaces/{namespace}/{path}"),
        body: Value::Null,
    }
}

/// The table under construction.
struct Table {
    cases: Vec<Case>,
    policy: &'static str,
    validation: usize,
}

impl Table {
    /// What follows breaks this validation.
    fn of(&mut self, policy: &'static str, validation: usize) -> &mut Self {
        self.policy = policy;
        self.validation = validation;
        self
    }

    fn by(&mut self, who: Who, name: impl Into<String>, ask: Ask) -> &mut Self {
        self.cases.push(Case {
            policy: self.policy,
            validation: self.validation,
            name: name.into(),
            who,
            ask,
        });
        self
    }

    fn editor(&mut self, name: impl Into<String>, ask: Ask) -> &mut Self {
        self.by(Who::Editor, name, ask)
    }
}

/// Every attempt.
pub fn cases() -> Vec<Case> {
    let mut table = Table {
        cases: Vec::new(),
        policy: "",
        validation: 0,
    };
    deletions(&mut table);
    exceptions(&mut table);
    namespaces(&mut table);
    placement(&mut table);
    images(&mut table);
    isolation(&mut table);
    makers(&mut table);
    services(&mut table);
    network_policies(&mut table);
    foreign_kinds(&mut table);
    volumes(&mut table);
    tunnels(&mut table);
    secrets(&mut table);
    rights(&mut table);
    table.cases
}

fn deletions(table: &mut Table) {
    table.of("bailiwick-region-deletion", 0).editor(
        "a protected Region is deleted",
        Ask {
            method: "DELETE",
            path: "/apis/bailiwick.dev/v1alpha1/regions/tr".to_owned(),
            body: Value::Null,
        },
    );
    table.of("bailiwick-namespace-deletion", 0).editor(
        "a protected namespace is deleted",
        delete("", &namespace(OWN, OWN)),
    );
}

/// An exception for a channel that somebody answers for.
pub fn exception(channel: &str, approver: &str, expires: &str) -> Value {
    json!({"channel": channel, "reason": "a drill", "approvedBy": approver, "expires": expires})
}

/// An edit of a Region's exceptions.
pub fn excepting(region: &str, exceptions: &Value) -> Ask {
    Ask {
        method: "PATCH",
        path: format!("/apis/bailiwick.dev/v1alpha1/regions/{region}"),
        body: json!({"spec": {"residency": {"exceptions": exceptions}}}),
    }
}

/// A new Region with these exceptions.
pub fn region(exceptions: &Value) -> Ask {
    create(
        "",
        json!({
            "apiVersion": "bailiwick.dev/v1alpha1", "kind": "Region", "metadata": {"name": "fresh"},
            "spec": {
                "residency": {"jurisdiction": "TR", "location": "tr-ist-1", "exceptions": exceptions},
                "postgres": {"version": 17, "instances": 1,
                    "storage": {"data": {"size": "1Gi", "storageClass": "tr-ist-1-local"}}},
                "objectStore": {"servers": 1, "volume": {"size": "1Gi", "storageClass": "tr-ist-1-local"}}
            }
        }),
    )
}

/// Until when the exception of Region `es` stands, and until when it should.
pub const STANDS: &str = "2027-01-31T00:00:00Z";
const LONGER: &str = "2037-01-31T00:00:00Z";

fn exceptions(table: &mut Table) {
    let one = |approver: &str| json!([exception("39", approver, STANDS)]);
    let both = |approver: &str| {
        json!([
            exception("45", STANDING_APPROVER, STANDS),
            exception("1", approver, STANDS)
        ])
    };
    let longer = |approver: &str| json!([exception("45", approver, LONGER)]);
    for (validation, who, approver) in [
        (0, Who::Editor, "mallory"),
        (1, APPROVER, "dpo@example.org"),
    ] {
        table
            .of("bailiwick-residency-exceptions", validation)
            .by(who, "a Region is excepted", excepting("tr", &one(approver)))
            .by(who, "one more exception", excepting("es", &both(approver)))
            .by(
                who,
                "an exception is prolonged",
                excepting("es", &longer(approver)),
            )
            .by(
                who,
                "a Region is made with an exception",
                region(&one(approver)),
            );
    }
    // Whoever may approve does not approve in another's name, nor prolong what another approved.
    table.of("bailiwick-residency-exceptions", 1).by(
        APPROVER,
        "an exception is prolonged in the name of who approved it",
        excepting("es", &longer(STANDING_APPROVER)),
    );
}

fn namespaces(table: &mut Table) {
    let labels = |edit: Value| json!({"metadata": {"labels": edit}});
    let own = namespace(OWN, OWN);
    table
        .of("bailiwick-namespace-labels", 0)
        .editor(
            "a namespace goes over to another Region",
            change("", &own, labels(json!({"bailiwick.dev/region": "es"}))),
        )
        .editor(
            "a namespace leaves its Region",
            change("", &own, labels(json!({"bailiwick.dev/region": null}))),
        )
        .editor(
            "a namespace that stands becomes a Region's",
            change(
                "",
                &namespace("late", ""),
                labels(json!({"bailiwick.dev/region": "late",
                    "bailiwick.dev/location": "tr-ist-1", "bailiwick.dev/jurisdiction": "TR"})),
            ),
        );
    table
        .of("bailiwick-namespace-labels", 1)
        .editor(
            "a namespace moves",
            change(
                "",
                &own,
                labels(json!({"bailiwick.dev/location": "es-mad-1"})),
            ),
        )
        .editor(
            "a namespace forgets its location",
            change("", &own, labels(json!({"bailiwick.dev/location": null}))),
        );
    table.of("bailiwick-namespace-labels", 2).editor(
        "a namespace changes its jurisdiction",
        change(
            "",
            &own,
            labels(json!({"bailiwick.dev/jurisdiction": "ES"})),
        ),
    );
    table
        .of("bailiwick-namespace-labels", 3)
        .editor(
            "a Region's own namespace becomes a client's",
            change("", &own, labels(json!({"bailiwick.dev/client": "true"}))),
        )
        .editor(
            "a client's namespace becomes the Region's own",
            change(
                "",
                &namespace("tr-safe", OWN),
                labels(json!({"bailiwick.dev/client": null})),
            ),
        );
    table
        .of("bailiwick-namespace-claims", 0)
        .editor(
            "a fourth namespace of a Region",
            create("", namespace("tr-more", OWN)),
        )
        .editor(
            "a namespace of no Region",
            create("", namespace("nobodys", "")),
        );
    table
        .of("bailiwick-namespace-claims", 1)
        .editor(
            "a namespace without a location",
            create(
                "",
                with(
                    namespace("new", "new"),
                    labels(json!({"bailiwick.dev/location": null})),
                ),
            ),
        )
        .editor(
            "a client's namespace without a jurisdiction",
            create(
                "",
                with(
                    namespace("new-app", "new"),
                    labels(
                        json!({"bailiwick.dev/jurisdiction": "", "bailiwick.dev/client": "true"}),
                    ),
                ),
            ),
        );
    let enforce = "pod-security.kubernetes.io/enforce";
    table
        .of("bailiwick-namespace-claims", 2)
        .editor(
            "Pod Security of a Region's namespace is weakened",
            change("", &own, labels(json!({enforce: "baseline"}))),
        )
        .editor(
            "Pod Security of a Region's namespace is taken away",
            change("", &own, labels(json!({enforce: null}))),
        )
        .editor(
            "a Region's namespace without Pod Security",
            create(
                "",
                with(namespace("new", "new"), labels(json!({enforce: null}))),
            ),
        )
        .editor(
            "a client's namespace of privileged pods",
            create(
                "",
                with(
                    namespace("new-app", "new"),
                    labels(json!({enforce: "privileged", "bailiwick.dev/client": "true"})),
                ),
            ),
        );
    let version = "pod-security.kubernetes.io/enforce-version";
    table
        .of("bailiwick-namespace-claims", 3)
        .editor(
            "Pod Security of an older version",
            change("", &own, labels(json!({version: "v1.25"}))),
        )
        .editor(
            "a new namespace with Pod Security of an older version",
            create(
                "",
                with(namespace("new", "new"), labels(json!({version: "v1.32"}))),
            ),
        )
        .editor(
            "Pod Security that was raised is lowered",
            change(
                "",
                &namespace("tr-obs", OWN),
                labels(json!({version: "v1.34"})),
            ),
        );
}

fn placement(table: &mut Table) {
    let region = "topology.kubernetes.io/region";
    let here = || term("In", &["tr-ist-1"]);
    let nowhere = with(
        pod_spec(&json!([container()])),
        json!({"nodeSelector": null}),
    );
    table
        .of("bailiwick-pods", 0)
        .by(
            BREAK_GLASS,
            "a pod that may run anywhere",
            create(
                OWN,
                with(pod("new"), json!({"spec": {"nodeSelector": null}})),
            ),
        )
        .by(
            BREAK_GLASS,
            "a pod for another location",
            create(
                OWN,
                with(
                    pod("new"),
                    json!({"spec": {"nodeSelector": {region: "es-mad-1"}}}),
                ),
            ),
        )
        .by(
            BREAK_GLASS,
            "a client's pod for another location",
            create(
                CLIENT,
                with(
                    pod("new"),
                    json!({"spec": {"nodeSelector": {region: "es-mad-1"}}}),
                ),
            ),
        )
        .by(
            BREAK_GLASS,
            "a pod with one way out",
            create(
                OWN,
                pod_by_terms(&json!([here(), term("In", &["es-mad-1"])])),
            ),
        )
        .by(
            BREAK_GLASS,
            "a pod for two locations",
            create(
                OWN,
                pod_by_terms(&json!([term("In", &["tr-ist-1", "es-mad-1"])])),
            ),
        )
        .by(
            BREAK_GLASS,
            "a pod for anywhere but there",
            create(OWN, pod_by_terms(&json!([term("NotIn", &["es-mad-1"])]))),
        )
        .by(
            BREAK_GLASS,
            "a pod for any location there is",
            create(OWN, pod_by_terms(&json!([term("Exists", &[])]))),
        )
        .by(
            BREAK_GLASS,
            "a pod with a term that names a node",
            create(
                OWN,
                pod_by_terms(&json!([here(), {"matchFields": [
                    {"key": "metadata.name", "operator": "In", "values": ["es-1"]}]}])),
            ),
        )
        .by(
            BREAK_GLASS,
            "a pod that would rather run here",
            create(
                OWN,
                with(
                    pod("new"),
                    json!({"spec": {"nodeSelector": null, "affinity": {"nodeAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution":
                            [{"weight": 100, "preference": here()}]}}}}),
                ),
            ),
        )
        .by(
            BREAK_GLASS,
            "a Deployment that is changed to run anywhere",
            change(
                OWN,
                &workload("Deployment", "standing", &Value::Null),
                json!({"spec": {"template": {"spec": {"nodeSelector": null}}}}),
            ),
        );
    for kind in WORKLOADS {
        table.by(
            BREAK_GLASS,
            format!("a {kind} that may run anywhere"),
            create(OWN, workload(kind, "new", &nowhere)),
        );
    }
    table
        .of("bailiwick-pods", 1)
        .by(
            BREAK_GLASS,
            "a pod past the scheduler",
            create(OWN, with(pod("new"), json!({"spec": {"nodeName": "es-1"}}))),
        )
        .by(
            // What a static pod on a node becomes; the node must name itself.
            Who::Program("system:node:es-1"),
            "a node's own pod",
            create(
                CLIENT,
                with(pod("new"), json!({"spec": {"nodeName": "es-1"}})),
            ),
        )
        .by(
            BREAK_GLASS,
            "a Job past the scheduler",
            create(
                OWN,
                workload(
                    "Job",
                    "new",
                    &with(pod_spec(&json!([container()])), json!({"nodeName": "es-1"})),
                ),
            ),
        );
    let binding = |path: &str| Ask {
        method: "POST",
        path: format!("/api/v1/namespaces/{OWN}/{path}"),
        body: json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "standing"},
            "target": {"apiVersion": "v1", "kind": "Node", "name": "es-1"}}),
    };
    table
        .of("bailiwick-scheduling", 0)
        .by(
            BREAK_GLASS,
            "a pod is put on a node by hand",
            binding("pods/standing/binding"),
        )
        .by(
            BREAK_GLASS,
            "the same by the older way",
            binding("bindings"),
        )
        .by(
            Who::Program("system:serviceaccount:kube-system:another-scheduler"),
            "a pod is put on a node by another scheduler",
            binding("pods/standing/binding"),
        );
}

fn images(table: &mut Table) {
    let image = |image: &str| pod_with_container(json!({"image": image}));
    table
        .of("bailiwick-pods", 2)
        .by(BREAK_GLASS, "an image of a public registry", create(OWN, image("docker.io/library/postgres:17.5")))
        .by(BREAK_GLASS, "an image of no registry", create(OWN, image("postgres:17.5")))
        .by(
            BREAK_GLASS,
            "an image of a registry whose name begins alike",
            create(OWN, image("bailiwick.dev.example.org/probe:0.1.0")),
        )
        .by(
            BREAK_GLASS,
            "an image of another port",
            create(OWN, image("bailiwick.dev:5000/probe:0.1.0")),
        )
        .by(
            BREAK_GLASS,
            "an init container's image",
            create(
                OWN,
                with(
                    pod("new"),
                    json!({"spec": {"initContainers": [with(container(),
                        json!({"name": "init", "image": "example.org/probe:0.1.0"}))]}}),
                ),
            ),
        )
        .by(
            BREAK_GLASS,
            "a volume's image",
            create(
                OWN,
                with(
                    pod("new"),
                    json!({"spec": {"volumes": [{"name": "data",
                        "image": {"reference": "example.org/probe:0.1.0"}}]}}),
                ),
            ),
        )
        .by(
            BREAK_GLASS,
            "the image of a pod that runs is changed",
            change(
                OWN,
                &pod("standing"),
                json!({"spec": {"containers": [with(container(), json!({"image": "example.org/probe:0.1.0"}))]}}),
            ),
        )
        .by(
            BREAK_GLASS,
            "an ephemeral container's image",
            ephemeral(OWN, "example.org/shell:1"),
        );
    for kind in WORKLOADS {
        let spec = pod_spec(&json!([with(
            container(),
            json!({"image": "example.org/probe:0.1.0"})
        )]));
        table.by(
            BREAK_GLASS,
            format!("a {kind}'s image"),
            create(OWN, workload(kind, "new", &spec)),
        );
    }
    table
        .of("bailiwick-pods", 2)
        .by(
            BREAK_GLASS,
            "an image without a tag",
            create(OWN, image("bailiwick.dev/probe")),
        )
        .by(
            BREAK_GLASS,
            "the latest image",
            create(OWN, image("bailiwick.dev/probe:latest")),
        );
}

/// An ephemeral container is added to the pod that stands.
pub fn ephemeral(namespace: &str, image: &str) -> Ask {
    Ask {
        method: "PATCH",
        path: format!("/api/v1/namespaces/{namespace}/pods/standing/ephemeralcontainers"),
        body: json!({"spec": {"ephemeralContainers":
            [with(container(), json!({"name": "shell", "image": image}))]}}),
    }
}

fn isolation(table: &mut Table) {
    let spec = |edit: Value| create(WEAK, with(pod("new"), json!({"spec": edit})));
    table
        .of("bailiwick-pods", 3)
        .by(
            BREAK_GLASS,
            "a pod on its node's network",
            spec(json!({"hostNetwork": true})),
        )
        .by(
            BREAK_GLASS,
            "a pod among its node's processes",
            spec(json!({"hostPID": true})),
        )
        .by(
            BREAK_GLASS,
            "a pod with its node's memory segments",
            spec(json!({"hostIPC": true})),
        );
    let privileged = json!({"allowPrivilegeEscalation": true, "privileged": true});
    let privileged = with(container(), json!({"securityContext": privileged}));
    table
        .of("bailiwick-pods", 3)
        .by(BREAK_GLASS, "a privileged container", spec(json!({"containers": [privileged]})))
        .by(
            BREAK_GLASS,
            "a privileged init container",
            spec(json!({"initContainers": [with(privileged.clone(), json!({"name": "init"}))]})),
        )
        .by(
            BREAK_GLASS,
            "a privileged ephemeral container",
            Ask {
                method: "PATCH",
                path: format!("/api/v1/namespaces/{WEAK}/pods/standing/ephemeralcontainers"),
                body: json!({"spec": {"ephemeralContainers": [with(privileged, json!({"name": "shell"}))]}}),
            },
        );
    table.of("bailiwick-pods", 3).by(
        BREAK_GLASS,
        "a port of the node",
        create(
            WEAK,
            pod_with_container(json!({"ports": [{"containerPort": 80, "hostPort": 8080}]})),
        ),
    );
    table.of("bailiwick-pods", 4);
    for (name, volume) in [
        ("hostPath", json!({"hostPath": {"path": "/etc"}})),
        (
            "nfs",
            json!({"nfs": {"server": "203.0.113.7", "path": "/"}}),
        ),
        (
            "iscsi",
            json!({"iscsi": {"targetPortal": "203.0.113.7", "iqn": "iqn.2026-01.org.example:a", "lun": 0}}),
        ),
        ("csi", json!({"csi": {"driver": "nfs.example.org"}})),
    ] {
        table.by(
            BREAK_GLASS,
            format!("a volume of kind {name}"),
            spec(json!({"volumes": [with(volume, json!({"name": "data"}))]})),
        );
    }
    table
        .of("bailiwick-pods", 5)
        .by(
            BREAK_GLASS,
            "a second network",
            create(
                OWN,
                with(
                    pod("new"),
                    json!({"metadata": {"annotations": {"k8s.v1.cni.cncf.io/networks": "outside"}}}),
                ),
            ),
        )
        .by(
            BREAK_GLASS,
            "a second network later on",
            change(
                OWN,
                &pod("standing"),
                json!({"metadata": {"annotations": {"v1.multus-cni.io/default-network": "outside"}}}),
            ),
        );
}

/// Who makes pods: those above break one more rule each even for somebody who may.
fn makers(table: &mut Table) {
    table
        .of("bailiwick-pods", 6)
        .editor("a pod by an editor", create(OWN, pod("new")))
        .editor(
            "a pod that carries a label of the Region's flows",
            create(
                OWN,
                with(
                    pod("new"),
                    json!({"metadata": {"labels": {"bailiwick.dev/flow": "postgres"}}}),
                ),
            ),
        )
        .editor(
            "a workload is changed",
            change(
                OWN,
                &workload("Deployment", "standing", &Value::Null),
                json!({"spec": {"template": {"spec": {"priorityClassName": "system-node-critical"}}}}),
            ),
        );
    for kind in WORKLOADS {
        table.editor(
            format!("a {kind} by an editor"),
            create(OWN, workload(kind, "new", &pod_spec(&json!([container()])))),
        );
    }
    for (name, who) in [
        (
            "a pod by another Region's pod",
            "system:serviceaccount:es:es-pg",
        ),
        (
            "a pod by an account of the operator's name elsewhere",
            "system:serviceaccount:es:bailiwick-operator",
        ),
        (
            "a pod by an account of a controller's name elsewhere",
            "system:serviceaccount:tr:job-controller",
        ),
        (
            "a pod of a ReplicaSet, which the operator makes none of",
            "system:serviceaccount:kube-system:replicaset-controller",
        ),
    ] {
        table.by(Who::Program(who), name, create(OWN, pod("new")));
    }
}

fn services(table: &mut Table) {
    let spec = |edit: Value| create(OWN, with(service("new"), json!({"spec": edit})));
    table
        .of("bailiwick-services", 0)
        .editor("a NodePort", spec(json!({"type": "NodePort"})))
        .editor("a load balancer", spec(json!({"type": "LoadBalancer"})))
        .editor(
            "a client's load balancer",
            create(
                CLIENT,
                with(service("new"), json!({"spec": {"type": "LoadBalancer"}})),
            ),
        )
        .editor(
            "a name outside",
            spec(json!({"type": "ExternalName", "externalName": "example.org", "selector": null})),
        )
        .editor(
            "a Service becomes a NodePort",
            change(
                OWN,
                &service("standing"),
                json!({"spec": {"type": "NodePort"}}),
            ),
        );
    table
        .of("bailiwick-services", 1)
        .editor(
            "an external address",
            spec(json!({"externalIPs": ["203.0.113.7"]})),
        )
        .editor(
            "a Service gets an external address",
            change(
                OWN,
                &service("standing"),
                json!({"spec": {"externalIPs": ["203.0.113.7"]}}),
            ),
        );
    table
        .of("bailiwick-services", 2)
        .editor(
            "a Service without a selector",
            spec(json!({"selector": null})),
        )
        .editor(
            "a Service loses its selector",
            change(
                OWN,
                &service("standing"),
                json!({"spec": {"selector": null}}),
            ),
        );
    table.of("bailiwick-services", 3);
    for key in [
        "service.cilium.io/global",
        "io.cilium/global-service",
        "external-dns.alpha.kubernetes.io/hostname",
        "tailscale.com/expose",
    ] {
        table.editor(
            format!("a Service annotated {key}"),
            create(
                OWN,
                with(
                    service("new"),
                    json!({"metadata": {"annotations": {key: "true"}}}),
                ),
            ),
        );
    }
    table.editor(
        "a Service exported by its label",
        change(
            OWN,
            &service("standing"),
            json!({"metadata": {"labels": {"mirror.linkerd.io/exported": "true"}}}),
        ),
    );
    table
        .of("bailiwick-endpoints", 0)
        .editor(
            "an EndpointSlice made by hand",
            create(OWN, endpoint_slice("new")),
        )
        .editor("Endpoints made by hand", create(OWN, endpoints("new")))
        .editor(
            "an EndpointSlice is repointed",
            change(
                OWN,
                &endpoint_slice("standing"),
                json!({"endpoints": [{"addresses": ["198.51.100.7"]}]}),
            ),
        )
        .by(
            OPERATOR,
            "an EndpointSlice by the operator",
            create(OWN, endpoint_slice("new")),
        );
}

/// A rule with one peer.
fn peer(direction: &str, peer: &Value) -> Value {
    json!([{direction: [peer]}])
}

fn network_policies(table: &mut Table) {
    let none = json!([]);
    let standing = network_policy("standing", &none, &none);
    table
        .of("bailiwick-network-policies", 0)
        .editor(
            "a NetworkPolicy by an editor",
            create(OWN, network_policy("new", &none, &none)),
        )
        .editor(
            "a NetworkPolicy is changed",
            change(
                OWN,
                &standing,
                json!({"spec": {"podSelector": {"matchLabels": {"no": "pod"}}}}),
            ),
        )
        .editor("a NetworkPolicy is deleted", delete(OWN, &standing))
        .editor(
            "all NetworkPolicies are deleted",
            Ask {
                method: "DELETE",
                path: collection(OWN, &standing),
                body: Value::Null,
            },
        )
        .by(
            Who::Program("system:serviceaccount:es:es-pg"),
            "a NetworkPolicy by another Region's pod",
            create(OWN, network_policy("new", &none, &none)),
        )
        .by(
            Who::Program("system:serviceaccount:es:bailiwick-operator"),
            "a NetworkPolicy by an account of the operator's name elsewhere",
            create(OWN, network_policy("new", &none, &none)),
        );

    let egress = |rules: Value| create(OWN, network_policy("new", &rules, &none));
    let ingress = |rules: Value| create(OWN, network_policy("new", &none, &rules));
    let block = |cidr: &str| json!({"ipBlock": {"cidr": cidr}});
    let all = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}});
    table
        .of("bailiwick-network-policies", 1)
        .by(OPERATOR, "egress to everything", egress(json!([{}])))
        .by(
            OPERATOR,
            "egress to everything on a port",
            egress(json!([{"ports": [{"port": 443}]}])),
        )
        .by(OPERATOR, "ingress from everything", ingress(json!([{}])))
        .by(
            OPERATOR,
            "egress to everything beside a good rule",
            egress(json!([{"to": [all]}, {"to": []}])),
        )
        .by(
            Who::Editor,
            "a client's egress to everything",
            create(CLIENT, network_policy("new", &json!([{}]), &none)),
        )
        .by(
            OPERATOR,
            "a policy is opened",
            change(OWN, &standing, json!({"spec": {"ingress": [{}]}})),
        );
    table
        .of("bailiwick-network-policies", 2)
        .by(
            OPERATOR,
            "egress to the internet",
            egress(peer("to", &block("0.0.0.0/0"))),
        )
        .by(
            OPERATOR,
            "egress to the newer internet",
            egress(peer("to", &block("::/0"))),
        )
        .by(
            OPERATOR,
            "egress to two halves of the internet",
            egress(json!([{"to": [block("0.0.0.0/1"), block("128.0.0.0/1")]}])),
        )
        .by(
            OPERATOR,
            "ingress from the internet",
            ingress(peer("from", &block("0.0.0.0/0"))),
        );
    let namespaces = |selector: Value| json!({"namespaceSelector": selector});
    let expression = |key: &str, operator: &str, values: &Value| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
    table
        .of("bailiwick-network-policies", 3)
        .by(
            OPERATOR,
            "ingress from all namespaces",
            ingress(peer("from", &namespaces(json!({})))),
        )
        .by(
            OPERATOR,
            "ingress from all namespaces but one",
            ingress(peer(
                "from",
                &namespaces(expression("team", "NotIn", &json!(["a"]))),
            )),
        )
        .by(
            OPERATOR,
            "ingress from all namespaces without a label",
            ingress(peer(
                "from",
                &namespaces(expression("team", "DoesNotExist", &Value::Null)),
            )),
        );
    table
        .of("bailiwick-network-policies", 4)
        .by(
            OPERATOR,
            "ingress from another Region",
            ingress(peer(
                "from",
                &namespaces(json!({"matchLabels": {"bailiwick.dev/region": "es"}})),
            )),
        )
        .by(
            OPERATOR,
            "ingress from every Region",
            ingress(peer(
                "from",
                &namespaces(expression("bailiwick.dev/region", "Exists", &Value::Null)),
            )),
        )
        .by(
            OPERATOR,
            "ingress from two Regions",
            ingress(peer(
                "from",
                &namespaces(expression(
                    "bailiwick.dev/region",
                    "In",
                    &json!(["tr", "es"]),
                )),
            )),
        );
    table
        .of("bailiwick-network-policies", 5)
        .by(
            OPERATOR,
            "egress to whatever carries a label",
            egress(peer(
                "to",
                &namespaces(json!({"matchLabels": {"team": "patient"}})),
            )),
        )
        .by(
            OPERATOR,
            "egress to another Region by its name",
            egress(peer(
                "to",
                &namespaces(json!({"matchLabels": {"kubernetes.io/metadata.name": "es"}})),
            )),
        )
        .editor(
            "a client's egress to another namespace",
            create(
                CLIENT,
                network_policy(
                    "new",
                    &peer(
                        "to",
                        &namespaces(
                            json!({"matchLabels": {"kubernetes.io/metadata.name": "other"}}),
                        ),
                    ),
                    &none,
                ),
            ),
        );
}

/// Kinds that a cluster may have, by the policy that refuses them: one of each group.
pub const FOREIGN_KINDS: [(&str, &str, &str); 33] = [
    (
        "bailiwick-network-plugins",
        "cilium.io",
        "CiliumNetworkPolicy",
    ),
    (
        "bailiwick-network-plugins",
        "cilium.io",
        "CiliumLocalRedirectPolicy",
    ),
    (
        "bailiwick-network-plugins",
        "crd.projectcalico.org",
        "NetworkPolicy",
    ),
    (
        "bailiwick-network-plugins",
        "projectcalico.org",
        "NetworkSet",
    ),
    (
        "bailiwick-network-plugins",
        "crd.antrea.io",
        "NetworkPolicy",
    ),
    ("bailiwick-network-plugins", "k8s.ovn.org", "EgressFirewall"),
    (
        "bailiwick-network-plugins",
        "k8s.cni.cncf.io",
        "NetworkAttachmentDefinition",
    ),
    ("bailiwick-exposure", "networking.k8s.io", "Ingress"),
    (
        "bailiwick-exposure",
        "gateway.networking.k8s.io",
        "HTTPRoute",
    ),
    (
        "bailiwick-exposure",
        "gateway.networking.k8s.io",
        "ReferenceGrant",
    ),
    (
        "bailiwick-exposure",
        "networking.istio.io",
        "VirtualService",
    ),
    ("bailiwick-exposure", "route.openshift.io", "Route"),
    ("bailiwick-exposure", "traefik.io", "IngressRoute"),
    ("bailiwick-exposure", "projectcontour.io", "HTTPProxy"),
    ("bailiwick-exposure", "externaldns.k8s.io", "DNSEndpoint"),
    (
        "bailiwick-exposure",
        "configuration.konghq.com",
        "TCPIngress",
    ),
    ("bailiwick-exposure", "k8s.nginx.org", "VirtualServer"),
    ("bailiwick-exposure", "getambassador.io", "Mapping"),
    ("bailiwick-exposure", "apisix.apache.org", "ApisixRoute"),
    (
        "bailiwick-other-clusters",
        "multicluster.x-k8s.io",
        "ServiceExport",
    ),
    (
        "bailiwick-other-clusters",
        "multicluster.x-k8s.io",
        "ServiceImport",
    ),
    ("bailiwick-other-clusters", "net.gke.io", "ServiceExport"),
    ("bailiwick-other-clusters", "submariner.io", "Endpoint"),
    (
        "bailiwick-other-clusters",
        "policy.karmada.io",
        "PropagationPolicy",
    ),
    (
        "bailiwick-other-clusters",
        "offloading.liqo.io",
        "NamespaceOffloading",
    ),
    (
        "bailiwick-other-clusters",
        "types.kubefed.io",
        "FederatedSecret",
    ),
    (
        "bailiwick-volume-copies",
        "volsync.backube",
        "ReplicationSource",
    ),
    ("bailiwick-volume-copies", "k8up.io", "Backup"),
    ("bailiwick-volume-copies", "cr.kanister.io", "ActionSet"),
    (
        "bailiwick-volume-copies",
        "replication.storage.openshift.io",
        "VolumeReplication",
    ),
    (
        "bailiwick-secret-stores",
        "external-secrets.io",
        "PushSecret",
    ),
    (
        "bailiwick-secret-stores",
        "external-secrets.io",
        "SecretStore",
    ),
    (
        "bailiwick-secret-stores",
        "secretgen.carvel.dev",
        "SecretExport",
    ),
];

fn foreign_kinds(table: &mut Table) {
    for (policy, group, kind) in FOREIGN_KINDS {
        let object = if group == "networking.k8s.io" {
            with(
                foreign(group, kind),
                json!({"spec": {"defaultBackend": {"service": {"name": "standing", "port": {"number": 80}}}}}),
            )
        } else {
            foreign(group, kind)
        };
        table
            .of(policy, 0)
            .editor(format!("a {kind} of {group}"), create(OWN, object));
    }
    table.of("bailiwick-other-clusters", 0).editor(
        "a client's ServiceExport",
        create(CLIENT, foreign("multicluster.x-k8s.io", "ServiceExport")),
    );
}

fn volumes(table: &mut Table) {
    let spec = |edit: Value| create(OWN, with(claim("new"), json!({"spec": edit})));
    table
        .of("bailiwick-volumes", 0)
        .editor(
            "a class of another location",
            spec(json!({"storageClassName": "es-mad-1-local"})),
        )
        .editor(
            "whatever class is the default",
            spec(json!({"storageClassName": null})),
        )
        .editor("no class", spec(json!({"storageClassName": ""})))
        .editor(
            "a class of a location whose name begins alike",
            spec(json!({"storageClassName": "tr-ist-10-local"})),
        )
        .editor(
            "a client's class of another location",
            create(
                CLIENT,
                with(
                    claim("new"),
                    json!({"spec": {"storageClassName": "es-mad-1-local"}}),
                ),
            ),
        )
        .by(
            Who::Program("system:serviceaccount:kube-system:statefulset-controller"),
            "the same by a StatefulSet",
            spec(json!({"storageClassName": "es-mad-1-local"})),
        );
    table
        .of("bailiwick-volumes", 1)
        .editor(
            "a volume of one's choice",
            spec(json!({"volumeName": "pv-elsewhere"})),
        )
        .by(
            OPERATOR,
            "a volume of the operator's choice",
            spec(json!({"volumeName": "pv-elsewhere"})),
        )
        .editor(
            "a claim that stands is bound by hand",
            change(
                OWN,
                &claim("standing"),
                json!({"spec": {"volumeName": "pv-elsewhere"}}),
            ),
        );
    table.of("bailiwick-volumes", 2).editor(
        "a volume is filled from another namespace",
        spec(json!({"dataSourceRef": {
            "kind": "PersistentVolumeClaim", "name": "data", "namespace": "es"}})),
    );
    table.of("bailiwick-volumes", 3).editor(
        "a volume is filled by a program",
        spec(json!({"dataSourceRef": {
            "apiGroup": "volsync.backube", "kind": "ReplicationDestination", "name": "data"}})),
    );
    let spec = |edit: Value| create(OWN, with(snapshot("new"), json!({"spec": edit})));
    table
        .of("bailiwick-snapshots", 0)
        .editor(
            "a snapshot elsewhere",
            spec(json!({"volumeSnapshotClassName": "es-mad-1-snapshots"})),
        )
        .editor(
            "a snapshot of whatever class is the default",
            spec(json!({"volumeSnapshotClassName": null})),
        );
    table.editor(
        "a snapshot is moved elsewhere",
        change(
            OWN,
            &snapshot("standing"),
            json!({"spec": {"volumeSnapshotClassName": "es-mad-1-snapshots"}}),
        ),
    );
    table.of("bailiwick-snapshots", 1).editor(
        "a snapshot made elsewhere is taken up",
        spec(json!({"source": {"persistentVolumeClaimName": null, "volumeSnapshotContentName": "elsewhere"}})),
    );
}

fn tunnels(table: &mut Table) {
    table.of("bailiwick-tunnels", 0);
    // SPDY comes as POST, WebSocket as GET; a proxy takes any verb.
    for method in ["GET", "POST"] {
        for path in [
            "pods/standing/exec?command=sh&stdout=true",
            "pods/standing/attach?stdout=true",
            "pods/standing/portforward?ports=5432",
            "pods/standing/proxy/",
            "services/standing/proxy/",
        ] {
            let what = path.split('?').next().unwrap();
            table.editor(format!("{method} {what}"), tunnel(method, OWN, path));
        }
    }
    for method in ["PUT", "DELETE", "PATCH"] {
        table.editor(
            format!("{method} services/standing/proxy"),
            tunnel(method, OWN, "services/standing/proxy/"),
        );
    }
    table
        .editor(
            "a shell in a client's pod",
            tunnel("POST", CLIENT, "pods/standing/exec?command=sh&stdout=true"),
        )
        .by(
            OPERATOR,
            "a shell by the operator",
            tunnel("POST", OWN, "pods/standing/exec?command=sh&stdout=true"),
        )
        .by(
            Who::Member("bailiwick:break-glasses"),
            "a shell by another group",
            tunnel("POST", OWN, "pods/standing/exec?command=sh&stdout=true"),
        );
    table
        .of("bailiwick-ephemeral-containers", 0)
        .editor(
            "an ephemeral container",
            ephemeral(OWN, "bailiwick.dev/probe:0.1.0"),
        )
        .editor(
            "an ephemeral container in a client's pod",
            ephemeral(CLIENT, "bailiwick.dev/probe:0.1.0"),
        );
}

fn secrets(table: &mut Table) {
    table.of("bailiwick-secrets", 0);
    for (key, value) in [
        ("reflector.v1.k8s.emberstack.com/reflection-allowed", "true"),
        ("replicator.v1.mittwald.de/replicate-to", "es"),
        ("kubed.appscode.com/sync", ""),
        ("replizieren.dev/replicate-all", "true"),
        ("propagate.hnc.x-k8s.io/select", "es"),
    ] {
        let edit = json!({"metadata": {"annotations": {key: value}}});
        table
            .editor(
                format!("a Secret annotated {key}"),
                create(OWN, with(secret("new"), edit.clone())),
            )
            .editor(
                format!("a ConfigMap gets {key}"),
                change(OWN, &config_map("standing"), edit),
            );
    }
    table.editor(
        "a Secret labelled keess.powerhrg.com/sync",
        change(
            OWN,
            &secret("standing"),
            json!({"metadata": {"labels": {"keess.powerhrg.com/sync": "namespace"}}}),
        ),
    );
}

fn rights(table: &mut Table) {
    let core = [""];
    let granting =
        |resources: &[&str], verbs: &[&str]| create(OWN, role("new", &core, resources, verbs));
    table
        .of("bailiwick-roles", 0)
        .editor("every verb", granting(&["configmaps"], &["*"]))
        .editor("every resource", granting(&["*"], &["get"]))
        .editor("every group", create(OWN, role("new", &["*"], &["widgets"], &["get"])))
        .editor("every subresource", granting(&["*/scale"], &["get"]))
        .editor(
            "a Role is widened",
            change(
                OWN,
                &role("standing", &core, &[], &[]),
                json!({"rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}]}),
            ),
        );
    table.of("bailiwick-roles", 1);
    for resource in [
        "pods/exec",
        "pods/attach",
        "pods/portforward",
        "pods/proxy",
        "services/proxy",
        "pods/ephemeralcontainers",
        "serviceaccounts/token",
    ] {
        table
            .editor(
                format!("create {resource}"),
                granting(&[resource], &["create"]),
            )
            .editor(
                format!("get {resource}"),
                granting(&["pods", resource], &["get"]),
            );
    }
    table.of("bailiwick-roles", 2);
    for verb in ["list", "watch", "deletecollection"] {
        table.editor(
            format!("{verb} secrets"),
            granting(&["secrets"], &["get", verb]),
        );
    }
    table.of("bailiwick-roles", 3);
    for (verb, resource) in [("escalate", "roles"), ("bind", "roles")] {
        table.editor(
            format!("{verb} {resource}"),
            create(
                OWN,
                role("new", &["rbac.authorization.k8s.io"], &[resource], &[verb]),
            ),
        );
    }
    table.editor(
        "impersonate",
        granting(&["serviceaccounts"], &["impersonate"]),
    );

    let binding =
        |role: (&str, &str), subject: Value| create(OWN, role_binding("new", role, &subject));
    let mine = ("Role", "standing");
    table
        .of("bailiwick-role-bindings", 0)
        .editor(
            "for nobody in particular",
            binding(mine, subject("User", "system:anonymous")),
        )
        .editor(
            "for everybody who is known",
            binding(mine, subject("Group", "system:authenticated")),
        )
        .editor(
            "for everybody who is not",
            binding(mine, subject("Group", "system:unauthenticated")),
        )
        .editor(
            "for every pod",
            binding(mine, subject("Group", "system:serviceaccounts")),
        )
        .editor(
            "for every pod of another Region",
            binding(mine, subject("Group", "system:serviceaccounts:es")),
        )
        .editor(
            "a binding is widened",
            change(
                OWN,
                &role_binding("standing", mine, &Value::Null),
                json!({"subjects": [subject("Group", "system:authenticated")]}),
            ),
        );
    table.of("bailiwick-role-bindings", 1);
    for name in ["cluster-admin", "admin", "edit", "system:node"] {
        table.editor(
            format!("ClusterRole {name}"),
            binding(("ClusterRole", name), subject("User", "jane")),
        );
    }
    table
        .of("bailiwick-role-bindings", 2)
        .editor(
            "for another Region's pods",
            binding(mine, account("es", "es-pg")),
        )
        .editor(
            "for a program of the whole cluster",
            binding(mine, account("argocd", "application-controller")),
        )
        .editor(
            "for another account beside the operator",
            binding(mine, account("bailiwick-system", "default")),
        )
        .editor(
            "for another Region's pods by their user",
            binding(mine, subject("User", "system:serviceaccount:es:es-pg")),
        );
    let token = |path: &str| Ask {
        method: "POST",
        path: format!("/api/v1/namespaces/{OWN}/serviceaccounts/{path}/token"),
        body: json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}),
    };
    table
        .of("bailiwick-tokens", 0)
        .editor("a token by hand", token("tr-pg"))
        .by(OPERATOR, "a token by the operator", token("tr-pg"));
    table.of("bailiwick-secrets", 1).editor(
        "a token without an end",
        create(
            OWN,
            with(
                secret("new"),
                json!({"type": "kubernetes.io/service-account-token",
                    "metadata": {"annotations": {"kubernetes.io/service-account.name": "default"}}}),
            ),
        ),
    );
}
