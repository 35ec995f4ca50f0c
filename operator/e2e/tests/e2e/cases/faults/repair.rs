//! What is deleted or added to the operator's objects by somebody else does not last. I/O: the API server.

use std::time::{Duration, Instant};

use bailiwick_model::names::LABEL_MANAGED_BY;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PropagationPolicy,
};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Place};
use crate::failure::{Failure, Outcome, While, ensure};
use crate::wait::{Look, seen_if, until};

/// How soon a watched child is there again.
const WATCHED: Duration = Duration::from_secs(15);
/// How soon a ConfigMap is: it is not watched, but looked at every five minutes.
const UNWATCHED: Duration = Duration::from_secs(330);
/// How soon all is well after children were gone, pods of the store among them.
const SETTLED: Duration = Duration::from_mins(3);
/// The Region whose settings are deleted: not the one that is deleted and made again meanwhile.
const SETTINGS_OF: &str = "tr";
/// Somebody else.
const INTRUDER: &str = "e2e-intruder";

/// The API as somebody with all rights, or where a policy lets nobody else, with the operator's stolen token.
fn api(cluster: &Cluster, place: &Place, resource: &ApiResource) -> Api<DynamicObject> {
    // Admission lets nobody else.
    let client = match resource.kind.as_str() {
        "NetworkPolicy" => &cluster.as_operator,
        "StatefulSet" => &cluster.break_glass,
        _ => &cluster.client,
    };
    Api::namespaced_with(client.clone(), &place.names.namespace(), resource)
}

/// Fails unless the boundary is kept from somebody who has every other right.
async fn boundary_is_the_operators(cluster: &Cluster, place: &Place) -> Outcome {
    let api = Api::<NetworkPolicy>::namespaced(cluster.client.clone(), &place.names.namespace());
    let open = json!({ "spec": { "egress": [] } });
    let patched = api
        .patch("postgres", &PatchParams::default(), &Patch::Merge(open))
        .await
        .map(drop);
    let deleted = api
        .delete("default-deny", &DeleteParams::default())
        .await
        .map(drop);
    for answer in [patched, deleted] {
        match answer {
            Err(kube::Error::Api(status))
                if status.message.contains("bailiwick-network-policies") => {}
            Err(error) => return Err(error).during("a refusal by the policy on writers"),
            Ok(()) => {
                return Err(Failure::new(
                    "somebody else changed a NetworkPolicy of a Region",
                ));
            }
        }
    }
    Ok(())
}

/// What of an object the operator decides: not what the API server fills in.
fn meaning(object: &DynamicObject) -> Value {
    let mut data = object.data.clone();
    if let Some(data) = data.as_object_mut() {
        data.remove("status");
    }
    if let Some(spec) = data["spec"].as_object_mut() {
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
    }
    data
}

/// A child that was deleted.
pub struct Deleted {
    resource: ApiResource,
    name: String,
    before: DynamicObject,
    since: Instant,
}

/// Deletes one child.
async fn delete(
    cluster: &Cluster,
    place: &Place,
    resource: &ApiResource,
    name: &str,
    propagation: PropagationPolicy,
) -> Outcome<Deleted> {
    let api = api(cluster, place, resource);
    let what = format!("{} {name}", resource.kind);
    let before = api.get(name).await.during(&what)?;
    let parameters = DeleteParams {
        propagation_policy: Some(propagation),
        ..DeleteParams::default()
    };
    let since = Instant::now();
    api.delete(name, &parameters).await.during(&what)?;
    Ok(Deleted {
        resource: resource.clone(),
        name: name.to_owned(),
        before,
        since,
    })
}

/// Waits until a deleted child is there again, another object with the same meaning. Returns after how many seconds.
async fn back(
    cluster: &Cluster,
    place: &Place,
    deleted: &Deleted,
    limit: Duration,
) -> Outcome<f64> {
    let api = api(cluster, place, &deleted.resource);
    let before = &deleted.before;
    let what = format!(
        "{} {} to be there again",
        deleted.resource.kind, deleted.name
    );
    let left = limit.saturating_sub(deleted.since.elapsed());
    until(&what, left, || async {
        Ok(match api.get_opt(&deleted.name).await? {
            None => Look::NotYet("it is gone".to_owned()),
            Some(now) if now.metadata.uid == before.metadata.uid => {
                Look::NotYet("it is still going".to_owned())
            }
            Some(now) if meaning(&now) != meaning(before) => {
                Look::NotYet(format!("it is another: {}", meaning(&now)))
            }
            Some(now) => Look::Seen(now),
        })
    })
    .await
    // What the API server wrote down is exact even when nobody looked at once.
    .map(|now| match now.metadata.creation_timestamp {
        Some(made) if deleted.since.elapsed() > WATCHED => {
            let ago = Timestamp::now().duration_since(made.0).as_secs_f64();
            deleted.since.elapsed().as_secs_f64() - ago
        }
        _ => deleted.since.elapsed().as_secs_f64(),
    })
}

