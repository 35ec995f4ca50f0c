//! Everything that the operator watches, as facts: kinds that hold no data, cluster-wide by our label, metadata only
//! where that is enough. Secrets and ConfigMaps are never listed. Reads only.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bailiwick_model::facts::{
    ApiServerAddress, ClaimFact, JobFact, PodFact, StatefulSetFact, StorageClassFact, VolumeFact,
};
use bailiwick_model::names::{
    FENCE_NAMESPACE, FENCE_SERVICE, LABEL_MANAGED_BY, LABEL_REGION, MANAGED_BY, NODE_REGION,
};
use bailiwick_model::{policy, quantity};
use futures::stream::{BoxStream, StreamExt, select_all};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{
    Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, PodStatus, Service,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::metadata::PartialObjectMeta;
use kube::runtime::watcher::Config;
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;

use crate::apply::Version;
use crate::credentials::is_prunable;
use crate::fence::{fence_of, responders, starts_with_fence};
use crate::watch::{Fact, Facts, Object, region_of, watch};

/// A Region's labels, or another object's.
type Labels = BTreeMap<String, String>;
/// Looks a version up by Region and object.
type Versions<'a> = Box<dyn Fn(&str, &Object) -> Option<Version> + Send + Sync + 'a>;

/// The facts of all watched kinds. Cluster-wide kinds are in the group `""`.
#[derive(Debug, Default)]
pub struct Watched {
    /// The labels of the Regions' namespaces.
    pub namespaces: Arc<Facts<Labels>>,
    /// The labels and addresses of nodes.
    pub nodes: Arc<Facts<NodeFact>>,
    /// Storage classes.
    pub storage_classes: Arc<Facts<StorageClassFact>>,
    /// The API server's addresses.
    pub api_server: Arc<Facts<BTreeSet<ApiServerAddress>>>,
    /// The addresses of the start fence's responder, and whether each is ready.
    pub fence_responder: Arc<Facts<BTreeMap<IpAddr, bool>>>,
    /// PersistentVolumes that a claim is bound to, by the namespace of the claim: a Region's has its name.
    pub volumes: Arc<Facts<VolumeFact>>,
    /// Whether each admission policy is in force as it was shipped.
    pub admission_policies: Arc<Facts<bool>>,
    /// Whether each binding of one is.
    pub admission_bindings: Arc<Facts<bool>>,
    /// PersistentVolumeClaims.
    pub claims: Arc<Facts<ClaimFact>>,
    /// Pods.
    pub pods: Arc<Facts<PodFact>>,
    /// StatefulSets.
    pub stateful_sets: Arc<Facts<(Version, StatefulSetFact)>>,
    /// Jobs.
    pub jobs: Arc<Facts<JobFact>>,
    /// Services.
    pub services: Arc<Facts<Version>>,
    /// NetworkPolicies.
    pub network_policies: Arc<Facts<Version>>,
    /// PodDisruptionBudgets.
    pub disruption_budgets: Arc<Facts<Version>>,
    /// CronJobs.
    pub cron_jobs: Arc<Facts<Version>>,
}

/// How long the first list of the fence's responder is waited for.
const RESPONDER: Duration = Duration::from_secs(5);

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFact {
    /// Its labels.
    pub labels: Labels,
    /// Its address inside the cluster.
    pub address: Option<String>,
    /// The ranges that its pods have addresses from.
    pub pod_ranges: Vec<String>,
}

impl Watched {
    /// Opens all watches; the stream yields the group of each change and must be polled for facts to stay current.
    ///
    /// `registries` are those that the operator was started with: the policy on images must name the same.
    #[allow(clippy::too_many_lines, reason = "a list of watches")]
    pub fn open(
        &self,
        client: &Client,
        registries: &BTreeMap<String, String>,
    ) -> BoxStream<'static, String> {
        let ours = || Config::default().labels(&format!("{LABEL_MANAGED_BY}={MANAGED_BY}"));
        let of_regions = || Config::default().labels(LABEL_REGION);
        let slices = Config::default().labels("kubernetes.io/service-name=kubernetes");
        let all = || client.clone();
        let everywhere = |_: &_| Some(String::new());
        select_all([
            watch(
                Api::<PartialObjectMeta<Namespace>>::all(all()),
                of_regions(),
                self.namespaces.clone(),
                region_of,
                labels_of,
            )
            .boxed(),
            watch(
                Api::<Node>::all(all()),
                Config::default(),
                self.nodes.clone(),
                |_| Some(String::new()),
                node,
            )
            .boxed(),
            watch(
                Api::<StorageClass>::all(all()),
                Config::default(),
                self.storage_classes.clone(),
                |_| Some(String::new()),
                storage_class,
            )
            .boxed(),
            watch(
                Api::<EndpointSlice>::namespaced(all(), "default"),
                slices,
                self.api_server.clone(),
                everywhere,
                addresses,
            )
            .boxed(),
            watch(
                Api::<EndpointSlice>::namespaced(all(), FENCE_NAMESPACE),
                Config::default().labels(&format!("kubernetes.io/service-name={FENCE_SERVICE}")),
                self.fence_responder.clone(),
                everywhere,
                responders,
            )
            .boxed(),
            watch(
                Api::<PersistentVolume>::all(all()),
                Config::default(),
                self.volumes.clone(),
                |volume: &PersistentVolume| {
                    volume.spec.as_ref()?.claim_ref.as_ref()?.namespace.clone()
                },
                volume,
            )
            .boxed(),
            watch(
                Api::<ValidatingAdmissionPolicy>::all(all()),
                Config::default(),
                self.admission_policies.clone(),
                of_ours,
                {
                    let registries = registries.clone();
                    move |policy| is_shipped(policy, policy.spec.as_ref(), &registries)
                },
            )
            .boxed(),
            watch(
                Api::<ValidatingAdmissionPolicyBinding>::all(all()),
                Config::default(),
                self.admission_bindings.clone(),
                of_ours,
                |binding| is_shipped(binding, binding.spec.as_ref(), &BTreeMap::new()),
            )
            .boxed(),
            watch(
                Api::<PersistentVolumeClaim>::all(all()),
                ours(),
                self.claims.clone(),
                region_of,
                claim,
            )
            .boxed(),
            watch(
                Api::<Pod>::all(all()),
                ours(),
                self.pods.clone(),
                region_of,
                pod,
            )
            .boxed(),
            watch(
                Api::<StatefulSet>::all(all()),
                ours(),
                self.stateful_sets.clone(),
                region_of,
                |set| (Version::of(set), stateful_set(set)),
            )
            .boxed(),
            watch(
                Api::<Job>::all(all()),
                ours(),
                self.jobs.clone(),
                region_of,
                job,
            )
            .boxed(),
            versions::<Service>(all(), ours(), &self.services),
            versions::<NetworkPolicy>(all(), ours(), &self.network_policies),
            versions::<PodDisruptionBudget>(all(), ours(), &self.disruption_budgets),
            versions::<CronJob>(all(), ours(), &self.cron_jobs),
        ])
        .boxed()
    }

    /// The kinds whose first list is not complete yet.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        [
            ("Namespace", self.namespaces.listed()),
            ("Node", self.nodes.listed()),
            ("StorageClass", self.storage_classes.listed()),
            ("EndpointSlice", self.api_server.listed()),
            ("PersistentVolume", self.volumes.listed()),
            (
                "ValidatingAdmissionPolicy",
                self.admission_policies.listed(),
            ),
            (
                "ValidatingAdmissionPolicyBinding",
                self.admission_bindings.listed(),
            ),
            ("PersistentVolumeClaim", self.claims.listed()),
            ("Pod", self.pods.listed()),
            ("StatefulSet", self.stateful_sets.listed()),
            ("Job", self.jobs.listed()),
            ("Service", self.services.listed()),
            ("NetworkPolicy", self.network_policies.listed()),
            ("PodDisruptionBudget", self.disruption_budgets.listed()),
            ("CronJob", self.cron_jobs.listed()),
        ]
        .into_iter()
        .filter(|(_, listed)| !listed)
        .map(|(kind, _)| kind)
        .collect()
    }

    /// The kinds whose watch fails at `now`, and for how long.
    #[must_use]
    pub fn failing(&self, now: Instant) -> Vec<(&'static str, Duration)> {
        [
            ("Namespace", self.namespaces.failing(now)),
            ("Node", self.nodes.failing(now)),
            ("StorageClass", self.storage_classes.failing(now)),
            ("EndpointSlice", self.api_server.failing(now)),
            ("PersistentVolume", self.volumes.failing(now)),
            (
                "ValidatingAdmissionPolicy",
                self.admission_policies.failing(now),
            ),
            (
                "ValidatingAdmissionPolicyBinding",
                self.admission_bindings.failing(now),
            ),
            ("PersistentVolumeClaim", self.claims.failing(now)),
            ("Pod", self.pods.failing(now)),
            ("StatefulSet", self.stateful_sets.failing(now)),
            ("Job", self.jobs.failing(now)),
            ("Service", self.services.failing(now)),
            ("NetworkPolicy", self.network_policies.failing(now)),
            ("PodDisruptionBudget", self.disruption_budgets.failing(now)),
            ("CronJob", self.cron_jobs.failing(now)),
        ]
        .into_iter()
        .filter_map(|(kind, failing)| Some((kind, failing?)))
        .collect()
    }

    /// Waits until every kind is listed. For the fence's responder it waits a little longer and no more: in a cluster that
    /// has none, or does not let us see it, the Regions that stand are tended all the same.
    pub async fn listed(&self) {
        while !self.missing().is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let _ = tokio::time::timeout(RESPONDER, async {
            while !self.fence_responder.listed() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }

    /// The admission policies that are in force as they were shipped: the policy itself, and its binding of the same
    /// name.
    #[must_use]
    pub fn admission(&self) -> BTreeSet<String> {
        let shipped = |facts: &Facts<bool>| {
            facts
                .of("")
                .into_iter()
                .filter(|(_, shipped)| *shipped)
                .map(|(object, _)| object.name)
                .collect::<BTreeSet<String>>()
        };
        &shipped(&self.admission_policies) & &shipped(&self.admission_bindings)
    }

    /// How to look up the version of a watched kind; none for a kind that is not watched.
    #[must_use]
    pub fn versions(&self, kind: &str) -> Option<Versions<'_>> {
        Some(match kind {
            "StatefulSet" => Box::new(|region, object| {
                self.stateful_sets
                    .get(region, object)
                    .map(|(version, _)| version)
            }),
            "Service" => Box::new(|region, object| self.services.get(region, object)),
            "NetworkPolicy" => Box::new(|region, object| self.network_policies.get(region, object)),
            "PodDisruptionBudget" => {
                Box::new(|region, object| self.disruption_budgets.get(region, object))
            }
            "CronJob" => Box::new(|region, object| self.cron_jobs.get(region, object)),
            _ => return None,
        })
    }

    /// The children of the kinds that may be pruned. A closed list: nothing that holds data is in it.
    #[must_use]
    pub fn prunable(&self, region: &str) -> Vec<(ApiResource, BTreeMap<Object, Version>)> {
        vec![
            (
                ApiResource::erase::<NetworkPolicy>(&()),
                self.network_policies.of(region),
            ),
            (ApiResource::erase::<Service>(&()), self.services.of(region)),
            (
                ApiResource::erase::<PodDisruptionBudget>(&()),
                self.disruption_budgets.of(region),
            ),
            (
                ApiResource::erase::<CronJob>(&()),
                self.cron_jobs.of(region),
            ),
            (
                ApiResource::erase::<StatefulSet>(&()),
                self.stateful_sets
                    .of(region)
                    .into_iter()
                    .map(|(object, (version, _))| (object, version))
                    .collect(),
            ),
        ]
    }

    /// Keeps what an apply returned, so that its own watch event is no news; unless the watch has told of another
    /// version than `before`, the one known when the apply was sent: that is ours already, or a later one of
    /// somebody else, which it will not tell of again.
    pub fn put_applied(
        &self,
        region: &str,
        kind: &str,
        object: &Object,
        live: &DynamicObject,
        before: Option<&Version>,
    ) {
        let version = Version::of(live);
        let put = |facts: &Facts<Version>| {
            facts.put_unless_changed(region, object, version.clone(), |now| now == before);
        };
        match kind {
            "StatefulSet" => {
                // An answer that cannot be read as one is left to the watch.
                if let Ok(set) = live.clone().try_parse::<StatefulSet>() {
                    self.stateful_sets.put_unless_changed(
                        region,
                        object,
                        (version, stateful_set(&set)),
                        |now| now.map(|(version, _)| version) == before,
                    );
                }
            }
            "Service" => put(&self.services),
            "NetworkPolicy" => put(&self.network_policies),
            "PodDisruptionBudget" => put(&self.disruption_budgets),
            "CronJob" => put(&self.cron_jobs),
            _ => {}
        }
    }

    /// Forgets a child that we deleted, so that its own watch event is no news.
    pub fn forget(&self, region: &str, kind: &str, object: &Object) {
        match kind {
            "StatefulSet" => {
                self.stateful_sets.remove(region, object);
            }
            "Service" => {
                self.services.remove(region, object);
            }
            "NetworkPolicy" => {
                self.network_policies.remove(region, object);
            }
            "PodDisruptionBudget" => {
                self.disruption_budgets.remove(region, object);
            }
            "CronJob" => {
                self.cron_jobs.remove(region, object);
            }
            "Pod" => {
                self.pods.remove(region, object);
            }
            "Job" => {
                self.jobs.remove(region, object);
            }
            _ => {}
        }
    }
}

