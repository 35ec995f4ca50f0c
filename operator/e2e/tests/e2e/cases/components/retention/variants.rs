//! A Region is deleted in other ways than by the garbage collector's background: in each its fence is the last thing to
//! go, as `outside` saw it. I/O: the API server and client pods.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PropagationPolicy};
use serde_json::json;

use super::knocking::Knocking;
use super::{
    BACK, GONE, REGION, Remains, before, children, gone, patroni_remembers, readopted, unprotect,
};
use crate::cases::faults::takeover;
use crate::cluster::{Cluster, Place};
use crate::failure::{Failure, Outcome, While, ensure};
use crate::wait::{Look, seen_if, until};
use crate::writer::run_name;

/// How long a Region is deleted without anybody who tends it.
const UNTENDED: Duration = Duration::from_secs(20);

/// Dependents first, as `kubectl delete --cascade=foreground` has it.
pub async fn foreground(cluster: &Cluster) -> Outcome<String> {
    deleted(cluster, PropagationPolicy::Foreground).await
}

/// Dependents left behind, as `kubectl delete --cascade=orphan` has it.
pub async fn orphan(cluster: &Cluster) -> Outcome<String> {
    deleted(cluster, PropagationPolicy::Orphan).await
}

async fn deleted(cluster: &Cluster, how: PropagationPolicy) -> Outcome<String> {
    let place = cluster.place(REGION)?;
    let run = run_name("deleted");
    let before = before(cluster, place, &run).await?;
    unprotect(cluster, place).await?;
    let knocking = Knocking::begin(cluster, place).await?;
    let started = Instant::now();
    let orphaned = how == PropagationPolicy::Orphan;
    delete(cluster, place, how).await?;
    if orphaned {
        gone_but_for_orphans(cluster, place).await?;
    } else {
        gone(cluster, place).await?;
    }
    let went = started.elapsed().as_secs_f64();
    let tries = knocking.end(place).await?;
    back(cluster, place, &before, &run).await?;
    Ok(format!(
        "gone in {went:.0} s, of {tries} tries to get outside meanwhile 0 arrived; all data was there again"
    ))
}

/// Waits until a Region is gone with all that the operator removes by itself; what is without an owner now and holds no
/// data stays, as was asked for, and is the next Region's again.
async fn gone_but_for_orphans(cluster: &Cluster, place: &Place) -> Outcome {
    let regions = cluster.regions();
    until("the Region to go", GONE, || async {
        let region = regions.get_opt(&place.region).await?;
        let mut left = children(cluster, place).await?;
        left.retain(|object| {
            !["Service ", "PodDisruptionBudget "]
                .iter()
                .any(|kind| object.starts_with(kind))
        });
        Ok(seen_if(region.is_none() && left.is_empty(), || {
            left.join(", ")
        }))
    })
    .await
}

/// Nobody tends it: it stays as it is, behind its fence, until an operator is there again.
pub async fn operator_down(cluster: &Cluster) -> Outcome<String> {
    let place = cluster.place(REGION)?;
    let run = run_name("deleted");
    let before = before(cluster, place, &run).await?;
    unprotect(cluster, place).await?;
    cluster.settled(&place.region, BACK).await?;
    takeover::scaled(cluster, 0).await?;
    let outcome = untended(cluster, place).await;
    takeover::scaled(cluster, 1).await?;
    let knocking = outcome?;
    let started = Instant::now();
    gone(cluster, place).await?;
    let went = started.elapsed().as_secs_f64();
    let tries = knocking.end(place).await?;
    back(cluster, place, &before, &run).await?;
    Ok(format!(
        "it stood for {} s behind its fence, and was gone {went:.0} s after an operator was there; of {tries} tries to get \
         outside meanwhile 0 arrived; all data was there again",
        UNTENDED.as_secs()
    ))
}

async fn untended(cluster: &Cluster, place: &Place) -> Outcome<Knocking> {
    let knocking = Knocking::begin(cluster, place).await?;
    delete(cluster, place, PropagationPolicy::Background).await?;
    tokio::time::sleep(UNTENDED).await;
    let region = cluster.regions().get(&place.region).await?;
    ensure(region.metadata.deletion_timestamp.is_some(), || {
        "the Region is not being deleted".to_owned()
    })?;
    Ok(knocking)
}

/// Somebody takes the protection off the namespaces and deletes them with all data: pods go first, as Kubernetes orders
/// it from 1.34 on, and the fence after them.
pub async fn namespaces(cluster: &Cluster) -> Outcome<String> {
    let place = cluster.place(REGION)?;
    cluster.settled(&place.region, BACK).await?;
    let old = Remains::of(cluster, place).await?;
    unprotect(cluster, place).await?;
    let api = Api::<Namespace>::all(cluster.client.clone());
    let knocking = Knocking::begin(cluster, place).await?;
    let started = Instant::now();
    for name in place.names.namespaces() {
        let label =
            json!({ "metadata": { "labels": { "bailiwick.dev/deletion-protection": null } } });
        api.patch(&name, &PatchParams::default(), &Patch::Merge(label))
            .await
            .during(format_args!("take the protection off namespace {name}"))?;
        api.delete(&name, &DeleteParams::default())
            .await
            .during(format_args!("delete namespace {name}"))?;
    }
    delete(cluster, place, PropagationPolicy::Background).await?;
    until("the namespaces to go", GONE, || async {
        let mut left = Vec::new();
        for name in place.names.namespaces() {
            if let Some(namespace) = api.get_opt(&name).await? {
                let words = namespace
                    .status
                    .and_then(|it| it.conditions)
                    .unwrap_or_default();
                let words: Vec<String> = words
                    .into_iter()
                    .filter(|it| it.status == "True")
                    .filter_map(|it| it.message)
                    .collect();
                left.push(format!("{name}: {}", words.join("; ")));
            }
        }
        Ok(seen_if(left.is_empty(), || left.join(", ")))
    })
    .await?;
    let regions = cluster.regions();
    until("the Region to go", GONE, || async {
        Ok(match regions.get_opt(&place.region).await? {
            None => Look::Seen(()),
            Some(region) => Look::NotYet(format!("finalizers {:?}", region.finalizers())),
        })
    })
    .await?;
    let went = started.elapsed().as_secs_f64();
    let tries = knocking.end(place).await?;
    // Its data is gone with the namespaces: a new one takes its place.
    cluster.apply(&place.documents).await?;
    cluster.settled(&place.region, BACK).await?;
    let new = Remains::of(cluster, place).await?;
    if new == old {
        return Err(Failure::new("the namespaces were not deleted"));
    }
    Ok(format!(
        "gone in {went:.0} s, of {tries} tries to get outside meanwhile 0 arrived; a new Region took its place"
    ))
}

async fn delete(cluster: &Cluster, place: &Place, how: PropagationPolicy) -> Outcome {
    let parameters = DeleteParams {
        propagation_policy: Some(how),
        ..DeleteParams::default()
    };
    cluster
        .regions()
        .delete(&place.region, &parameters)
        .await
        .map(drop)
        .during("delete the Region")
}

/// Takes the Region up again, with all that it left.
async fn back(
    cluster: &Cluster,
    place: &Place,
    before: &(Remains, String, serde_json::Value),
    run: &str,
) -> Outcome {
    let stayed = Remains::of(cluster, place).await?;
    ensure(stayed == before.0, || {
        format!("{stayed:?} stayed of {:?}", before.0)
    })?;
    patroni_remembers(cluster, place).await?;
    cluster.apply(&place.documents).await?;
    readopted(cluster, place, before, run).await
}
