//! The real thing: everything that the operator makes for every Region in the repository is admitted, and then the
//! cluster's own controllers and scheduler work with it until pods are on nodes, volumes bound and what is deleted gone.
//! Reads files of the repository; writes Regions' namespaces and objects.

use std::time::{Duration, Instant};

use bailiwick_api::region::Region;
use bailiwick_model::assumption;
use bailiwick_model::delegation::delegation;
use bailiwick_model::desired::desired;
use bailiwick_model::desired::postgres::jobs::{Task, job};
use bailiwick_model::names::Names;
use bailiwick_model::plan::{Plan, Platform};
use bailiwick_model::planner::plan;
use k8s_openapi::api::core::v1::{
    Namespace, PersistentVolume, PersistentVolumeClaim, Pod, Service,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cases::{OPERATOR, create};
use crate::fixtures::put;
use crate::objects::with;
use crate::policies::repository;
use crate::request::{EVERYTHING, Verdict, Who, send};
use crate::support::api_server::ApiServer;

/// How long the controllers may take on a busy machine.
const WITHIN: Duration = Duration::from_secs(90);
/// How many volumes there are to choose from.
const VOLUMES: usize = 6;
const STATEFUL_SETS: Who = Who::Program("system:serviceaccount:kube-system:statefulset-controller");
const JOBS: Who = Who::Program("system:serviceaccount:kube-system:job-controller");

/// The Regions of the repository that are good.
fn regions() -> Vec<Region> {
    let mut regions = Vec::new();
    for folder in [
        "operator/model/tests/regions/valid",
        "overlays/dev-local/regions",
    ] {
        for entry in std::fs::read_dir(repository().join(folder)).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            for document in serde_yaml::Deserializer::from_str(&text) {
                let value = serde_yaml::Value::deserialize(document).unwrap();
                if value["kind"] == "Region" {
                    regions.push(serde_yaml::from_value(value).unwrap());
                }
            }
        }
    }
    assert!(regions.len() >= 5, "only {} Regions", regions.len());
    regions
}

fn planned(region: Region) -> Plan {
    let region = assumption::applied(region);
    let platform = assumption::platform(&region, Platform::default());
    plan(&region, &platform, &assumption::facts(&region)).unwrap()
}

fn value(object: &impl serde::Serialize) -> Value {
    with(
        serde_json::to_value(object).unwrap(),
        json!({"status": null}),
    )
}

/// What the operator asks for, and what the controllers then make of it, as dry runs.
pub async fn regions_are_admitted(server: &ApiServer) -> usize {
    let client = server.client();
    let mut admitted = 0;
    for region in regions() {
        let plan = planned(region);
        namespaces(&client, &plan).await;
        for manifest in desired(&plan) {
            let object = value(&manifest.object);
            let namespace = object["metadata"]["namespace"].as_str().unwrap().to_owned();
            admit(&client, OPERATOR, &namespace, object.clone()).await;
            admitted += 1;
            if object["kind"] == "StatefulSet" {
                for template in object["spec"]["volumeClaimTemplates"].as_array().unwrap() {
                    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
                        "metadata": {"name": "data-of-a-pod"}, "spec": template["spec"]});
                    admit(&client, STATEFUL_SETS, &namespace, claim).await;
                    admitted += 1;
                }
                let mut pod = pod_of(&object);
                // As the controller names it: without, the pod's claims are not found, but that is not asked here.
                pod["metadata"]["name"] = json!("a-pod");
                admit(&client, STATEFUL_SETS, &namespace, pod).await;
                admitted += 1;
            }
        }
        for task in [Task::Stanza, Task::FullBackup] {
            let job = value(&job(&plan, "a-job", task));
            let namespace = plan.names.namespace();
            let mut pod = pod_of(&job);
            pod["metadata"]["name"] = json!("a-job-pod");
            admit(
                &client,
                OPERATOR,
                &namespace,
                with(job, json!({"apiVersion": "batch/v1", "kind": "Job"})),
            )
            .await;
            admit(&client, JOBS, &namespace, pod).await;
            admitted += 2;
        }
    }
    admitted
}

/// The namespaces and rights that a Region's file brings, made for good while the policies are in force.
async fn namespaces(client: &Client, plan: &Plan) {
    let policy = &plan.policy;
    for document in delegation(&plan.names, policy.jurisdiction(), policy.location()).unwrap() {
        let object = serde_json::to_value(document.object).unwrap();
        if let Some(namespace) = object["metadata"]["namespace"].as_str() {
            admit(client, Who::Editor, namespace, object.clone()).await;
        } else {
            let api: Api<Namespace> = Api::all(client.clone());
            let name = object["metadata"]["name"].as_str().unwrap();
            // Those of the overlay stand already.
            if api.get_opt(name).await.unwrap().is_none() {
                put(client, &object).await;
            }
        }
        if object["kind"] == "ServiceAccount" {
            let namespace = object["metadata"]["namespace"].as_str().unwrap();
            for account in [object["metadata"]["name"].as_str().unwrap(), "default"] {
                let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}});
                crate::fixtures::put_in(client, namespace, &account).await;
            }
        }
    }
}

