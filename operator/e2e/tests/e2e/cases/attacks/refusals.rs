//! Bad Regions, one file a violation: the API server refuses them at their field, or the operator does and makes
//! nothing. Reads files of the repository, writes Regions and their namespaces and takes them away again.

use std::path::PathBuf;
use std::time::Duration;

use bailiwick_api::region::Region;
use bailiwick_model::delegation::delegation;
use bailiwick_model::names::{LABEL_DELETION_PROTECTION, LABEL_REGION, NODE_REGION, Names};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace, PersistentVolumeClaim, Pod, Secret, Service,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
};
use kube::{Client, ResourceExt};
use serde_json::json;

use crate::client::MANAGER;
use crate::cluster::{Cluster, condition, documents, repository};
use crate::failure::{Failure, Outcome, While, ensure};
use crate::wait::{Look, seen_if, until};

/// How many bad Regions there must be at least, or the folder is not the right one.
const LEAST: usize = 20;
/// How long namespaces may take to go.
const GONE: Duration = Duration::from_mins(2);

/// A bad Region, from its file.
struct Bad {
    /// The file's name, which is the violation's.
    name: String,
    /// Whether the API server refuses it, and not the operator.
    by_admission: bool,
    /// The field that must be named; empty for the name of a Region, which the API server gives no path.
    field: String,
    /// The good Region that it is an update of.
    update_of: Option<String>,
    region: DynamicObject,
}

/// Tries every bad Region.
pub async fn bad_regions(cluster: &Cluster) -> Outcome<String> {
    let bad = read()?;
    let outcome = attempt(cluster, &bad).await;
    // What was made goes, whether the case passed or not.
    let cleaned = clean(cluster, &bad).await;
    let measured = outcome?;
    cleaned.map(|()| measured)
}

async fn attempt(cluster: &Cluster, bad: &[Bad]) -> Outcome<String> {
    ensure(bad.len() >= LEAST, || {
        format!("only {} bad Regions", bad.len())
    })?;
    clean(cluster, bad).await?;
    storage_classes(cluster).await?;
    let (by_admission, by_plan): (Vec<&Bad>, Vec<&Bad>) =
        bad.iter().partition(|bad| bad.by_admission);
    let (news, updates): (Vec<&Bad>, Vec<&Bad>) =
        by_admission.iter().partition(|bad| bad.update_of.is_none());
    let api = api(&cluster.approver);
    for bad in &news {
        let answer = api.create(&PostParams::default(), &bad.region).await;
        refused_at_field(bad, answer)?;
    }
    for bad in &updates {
        let of = bad.update_of.as_deref().unwrap_or_default();
        let live = match api.get_opt(of).await? {
            Some(live) => live,
            None => api
                .create(&PostParams::default(), &good(of)?)
                .await
                .during(of)?,
        };
        // The operator writes its status meanwhile, so a patch of the spec rather than a replacement.
        let answer = api
            .patch(
                &live.name_any(),
                &PatchParams::default(),
                &Patch::Merge(replacing(&live, &bad.region)),
            )
            .await;
        refused_at_field(bad, answer)?;
    }
    for bad in &by_plan {
        delegate(cluster, bad).await?;
        let region = &bad.region;
        api.create(&PostParams::default(), region)
            .await
            .during(format_args!("{}: is for the operator to refuse", bad.name))?;
    }
    for bad in &by_plan {
        refused_by_operator(cluster, bad).await?;
    }
    // Time for whatever the operator would make all the same.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for bad in &by_plan {
        nothing_made(cluster, bad).await?;
    }
    Ok(format!(
        "{} refused by the API server ({} on update) and {} by the operator, each at its field",
        by_admission.len(),
        updates.len(),
        by_plan.len()
    ))
}

fn api(client: &Client) -> Api<DynamicObject> {
    Api::all_with(client.clone(), &ApiResource::erase::<Region>(&()))
}

fn folder() -> PathBuf {
    repository().join("operator/model/tests/regions")
}

fn read() -> Outcome<Vec<Bad>> {
    let folder = folder().join("invalid");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .during(folder.display())?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let text = std::fs::read_to_string(path).during(path.display())?;
            let header = |key: &str| {
                text.lines()
                    .find_map(|line| line.strip_prefix(&format!("# {key}:")))
                    .map(|value| value.trim().to_owned())
            };
            let missing =
                |key: &str| Failure::new(format!("{}: has no line `# {key}:`", path.display()));
            Ok(Bad {
                name: path
                    .file_stem()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                by_admission: header("refused-by").ok_or_else(|| missing("refused-by"))?
                    == "admission",
                field: header("field").ok_or_else(|| missing("field"))?,
                update_of: header("update-of"),
                region: only(path.display(), &text)?,
            })
        })
        .collect()
}

