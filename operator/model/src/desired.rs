//! `desired(&Plan)`: every Kubernetes object of a Region, in the order in which they are applied, the boundary
//! first. Pure; the cluster is not read.

pub mod boundary;
pub mod object_store;
pub mod postgres;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{ApiResource, DynamicObject, TypeMeta};
use kube::{Resource, ResourceExt};
use serde::Serialize;

use crate::names::{
    LABEL_INSTANCE, LABEL_JURISDICTION, LABEL_LOCATION, LABEL_MANAGED_BY, LABEL_NAME, LABEL_REGION,
    MANAGED_BY,
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
}

/// Every Kubernetes object of a Region, in apply order. Jobs are steps and Secrets are minted: neither is here.
#[must_use]
pub fn desired(plan: &Plan) -> Vec<Manifest> {
    let mut manifests = boundary::manifests(plan);
    manifests.extend(object_store::manifests(plan));
    manifests.extend(postgres::manifests(plan));
    manifests
}

/// The labels that every object of a Region carries. `component` is `postgres`, `object-store` or `boundary`.
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
        ..kept(plan, namespace, name, component)
    }
}

/// The metadata of an object that outlives the Region.
#[must_use]
pub fn kept(plan: &Plan, namespace: &str, name: &str, component: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        labels: Some(labels(plan, component)),
        ..ObjectMeta::default()
    }
}