fn pod_of(workload: &Value) -> Value {
    let template = &workload["spec"]["template"];
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"]});
    for claim in workload["spec"]["volumeClaimTemplates"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let name = &claim["metadata"]["name"];
        pod["spec"]["volumes"].as_array_mut().unwrap().push(json!({
            "name": name, "persistentVolumeClaim": {"claimName": format!("{}-of-a-pod", name.as_str().unwrap())}}));
    }
    pod
}

/// A member of the Postgres of the overlay's Region `tr`, as its StatefulSet makes it.
pub fn postgres_pod() -> Value {
    let region = regions()
        .into_iter()
        .find(|region| region.name_any() == "tr")
        .unwrap();
    let plan = planned(region);
    let set = desired(&plan)
        .into_iter()
        .find(|manifest| manifest.id() == "StatefulSet/tr-pg")
        .unwrap();
    with(
        pod_of(&value(&set.object)),
        json!({"metadata": {"name": "postgres"}}),
    )
}

/// Admits an object, or finds that it is there already.
async fn admit(client: &Client, who: Who, namespace: &str, object: Value) {
    let what = format!("{} {}", object["kind"], object["metadata"]["name"]);
    match send(client, who, &create(namespace, object)).await {
        Verdict::Admitted => {}
        Verdict::Failed(message) if message.starts_with("409 ") => {}
        other => panic!("{what} in {namespace}: {other:?}"),
    }
}

/// Starts the cluster's controllers and lets them work on the overlay's Region `tr`, then deletes the Region `es`.
pub async fn the_cluster_is_not_hindered(server: &mut ApiServer) -> String {
    let client = server.client();
    let tr = live_plan(&client, "tr").await;
    let es = live_plan(&client, "es").await;
    for (name, location) in [("tr-1", "tr-ist-1"), ("es-1", "es-mad-1")] {
        node(&client, name, location).await;
    }
    for index in 0..VOLUMES {
        volume(&client, &format!("pv-{index}"), "tr-1", "tr-ist-1").await;
    }
    server.start_controllers();
    // Before it is available, a volume is no candidate, and the scheduler would wait for a provisioner to make another.
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    until(server, "the volumes available", async || {
        let count = volumes
            .list(&ListParams::default())
            .await
            .unwrap()
            .into_iter()
            .filter(|volume| {
                volume
                    .status
                    .as_ref()
                    .and_then(|status| status.phase.as_deref())
                    == Some("Available")
            })
            .count();
        (count == VOLUMES)
            .then_some(())
            .ok_or_else(|| format!("{count} of {VOLUMES}"))
    })
    .await;
    let operator = server.client_as_member("bailiwick-system", "bailiwick-operator", EVERYTHING);
    for manifest in desired(&tr) {
        put_as(&operator, &manifest).await;
    }
    let stanza = job(&tr, "tr-pg-stanza", Task::Stanza);
    let jobs: Api<k8s_openapi::api::batch::v1::Job> = Api::namespaced(operator.clone(), "tr");
    jobs.create(&kube::api::PostParams::default(), &stanza)
        .await
        .unwrap();

    // Members, the store's server and the Job are made, given volumes and put on the Region's node.
    let expected =
        usize::try_from(tr.spec.postgres.instances + tr.spec.object_store.servers).unwrap() + 1;
    let pods: Api<Pod> = Api::namespaced(client.clone(), "tr");
    let ours = ListParams::default().labels("app.kubernetes.io/managed-by=bailiwick-operator");
    until(server, "the pods of tr on their node", async || {
        let placed: Vec<String> = pods
            .list(&ours)
            .await
            .unwrap()
            .into_iter()
            .filter_map(|pod| pod.spec.and_then(|spec| spec.node_name))
            .collect();
        assert!(placed.iter().all(|node| node == "tr-1"), "{placed:?}");
        (placed.len() == expected)
            .then_some(())
            .ok_or_else(|| format!("{} of {expected}", placed.len()))
    })
    .await;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), "tr");
    let bound = expected - 1;
    until(server, "the claims of tr bound", async || {
        let count = claims
            .list(&ours)
            .await
            .unwrap()
            .into_iter()
            .filter(|claim| {
                claim
                    .status
                    .as_ref()
                    .and_then(|status| status.phase.as_deref())
                    == Some("Bound")
            })
            .count();
        (count >= bound)
            .then_some(())
            .ok_or_else(|| format!("{count} of {bound}"))
    })
    .await;
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), "tr");
    let services = desired(&tr)
        .iter()
        .filter(|manifest| manifest.resource.kind == "Service")
        .count();
    until(server, "the endpoint slices of tr", async || {
        let count = slices.list(&ours).await.unwrap().items.len();
        (count >= services)
            .then_some(())
            .ok_or_else(|| format!("{count} of {services}"))
    })
    .await;

    let left = deleted_region_goes(server, &client, &operator, &es).await;
    format!(
        "with controllers and scheduler {expected} pods placed, {bound} claims bound, {services} Services served, {left}"
    )
}

