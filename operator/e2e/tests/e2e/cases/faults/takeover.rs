//! Two operators: the one that holds the Lease stands still, the other takes over, and the first, when it goes on, writes
//! nothing. I/O: the processes of a pod, the API server and its audit log.

use std::time::{Duration, Instant};

use bailiwick_model::names::OPERATOR_NAMESPACE;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::cases::components::audit;
use crate::cluster::Cluster;
use crate::failure::{Failure, Outcome, While, ensure};
use crate::processes::Frozen;
use crate::wait::{Look, seen_if, until};

/// The operator's Deployment and its Lease.
const OPERATOR: &str = "bailiwick-operator";
/// How long a second replica may take to be ready.
const READY: Duration = Duration::from_mins(1);
/// How long the Lease may take to be another's: it lasts 15 s and is looked at every five.
const TAKEN: Duration = Duration::from_secs(40);
/// How soon what was deleted is there again.
const REPAIRED: Duration = Duration::from_secs(15);
/// How long the one that was thawed is watched: it has what happened meanwhile to do.
const WATCHED: Duration = Duration::from_secs(10);
/// How long the Regions may take to be settled.
const SETTLED: Duration = Duration::from_mins(2);

/// Runs a second operator beside the overlay's one, whatever comes of it.
pub async fn operators(cluster: &Cluster) -> Outcome<String> {
    scaled(cluster, 2).await?;
    let outcome = taken_over(cluster).await;
    scaled(cluster, 1).await?;
    let told = outcome?;
    cluster.all_settled(SETTLED).await?;
    Ok(told)
}

async fn taken_over(cluster: &Cluster) -> Outcome<String> {
    let old = holder(cluster).await?;
    let pod = Api::<Pod>::namespaced(cluster.client.clone(), OPERATOR_NAMESPACE)
        .get(&old)
        .await?;
    // In the middle of its work, and with more to do when it goes on.
    services_deleted(cluster).await?;
    let started = Instant::now();
    let frozen = Frozen::freeze(&pod)?;
    let new = until("another holder of the Lease", TAKEN, || async {
        let now = holder(cluster).await?;
        Ok(if now == old || now.is_empty() {
            Look::NotYet(format!("held by {now:?}"))
        } else {
            Look::Seen(now)
        })
    })
    .await?;
    let took = started.elapsed().as_secs_f64();
    services_back(cluster).await?;
    services_deleted(cluster).await?;
    let since = audit::end()?;
    let thawed = Timestamp::now();
    drop(frozen);
    services_back(cluster).await?;
    tokio::time::sleep(WATCHED).await;
    let entries = audit::entries(since)?;
    let of = |pod: &str| -> Vec<&Value> {
        entries
            .iter()
            .filter(|entry| {
                let extra = &entry["user"]["extra"]["authentication.kubernetes.io/pod-name"];
                extra[0] == pod && received(entry).is_some_and(|at| at > thawed)
            })
            .collect()
    };
    let written = |entries: &[&Value]| -> Vec<String> {
        entries
            .iter()
            .filter(|entry| {
                let resource = entry["objectRef"]["resource"].as_str().unwrap_or_default();
                audit::changes(entry["verb"].as_str().unwrap_or_default(), resource)
                    && entry["responseStatus"]["code"]
                        .as_i64()
                        .is_none_or(|code| code < 400)
            })
            .map(|entry| format!("{} {}", entry["verb"], entry["requestURI"]))
            .collect()
    };
    let (by_old, by_new) = (of(&old), of(&new));
    let (wrote, news) = (written(&by_old), written(&by_new));
    ensure(wrote.is_empty(), || {
        format!(
            "{old} lost the Lease to {new} and wrote afterwards: {}",
            wrote.join(", ")
        )
    })?;
    ensure(!by_old.is_empty() && !news.is_empty(), || {
        format!(
            "after it went on {old} asked {} times and {new} wrote {} times: nothing was tried",
            by_old.len(),
            news.len()
        )
    })?;
    let now = holder(cluster).await?;
    ensure(now == new, || {
        format!("the Lease is {now}'s, expected {new}'s")
    })?;
    Ok(format!(
        "the other held the Lease after {took:.1} s; in {} s the old one asked {} times and wrote 0 times, the new one wrote {} \
         times",
        WATCHED.as_secs(),
        by_old.len(),
        news.len()
    ))
}

fn received(entry: &Value) -> Option<Timestamp> {
    entry["requestReceivedTimestamp"].as_str()?.parse().ok()
}

async fn holder(cluster: &Cluster) -> Outcome<String> {
    let lease = Api::<Lease>::namespaced(cluster.client.clone(), OPERATOR_NAMESPACE)
        .get(OPERATOR)
        .await?;
    let holder = lease.spec.and_then(|spec| spec.holder_identity);
    Ok(holder.unwrap_or_default())
}

/// Deletes one child of every Region.
async fn services_deleted(cluster: &Cluster) -> Outcome {
    for place in &cluster.places {
        Api::<Service>::namespaced(cluster.client.clone(), &place.names.namespace())
            .delete(&place.names.postgres_ro(), &DeleteParams::default())
            .await
            .during("delete a Service")?;
    }
    Ok(())
}

async fn services_back(cluster: &Cluster) -> Outcome {
    for place in &cluster.places {
        let api = Api::<Service>::namespaced(cluster.client.clone(), &place.names.namespace());
        let name = place.names.postgres_ro();
        until("the Service to be there again", REPAIRED, || async {
            Ok(seen_if(api.get_opt(&name).await?.is_some(), || {
                format!("{name} is not there")
            }))
        })
        .await?;
    }
    Ok(())
}

/// Waits until so many operators are ready, and one of them holds the Lease.
pub async fn scaled(cluster: &Cluster, replicas: usize) -> Outcome {
    Api::<Deployment>::namespaced(cluster.client.clone(), OPERATOR_NAMESPACE)
        .patch_scale(
            OPERATOR,
            &PatchParams::default(),
            &Patch::Merge(json!({ "spec": { "replicas": replicas } })),
        )
        .await
        .during("scale the operator")?;
    let selected = ListParams::default().labels(&format!("app.kubernetes.io/name={OPERATOR}"));
    until(&format!("{replicas} operators"), READY, || async {
        let pods = cluster.pods_where(OPERATOR_NAMESPACE, &selected).await?;
        let ready = pods
            .iter()
            .filter(|pod| {
                let conditions = pod
                    .status
                    .iter()
                    .flat_map(|it| it.conditions.iter().flatten());
                conditions
                    .into_iter()
                    .any(|it| it.type_ == "Ready" && it.status == "True")
            })
            .count();
        let holder = holder(cluster).await?;
        let held = replicas == 0 || pods.iter().any(|pod| pod.name_any() == holder);
        Ok(seen_if(
            ready == replicas && pods.len() == replicas && held,
            || format!("{ready} of {} ready, the Lease is {holder:?}'s", pods.len()),
        ))
    })
    .await
    .map_err(|failure| Failure::new(format!("the operator: {failure}")))
}
