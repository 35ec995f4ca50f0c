//! Where pods run, by which images, with what around them, and who makes them.

use serde_json::{Value, json};

use super::{BREAK_GLASS, CLIENT, OPERATOR, OWN, Table, WEAK, change, create, ephemeral};
use crate::objects::{
    WORKLOADS, claim, container, pod, pod_by_terms, pod_spec, pod_with_container, snapshot, term,
    with, workload,
};
use crate::request::{Ask, Who};

pub fn placement(table: &mut Table) {
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

pub fn images(table: &mut Table) {
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

pub fn isolation(table: &mut Table) {
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
pub fn makers(table: &mut Table) {
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

pub fn volumes(table: &mut Table) {
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
