//! What stands on the API server before the operator looks at it: definitions, rights, nodes, storage classes and the
//! namespaces of Regions; and what a person does there. Names in, objects written with every right.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bailiwick_api::region::Region;
use bailiwick_model::draft::{Draft, DraftClient, manifest};
use bailiwick_model::names::{
    FENCE_NAMESPACE, FENCE_SERVICE, LABEL_MANAGED_BY, LABEL_REGION, MANAGED_BY, NODE_REGION,
    OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT,
};
use bailiwick_model::plan::Platform;
use futures::{StreamExt, stream};
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{
    Api, ApiResource, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams,
};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::api_server::{ApiServer, wait_until_established};

const LOCATION: &str = "tr-ist-1";
/// How many requests a person's tools have under way.
const AT_ONCE: usize = 8;
/// Rights and policies are in force a moment after they are written.
const IN_FORCE: Duration = Duration::from_secs(3);

/// What the operator is started with.
pub fn platform() -> Platform {
    Platform {
        locations: vec![LOCATION.to_owned()],
        postgres_images: [(17, "bailiwick.dev/postgres:17.12-1".to_owned())].into(),
        object_store_image: "bailiwick.dev/minio:2026-02-12".to_owned(),
        operator_image: "bailiwick.dev/operator:bench".to_owned(),
        fence_image: "bailiwick.dev/fence:bench".to_owned(),
        image_registries: [("bailiwick.dev".to_owned(), LOCATION.to_owned())].into(),
        ..Platform::default()
    }
}

/// A Region as `bailiwick-operator new` writes it: three members, four servers, a database, a bucket and a client.
fn draft(name: &str) -> Draft {
    Draft {
        name: name.to_owned(),
        jurisdiction: "TR".to_owned(),
        location: LOCATION.to_owned(),
        storage_class: format!("{LOCATION}-local"),
        postgres_version: 17,
        instances: 3,
        store_servers: 4,
        volume_size: "10Gi".to_owned(),
        cpu: "250m".to_owned(),
        memory: "512Mi".to_owned(),
        databases: vec!["clinical".to_owned()],
        buckets: vec!["documents".to_owned()],
        clients: vec![DraftClient {
            name: "patient".to_owned(),
            label: "team".to_owned(),
            value: "patient".to_owned(),
        }],
    }
}

/// The documents of a Region's file.
fn documents(name: &str) -> Vec<DynamicObject> {
    manifest(&draft(name))
        .expect("a Region's file")
        .into_iter()
        .map(|document| serde_yaml::from_value(document.object).expect("an object"))
        .collect()
}

/// A Region as the API server gives it to who watches: of its first generation.
pub fn region(name: &str) -> Region {
    let object = documents(name).pop().expect("the Region");
    let mut region: Region =
        serde_json::from_value(serde_json::to_value(object).expect("JSON")).expect("a Region");
    region.metadata.generation = Some(1);
    region
}

/// An API server that is ready for the operator.
pub struct Cluster<'a> {
    server: &'a ApiServer,
    client: Client,
    /// The token of the operator's ServiceAccount.
    pub token: String,
}

