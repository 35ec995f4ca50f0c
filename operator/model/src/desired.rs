//! `desired(&Plan)`: every Kubernetes object of a Region, in the order in which they are applied, the boundary
//! first. Pure; the cluster is not read.

pub mod boundary;
pub mod canary;
pub mod fence;
pub mod object_store;
pub mod postgres;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm,
    PodAffinityTerm, PodAntiAffinity, PodSecurityContext, ResourceRequirements, SeccompProfile,
    SecurityContext, WeightedPodAffinityTerm,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::{ApiResource, DynamicObject, TypeMeta};
use kube::{Resource, ResourceExt};
use serde::Serialize;

use crate::accepted;
use crate::names::{
    ANNOTATION_ARGO_SYNC, LABEL_INSTANCE, LABEL_JURISDICTION, LABEL_LOCATION, LABEL_MANAGED_BY,
    LABEL_NAME, LABEL_REGION, MANAGED_BY, NODE_HOSTNAME, NODE_REGION, RETAINED,
};
use crate::plan::Plan;
use crate::region::Resources;

/// One object to apply, with what the client needs to address it.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The object.
    pub object: DynamicObject,
    /// Its kind.
    pub resource: ApiResource,
}

impl Manifest {
    /// Erases the type of a namespaced or cluster-scoped object.
    #[must_use]
    pub fn of<K>(object: &K) -> Self
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        let resource = ApiResource::erase::<K>(&());
        let mut data = serde_json::to_value(object).unwrap_or_default();
        if let Some(fields) = data.as_object_mut() {
            for field in ["apiVersion", "kind", "metadata"] {
                fields.remove(field);
            }
            // An empty status is what the types serialise; it is never ours to apply.
            fields.remove("status");
        }
        Self {
            object: DynamicObject {
                types: Some(TypeMeta {
                    api_version: resource.api_version.clone(),
                    kind: resource.kind.clone(),
                }),
                metadata: object.meta().clone(),
                data,
            },
            resource,
        }
    }

    /// `Kind/name`, for logs and errors.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.resource.kind, self.object.name_any())
    }

    /// Whether it builds on all that is applied before it: what runs pods, and what says which spec is in force. While one of
    /// those is refused, it is put right as it was and not changed.
    #[must_use]
    pub fn builds_on_others(&self) -> bool {
        self.resource.kind == "StatefulSet" || accepted::is_accepted(&self.object)
    }
}

/// Every Kubernetes object of a Region, in apply order. Jobs are steps and Secrets are minted: neither is here.
#[must_use]
pub fn desired(plan: &Plan) -> Vec<Manifest> {
    let mut manifests = boundary::manifests(plan);
    manifests.extend(fence::config_map(plan).iter().map(Manifest::of));
    manifests.extend(object_store::manifests(plan));
    manifests.extend(postgres::manifests(plan));
    manifests.extend(canary::manifests(plan));
    // Last: what could not be applied is not what is in force.
    manifests.extend(accepted::manifest(plan));
    manifests
}

/// What is applied of a Region that is paused: nothing, but for the boundary while it is shut off. Then that lets through
/// what the Region's own parts need, whatever the spec says by now.
#[must_use]
pub fn desired_while_paused(plan: &Plan) -> Vec<Manifest> {
    if plan.breach.is_active() {
        boundary::manifests(plan)
    } else {
        Vec::new()
    }
}

/// The labels that every object of a Region carries. `component` is `postgres`, `object-store`, `backup`, `canary` or
/// `boundary`.
#[must_use]
pub fn labels(plan: &Plan, component: &str) -> BTreeMap<String, String> {
    [
        (LABEL_MANAGED_BY, MANAGED_BY),
        (LABEL_NAME, component),
        (LABEL_INSTANCE, plan.names.region()),
        (LABEL_REGION, plan.names.region()),
        (LABEL_LOCATION, plan.policy.location()),
        (LABEL_JURISDICTION, plan.policy.jurisdiction()),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// The metadata of an object whose loss loses no data: it goes with the Region.
#[must_use]
pub fn owned(plan: &Plan, namespace: &str, name: &str, component: &str) -> ObjectMeta {
    ObjectMeta {
        owner_references: Some(vec![plan.owner.clone()]),
        annotations: None,
        ..kept(plan, namespace, name, component)
    }
}

/// The metadata of an object that outlives the Region: nobody who deploys the Region from Git may prune it either.
#[must_use]
pub fn kept(plan: &Plan, namespace: &str, name: &str, component: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        labels: Some(labels(plan, component)),
        annotations: Some([(ANNOTATION_ARGO_SYNC.to_owned(), RETAINED.to_owned())].into()),
        ..ObjectMeta::default()
    }
}

/// The component that a Secret of the Region is of: the one that asks for it, whatever names look like.
#[must_use]
pub fn secret_component(plan: &Plan, secret: &str) -> &'static str {
    let of_the_store = object_store::secrets(&plan.names, &plan.spec)
        .iter()
        .any(|wanted| wanted.name == secret);
    if of_the_store {
        object_store::COMPONENT
    } else {
        postgres::COMPONENT
    }
}