fn versions<K>(
    client: Client,
    config: Config,
    facts: &Arc<Facts<Version>>,
) -> BoxStream<'static, String>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
    Version: Fact,
{
    watch(
        Api::<PartialObjectMeta<K>>::all(client),
        config,
        facts.clone(),
        region_of,
        Version::of,
    )
    .boxed()
}

fn labels_of<K: Resource>(object: &K) -> Labels {
    object.labels().clone()
}

fn node(node: &Node) -> NodeFact {
    let address = node
        .status
        .iter()
        .flat_map(|status| status.addresses.iter().flatten())
        .find(|address| address.type_ == "InternalIP")
        .map(|address| address.address.clone());
    let spec = node.spec.as_ref();
    NodeFact {
        labels: labels_of(node),
        address,
        pod_ranges: spec
            .and_then(|spec| spec.pod_cidrs.clone())
            .unwrap_or_default(),
    }
}

fn storage_class(class: &StorageClass) -> StorageClassFact {
    let locations = class
        .allowed_topologies
        .iter()
        .flatten()
        .flat_map(|term| term.match_label_expressions.iter().flatten())
        .filter(|expression| expression.key == NODE_REGION)
        .flat_map(|expression| expression.values.iter().cloned())
        .collect();
    StorageClassFact {
        locations,
        retains: class.reclaim_policy.as_deref() == Some("Retain"),
        expands: class.allow_volume_expansion.unwrap_or_default(),
    }
}

