//! A Kubernetes object that is to be, of whatever kind, and the labels and owners that all of them have. A plan in, metadata
//! out; no I/O.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{ApiResource, DynamicObject, TypeMeta};
use kube::{Resource, ResourceExt};
use serde::Serialize;

use crate::names::{
    ANNOTATION_ARGO_SYNC, LABEL_INSTANCE, LABEL_JURISDICTION, LABEL_LOCATION, LABEL_MANAGED_BY,
    LABEL_NAME, LABEL_REGION, MANAGED_BY, Names, RETAINED,
};
use crate::plan::Plan;

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
        self.resource.kind == "StatefulSet" || is_accepted_spec(&self.object)
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

/// Whether an object is the ConfigMap that holds the spec accepted last.
fn is_accepted_spec(object: &DynamicObject) -> bool {
    let labels = object.metadata.labels.as_ref();
    let region = labels.and_then(|labels| labels.get(LABEL_REGION));
    object
        .types
        .as_ref()
        .is_some_and(|it| it.kind == "ConfigMap")
        && region.map(|region| Names::new(region).accepted()) == object.metadata.name
}
