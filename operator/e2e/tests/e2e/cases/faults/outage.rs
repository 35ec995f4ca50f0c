//! The API server hangs and is gone, together for longer than the primary's lease, under a writer: Patroni's failsafe holds,
//! and no write fails. I/O: the API server's processes and its manifest on the control plane's node, client pods.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;

use crate::cluster::Cluster;
use crate::failure::{Failure, Outcome, While, ensure};
use crate::processes::{self, Frozen};
use crate::wait::{Look, until};
use crate::writer::{Writer, run_name};

/// The API server of the cluster under test.
const API_SERVER: &str = "kube-apiserver-cp-1";
/// Its program, and its manifest's file.
const PROGRAM: &str = "kube-apiserver";
/// How long it hangs: a primary gives up after 20 s without its failsafe. The lease of the overlay's Regions is 30 s.
const HANGS: Duration = Duration::from_secs(22);
/// How long nothing listens after that.
const IS_GONE: Duration = Duration::from_secs(22);
/// How long a request is given while it is away.
const ASKED: Duration = Duration::from_secs(2);
/// How soon it answers again.
const ANSWERS: Duration = Duration::from_mins(1);
/// How soon the Regions are settled after it.
const SETTLED: Duration = Duration::from_mins(3);
/// A writer that waits longer for one row had a primary that gave up for a moment, in seconds.
const GAP: f64 = 3.0;

/// Hangs the API server, then takes it away.
pub async fn api_server(cluster: &Cluster) -> Outcome<String> {
    cluster.all_settled(SETTLED).await?;
    let place = cluster.place("tr")?;
    let pod = Api::<Pod>::namespaced(cluster.client.clone(), "kube-system")
        .get(API_SERVER)
        .await?;
    let writer = Writer::start(cluster, place, &run_name("outage")).await?;
    let leader = leader(cluster, &place.region).await?;

    let started = Instant::now();
    let frozen = Frozen::freeze(&pod)?;
    away(cluster, started, HANGS).await?;
    let hung = started.elapsed().as_secs_f64();
    let taken = processes::static_pod_taken(&pod, PROGRAM)?;
    // It ends once it is thawed.
    drop(frozen);
    away(cluster, Instant::now(), IS_GONE).await?;
    drop(taken);
    answers(cluster).await?;
    let gone = started.elapsed().as_secs_f64() - hung;
    writer.goes_on(Timestamp::now(), ANSWERS).await?;

    let report = writer.stop().await?;
    ensure(report.failed == 0 && report.longest_gap < GAP, || {
        format!(
            "{report}; expected 0 writes in vain and no gap of {GAP} s while the API server was away"
        )
    })?;
    let started = Instant::now();
    cluster.all_settled(SETTLED).await?;
    let settled = started.elapsed().as_secs_f64();
    let now = self::leader(cluster, &place.region).await?;
    Ok(format!(
        "the API server hung for {hung:.0} s and was gone for {gone:.0} s: {report}; {leader} led before, {now} after; \
         settled {settled:.0} s later"
    ))
}

/// Waits for so long, and fails when the API server answers meanwhile: then nothing was tried.
async fn away(cluster: &Cluster, since: Instant, long: Duration) -> Outcome {
    while since.elapsed() < long {
        let now = Instant::now();
        ensure(asked(cluster).await.is_err(), || {
            "the API server answered while it was to be away".to_owned()
        })?;
        tokio::time::sleep(ASKED.saturating_sub(now.elapsed())).await;
    }
    Ok(())
}

async fn asked(cluster: &Cluster) -> Outcome {
    match tokio::time::timeout(ASKED, cluster.client.apiserver_version()).await {
        Ok(answer) => answer.map(drop).during("ask the API server"),
        Err(_) => Err(Failure::new("no answer")),
    }
}

async fn answers(cluster: &Cluster) -> Outcome {
    until("the API server to answer", ANSWERS, || async {
        asked(cluster).await.map(Look::Seen)
    })
    .await
}

async fn leader(cluster: &Cluster, region: &str) -> Outcome<String> {
    let region = cluster.regions().get(region).await?;
    let status = region.status.and_then(|status| status.postgres);
    status
        .and_then(|postgres| postgres.primary)
        .ok_or_else(|| Failure::new("there is no primary"))
}