/// The labels that select the pods of a component: those of [`labels`] that never change.
#[must_use]
pub fn selector(plan: &Plan, component: &str) -> BTreeMap<String, String> {
    [
        (LABEL_NAME, component),
        (LABEL_INSTANCE, plan.names.region()),
        (LABEL_REGION, plan.names.region()),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// Where the pods of a component may run: required, on the Region's admitted nodes in its location and nowhere else;
/// preferred, away from each other, one a host.
#[must_use]
pub fn affinity(plan: &Plan, component: &str) -> Affinity {
    let mut selector_of_nodes = plan.nodes.place().selector.clone();
    // A selector of the spec may leave it out. Then its nodes were all found to be there, but the next one may not be,
    // and the admission policy on placement looks for it.
    selector_of_nodes.insert(NODE_REGION.to_owned(), plan.policy.location().to_owned());
    let requirements = selector_of_nodes
        .into_iter()
        .map(|(key, value)| NodeSelectorRequirement {
            key,
            operator: "In".to_owned(),
            values: Some(vec![value]),
        })
        .collect();
    Affinity {
        node_affinity: Some(NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(NodeSelector {
                node_selector_terms: vec![NodeSelectorTerm {
                    match_expressions: Some(requirements),
                    match_fields: None,
                }],
            }),
            preferred_during_scheduling_ignored_during_execution: None,
        }),
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![
                WeightedPodAffinityTerm {
                    weight: 100,
                    pod_affinity_term: PodAffinityTerm {
                        label_selector: Some(LabelSelector {
                            match_labels: Some(selector(plan, component)),
                            match_expressions: None,
                        }),
                        topology_key: NODE_HOSTNAME.to_owned(),
                        ..PodAffinityTerm::default()
                    },
                },
            ]),
            required_during_scheduling_ignored_during_execution: None,
        }),
        pod_affinity: None,
    }
}

/// The security context of a pod whose processes and volumes belong to `uid`, as Pod Security `restricted` asks.
#[must_use]
pub fn pod_security(uid: i64) -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(uid),
        run_as_group: Some(uid),
        fs_group: Some(uid),
        // A large volume is not walked through on every start.
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        ..PodSecurityContext::default()
    }
}

/// The security context of every container: no capability, no way to more rights, a root filesystem read-only.
#[must_use]
pub fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            add: None,
        }),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        ..SecurityContext::default()
    }
}

/// What a container asks for: CPU set aside without a ceiling, memory set aside and also the limit, and a bound
/// on what it may leave on the node's own disk.
#[must_use]
pub fn resources(wanted: &Resources, ephemeral_storage: &str) -> ResourceRequirements {
    let quantity = |text: &str| Quantity(text.to_owned());
    let map = |entries: &[(&str, &str)]| {
        entries
            .iter()
            .map(|(name, text)| ((*name).to_owned(), quantity(text)))
            .collect()
    };
    ResourceRequirements {
        requests: Some(map(&[
            ("cpu", &wanted.cpu),
            ("memory", &wanted.memory),
            ("ephemeral-storage", ephemeral_storage),
        ])),
        limits: Some(map(&[
            ("memory", &wanted.memory),
            ("ephemeral-storage", ephemeral_storage),
        ])),
        claims: None,
    }
}

/// The PodDisruptionBudget of a component: at most `max_unavailable` of its pods may be away on purpose at once.
#[must_use]
pub fn disruption_budget(
    plan: &Plan,
    name: &str,
    component: &str,
    max_unavailable: i32,
) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: owned(plan, &plan.names.namespace(), name, component),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(max_unavailable)),
            selector: Some(LabelSelector {
                match_labels: Some(selector(plan, component)),
                match_expressions: None,
            }),
            // A pod that is not ready serves nobody: it may always be moved.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}
