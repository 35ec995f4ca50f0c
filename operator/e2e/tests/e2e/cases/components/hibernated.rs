//! A Region is put to sleep and woken: nothing of it runs meanwhile, and all data is there afterwards. I/O: the API
//! server, client pods.

use std::time::{Duration, Instant};

use kube::ResourceExt;
use serde_json::json;

use super::retention::{before, readopted};
use crate::cluster::{Cluster, condition};
use crate::failure::Outcome;
use crate::wait::{seen_if, until};
use crate::writer::run_name;

/// How long the pods may take to go: a member writes its last checkpoint first.
const ASLEEP: Duration = Duration::from_mins(3);

/// Puts Region `es` to sleep and wakes it.
pub async fn and_resumed(cluster: &Cluster) -> Outcome<String> {
    let place = cluster.place("es")?;
    let run = run_name("hibernated");
    let before = before(cluster, place, &run).await?;
    let mut document = place.document()?;
    document.data["spec"]["lifecycle"]["hibernated"] = json!(true);
    let started = Instant::now();
    cluster.apply(&[document]).await?;
    cluster
        .region_until(&place.region, "Hibernated=True", ASLEEP, |region| {
            let found = condition(region, "Hibernated");
            seen_if(
                found.as_ref().is_some_and(|(status, _)| status == "True"),
                || format!("{found:?}"),
            )
        })
        .await?;
    until("every pod to go", ASLEEP, || async {
        let pods = cluster.pods(&place.names.namespace()).await?;
        // Jobs that have ended stay to be read.
        let left: Vec<String> = pods
            .iter()
            .filter(|pod| {
                let phase = pod.status.as_ref().and_then(|it| it.phase.as_deref());
                !matches!(phase, Some("Succeeded" | "Failed"))
            })
            .map(ResourceExt::name_any)
            .collect();
        Ok(seen_if(left.is_empty(), || left.join(", ")))
    })
    .await?;
    let asleep = started.elapsed().as_secs_f64();
    let started = Instant::now();
    cluster.apply(&place.documents).await?;
    readopted(cluster, place, &before, &run).await?;
    Ok(format!(
        "nothing ran after {asleep:.0} s; the same volumes, Secrets, 1000 rows and an object {:.0} s after it was woken",
        started.elapsed().as_secs_f64()
    ))
}
