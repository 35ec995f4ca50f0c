//! The cluster under test: the one of this checkout, or of KUBECONFIG, and no other kind than the engine-less
//! development cluster. Reads files of the repository and talks to the API server.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bailiwick_api::region::Region;
use bailiwick_model::names::{NODE_REGION, Names, OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, Role, RoleBinding};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, ResourceExt};
use serde_json::json;
use tokio::sync::Mutex;

use crate::cases::faults::repair::Deleted;
use crate::cases::residency::canary;
use crate::failure::{Failure, Outcome, While, ensure};
use crate::wait::{Look, until};

/// The context in the kubeconfig that the cluster's scripts write.
const CONTEXT: &str = "bailiwick-dev";
/// The link between the machine and the cluster's first node: nothing beyond the machine has such an address.
const MACHINE_LINK: &str = "https://10.203.";
/// The nodes of the engine-less cluster, and what each says of its place.
const NODES: [(&str, Option<&str>); 3] = [
    ("cp-1", None),
    ("tr-1", Some("tr-ist-1")),
    ("es-1", Some("es-mad-1")),
];
/// How soon the canaries' word follows when all else is settled.
const CANARIES: Duration = Duration::from_secs(20);
/// Whoever applies the overlay writes as this manager, `make dev` and the suite alike.
pub const MANAGER: &str = "dev-local";

/// The cluster under test.
pub struct Cluster {
    /// The API server, with all rights.
    pub client: Client,
    /// The API server, as whoever stole the operator's token.
    pub as_operator: Client,
    /// The same as somebody with every right who has broken the glass.
    pub break_glass: Client,
    /// The same as who approves the exceptions of the Regions in the repository's test files.
    pub approver: Client,
    /// The Regions of the overlay.
    pub places: Vec<Place>,
    /// Postgres' settings, from when one case deletes them until another finds them again.
    pub settings: Mutex<Option<Deleted>>,
    /// The databases that have the suite's table, by their system identifiers.
    pub tables: Mutex<BTreeSet<String>>,
}

/// A Region of the overlay: its file, and where it belongs.
#[derive(Clone)]
pub struct Place {
    /// The Region's name.
    pub region: String,
    /// Its jurisdiction.
    pub jurisdiction: String,
    /// Its location.
    pub location: String,
    /// The names of its objects.
    pub names: Names,
    /// The documents of its file, in order.
    pub documents: Vec<DynamicObject>,
}

