//! A replica's volume is lost under a writer: a new one is made, and the member is made anew from the primary. I/O: the
//! API server, a node's disk, client pods.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams};

use crate::cluster::{Cluster, Place};
use crate::failure::{Failure, Outcome, While, ensure};
use crate::processes::Node;
use crate::wait::{Look, seen_if, until};
use crate::writer::{Writer, run_name};

/// How long the member may take to follow again.
const REBUILT: Duration = Duration::from_mins(3);
/// How long a claim may take to go or to come.
const CLAIM: Duration = Duration::from_mins(1);
/// A replica that is away must not keep the writer for longer, in seconds.
const GAP: f64 = 15.0;

/// Takes the volume of Region `es`' replica away with all that is on it.
pub async fn volume(cluster: &Cluster) -> Outcome<String> {
    let place = cluster.place("es")?;
    let region = cluster.settled(&place.region, REBUILT).await?;
    let members = region.status.and_then(|status| status.postgres);
    let ordinal = members
        .as_ref()
        .and_then(|postgres| {
            (0..2).find(|it| postgres.primary != Some(place.names.postgres_member(*it)))
        })
        .ok_or_else(|| Failure::new("there is no replica"))?;
    let member = place.names.postgres_member(ordinal);
    let claims =
        Api::<PersistentVolumeClaim>::namespaced(cluster.client.clone(), &place.names.namespace());
    let claim = place.names.postgres_claim(ordinal);
    let before = claims.get(&claim).await?;
    let writer = Writer::start(cluster, place, &run_name("rebuilt")).await?;
    let started = Instant::now();
    lost(cluster, place, &member, &before).await?;
    let after = until("another volume", CLAIM, || async {
        let now = claims.get(&claim).await?;
        let volume = |claim: &PersistentVolumeClaim| {
            let spec = claim.spec.as_ref();
            spec.and_then(|spec| spec.volume_name.clone())
        };
        Ok(match volume(&now) {
            Some(name) if Some(&name) != volume(&before).as_ref() => Look::Seen(name),
            name => Look::NotYet(format!("{name:?}")),
        })
    })
    .await?;
    writer.goes_on(Timestamp::now(), CLAIM).await?;
    cluster
        .region_until(&place.region, "the member in sync", REBUILT, |region| {
            let status = region.status.as_ref().and_then(|it| it.postgres.as_ref());
            let found = status.and_then(|it| it.instances.iter().find(|it| it.name == member));
            seen_if(
                found.is_some_and(|it| it.role == "SyncStandby" && it.state == "streaming"),
                || format!("{found:?}"),
            )
        })
        .await?;
    let took = started.elapsed().as_secs_f64();
    let report = writer.stop().await?;
    ensure(report.longest_gap <= GAP, || {
        format!("{report}; expected no gap above {GAP} s for a replica")
    })?;
    cluster.settled(&place.region, REBUILT).await?;
    Ok(format!(
        "{member} follows from {after} after {took:.1} s; {report}"
    ))
}

/// Loses a member's volume: claim, contents, and the object that stands for it.
async fn lost(
    cluster: &Cluster,
    place: &Place,
    member: &str,
    claim: &PersistentVolumeClaim,
) -> Outcome {
    let namespace = place.names.namespace();
    let pods = Api::<Pod>::namespaced(cluster.break_glass.clone(), &namespace);
    let pod = pods.get(member).await?;
    let root = Node::of(&pod)?.root()?;
    let volumes = Api::<PersistentVolume>::all(cluster.client.clone());
    let spec = claim.spec.as_ref();
    let name = spec
        .and_then(|spec| spec.volume_name.clone())
        .unwrap_or_default();
    let volume = volumes.get(&name).await?;
    let spec = volume.spec.unwrap_or_default();
    let path = spec
        .host_path
        .map(|it| it.path)
        .or_else(|| spec.local.map(|it| it.path))
        .ok_or_else(|| Failure::new(format!("volume {name} is on no node's disk")))?;
    let folder = root.join(path.trim_start_matches('/'));
    ensure(folder.join("pgdata").is_dir(), || {
        format!("{} holds no database", folder.display())
    })?;
    let claims = Api::<PersistentVolumeClaim>::namespaced(cluster.client.clone(), &namespace);
    // It goes once no pod uses it.
    claims
        .delete(&claim.name_any(), &DeleteParams::default())
        .await
        .during("delete the claim")?;
    pods.delete(member, &DeleteParams::default().grace_period(0))
        .await
        .during("delete the member's pod")?;
    until("the claim to go", CLAIM, || async {
        let now = claims.get_opt(&claim.name_any()).await?;
        let same = now.is_some_and(|now| now.uid() == claim.uid());
        Ok(seen_if(!same, || "it is there".to_owned()))
    })
    .await?;
    std::fs::remove_dir_all(&folder).during(folder.display())?;
    volumes
        .delete(&name, &DeleteParams::default())
        .await
        .during("delete the volume")?;
    Ok(())
}