impl<'a> Cluster<'a> {
    /// Makes everything that Regions of these names need.
    pub async fn prepare(server: &'a ApiServer, regions: &[String]) -> Self {
        let client = server.client();
        let apply = |folder: &str| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../..")
                .join(folder);
            server.run_kubectl(&["apply", "--server-side", "-k", &path.display().to_string()]);
        };
        apply("crds");
        wait_until_established(&client, "regions.bailiwick.dev").await;
        for folder in ["platform/operator", "platform/policies", "platform/storage"] {
            apply(folder);
        }
        server.run_kubectl(&["create", "namespace", FENCE_NAMESPACE]);
        apply("platform/operator/fence");
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), OPERATOR_NAMESPACE);
        let request = TokenRequest {
            spec: TokenRequestSpec::default(),
            ..TokenRequest::default()
        };
        let token = accounts
            .create_token_request(OPERATOR_SERVICE_ACCOUNT, &PostParams::default(), &request)
            .await
            .expect("a token")
            .status
            .expect("a token")
            .token;
        let cluster = Self {
            server,
            client,
            token,
        };
        cluster.create(cluster_objects()).await;
        // A namespace first, then what is in it.
        let documents: Vec<DynamicObject> =
            regions.iter().flat_map(|name| documents(name)).collect();
        let (namespaces, others): (Vec<_>, Vec<_>) = documents
            .into_iter()
            .filter(|object| kind(object) != "Region")
            .partition(|object| kind(object) == "Namespace");
        cluster.create(namespaces).await;
        cluster.create(others).await;
        tokio::time::sleep(IN_FORCE).await;
        cluster
    }

    /// A client with the rights of the operator.
    pub fn operators_client(&self) -> Client {
        let mut config = self.server.config();
        config.auth_info.token = Some(self.token.clone().into());
        Client::try_from(config).expect("a client")
    }

    pub async fn create_regions(&self, names: &[String]) {
        let regions = names
            .iter()
            .map(|name| documents(name).pop().expect("the Region"));
        self.create(regions.collect()).await;
    }

    /// Secrets of somebody else, in a namespace of somebody else.
    pub async fn create_secrets(&self, count: usize, bytes: usize) {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "unrelated"}});
        self.create(vec![object(namespace)]).await;
        let api: Api<Secret> = Api::namespaced(self.client.clone(), "unrelated");
        let data: BTreeMap<String, ByteString> =
            [("value".to_owned(), ByteString(vec![b'x'; bytes]))].into();
        stream::iter(0..count)
            .for_each_concurrent(AT_ONCE, |number| {
                let secret = Secret {
                    metadata: ObjectMeta {
                        name: Some(format!("secret-{number}")),
                        ..ObjectMeta::default()
                    },
                    data: Some(data.clone()),
                    ..Secret::default()
                };
                let api = &api;
                async move {
                    api.create(&PostParams::default(), &secret)
                        .await
                        .expect("a Secret");
                }
            })
            .await;
    }

    /// How many objects the operator made for a Region.
    pub async fn objects_of(&self, region: &str) -> usize {
        let ours = of_region(region);
        let mut count = 0;
        for resource in kinds() {
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
            count += api.list_metadata(&ours).await.expect("a list").items.len();
        }
        count
    }

    /// The Secrets that the operator made for a Region.
    pub async fn secrets_of(&self, region: &str) -> Vec<Secret> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), region);
        api.list(&of_any_region()).await.expect("Secrets").items
    }

    /// Says that the pods of Regions are ready, as their controllers would: the operator then makes the clients that
    /// it speaks to them with.
    pub async fn pretend_ready(&self, regions: &[String]) {
        let resource = ApiResource::erase::<StatefulSet>(&());
        for region in regions {
            let api: Api<DynamicObject> =
                Api::namespaced_with(self.client.clone(), region, &resource);
            for set in api
                .list(&ListParams::default())
                .await
                .expect("StatefulSets")
            {
                let replicas = &set.data["spec"]["replicas"];
                let status = json!({"status": {
                    "observedGeneration": set.metadata.generation, "replicas": replicas, "readyReplicas": replicas,
                }});
                api.patch_status(
                    &set.name_any(),
                    &PatchParams::default(),
                    &Patch::Merge(&status),
                )
                .await
                .expect("a status");
            }
        }
    }

    async fn create(&self, objects: Vec<DynamicObject>) {
        stream::iter(objects)
            .for_each_concurrent(AT_ONCE, |object| async move {
                let types = object.types.clone().expect("a kind");
                let kind = GroupVersionKind::try_from(&types).expect("a kind");
                let resource = ApiResource::from_gvk(&kind);
                let api: Api<DynamicObject> = match object.namespace() {
                    Some(namespace) => {
                        Api::namespaced_with(self.client.clone(), &namespace, &resource)
                    }
                    None => Api::all_with(self.client.clone(), &resource),
                };
                api.create(&PostParams::default(), &object)
                    .await
                    .unwrap_or_else(|error| {
                        panic!("{} {}: {error}", types.kind, object.name_any())
                    });
            })
            .await;
    }
}

fn of_any_region() -> ListParams {
    ListParams::default().labels(&format!("{LABEL_MANAGED_BY}={MANAGED_BY}"))
}

fn of_region(region: &str) -> ListParams {
    ListParams::default().labels(&format!(
        "{LABEL_REGION}={region},{LABEL_MANAGED_BY}={MANAGED_BY}"
    ))
}

/// The kinds that the operator makes for a Region.
fn kinds() -> [ApiResource; 8] {
    [
        ApiResource::erase::<Secret>(&()),
        ApiResource::erase::<ConfigMap>(&()),
        ApiResource::erase::<Service>(&()),
        ApiResource::erase::<StatefulSet>(&()),
        ApiResource::erase::<CronJob>(&()),
        ApiResource::erase::<Job>(&()),
        ApiResource::erase::<NetworkPolicy>(&()),
        ApiResource::erase::<PodDisruptionBudget>(&()),
    ]
}

fn kind(object: &DynamicObject) -> &str {
    object.types.as_ref().map_or("", |types| &types.kind)
}

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).expect("an object")
}

/// Three nodes of the location, and the addresses of the API server and of the fence's responder, which nobody writes
/// here.
fn cluster_objects() -> Vec<DynamicObject> {
    let mut objects: Vec<DynamicObject> = (1..=3)
        .map(|number| {
            object(json!({
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": format!("node-{number}"), "labels": {NODE_REGION: LOCATION}},
            }))
        })
        .collect();
    for (service, namespace, address, port) in [
        ("kubernetes", "default", "192.0.2.1", 6443),
        (FENCE_SERVICE, FENCE_NAMESPACE, "192.0.2.2", 7443),
    ] {
        objects.push(object(json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": service,
                "namespace": namespace,
                "labels": {"kubernetes.io/service-name": service},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address]}],
            "ports": [{"name": "tcp", "port": port, "protocol": "TCP"}],
        })));
    }
    objects
}