fn good(name: &str) -> Outcome<DynamicObject> {
    let path = folder().join("valid").join(format!("{name}.yaml"));
    let text = std::fs::read_to_string(&path).during(path.display())?;
    only(path.display(), &text)
}

fn only(path: impl std::fmt::Display, text: &str) -> Outcome<DynamicObject> {
    documents(text)?
        .into_iter()
        .next()
        .ok_or_else(|| Failure::new(format!("{path}: is empty")))
}

/// A merge patch that makes a Region's spec equal to another's: what the other lacks becomes null.
fn replacing(live: &DynamicObject, wanted: &DynamicObject) -> serde_json::Value {
    fn merge(old: &serde_json::Value, new: &serde_json::Value) -> serde_json::Value {
        let (Some(old), Some(fields)) = (old.as_object(), new.as_object()) else {
            return new.clone();
        };
        let mut merged: serde_json::Map<_, _> = fields
            .iter()
            .map(|(key, new)| {
                (
                    key.clone(),
                    old.get(key)
                        .map_or_else(|| new.clone(), |old| merge(old, new)),
                )
            })
            .collect();
        for key in old.keys().filter(|key| !fields.contains_key(*key)) {
            merged.insert(key.clone(), serde_json::Value::Null);
        }
        serde_json::Value::Object(merged)
    }
    json!({ "spec": merge(&live.data["spec"], &wanted.data["spec"]) })
}

fn refused_at_field(bad: &Bad, answer: kube::Result<DynamicObject>) -> Outcome {
    let status = match answer {
        Err(kube::Error::Api(status)) => status,
        Err(error) => return Err(error).during(&bad.name),
        Ok(_) => {
            return Err(Failure::new(format!(
                "{}: the API server took it",
                bad.name
            )));
        }
    };
    let fields: Vec<&str> = status
        .details
        .iter()
        .flat_map(|details| &details.causes)
        .map(|cause| cause.field.as_str())
        .collect();
    let named = fields.contains(&bad.field.as_str())
        || (bad.field.is_empty() && status.message.contains("metadata.name"));
    ensure(named, || {
        format!(
            "{}: expected a refusal at {}, found {fields:?}: {}",
            bad.name, bad.field, status.message
        )
    })
}

/// Gives the operator all its rights, so that only its judgement keeps it from making anything.
async fn delegate(cluster: &Cluster, bad: &Bad) -> Outcome {
    let residency = &bad.region.data["spec"]["residency"];
    let word = |field: &str| residency[field].as_str().unwrap_or_default().to_owned();
    let names = Names::new(&bad.region.name_any());
    let delegated = delegation(&names, &word("jurisdiction"), &word("location"))?;
    let mut objects = Vec::new();
    for document in delegated {
        let object = serde_json::to_value(document.object)?;
        objects.push(serde_json::from_value(object)?);
    }
    cluster.apply(&objects).await.during(&bad.name)
}

async fn refused_by_operator(cluster: &Cluster, bad: &Bad) -> Outcome {
    let what = format!("Accepted=False at {}", bad.field);
    let name = bad.region.name_any();
    cluster
        .region_until(&name, &what, Duration::from_secs(30), |region| {
            let message = region
                .status
                .iter()
                .flat_map(|status| &status.conditions)
                .find(|condition| condition.type_ == "Accepted")
                .map_or("", |condition| condition.message.as_str());
            match condition(region, "Accepted") {
                // The rights may be seen a moment after the Region.
                Some((status, reason))
                    if status == "False"
                        && reason != "NotDelegated"
                        && message.contains(&bad.field) =>
                {
                    Look::Seen(())
                }
                other => Look::NotYet(format!("{other:?} {message}")),
            }
        })
        .await
        .during(&bad.name)
}

