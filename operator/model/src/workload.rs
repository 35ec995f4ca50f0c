//! What the pods of every component have: where they may run, as whom, and with how much. A plan in, parts of objects
//! out; no I/O.

use bailiwick_api::region::Resources;
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm,
    PodAffinityTerm, PodAntiAffinity, PodSecurityContext, ResourceRequirements, SeccompProfile,
    SecurityContext, WeightedPodAffinityTerm,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::manifest::{owned, selector};
use crate::names::{NODE_HOSTNAME, NODE_REGION};
use crate::plan::Plan;

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
