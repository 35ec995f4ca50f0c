//! Members come and go under a writer, the primary each time on the member that is to leave: there is always a primary
//! again, and no acknowledged row is lost. I/O: the API server, client pods.

pub mod campaign;

use std::time::{Duration, Instant};

use bailiwick_api::region::Region;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::json;

use crate::client::MANAGER;
use crate::cluster::{Cluster, Place, condition};
use crate::failure::{Failure, Outcome, While};
use crate::wait::{Look, seen_if};
use crate::writer::{Writer, run_name};

/// The numbers of members, after the two that the overlay has.
const SIZES: [i32; 4] = [3, 2, 1, 2];
/// How long one change may take.
const SCALED: Duration = Duration::from_mins(3);
/// How long a Region may take to be settled after it.
const SETTLES: Duration = Duration::from_mins(4);
/// How long a switchover may take.
const MOVED: Duration = Duration::from_mins(1);

/// Scales Region `es` up and down, and back to what the overlay has.
pub async fn instances(cluster: &Cluster) -> Outcome<String> {
    let place = cluster.place("es")?;
    cluster.settled(&place.region, SCALED).await?;
    let writer = Writer::start(cluster, place, &run_name("scaled")).await?;
    let mut told = Vec::new();
    let mut present = 2;
    for size in SIZES {
        let started = Instant::now();
        if size < present {
            lead(cluster, place, &place.names.postgres_member(present - 1)).await?;
        }
        resize(cluster, place, size).await?;
        let primary = scaled(cluster, place, size).await?;
        writer.goes_on(Timestamp::now(), MOVED).await?;
        told.push(format!(
            "{present} to {size} in {:.1} s, led by {primary}",
            started.elapsed().as_secs_f64()
        ));
        present = size;
    }
    let report = writer.stop().await?;
    cluster.settled(&place.region, SCALED).await?;
    third_claim_removed(cluster, place).await?;
    Ok(format!("{}; {report}", told.join("; ")))
}

/// Wants so many members.
async fn resize(cluster: &Cluster, place: &Place, size: i32) -> Outcome {
    let mut document = place.document()?;
    document.data["spec"]["postgres"]["instances"] = json!(size);
    cluster.apply(&[document]).await
}

/// A Region that is taken up again starts as many members as there are volumes: the later cases want the overlay's.
async fn third_claim_removed(cluster: &Cluster, place: &Place) -> Outcome {
    Api::<PersistentVolumeClaim>::namespaced(cluster.client.clone(), &place.names.namespace())
        .delete(&place.names.postgres_claim(2), &DeleteParams::default())
        .await
        .map(drop)
        .during("remove the claim of the third member")
}

/// Lets a member lead: writes Patroni's own request for a switchover, as `patronictl` does.
async fn lead(cluster: &Cluster, place: &Place, member: &str) -> Outcome {
    let ready = |region: &Region| {
        let postgres = region.status.as_ref()?.postgres.as_ref()?;
        let leads = postgres.primary.as_deref() == Some(member);
        let in_sync = postgres
            .instances
            .iter()
            .any(|it| it.name == member && it.role == "SyncStandby");
        (leads || in_sync).then(|| postgres.primary.clone())?
    };
    let what = format!("{member} in sync");
    let old = cluster
        .region_until(&place.region, &what, SCALED, |region| match ready(region) {
            Some(primary) => Look::Seen(primary),
            None => Look::NotYet("it is not".to_owned()),
        })
        .await?;
    if old == member {
        return Ok(());
    }
    let name = format!("{}-failover", place.names.postgres());
    let request = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "labels": { "application": "patroni", "cluster-name": place.names.postgres() },
            "annotations": { "leader": old, "member": member },
        },
    });
    Api::<ConfigMap>::namespaced(cluster.break_glass.clone(), &place.names.namespace())
        .patch(
            &name,
            &PatchParams::apply(MANAGER).force(),
            &Patch::Apply(&request),
        )
        .await
        .during(format_args!("ask Patroni to hand over to {member}"))?;
    let what = format!("{member} as the primary");
    cluster
        .region_until(&place.region, &what, MOVED, |region| {
            let postgres = region.status.as_ref().and_then(|it| it.postgres.as_ref());
            let primary = postgres.and_then(|it| it.primary.clone());
            seen_if(primary.as_deref() == Some(member), || {
                format!("{primary:?}")
            })
        })
        .await
}

/// Waits until a Region has so many members and nothing is left to do, and returns its primary.
async fn scaled(cluster: &Cluster, place: &Place, size: i32) -> Outcome<String> {
    let what = format!("{size} members");
    cluster
        .region_until(&place.region, &what, SCALED, |region| {
            let settled = Some(("False".to_owned(), "Settled".to_owned()));
            let postgres = region.status.as_ref().and_then(|it| it.postgres.as_ref());
            let running = postgres.map_or(0, |it| {
                it.instances
                    .iter()
                    .filter(|it| ["running", "streaming"].contains(&it.state.as_str()))
                    .count()
            });
            let members = postgres.map_or(0, |it| it.instances.len());
            let progress = condition(region, "Progressing");
            let enough = usize::try_from(size).is_ok_and(|size| running == size && members == size);
            match postgres.and_then(|it| it.primary.clone()) {
                Some(primary) if enough && progress == settled => Look::Seen(primary),
                primary => Look::NotYet(format!(
                    "{running} of {members} members run, primary {primary:?}, {progress:?}"
                )),
            }
        })
        .await
        .map_err(|failure| Failure::new(format!("{failure}; there must always be a primary")))
}