fn addresses(slice: &EndpointSlice) -> BTreeSet<ApiServerAddress> {
    let ports: Vec<i32> = slice
        .ports
        .iter()
        .flatten()
        .filter_map(|port| port.port)
        .collect();
    slice
        .endpoints
        .iter()
        .flat_map(|endpoint| endpoint.addresses.iter())
        .flat_map(|ip| {
            ports.iter().map(|port| ApiServerAddress {
                ip: ip.clone(),
                port: *port,
            })
        })
        .collect()
}

/// The cluster-wide group, for admission policies that are shipped with us.
fn of_ours<K: Resource>(object: &K) -> Option<String> {
    object
        .name_any()
        .starts_with("bailiwick-")
        .then(String::new)
}

fn is_shipped<K>(
    object: &K,
    spec: Option<&impl Serialize>,
    registries: &BTreeMap<String, String>,
) -> bool
where
    K: Resource<DynamicType = ()>,
{
    // What cannot be written as JSON is not as it was shipped.
    serde_json::to_value(spec)
        .is_ok_and(|spec| policy::is_shipped(&K::kind(&()), &object.name_any(), &spec, registries))
}

fn volume(volume: &PersistentVolume) -> VolumeFact {
    let spec = volume.spec.as_ref();
    let claim = spec.and_then(|spec| spec.claim_ref.as_ref());
    let alternatives = spec
        .and_then(|spec| spec.node_affinity.as_ref()?.required.as_ref())
        .map(|required| {
            required
                .node_selector_terms
                .iter()
                .map(|term| {
                    term.match_expressions
                        .iter()
                        .flatten()
                        .filter(|expression| expression.operator == "In")
                        .map(|expression| {
                            let values = expression.values.iter().flatten().cloned().collect();
                            (expression.key.clone(), values)
                        })
                        .collect()
                })
                .collect()
        })
        .unwrap_or_default();
    VolumeFact {
        namespace: claim
            .and_then(|claim| claim.namespace.clone())
            .unwrap_or_default(),
        claim: claim
            .and_then(|claim| claim.name.clone())
            .unwrap_or_default(),
        retained: spec.and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref())
            == Some("Retain"),
        alternatives,
    }
}