/// Deletes a child of every watched kind, one after the other.
pub async fn deleted(cluster: &Cluster) -> Outcome<String> {
    use PropagationPolicy::{Background, Orphan};
    let place = cluster.place("tr")?;
    let names = &place.names;
    boundary_is_the_operators(cluster, place).await?;
    let mut slowest: (f64, &str) = (0.0, "");
    let service = ApiResource::erase::<Service>(&());
    let policy = ApiResource::erase::<NetworkPolicy>(&());
    let budget = ApiResource::erase::<PodDisruptionBudget>(&());
    let set = ApiResource::erase::<StatefulSet>(&());
    let children = [
        (&policy, "default-deny".to_owned(), Background),
        (&policy, "postgres".to_owned(), Background),
        (&policy, "object-store".to_owned(), Background),
        (&service, names.postgres_rw(), Background),
        (&service, names.postgres(), Background),
        (&service, names.object_store(), Background),
        (&budget, names.postgres(), Background),
        // Its pods stay and belong to the new one; the store's go with it.
        (&set, names.postgres(), Orphan),
        (&set, names.object_store(), Background),
    ];
    for (resource, name, propagation) in &children {
        let deleted = delete(cluster, place, resource, name, propagation.clone()).await?;
        let seconds = back(cluster, place, &deleted, WATCHED).await?;
        if seconds > slowest.0 {
            slowest = (seconds, &resource.kind);
        }
    }
    let started = Instant::now();
    cluster.settled(&place.region, SETTLED).await?;
    Ok(format!(
        "{} children back, the slowest ({}) after {:.1} s; all settled {:.0} s later",
        children.len(),
        slowest.1,
        slowest.0,
        started.elapsed().as_secs_f64()
    ))
}

/// Deletes the ConfigMap of Postgres' settings, which nobody watches; other cases go on meanwhile.
pub async fn settings_deleted(cluster: &Cluster) -> Outcome<String> {
    let place = cluster.place(SETTINGS_OF)?;
    let deleted = delete(
        cluster,
        place,
        &ApiResource::erase::<ConfigMap>(&()),
        &place.names.postgres_config(),
        PropagationPolicy::Background,
    )
    .await?;
    *cluster.settings.lock().await = Some(deleted);
    Ok(format!(
        "looked for in settings-repaired, within {} s",
        UNWATCHED.as_secs()
    ))
}

/// Looks for that ConfigMap.
pub async fn settings_repaired(cluster: &Cluster) -> Outcome<String> {
    if cluster.settings.lock().await.is_none() {
        settings_deleted(cluster).await?;
    }
    let place = cluster.place(SETTINGS_OF)?;
    let Some(deleted) = cluster.settings.lock().await.take() else {
        return Err(Failure::new("no ConfigMap was deleted"));
    };
    let seconds = back(cluster, place, &deleted, UNWATCHED).await?;
    Ok(format!(
        "back {seconds:.0} s after it was deleted, within {} s",
        UNWATCHED.as_secs()
    ))
}

/// Somebody adds a port, a hole in the boundary and a container, and takes our label off.
pub async fn edited(cluster: &Cluster) -> Outcome<String> {
    let place = cluster.place("tr")?;
    let names = &place.names;
    let mut times = Vec::new();
    let apply = |kind: &str, version: &str, spec: Value| json!({ "apiVersion": version, "kind": kind, "spec": spec });
    let edits: [(ApiResource, String, Patch<Value>, &str); 4] = [
        (
            ApiResource::erase::<Service>(&()),
            names.postgres_ro(),
            Patch::Apply(apply(
                "Service",
                "v1",
                json!({ "ports": [
                { "name": "e2e-intruder", "port": 6543, "protocol": "TCP" }] }),
            )),
            "/spec/ports",
        ),
        (
            ApiResource::erase::<NetworkPolicy>(&()),
            "postgres".to_owned(),
            Patch::Merge(json!({ "spec": { "egress": [
                { "to": [{ "ipBlock": { "cidr": "198.51.100.0/24" } }] }] } })),
            "/spec/egress",
        ),
        (
            ApiResource::erase::<StatefulSet>(&()),
            names.postgres(),
            Patch::Apply(apply(
                "StatefulSet",
                "apps/v1",
                json!({ "template": { "spec": { "containers": [
                { "name": "e2e-intruder", "image": "bailiwick.dev/probe:0.1.0" }] } } }),
            )),
            "/spec/template/spec/containers",
        ),
        (
            ApiResource::erase::<PodDisruptionBudget>(&()),
            names.postgres(),
            Patch::Merge(json!({ "metadata": { "labels": { LABEL_MANAGED_BY: null } } })),
            "/metadata/labels",
        ),
    ];
    for (resource, name, edit, path) in &edits {
        let api = api(cluster, place, resource);
        let what = format!("{} {name}", resource.kind);
        let part = |object: &DynamicObject| {
            serde_json::to_value(object).map(|object| object.pointer(path).cloned())
        };
        let before = part(&api.get(name).await.during(&what)?)?;
        let parameters = PatchParams {
            field_manager: Some(INTRUDER.to_owned()),
            ..PatchParams::default()
        };
        let edited = api.patch(name, &parameters, edit).await.during(&what)?;
        let started = Instant::now();
        let after = part(&edited)?;
        ensure(after != before, || {
            format!("{what}: the edit changed nothing of {path}")
        })?;
        until(
            &format!("{path} of {what} to be as before"),
            WATCHED,
            || async {
                let now = part(&api.get(name).await?)?;
                Ok(seen_if(now == before, || format!("{now:?}")))
            },
        )
        .await?;
        times.push(format!(
            "{} {:.1} s",
            resource.kind,
            started.elapsed().as_secs_f64()
        ));
    }
    // Whoever is told to end counts as whole until it has: what comes next must not meet that.
    until("no pod of the Region to be ending", SETTLED, || async {
        let pods = cluster.pods(&names.namespace()).await?;
        let ending = pods
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_some());
        let ending: Vec<_> = ending.filter_map(|pod| pod.metadata.name.clone()).collect();
        Ok(seen_if(ending.is_empty(), || ending.join(", ")))
    })
    .await?;
    cluster.settled(&place.region, SETTLED).await?;
    Ok(times.join(", "))
}