impl Place {
    /// The Region as its file has it.
    pub fn document(&self) -> Outcome<DynamicObject> {
        self.documents
            .iter()
            .find(|document| kind(document) == "Region")
            .cloned()
            .ok_or_else(|| Failure::new(format!("the file of {} has no Region", self.region)))
    }
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The objects of a file of several documents.
pub fn documents(text: &str) -> Outcome<Vec<DynamicObject>> {
    use serde::Deserialize as _;
    serde_yaml::Deserializer::from_str(text)
        .map(|document| DynamicObject::deserialize(document).map_err(Failure::from))
        .collect()
}

/// The kind that an object says it is.
pub fn kind(object: &DynamicObject) -> &str {
    object.types.as_ref().map_or("", |types| &types.kind)
}

impl Cluster {
    /// Connects, and refuses any cluster but an engine-less one.
    pub async fn connect() -> Outcome<Self> {
        let path = kubeconfig();
        let kubeconfig = Kubeconfig::read_from(&path).during(format_args!(
            "{}: start the cluster with `make dev`",
            path.display()
        ))?;
        let refused = |why: String| {
            Failure::new(format!(
                "{}: {why}; the suite breaks things on purpose and runs on the engine-less development cluster alone",
                path.display()
            ))
        };
        if kubeconfig.current_context.as_deref() != Some(CONTEXT) {
            return Err(refused(format!("the current context is not {CONTEXT}")));
        }
        for named in &kubeconfig.clusters {
            let server = named
                .cluster
                .as_ref()
                .and_then(|cluster| cluster.server.as_deref())
                .unwrap_or_default();
            if !server.starts_with(MACHINE_LINK) {
                return Err(refused(format!("the API server is {server}")));
            }
        }
        let config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let mut stolen = config.clone();
        stolen.auth_info.impersonate = Some(format!(
            "system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR_SERVICE_ACCOUNT}"
        ));
        let as_operator = Client::try_from(stolen)?;
        let mut broken = config.clone();
        broken.auth_info.impersonate = Some("e2e".to_owned());
        broken.auth_info.impersonate_groups = Some(vec![
            "system:masters".to_owned(),
            "bailiwick:break-glass".to_owned(),
        ]);
        let break_glass = Client::try_from(broken)?;
        let mut approving = config.clone();
        approving.auth_info.impersonate = Some("dpo@example.org".to_owned());
        approving.auth_info.impersonate_groups = Some(vec![
            "system:masters".to_owned(),
            "bailiwick:residency-approvers".to_owned(),
        ]);
        let approver = Client::try_from(approving)?;
        let client = Client::try_from(config)?;
        let nodes: BTreeMap<String, Option<String>> = Api::<Node>::all(client.clone())
            .list(&ListParams::default())
            .await
            .during("list nodes: is the cluster up? `make dev` starts it")?
            .into_iter()
            .map(|node| (node.name_any(), node.labels().get(NODE_REGION).cloned()))
            .collect();
        let expected: BTreeMap<String, Option<String>> = NODES
            .iter()
            .map(|(name, place)| ((*name).to_owned(), place.map(str::to_owned)))
            .collect();
        if nodes != expected {
            return Err(refused(format!("its nodes are {nodes:?}")));
        }
        Ok(Self {
            client,
            as_operator,
            break_glass,
            approver,
            places: places()?,
            settings: Mutex::default(),
            tables: Mutex::default(),
        })
    }

    /// The API server, as whoever has a token and nothing else.
    pub async fn with_token(&self, token: &str) -> Outcome<Client> {
        let kubeconfig = Kubeconfig::read_from(kubeconfig())?;
        let mut config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        config.auth_info = kube::config::AuthInfo {
            token: Some(token.to_owned().into()),
            ..kube::config::AuthInfo::default()
        };
        Ok(Client::try_from(config)?)
    }

    /// The Region of a name in the overlay.
    pub fn place(&self, region: &str) -> Outcome<&Place> {
        self.places
            .iter()
            .find(|place| place.region == region)
            .ok_or_else(|| {
                Failure::new(format!("overlays/dev-local/regions has no Region {region}"))
            })
    }

    /// The API of Regions.
    pub fn regions(&self) -> Api<Region> {
        Api::all(self.client.clone())
    }