fn claim(claim: &PersistentVolumeClaim) -> ClaimFact {
    let bytes = |quantities: Option<&BTreeMap<String, Quantity>>| {
        quantities
            .and_then(|quantities| quantities.get("storage"))
            .and_then(|quantity| quantity::bytes(&quantity.0))
    };
    let spec = claim.spec.as_ref();
    ClaimFact {
        uid: claim.uid().unwrap_or_default(),
        made: claim.creation_timestamp().map(|time| time.0),
        labels: labels_of(claim),
        class: spec.and_then(|spec| spec.storage_class_name.clone()),
        requested: bytes(
            spec.and_then(|spec| spec.resources.as_ref())
                .and_then(|resources| resources.requests.as_ref()),
        ),
        capacity: bytes(
            claim
                .status
                .as_ref()
                .and_then(|status| status.capacity.as_ref()),
        ),
        prunable: is_prunable(claim.annotations()),
    }
}

fn pod(pod: &Pod) -> PodFact {
    let status = pod.status.as_ref();
    let ready = status
        .and_then(|status| status.conditions.as_ref())
        .is_some_and(|conditions| {
            conditions
                .iter()
                .any(|c| c.type_ == "Ready" && c.status == "True")
        });
    let terminated = status
        .and_then(|status| status.container_statuses.as_ref())
        .and_then(|containers| containers.first())
        .and_then(|container| container.state.as_ref())
        .and_then(|state| state.terminated.as_ref());
    PodFact {
        uid: pod.uid().unwrap_or_default(),
        labels: pod.labels().clone(),
        made: pod.creation_timestamp().map(|time| time.0),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        ip: status.and_then(|status| status.pod_ip.clone()),
        ready,
        terminating: pod.metadata.deletion_timestamp.is_some(),
        finished: status
            .and_then(|status| status.phase.as_deref())
            .is_some_and(|phase| ["Succeeded", "Failed"].contains(&phase)),
        fence: fence_of(pod),
        trouble: status.and_then(trouble),
        revision: pod.labels().get("controller-revision-hash").cloned(),
        termination_message: terminated.and_then(|terminated| terminated.message.clone()),
        ended: terminated
            .and_then(|terminated| terminated.finished_at.as_ref())
            .map(|time| time.0),
    }
}

