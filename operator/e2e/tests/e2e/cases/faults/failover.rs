//! The primary is killed under a writer: another member takes over, and no acknowledged row is lost. I/O: signals to
//! the processes of one pod, client pods.

use std::time::{Duration, Instant};

use bailiwick_api::region::Region;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use serde_json::json;

use crate::client::{self, Script, Stand};
use crate::cluster::{Cluster, Place};
use crate::failure::{Failure, Outcome, ensure};
use crate::processes::{self, Frozen};
use crate::wait::{Look, until};
use crate::writer::{Writer, logins, run_name};

/// How long a takeover may take: the leader's lease of the overlay's Regions is 30 s, and the members look every 10 s.
const TAKEOVER: Duration = Duration::from_secs(90);
/// How long the old primary may take to follow the new one.
const WHOLE: Duration = Duration::from_mins(4);

/// How long a client may take.
const CLIENT: Duration = Duration::from_secs(20);

/// The primary as the status has it.
fn primary(region: &Region) -> Option<String> {
    region.status.as_ref()?.postgres.as_ref()?.primary.clone()
}

/// A row that is taken away is noticed as lost: else "0 lost" would say nothing.
pub async fn loss_is_noticed(cluster: &Cluster) -> Outcome<String> {
    let place = cluster.place("tr")?;
    let run = run_name("loss");
    let writer = Writer::start(cluster, place, &run).await?;
    let [_, login, _] = logins(&place.names);
    let script = Script {
        name: "lose",
        told: json!({ "writer": login, "run": run, "number": 7 }),
        secrets: vec![login],
    };
    let lost = client::run(cluster, &Stand::allowed(place), &script, CLIENT).await?;
    ensure(lost == json!([[7]]), || {
        format!("row 7 was to be taken away: {lost}")
    })?;
    match writer.stop().await {
        Err(failure) if failure.to_string().contains("the first is number 7") => {
            Ok("a row that was taken away counts as lost".to_owned())
        }
        Err(failure) => Err(failure),
        Ok(report) => Err(Failure::new(format!("nobody noticed: {report}"))),
    }
}

/// What happens to the primary.
#[derive(Clone, Copy)]
enum Blow {
    /// The processes of PostgreSQL are killed; Patroni beside it lives and gives the lead away at once.
    Postmaster,
    /// Patroni is killed with it: the next Patroni there gives the lead away, or it runs out.
    Member,
    /// Nothing of it runs any more, and nothing ends: the lead must run out. Later it goes on as if it still led.
    Freeze,
}

/// Kills PostgreSQL on the primary.
pub async fn postmaster(cluster: &Cluster) -> Outcome<String> {
    struck(cluster, cluster.place("tr")?, Blow::Postmaster).await
}

/// Kills all processes of the primary.
pub async fn member(cluster: &Cluster) -> Outcome<String> {
    struck(cluster, cluster.place("es")?, Blow::Member).await
}

/// Stops the primary where it is, until another one leads.
pub async fn frozen(cluster: &Cluster) -> Outcome<String> {
    struck(cluster, cluster.place("es")?, Blow::Freeze).await
}

/// How many times each blow falls on each Region in the long suite.
const ROUNDS: usize = 3;

/// Every blow in turn, several times, on both Regions at once: eighteen failovers.
pub async fn campaign(cluster: &Cluster) -> Outcome<String> {
    let rounds = futures::future::join_all(cluster.places.iter().map(async |place| {
        let mut told = Vec::new();
        for _ in 0..ROUNDS {
            for blow in [Blow::Postmaster, Blow::Member, Blow::Freeze] {
                told.push(Box::pin(struck(cluster, place, blow)).await?);
            }
        }
        Ok::<_, Failure>(told)
    }))
    .await;
    let mut told = Vec::new();
    for round in rounds {
        told.extend(round?);
    }
    Ok(format!(
        "{} failovers, 0 left without a primary, 0 rows lost; {}",
        told.len(),
        told.join("; ")
    ))
}

async fn struck(cluster: &Cluster, place: &Place, blow: Blow) -> Outcome<String> {
    let settled = cluster.settled(&place.region, WHOLE).await?;
    let old = primary(&settled).ok_or_else(|| Failure::new("there is no primary"))?;
    let pod = Api::<Pod>::namespaced(cluster.client.clone(), &place.names.namespace())
        .get(&old)
        .await?;
    let writer = Writer::start(cluster, place, &run_name("failover")).await?;
    let started = Instant::now();
    let (what, frozen) = match blow {
        Blow::Postmaster => {
            let count = processes::signal(&pod, "postgres", "KILL")?;
            (format!("{count} processes of {old} killed"), None)
        }
        Blow::Member => {
            let count = processes::signal_all(&pod, "KILL")?;
            (format!("all {count} processes of {old} killed"), None)
        }
        Blow::Freeze => (format!("{old} stood still"), Some(Frozen::freeze(&pod)?)),
    };
    let struck = Timestamp::now();
    let new = labelled(cluster, place, &old).await?;
    let took = started.elapsed().as_secs_f64();
    writer.goes_on(struck, TAKEOVER).await?;
    // The former primary must not take rows that the new one does not have.
    drop(frozen);
    let new = new.as_str();
    cluster
        .region_until(
            &place.region,
            "the new primary in the status",
            TAKEOVER,
            |region| match primary(region) {
                Some(now) if now == new => Look::Seen(()),
                other => Look::NotYet(format!("{other:?}")),
            },
        )
        .await?;
    let report = writer.stop().await?;
    // A gap of nothing would mean that nothing was broken.
    ensure(report.longest_gap > 0.5, || {
        format!(
            "the longest gap is {:.3} s: was the primary killed?",
            report.longest_gap
        )
    })?;
    let settled = cluster.settled(&place.region, WHOLE).await?;
    let timeline = settled
        .status
        .and_then(|status| status.postgres)
        .map(|postgres| postgres.instances)
        .unwrap_or_default()
        .iter()
        .filter_map(|member| member.timeline)
        .max()
        .unwrap_or_default();
    Ok(format!(
        "{what}, {new} was the primary after {took:.1} s (timeline {timeline}); {report}"
    ))
}

/// Waits until Patroni has labelled another member as the primary, and returns its name.
async fn labelled(cluster: &Cluster, place: &Place, old: &str) -> Outcome<String> {
    use kube::ResourceExt;
    until("another primary", TAKEOVER, || async {
        let pods = cluster.pods(&place.names.namespace()).await?;
        let primaries: Vec<String> = pods
            .iter()
            .filter(|pod| {
                pod.labels()
                    .get("role")
                    .is_some_and(|role| role == "primary")
            })
            .map(ResourceExt::name_any)
            .collect();
        Ok(match primaries.iter().find(|name| *name != old) {
            Some(new) => Look::Seen(new.clone()),
            None => Look::NotYet(format!("{primaries:?}")),
        })
    })
    .await
}
