//! What a pod of a Region reaches in its first moments, by what the cluster's `outside` recorded: without the start fence
//! its first process gets there before the policies hold it, behind the fence none of it does. I/O: pods in a Region's
//! namespace, and the file in which `outside` writes what arrived.

use std::time::Duration;

use bailiwick_model::fence::CONTAINER;
use bailiwick_model::flow::Flow;
use futures::future::join_all;
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::api::Api;
use serde_json::{Value, json};

use crate::client::{Running, Script, Stand};
use crate::cluster::{Cluster, Place, outside_log};
use crate::failure::{Failure, Outcome, While, ensure};
use crate::wait::{seen_if, until};

/// What plays the internet, on a port that no fence and no canary tries.
const OUTSIDE: (&str, i32) = ("198.51.100.10", 8443);
/// How long the first process tries behind the fence.
const SECONDS: u64 = 20;
/// How long it tries without: the window is over by then.
const SECONDS_OPEN: u64 = 4;
/// Before anything else: an interpreter takes longer to start than some windows are open.
const AT_ONCE: &str = "for n in 1 2 3 4 5 6 7 8; do (exec 3<>/dev/tcp/198.51.100.10/8443) 2>/dev/null & done; exec \"$@\"";
/// How long a pod may take, its fence included.
const LIMIT: Duration = Duration::from_mins(3);
/// How many pods are started without the fence at most, until one of them gets outside: how long the window is, differs.
const TRIES: usize = 6;

/// What became of a pod whose first process connects at once.
struct Start {
    /// How many of its connections `outside` recorded.
    recorded: usize,
    /// When its own last connection stood, in seconds after its first process began; none when none did.
    last: Option<f64>,
    /// How many it tried.
    attempts: u64,
    /// What its fence reported, as JSON.
    report: Option<String>,
}

/// Starts such a pod without the fence, and with that of the Region's own Postgres: in every Region at once, each on nodes of
/// its own.
pub async fn holds(cluster: &Cluster) -> Outcome<String> {
    let regions = cluster.places.iter().map(|place| held_in(cluster, place));
    let told: Outcome<Vec<String>> = join_all(regions).await.into_iter().collect();
    Ok(told?.join("; "))
}

async fn held_in(cluster: &Cluster, place: &Place) -> Outcome<String> {
    let mut open = None;
    for _ in 0..TRIES {
        let start = start(cluster, place, None).await?;
        let reached = start.recorded > 0;
        open = Some(start);
        if reached {
            break;
        }
    }
    let open = open.ok_or_else(|| Failure::new("nothing was started"))?;
    ensure(open.recorded > 0, || {
        format!(
            "{}: without the fence {} attempts, and outside recorded none: the window shows nothing here",
            place.region, open.attempts
        )
    })?;
    let fence = fence_of(cluster, place).await?;
    let shut = start(cluster, place, Some(fence)).await?;
    ensure(shut.recorded == 0 && shut.last.is_none(), || {
        format!(
            "{}: behind the fence outside recorded {} connections of the first process, the last after {:?} s",
            place.region, shut.recorded, shut.last
        )
    })?;
    ensure(shut.attempts > 20, || {
        format!(
            "{}: only {} attempts behind the fence",
            place.region, shut.attempts
        )
    })?;
    let report = shut
        .report
        .ok_or_else(|| Failure::new(format!("{}: the fence left no report", place.region)))?;
    Ok(format!(
        "{}: without the fence {} connections outside, the last after {:.2} s; behind it 0 of {}, and it reports {report}",
        place.region,
        open.recorded,
        open.last.unwrap_or_default(),
        shut.attempts
    ))
}

/// The init container and the volume of the Region's Postgres.
async fn fence_of(cluster: &Cluster, place: &Place) -> Outcome<[Value; 2]> {
    let name = place.names.postgres();
    let pod = Api::<StatefulSet>::namespaced(cluster.client.clone(), &place.names.namespace())
        .get(&name)
        .await
        .during(format_args!("read StatefulSet {name}"))?
        .spec
        .and_then(|spec| spec.template.spec)
        .unwrap_or_default();
    let container = pod.init_containers.iter().flatten().next();
    let volume = pod.volumes.iter().flatten().find(|it| it.name == CONTAINER);
    match (container, volume) {
        (Some(container), Some(volume)) if container.name == CONTAINER => Ok([
            serde_json::to_value(container)?,
            serde_json::to_value(volume)?,
        ]),
        _ => Err(Failure::new(format!(
            "StatefulSet {name} does not start its pods behind the fence"
        ))),
    }
}

/// Starts a pod with the flow of Postgres, to its end.
async fn start(cluster: &Cluster, place: &Place, fence: Option<[Value; 2]>) -> Outcome<Start> {
    let log = outside_log();
    let before = lines(&log)?.len();
    let script = Script {
        name: "first",
        told: json!({
            "host": OUTSIDE.0, "port": OUTSIDE.1,
            "seconds": if fence.is_some() { SECONDS } else { SECONDS_OPEN },
        }),
        secrets: Vec::new(),
    };
    let stand = Stand::inside(place, Flow::Postgres).at_once();
    let running = Running::start_with(cluster, &stand, &script, |pod| {
        let mut command = vec![json!("bash"), json!("-c"), json!(AT_ONCE), json!("first")];
        let container = &mut pod["spec"]["containers"][0];
        command.extend(container["command"].as_array().cloned().unwrap_or_default());
        container["command"] = json!(command);
        if let Some([container, volume]) = fence {
            pod["spec"]["initContainers"] = json!([container]);
            if let Some(volumes) = pod["spec"]["volumes"].as_array_mut() {
                volumes.push(volume);
            }
        }
    })
    .await?;
    until("the first process to begin", LIMIT, || async {
        let status = running.pod().await?.status.unwrap_or_default();
        let begun = status.container_statuses.iter().flatten().any(|one| {
            one.started == Some(true)
                || one.state.as_ref().is_some_and(|it| it.terminated.is_some())
        });
        Ok(seen_if(begun, || format!("phase {:?}", status.phase)))
    })
    .await?;
    let status = running.pod().await?.status.unwrap_or_default();
    let address = status
        .pod_ip
        .ok_or_else(|| Failure::new(format!("{} has no address", running.name)))?;
    let report = status
        .init_container_statuses
        .iter()
        .flatten()
        .find(|one| one.name == CONTAINER)
        .and_then(|one| one.state.as_ref()?.terminated.as_ref()?.message.clone());
    let printed = running.end(LIMIT).await?;
    let said: Value = serde_json::from_str(printed.lines().last().unwrap_or_default())
        .during(format_args!("the first process printed {printed:?}"))?;
    // The last packets are written a moment after they arrived.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let recorded = lines(&log)?
        .iter()
        .skip(before)
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| {
            line["kind"] == "packet"
                && line["source"] == address.as_str()
                && line["destination"] == OUTSIDE.0
                && line["port"] == OUTSIDE.1
        })
        .count();
    Ok(Start {
        recorded,
        last: said["last"].as_f64(),
        attempts: said["attempts"].as_u64().unwrap_or_default(),
        report,
    })
}

fn lines(log: &std::path::Path) -> Outcome<Vec<String>> {
    let text = std::fs::read_to_string(log).during(format_args!("read {}", log.display()))?;
    Ok(text.lines().map(str::to_owned).collect())
}