/// What keeps a pod from running, by the reasons that Kubernetes gives; never by their messages, which may quote.
fn trouble(status: &PodStatus) -> Option<String> {
    let waiting = status
        .init_container_statuses
        .iter()
        .chain(&status.container_statuses)
        .flatten()
        .find_map(|container| {
            let waiting = container.state.as_ref()?.waiting.as_ref()?;
            let reason = waiting.reason.as_deref()?;
            // So every pod begins.
            if matches!(reason, "PodInitializing" | "ContainerCreating") {
                return None;
            }
            let last = container
                .last_state
                .as_ref()
                .and_then(|last| last.terminated.as_ref())
                .map(|ended| {
                    let why = ended.reason.as_deref().unwrap_or("Error");
                    format!(" after {why} (exit code {})", ended.exit_code)
                });
            Some(format!(
                "container {}: {reason}{}",
                container.name,
                last.unwrap_or_default()
            ))
        });
    // Between an end and the next start, or when there is no next one.
    let ended = || {
        status
            .container_statuses
            .iter()
            .flatten()
            .find_map(|container| {
                let ended = container.state.as_ref()?.terminated.as_ref()?;
                (ended.exit_code != 0).then(|| {
                    format!(
                        "container {}: {} (exit code {})",
                        container.name,
                        ended.reason.as_deref().unwrap_or("Error"),
                        ended.exit_code
                    )
                })
            })
    };
    let unschedulable = || {
        status.conditions.iter().flatten().find_map(|condition| {
            (condition.type_ == "PodScheduled" && condition.status == "False")
                .then(|| condition.reason.clone())
                .flatten()
        })
    };
    waiting.or_else(ended).or_else(unschedulable)
}