async fn nothing_made(cluster: &Cluster, bad: &Bad) -> Outcome {
    let names = Names::new(&bad.region.name_any());
    for namespace in names.namespaces() {
        for resource in [
            ApiResource::erase::<StatefulSet>(&()),
            ApiResource::erase::<Secret>(&()),
            ApiResource::erase::<Service>(&()),
            ApiResource::erase::<ConfigMap>(&()),
            ApiResource::erase::<NetworkPolicy>(&()),
            ApiResource::erase::<PodDisruptionBudget>(&()),
            ApiResource::erase::<PersistentVolumeClaim>(&()),
            ApiResource::erase::<Job>(&()),
            ApiResource::erase::<Pod>(&()),
        ] {
            let found: Vec<String> = Api::<DynamicObject>::namespaced_with(
                cluster.client.clone(),
                &namespace,
                &resource,
            )
            .list_metadata(&ListParams::default())
            .await?
            .into_iter()
            .map(|object| object.name_any())
            // Kubernetes puts it into every namespace.
            .filter(|name| name != "kube-root-ca.crt")
            .collect();
            ensure(found.is_empty(), || {
                format!("{}: {namespace} has {} {found:?}", bad.name, resource.kind)
            })?;
        }
    }
    Ok(())
}

/// The classes that bad Regions name and the overlay does not have. Nothing provisions from them.
async fn storage_classes(cluster: &Cluster) -> Outcome {
    let class = |name: &str, policy: &str, location: Option<&str>| {
        let mut class = json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "metadata": { "name": name },
            "provisioner": "bailiwick.dev/e2e-nothing",
            "reclaimPolicy": policy,
            "volumeBindingMode": "WaitForFirstConsumer",
        });
        if let Some(location) = location {
            class["allowedTopologies"] = json!([{ "matchLabelExpressions":
                [{ "key": NODE_REGION, "values": [location] }] }]);
        }
        serde_json::from_value::<DynamicObject>(class)
    };
    cluster
        .apply(&[
            class(CLASSES[0], "Delete", Some("tr-ist-1"))?,
            class(CLASSES[1], "Retain", None)?,
        ])
        .await
}

const CLASSES: [&str; 2] = ["tr-ist-1-delete", "anywhere"];

/// Takes away all that the case makes.
async fn clean(cluster: &Cluster, bad: &[Bad]) -> Outcome {
    let api = api(&cluster.client);
    let mut names: Vec<String> = bad
        .iter()
        .flat_map(|bad| bad.update_of.iter().cloned().chain([bad.region.name_any()]))
        // The overlay's own Regions are nobody's to clean.
        .filter(|name| !cluster.places.iter().any(|place| place.region == *name))
        .collect();
    names.sort();
    names.dedup();
    let present: Vec<String> = api
        .list_metadata(&ListParams::default())
        .await?
        .into_iter()
        .map(|region| region.name_any())
        .collect();
    for name in names.iter().filter(|name| present.contains(name)) {
        let open = json!({ "spec": { "lifecycle": { "deletionProtection": false } } });
        api.patch(name, &PatchParams::default(), &Patch::Merge(open))
            .await
            .during(name)?;
        api.delete(name, &DeleteParams::default())
            .await
            .during(name)?;
    }
    let namespaces = Api::<Namespace>::all(cluster.client.clone());
    // By the label too: a bad Region may be named like a namespace of another.
    let found = |all: kube::core::ObjectList<Namespace>| -> Vec<Namespace> {
        all.into_iter()
            .filter(|namespace| {
                namespace.labels().get(LABEL_REGION).is_some_and(|region| {
                    names.contains(region)
                        && Names::new(region)
                            .namespaces()
                            .contains(&namespace.name_any())
                })
            })
            .collect()
    };
    for namespace in found(namespaces.list(&ListParams::default()).await?) {
        if namespace.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let name = namespace.name_any();
        let open = json!({ "metadata": { "labels": { LABEL_DELETION_PROTECTION: null } } });
        let parameters = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        namespaces
            .patch(&name, &parameters, &Patch::Merge(open))
            .await
            .during(&name)?;
        namespaces
            .delete(&name, &DeleteParams::default())
            .await
            .during(&name)?;
    }
    let classes = Api::<k8s_openapi::api::storage::v1::StorageClass>::all(cluster.client.clone());
    for class in CLASSES {
        if classes.get_metadata_opt(class).await?.is_some() {
            classes
                .delete(class, &DeleteParams::default())
                .await
                .during(class)?;
        }
    }
    until("the namespaces of bad Regions to go", GONE, || async {
        let left = found(namespaces.list(&ListParams::default()).await?);
        Ok(seen_if(left.is_empty(), || {
            format!("{} namespaces", left.len())
        }))
    })
    .await
}
