//! What a person wants to see when a case failed: conditions, pods, warnings and the operator's last words. Reads
//! only, and no Secret: nothing that is returned here holds a credential.

use std::fmt::Write as _;

use bailiwick_model::names::OPERATOR_NAMESPACE;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt;
use kube::api::{Api, ListParams, LogParams};

use crate::client::{Stand, name_of};
use crate::cluster::Cluster;
use crate::failure::Outcome;

/// How many lines of the operator's log, and how many events of a namespace, are shown.
const LINES: i64 = 15;
/// How old an event may be.
const RECENT: SignedDuration = SignedDuration::from_mins(10);

/// What can be read, in lines; what cannot be read is said in its place.
pub async fn seen(cluster: &Cluster) -> String {
    let mut seen = String::new();
    for place in &cluster.places {
        let region = region(cluster, &place.region, &mut seen).await;
        said(&mut seen, &format!("region {}", place.region), region);
        for namespace in [place.names.namespace(), Stand::allowed(place).namespace] {
            let pods = in_namespace(cluster, &namespace, &mut seen).await;
            said(&mut seen, &namespace, pods);
        }
    }
    let logs = operator(cluster, &mut seen).await;
    said(&mut seen, "operator", logs);
    seen
}

/// Says why something could not be read.
fn said(seen: &mut String, what: &str, read: Outcome) {
    if let Err(failure) = read {
        // Writing to a String does not fail.
        let _ = writeln!(seen, "    {what}: {failure}");
    }
}

async fn region(cluster: &Cluster, name: &str, seen: &mut String) -> Outcome {
    let region = cluster.regions().get(name).await?;
    writeln!(
        seen,
        "    region {name}, generation {}, observed {}",
        region.metadata.generation.unwrap_or_default(),
        region
            .status
            .as_ref()
            .and_then(|status| status.observed_generation)
            .unwrap_or_default()
    )?;
    for condition in region.status.iter().flat_map(|status| &status.conditions) {
        writeln!(
            seen,
            "      {:<21} {:<8} {:<22} {}",
            condition.type_, condition.status, condition.reason, condition.message
        )?;
    }
    Ok(())
}

async fn in_namespace(cluster: &Cluster, namespace: &str, seen: &mut String) -> Outcome {
    for pod in cluster.pods(namespace).await? {
        let status = pod.status.clone().unwrap_or_default();
        let containers = status.container_statuses.unwrap_or_default();
        writeln!(
            seen,
            "    pod {:<40} {:<10} {}/{} ready, {} restarts, role {}, node {}",
            name_of(&pod),
            status.phase.unwrap_or_default(),
            containers
                .iter()
                .filter(|container| container.ready)
                .count(),
            containers.len(),
            containers
                .iter()
                .map(|container| container.restart_count)
                .sum::<i32>(),
            pod.labels().get("role").map_or("-", String::as_str),
            pod.spec
                .as_ref()
                .and_then(|spec| spec.node_name.as_deref())
                .unwrap_or("-")
        )?;
    }
    let mut events = Api::<Event>::namespaced(cluster.client.clone(), namespace)
        .list(&ListParams::default().fields("type=Warning"))
        .await?
        .items;
    let since = Timestamp::now() - RECENT;
    events.retain(|event| {
        event
            .last_timestamp
            .as_ref()
            .is_none_or(|time| time.0 > since)
    });
    events.sort_by_key(|event| event.last_timestamp.as_ref().map(|time| time.0));
    let last = usize::try_from(LINES).unwrap_or_default();
    for event in events.iter().rev().take(last).rev() {
        writeln!(
            seen,
            "    event {} {}/{} {}: {}",
            event
                .last_timestamp
                .as_ref()
                .map_or_else(String::new, |time| time.0.to_string()),
            event.involved_object.kind.as_deref().unwrap_or_default(),
            event.involved_object.name.as_deref().unwrap_or_default(),
            event.reason.as_deref().unwrap_or_default(),
            event.message.as_deref().unwrap_or_default()
        )?;
    }
    Ok(())
}

async fn operator(cluster: &Cluster, seen: &mut String) -> Outcome {
    let api = Api::<Pod>::namespaced(cluster.client.clone(), OPERATOR_NAMESPACE);
    for pod in cluster.pods(OPERATOR_NAMESPACE).await? {
        let parameters = LogParams {
            tail_lines: Some(LINES),
            ..LogParams::default()
        };
        writeln!(seen, "    log of {}", name_of(&pod))?;
        match api.logs(&pod.name_any(), &parameters).await {
            Ok(log) => {
                for line in log.lines() {
                    writeln!(seen, "      {line}")?;
                }
            }
            Err(error) => writeln!(seen, "      {error}")?,
        }
    }
    Ok(())
}