/// A Region is deleted, then its namespaces: the collector and the namespace controller are let do it.
async fn deleted_region_goes(
    server: &ApiServer,
    client: &Client,
    operator: &Client,
    plan: &Plan,
) -> String {
    let mut made = 0;
    for manifest in desired(plan) {
        // Pods on a node without a kubelet would never end.
        if manifest.resource.kind != "StatefulSet" {
            put_as(operator, &manifest).await;
            made += 1;
        }
    }
    let networks: Api<NetworkPolicy> = Api::namespaced(client.clone(), "es");
    let fence = networks
        .list(&ListParams::default())
        .await
        .unwrap()
        .items
        .len();
    assert!(fence >= 4, "{fence}");
    let regions: Api<Region> = Api::all(client.clone());
    let open = json!({"spec": {"lifecycle": {"deletionProtection": false}}});
    regions
        .patch("es", &PatchParams::default(), &Patch::Merge(&open))
        .await
        .unwrap();
    regions
        .delete("es", &DeleteParams::default())
        .await
        .unwrap();
    let services: Api<Service> = Api::namespaced(client.clone(), "es");
    until(server, "the Services of es to be collected", async || {
        let left = services
            .list(&ListParams::default())
            .await
            .map_err(|error| error.to_string())?
            .items
            .len();
        (left == 0)
            .then_some(())
            .ok_or_else(|| format!("{left} left"))
    })
    .await;
    // What fences the pods is nobody's to collect: the operator takes it last.
    let left = networks.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(left.len(), fence);
    // They are left to the namespace controller.
    let namespaces: Api<Namespace> = Api::all(client.clone());
    for name in plan.names.namespaces() {
        let open = json!({"metadata": {"labels": {"bailiwick.dev/deletion-protection": null}}});
        namespaces
            .patch(&name, &PatchParams::default(), &Patch::Merge(&open))
            .await
            .unwrap();
        namespaces
            .delete(&name, &DeleteParams::default())
            .await
            .unwrap();
    }
    until(server, "the namespaces of es to go", async || {
        let left: Vec<String> = namespaces
            .list(&ListParams::default().labels("bailiwick.dev/region=es"))
            .await
            .unwrap()
            .into_iter()
            .map(|namespace| {
                let status = namespace.status.clone().unwrap_or_default();
                format!("{}: {:?}", namespace.name_any(), status.conditions)
            })
            .collect();
        left.is_empty().then_some(()).ok_or_else(|| left.join("; "))
    })
    .await;
    format!("{made} objects of a deleted Region and its namespaces gone")
}

async fn live_plan(client: &Client, name: &str) -> Plan {
    let regions: Api<Region> = Api::all(client.clone());
    let plan = planned(regions.get(name).await.unwrap());
    assert_eq!(plan.names, Names::new(name));
    plan
}

async fn put_as(client: &Client, manifest: &bailiwick_model::manifest::Manifest) {
    let namespace = manifest.object.namespace().unwrap();
    let api: Api<kube::core::DynamicObject> =
        Api::namespaced_with(client.clone(), &namespace, &manifest.resource);
    api.patch(
        &manifest.object.name_any(),
        &PatchParams::apply("bailiwick-operator").force(),
        &Patch::Apply(&manifest.object),
    )
    .await
    .unwrap_or_else(|error| panic!("{} in {namespace}: {error}", manifest.id()));
}

async fn node(client: &Client, name: &str, location: &str) {
    let labels = json!({"topology.kubernetes.io/region": location, "kubernetes.io/hostname": name});
    put(
        client,
        &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}),
    )
    .await;
    let amounts =
        json!({"cpu": "64", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "110"});
    let status = json!({"status": {"capacity": amounts, "allocatable": amounts, "conditions": [
        {"type": "Ready", "status": "True", "reason": "Test", "message": ""}]}});
    Api::<k8s_openapi::api::core::v1::Node>::all(client.clone())
        .patch_status(name, &PatchParams::default(), &Patch::Merge(&status))
        .await
        .unwrap();
    // The API server taints a node that is new; a controller that watches nodes would take it off.
    let untainted = json!({"spec": {"taints": null}});
    Api::<k8s_openapi::api::core::v1::Node>::all(client.clone())
        .patch(name, &PatchParams::default(), &Patch::Merge(&untainted))
        .await
        .unwrap();
}

async fn volume(client: &Client, name: &str, node: &str, location: &str) {
    put(client, &json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "100Gi"}, "accessModes": ["ReadWriteOnce"],
            "storageClassName": format!("{location}-local"), "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": format!("/volumes/{name}")},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]}}
        }
    }))
    .await;
}

async fn until(server: &ApiServer, what: &str, mut look: impl AsyncFnMut() -> Result<(), String>) {
    let start = Instant::now();
    loop {
        match look().await {
            Ok(()) => return,
            Err(found) => assert!(
                start.elapsed() < WITHIN,
                "{what}: {found}\n{}\n{}",
                server.log_tail("kube-controller-manager"),
                server.log_tail("kube-scheduler")
            ),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