fn stateful_set(set: &StatefulSet) -> StatefulSetFact {
    let status = set.status.as_ref();
    StatefulSetFact {
        observed: status.and_then(|status| status.observed_generation) == set.metadata.generation,
        replicas: set
            .spec
            .as_ref()
            .and_then(|spec| spec.replicas)
            .unwrap_or(1),
        ready: status
            .and_then(|status| status.ready_replicas)
            .unwrap_or_default(),
        fenced: starts_with_fence(
            set.spec
                .as_ref()
                .and_then(|spec| spec.template.spec.as_ref()),
        ),
        update_revision: status.and_then(|status| status.update_revision.clone()),
        marks_claims: set
            .spec
            .as_ref()
            .and_then(|spec| spec.volume_claim_templates.as_ref())
            .is_some_and(|claims| claims.iter().all(|claim| !is_prunable(claim.annotations()))),
        volume_size: set
            .spec
            .as_ref()
            .and_then(|spec| spec.volume_claim_templates.as_ref()?.first()?.spec.as_ref())
            .and_then(|claim| claim.resources.as_ref()?.requests.as_ref()?.get("storage"))
            .map(|size| size.0.clone()),
    }
}

fn job(job: &Job) -> JobFact {
    let condition = |type_: &str| {
        job.status
            .as_ref()
            .and_then(|status| status.conditions.as_ref())
            .and_then(|conditions| {
                conditions
                    .iter()
                    .find(|c| c.type_ == type_ && c.status == "True")
            })
    };
    JobFact {
        uid: job.uid().unwrap_or_default(),
        succeeded: condition("Complete").is_some(),
        failed: condition("Failed").is_some(),
        ended: condition("Complete")
            .or_else(|| condition("Failed"))
            .and_then(|condition| condition.last_transition_time.as_ref())
            .map(|time| time.0),
    }
}
