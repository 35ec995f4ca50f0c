//! What is kept of each watched object: the facts that decide something, so that two that are equal wake nobody. Objects of
//! the API server in, values out; no I/O.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_api::quantity;
use bailiwick_model::facts::{
    ApiServerAddress, ClaimFact, JobFact, PodFact, StatefulSetFact, StorageClassFact, VolumeFact,
};
use bailiwick_model::names::NODE_REGION;
use bailiwick_model::policy;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod, PodStatus};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::{Resource, ResourceExt};
use serde::Serialize;

use crate::credentials::is_prunable;
use crate::fence::{fence_of, starts_with_fence};

/// The labels of an object.
pub type Labels = BTreeMap<String, String>;

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

/// Its labels.
pub(super) fn labels_of<K: Resource>(object: &K) -> Labels {
    object.labels().clone()
}

/// What is kept of a node.
pub(super) fn node(node: &Node) -> NodeFact {
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

/// What is kept of a storage class.
pub(super) fn storage_class(class: &StorageClass) -> StorageClassFact {
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

/// Where an EndpointSlice of the API server says that it answers.
pub(super) fn addresses(slice: &EndpointSlice) -> BTreeSet<ApiServerAddress> {
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

/// Whether an admission policy or its binding is as it was shipped.
pub(super) fn is_shipped<K>(
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

/// What is kept of a PersistentVolume.
pub(super) fn volume(volume: &PersistentVolume) -> VolumeFact {
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

/// What is kept of a PersistentVolumeClaim.
pub(super) fn claim(claim: &PersistentVolumeClaim) -> ClaimFact {
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

/// What is kept of a pod.
pub(super) fn pod(pod: &Pod) -> PodFact {
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

/// What is kept of a StatefulSet, beside its version.
pub(super) fn stateful_set(set: &StatefulSet) -> StatefulSetFact {
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

/// What is kept of a Job.
pub(super) fn job(job: &Job) -> JobFact {
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
