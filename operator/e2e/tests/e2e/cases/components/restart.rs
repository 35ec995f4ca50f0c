//! A setting that needs a restart is changed under a writer: the replica restarts first, then the primary hands over,
//! and no acknowledged row is lost; back again in the order that PostgreSQL demands. I/O: the API server, client pods.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bailiwick_api::region::Region;
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::json;

use crate::client::{self, Script, Stand};
use crate::cluster::{Cluster, Place, condition};
use crate::failure::{Failure, Outcome, ensure};
use crate::wait::Look;
use crate::writer::{Writer, logins, prepare, run_name};

/// How long the change may take to be in force everywhere.
const ROLLED: Duration = Duration::from_mins(4);
/// The setting: PostgreSQL reads it only when it starts, and lets no standby have less of it than its primary. So it
/// tries both orders: raised, replicas go first and the primary hands over; lowered, the primary restarts in place.
const SETTING: &str = "max_connections";

/// Which member is to restart first.
#[derive(Clone, Copy, PartialEq)]
enum First {
    Replica,
    Primary,
}

/// Raises the setting, replicas first, and takes it back: then the primary is first, since PostgreSQL lets no standby
/// have less of it than its primary.
pub async fn setting(cluster: &Cluster) -> Outcome<String> {
    let place = cluster.place("tr")?;
    cluster.settled(&place.region, ROLLED).await?;
    prepare(cluster, place).await?;
    let before = setting_of(&members(cluster, place).await?)?;
    let raised = before + 10;
    let mut document = place.document()?;
    document.data["spec"]["postgres"]["parameters"][SETTING] = json!(raised.to_string());
    let writer = Writer::start(cluster, place, &run_name("restart")).await?;
    let up = rolled(cluster, place, &document, raised, First::Replica).await?;
    writer.goes_on(Timestamp::now(), ROLLED).await?;
    let report = writer.stop().await?;
    let writer = Writer::start(cluster, place, &run_name("restart-back")).await?;
    let down = rolled(cluster, place, &place.document()?, before, First::Primary).await?;
    writer.goes_on(Timestamp::now(), ROLLED).await?;
    let back = writer.stop().await?;
    Ok(format!(
        "{before} to {raised}: {up}; {report}; and back: {down}; {back}"
    ))
}

/// Applies a Region and waits until the setting is in force; returns how it went.
async fn rolled(
    cluster: &Cluster,
    place: &Place,
    document: &kube::api::DynamicObject,
    expected: i64,
    first: First,
) -> Outcome<String> {
    let before = starts(cluster, place, members(cluster, place).await?).await?;
    let started = Instant::now();
    cluster.apply(std::slice::from_ref(document)).await?;
    cluster
        .region_until(
            &place.region,
            "PendingRestart=True",
            ROLLED,
            |region: &Region| match condition(region, "PendingRestart") {
                Some((status, _)) if status == "True" => Look::Seen(()),
                other => Look::NotYet(format!("{other:?}")),
            },
        )
        .await?;
    cluster.settled(&place.region, ROLLED).await?;
    let took = started.elapsed().as_secs_f64();
    let members = members(cluster, place).await?;
    let found = setting_of(&members)?;
    ensure(found == expected, || {
        format!("{SETTING} is {found}, expected {expected}")
    })?;
    let after = starts(cluster, place, members).await?;
    let (old_primary, _) = before
        .iter()
        .find(|(_, (primary, _))| *primary)
        .ok_or_else(|| Failure::new("there was no primary"))?;
    let mut primary_at = Timestamp::MAX;
    let mut replica_at = Timestamp::MAX;
    for (name, (_, started)) in &after {
        let was = before.get(name).map(|(_, started)| *started);
        ensure(was != Some(*started), || {
            format!("{name} was not restarted")
        })?;
        if name == old_primary {
            primary_at = *started;
        } else {
            replica_at = *started;
        }
    }
    ensure(
        (replica_at < primary_at) == (first == First::Replica),
        || {
            format!(
                "the primary {old_primary} started at {primary_at}, the replica at {replica_at}"
            )
        },
    )?;
    let new_primary = after
        .iter()
        .find(|(_, (primary, _))| *primary)
        .map_or("nobody", |(name, _)| name.as_str());
    let order = match first {
        First::Replica => "replica",
        First::Primary => "primary",
    };
    Ok(format!(
        "in force after {took:.0} s, {order} first by {:.0} s ({old_primary} was the primary, now {new_primary})",
        primary_at.duration_since(replica_at).as_secs_f64().abs()
    ))
}

/// What a member says of itself.
#[derive(serde::Deserialize)]
struct Member {
    address: String,
    primary: bool,
    started: Timestamp,
    value: String,
}

async fn members(cluster: &Cluster, place: &Place) -> Outcome<Vec<Member>> {
    let [_, writer, _] = logins(&place.names);
    let script = Script {
        name: "starts",
        told: json!({ "writer": writer, "setting": SETTING,
            "read_only_host": format!("{}.{}.svc", place.names.postgres_ro(), place.names.namespace()) }),
        secrets: vec![writer],
    };
    let found = client::run(
        cluster,
        &Stand::allowed(place),
        &script,
        Duration::from_secs(30),
    )
    .await?;
    Ok(serde_json::from_value(found)?)
}

/// Of each member, by the name of its pod: whether it is the primary, and when it was started.
async fn starts(
    cluster: &Cluster,
    place: &Place,
    members: Vec<Member>,
) -> Outcome<BTreeMap<String, (bool, Timestamp)>> {
    let pods = cluster.pods(&place.names.namespace()).await?;
    let mut starts = BTreeMap::new();
    for member in members {
        let pod = pods
            .iter()
            .find(|pod| {
                let address = pod
                    .status
                    .as_ref()
                    .and_then(|status| status.pod_ip.as_ref());
                address == Some(&member.address)
            })
            .ok_or_else(|| Failure::new(format!("no pod has the address {}", member.address)))?;
        starts.insert(pod.name_any(), (member.primary, member.started));
    }
    ensure(starts.len() == 2, || {
        format!("expected a primary and a replica, found {starts:?}")
    })?;
    Ok(starts)
}

/// The setting as every member has it.
fn setting_of(members: &[Member]) -> Outcome<i64> {
    let value = members.first().map_or("", |member| member.value.as_str());
    ensure(members.iter().all(|member| member.value == value), || {
        format!("members differ in {SETTING}")
    })?;
    Ok(value.parse()?)
}
