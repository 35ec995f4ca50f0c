//! The table of watched kinds: a kind is one row. Secrets and ConfigMaps are in no row, nor is any kind that holds data
//! among those that are pruned. Reads only.

use std::collections::BTreeMap;
use std::sync::Arc;

use bailiwick_model::names::{
    FENCE_NAMESPACE, FENCE_SERVICE, LABEL_MANAGED_BY, LABEL_REGION, MANAGED_BY,
};
use futures::stream::{BoxStream, StreamExt};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{
    Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Service,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, ApiResource};
use kube::core::metadata::PartialObjectMeta;
use kube::runtime::watcher::Config;
use kube::{Client, Resource, ResourceExt};

use super::objects::{
    addresses, claim, is_shipped, job, labels_of, node, pod, stateful_set, storage_class, volume,
};
use super::{Kept, Versions, Watched};
use crate::fence::responders;
use crate::version::Version;
use crate::watch::{Facts, region_of, watch};

/// A kind that is watched.
pub struct Kind {
    /// Its name in Kubernetes.
    pub name: &'static str,
    /// Whether the operator is not ready without its list.
    pub needed: bool,
    /// What is kept of it.
    pub facts: fn(&Watched) -> &dyn Kept,
    /// The same, of a kind that the operator applies.
    pub applied: Option<fn(&Watched) -> &dyn Versions>,
    /// How its objects are pruned when they are desired no more.
    pub pruned: Option<Pruned>,
    /// Opens its watch: says what is asked, which Region an object is of, and what is kept of it.
    pub open: fn(&Opening<'_>) -> BoxStream<'static, String>,
}

/// A kind of which the operator deletes what is desired no more.
pub struct Pruned {
    /// When its turn is, among the other kinds.
    pub turn: u8,
    /// The kind, as the API server calls it.
    pub resource: fn() -> ApiResource,
}

/// What watches are opened with.
pub struct Opening<'a> {
    /// Where facts are kept.
    pub watched: &'a Watched,
    /// The API server.
    pub client: &'a Client,
    /// The registries that the policy on images must name.
    pub registries: &'a BTreeMap<String, String>,
}

/// The watched kinds.
pub static KINDS: &[Kind] = &[
    Kind {
        name: "Namespace",
        needed: true,
        facts: |it| &*it.namespaces,
        applied: None,
        pruned: None,
        open: |it| {
            let api = Api::<PartialObjectMeta<Namespace>>::all(it.client.clone());
            let facts = it.watched.namespaces.clone();
            watch(api, of_regions(), facts, region_of, labels_of).boxed()
        },
    },
    Kind {
        name: "Node",
        needed: true,
        facts: |it| &*it.nodes,
        applied: None,
        pruned: None,
        open: |it| {
            let api = Api::<Node>::all(it.client.clone());
            let facts = it.watched.nodes.clone();
            watch(api, Config::default(), facts, everywhere, node).boxed()
        },
    },
    Kind {
        name: "StorageClass",
        needed: true,
        facts: |it| &*it.storage_classes,
        applied: None,
        pruned: None,
        open: |it| {
            let api = Api::<StorageClass>::all(it.client.clone());
            let facts = it.watched.storage_classes.clone();
            watch(api, Config::default(), facts, everywhere, storage_class).boxed()
        },
    },
    Kind {
        name: "EndpointSlice",
        needed: true,
        facts: |it| &*it.api_server,
        applied: None,
        pruned: None,
        open: |it| {
            let api = Api::<EndpointSlice>::namespaced(it.client.clone(), "default");
            let facts = it.watched.api_server.clone();
            watch(api, of_service("kubernetes"), facts, everywhere, addresses).boxed()
        },
    },
    Kind {
        name: "EndpointSlice",
        // A cluster may have none, or not let us see it.
        needed: false,
        facts: |it| &*it.fence_responder,
        applied: None,
        pruned: None,
        open: |it| {
            let api = Api::<EndpointSlice>::namespaced(it.client.clone(), FENCE_NAMESPACE);
            let facts = it.watched.fence_responder.clone();
            watch(
                api,
                of_service(FENCE_SERVICE),
                facts,
                everywhere,
                responders,
            )
            .boxed()
        },
    },
    Kind {
        name: "PersistentVolume",
        needed: true,
        facts: |it| &*it.volumes,
        applied: None,
        pruned: None,
        open: |it| {
            let api = Api::<PersistentVolume>::all(it.client.clone());
            let facts = it.watched.volumes.clone();
            watch(api, Config::default(), facts, namespace_of_claim, volume).boxed()
        },
    },
    Kind {
        name: "ValidatingAdmissionPolicy",
        needed: true,
        facts: |it| &*it.admission_policies,
        applied: None,
        pruned: None,
        open: |it| {
            let api = Api::<ValidatingAdmissionPolicy>::all(it.client.clone());
            let facts = it.watched.admission_policies.clone();
            let registries = it.registries.clone();
            let shipped = move |policy: &ValidatingAdmissionPolicy| {
                is_shipped(policy, policy.spec.as_ref(), &registries)
            };
            watch(api, Config::default(), facts, of_ours, shipped).boxed()
        },
    },
    Kind {
        name: "ValidatingAdmissionPolicyBinding",
        needed: true,
        facts: |it| &*it.admission_bindings,
        applied: None,
        pruned: None,
        open: |it| {
            let api = Api::<ValidatingAdmissionPolicyBinding>::all(it.client.clone());
            let facts = it.watched.admission_bindings.clone();
            let shipped = |binding: &ValidatingAdmissionPolicyBinding| {
                is_shipped(binding, binding.spec.as_ref(), &BTreeMap::new())
            };
            watch(api, Config::default(), facts, of_ours, shipped).boxed()
        },
    },
    Kind {
        name: "PersistentVolumeClaim",
        needed: true,
        facts: |it| &*it.claims,
        applied: None,
        pruned: None,
        open: |it| {
            let api = Api::<PersistentVolumeClaim>::all(it.client.clone());
            watch(api, ours(), it.watched.claims.clone(), region_of, claim).boxed()
        },
    },
    Kind {
        name: "Pod",
        needed: true,
        facts: |it| &*it.pods,
        applied: None,
        pruned: None,
        open: |it| {
            let api = Api::<Pod>::all(it.client.clone());
            watch(api, ours(), it.watched.pods.clone(), region_of, pod).boxed()
        },
    },
    Kind {
        name: "StatefulSet",
        needed: true,
        facts: |it| &*it.stateful_sets,
        applied: Some(|it| &*it.stateful_sets),
        pruned: Some(Pruned {
            turn: 5,
            resource: || ApiResource::erase::<StatefulSet>(&()),
        }),
        open: |it| {
            let api = Api::<StatefulSet>::all(it.client.clone());
            let facts = it.watched.stateful_sets.clone();
            let kept = |set: &StatefulSet| (Version::of(set), stateful_set(set));
            watch(api, ours(), facts, region_of, kept).boxed()
        },
    },
    Kind {
        name: "Job",
        needed: true,
        facts: |it| &*it.jobs,
        applied: None,
        pruned: None,
        open: |it| {
            let api = Api::<Job>::all(it.client.clone());
            watch(api, ours(), it.watched.jobs.clone(), region_of, job).boxed()
        },
    },
    Kind {
        name: "Service",
        needed: true,
        facts: |it| &*it.services,
        applied: Some(|it| &*it.services),
        pruned: Some(Pruned {
            turn: 2,
            resource: || ApiResource::erase::<Service>(&()),
        }),
        open: |it| versions::<Service>(it.client, &it.watched.services),
    },
    Kind {
        name: "NetworkPolicy",
        needed: true,
        facts: |it| &*it.network_policies,
        applied: Some(|it| &*it.network_policies),
        pruned: Some(Pruned {
            turn: 1,
            resource: || ApiResource::erase::<NetworkPolicy>(&()),
        }),
        open: |it| versions::<NetworkPolicy>(it.client, &it.watched.network_policies),
    },
    Kind {
        name: "PodDisruptionBudget",
        needed: true,
        facts: |it| &*it.disruption_budgets,
        applied: Some(|it| &*it.disruption_budgets),
        pruned: Some(Pruned {
            turn: 3,
            resource: || ApiResource::erase::<PodDisruptionBudget>(&()),
        }),
        open: |it| versions::<PodDisruptionBudget>(it.client, &it.watched.disruption_budgets),
    },
    Kind {
        name: "CronJob",
        needed: true,
        facts: |it| &*it.cron_jobs,
        applied: Some(|it| &*it.cron_jobs),
        pruned: Some(Pruned {
            turn: 4,
            resource: || ApiResource::erase::<CronJob>(&()),
        }),
        open: |it| versions::<CronJob>(it.client, &it.watched.cron_jobs),
    },
];