    /// The API of the kind that an object says it is, in its namespace.
    pub fn api_of(&self, object: &DynamicObject) -> Outcome<Api<DynamicObject>> {
        let resource = match kind(object) {
            "Namespace" => ApiResource::erase::<Namespace>(&()),
            "RoleBinding" => ApiResource::erase::<RoleBinding>(&()),
            "Role" => ApiResource::erase::<Role>(&()),
            "ClusterRole" => ApiResource::erase::<ClusterRole>(&()),
            "ServiceAccount" => ApiResource::erase::<ServiceAccount>(&()),
            "StorageClass" => ApiResource::erase::<StorageClass>(&()),
            "Region" => ApiResource::erase::<Region>(&()),
            other => return Err(Failure::new(format!("a Region's file has no {other}"))),
        };
        Ok(match object.namespace() {
            Some(namespace) => Api::namespaced_with(self.client.clone(), &namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        })
    }

    /// Applies objects in order, as `kubectl apply --server-side --force-conflicts` does.
    pub async fn apply(&self, objects: &[DynamicObject]) -> Outcome {
        for object in objects {
            self.api_of(object)?
                .patch(
                    &object.name_any(),
                    &PatchParams::apply(MANAGER).force(),
                    &Patch::Apply(object),
                )
                .await
                .during(format_args!("apply {} {}", kind(object), object.name_any()))?;
        }
        Ok(())
    }

    /// Waits until a look at a Region sees what is awaited.
    pub async fn region_until<T>(
        &self,
        region: &str,
        what: &str,
        limit: Duration,
        look: impl Fn(&Region) -> Look<T>,
    ) -> Outcome<T> {
        let api = self.regions();
        let (api, look) = (&api, &look);
        until(
            &format!("{what} of Region {region}"),
            limit,
            || async move { Ok(look(&api.get(region).await?)) },
        )
        .await
    }

    /// Waits until a Region is settled: all is ready, nothing is due, nothing is degraded, and a standby confirms
    /// every commit. A canary that ran in the middle of what a case did says so until it runs again, in up to five
    /// minutes: once all else is settled it is run now, as the runbook has it.
    pub async fn settled(&self, region: &str, limit: Duration) -> Outcome<Region> {
        let settled = async |limit: Duration, what: &str, aside: &[&str]| {
            self.region_until(region, what, limit, |region| {
                let mut wrong = unsettled(region);
                wrong.retain(|wrong| !aside.iter().any(|type_| wrong.starts_with(type_)));
                if wrong.is_empty() {
                    Look::Seen(region.clone())
                } else {
                    Look::NotYet(wrong.join(", "))
                }
            })
            .await
        };
        let canaries = ["NetworkEnforced", "ResidencyEnforced"];
        settled(limit, "the settled state but for canaries", &canaries).await?;
        if let Ok(region) = settled(CANARIES, "the settled state", &[]).await {
            return Ok(region);
        }
        canary::all_now(self, self.place(region)?).await?;
        settled(limit, "the settled state", &[]).await
    }

    /// The same of every Region, all waited for at once.
    pub async fn all_settled(&self, limit: Duration) -> Outcome<Vec<Region>> {
        let regions = self.places.iter();
        try_join_all(regions.map(|place| self.settled(&place.region, limit))).await
    }

    /// The pods of a Region's data namespace.
    pub async fn pods(&self, namespace: &str) -> Outcome<Vec<Pod>> {
        self.pods_where(namespace, &ListParams::default()).await
    }

    /// The pods of a namespace that are selected.
    pub async fn pods_where(&self, namespace: &str, selected: &ListParams) -> Outcome<Vec<Pod>> {
        Ok(Api::<Pod>::namespaced(self.client.clone(), namespace)
            .list(selected)
            .await?
            .items)
    }

    /// Has the kubelets look at once at the Secrets that pods of a Region mount: by themselves they do so within a minute and a
    /// half, which is theirs and nothing that is tried.
    pub async fn mounted_anew(&self, place: &Place, pods: &[String]) -> Outcome {
        let api = Api::<Pod>::namespaced(self.client.clone(), &place.names.namespace());
        let now = jiff::Timestamp::now().to_string();
        let noted =
            json!({ "metadata": { "annotations": { "e2e.bailiwick.dev/looked-at": now } } });
        for pod in pods {
            api.patch(pod, &PatchParams::default(), &Patch::Merge(&noted))
                .await
                .during(format_args!("note when {pod} was looked at"))?;
        }
        Ok(())
    }

    /// The values of a Secret of a Region.
    pub async fn secret(&self, namespace: &str, name: &str) -> Outcome<Secret> {
        Api::<Secret>::namespaced(self.client.clone(), namespace)
            .get(name)
            .await
            .during(format_args!("read Secret {name} in {namespace}"))
    }
}

/// The status of a condition of a Region as `status/reason`, for its present generation only.
pub fn condition(region: &Region, type_: &str) -> Option<(String, String)> {
    region
        .status
        .iter()
        .flat_map(|status| &status.conditions)
        .find(|condition| {
            condition.type_ == type_ && condition.observed_generation == region.metadata.generation
        })
        .map(|condition| (condition.status.clone(), condition.reason.clone()))
}

/// What a settled Region says of each condition; no reason where several are right.
pub const SETTLED: [(&str, &str, Option<&str>); 19] = [
    ("Accepted", "True", Some("Accepted")),
    ("Ready", "True", Some("Serving")),
    ("PostgresAvailable", "True", Some("PrimaryRunning")),
    ("ObjectStoreAvailable", "True", Some("Serving")),
    ("ObjectStoreContained", "True", Some("Contained")),
    ("WALArchiving", "True", Some("Archiving")),
    ("NetworkEnforced", "True", Some("Held")),
    ("CertificatesValid", "True", Some("Valid")),
    ("PendingRestart", "False", Some("UpToDate")),
    ("Progressing", "False", Some("Settled")),
    ("Degraded", "False", Some("Whole")),
    ("ResidencyEnforced", "True", Some("Verified")),
    ("Quarantined", "False", Some("Open")),
    ("EvidenceRecorded", "True", Some("Recorded")),
    ("PlacementEnforced", "True", Some("Verified")),
    ("StorageResident", "True", Some("Verified")),
    ("BackupsResident", "True", Some("Verified")),
    ("Paused", "False", None),
    ("Hibernated", "False", None),
];

/// What keeps a Region from being settled; empty when it is.
pub fn unsettled(region: &Region) -> Vec<String> {
    let mut wrong = Vec::new();
    for (type_, expected, reason) in SETTLED {
        match condition(region, type_) {
            None => wrong.push(format!("{type_} is not set")),
            Some((status, _)) if status != expected => {
                let why = condition(region, type_).map_or_else(String::new, |(_, reason)| reason);
                wrong.push(format!("{type_} is {status}/{why}, expected {expected}"));
            }
            Some((_, found)) if reason.is_some_and(|reason| reason != found) => {
                wrong.push(format!("{type_} has reason {found}"));
            }
            Some(_) => {}
        }
    }
    let members = region
        .status
        .iter()
        .filter_map(|status| status.postgres.as_ref())
        .flat_map(|postgres| &postgres.instances);
    if !members.clone().any(|member| member.role == "SyncStandby") {
        wrong.push("no standby is synchronous".to_owned());
    }
    wrong
}

/// The Regions of the overlay, from their files.
fn places() -> Outcome<Vec<Place>> {
    let folder = repository().join("overlays/dev-local/regions");
    let mut places = Vec::new();
    for region in ["tr", "es"] {
        let file = folder.join(format!("{region}.yaml"));
        let text = std::fs::read_to_string(&file).during(file.display())?;
        let documents = documents(&text).during(file.display())?;
        let residency = documents
            .iter()
            .find(|document| kind(document) == "Region")
            .map(|document| document.data["spec"]["residency"].clone())
            .unwrap_or_default();
        let text_of = |field: &str| residency[field].as_str().unwrap_or_default().to_owned();
        places.push(Place {
            region: region.to_owned(),
            jurisdiction: text_of("jurisdiction"),
            location: text_of("location"),
            names: Names::new(region),
            documents,
        });
    }
    for place in &places {
        ensure(!place.location.is_empty(), || {
            format!(
                "overlays/dev-local/regions/{}.yaml names no location",
                place.region
            )
        })?;
    }
    Ok(places)
}

/// The API server's audit log, beside the kubeconfig.
pub fn audit_log() -> PathBuf {
    kubeconfig().with_file_name("audit").join("audit.log")
}

/// What `outside` recorded, beside the kubeconfig: one JSON object a line.
pub fn outside_log() -> PathBuf {
    kubeconfig().with_file_name("outside.jsonl")
}

/// Where the kubeconfig is.
pub fn kubeconfig() -> PathBuf {
    std::env::var_os("KUBECONFIG")
        .map_or_else(|| repository().join(".state/kubeconfig"), PathBuf::from)
}