/// What carries our label.
fn ours() -> Config {
    Config::default().labels(&format!("{LABEL_MANAGED_BY}={MANAGED_BY}"))
}

/// What carries the label of any Region.
fn of_regions() -> Config {
    Config::default().labels(LABEL_REGION)
}

/// The EndpointSlices of a Service.
fn of_service(service: &str) -> Config {
    Config::default().labels(&format!("kubernetes.io/service-name={service}"))
}

/// The cluster-wide group.
#[allow(clippy::unnecessary_wraps, reason = "the shape that watches call")]
fn everywhere<K>(_: &K) -> Option<String> {
    Some(String::new())
}

/// The cluster-wide group, for admission policies that are shipped with us.
fn of_ours<K: Resource>(object: &K) -> Option<String> {
    object
        .name_any()
        .starts_with("bailiwick-")
        .then(String::new)
}

/// The namespace of the claim that a volume is bound to: a Region's has its name.
fn namespace_of_claim(volume: &PersistentVolume) -> Option<String> {
    volume.spec.as_ref()?.claim_ref.as_ref()?.namespace.clone()
}

/// Watches the metadata of what carries our label, and keeps the version.
fn versions<K>(client: &Client, facts: &Arc<Facts<Version>>) -> BoxStream<'static, String>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
{
    let api = Api::<PartialObjectMeta<K>>::all(client.clone());
    watch(api, ours(), facts.clone(), region_of, Version::of).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pruned_is_applied_holds_no_data_and_goes_in_this_order() {
        assert_eq!(KINDS.len(), 16);
        let watched = Watched::default();
        let pruned: Vec<String> = watched
            .prunable("tr")
            .into_iter()
            .map(|(resource, _)| resource.kind)
            .collect();
        let expected = [
            "NetworkPolicy",
            "Service",
            "PodDisruptionBudget",
            "CronJob",
            "StatefulSet",
        ];
        assert_eq!(pruned, expected);
        for kind in KINDS {
            if let Some(pruned) = &kind.pruned {
                assert_eq!((pruned.resource)().kind, kind.name);
                assert!(watched.versions(kind.name).is_some(), "{}", kind.name);
            }
        }
    }

    #[test]
    fn the_operator_is_ready_once_all_kinds_are_listed_but_the_fences_responder() {
        let watched = Watched::default();
        assert_eq!(watched.missing().len(), 15);
        assert_eq!(KINDS.iter().filter(|kind| !kind.needed).count(), 1);
        let listed: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        for never in ["Secret", "ConfigMap"] {
            assert!(!listed.contains(&never), "{never} is listed");
        }
    }
}
