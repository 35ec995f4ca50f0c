//! Every pod and every volume of a Region is on a node of the Region's own location. Reads only.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_model::names::{NODE_HOSTNAME, NODE_REGION};
use k8s_openapi::api::core::v1::{Node, PersistentVolume};
use kube::ResourceExt;
use kube::api::{Api, ListParams};

use crate::cluster::{Cluster, Place};
use crate::failure::{Failure, Outcome, ensure};

/// Looks at every pod and volume of the Regions' namespaces, labelled or not.
pub async fn own_nodes(cluster: &Cluster) -> Outcome<String> {
    let locations: BTreeMap<String, String> = Api::<Node>::all(cluster.client.clone())
        .list(&ListParams::default())
        .await?
        .into_iter()
        .filter_map(|node| {
            let location = node.labels().get(NODE_REGION).cloned()?;
            let host = node.labels().get(NODE_HOSTNAME).cloned()?;
            Some((host, location))
        })
        .collect();
    let volumes = Api::<PersistentVolume>::all(cluster.client.clone())
        .list(&ListParams::default())
        .await?
        .items;
    let mut counts = Vec::new();
    for place in &cluster.places {
        let pods = pods(cluster, place, &locations).await?;
        let volumes = volumes_of(place, &volumes, &locations)?;
        // Two members and a server of the store, each with a volume.
        ensure(pods >= 3 && volumes >= 3, || {
            format!("{}: only {pods} pods and {volumes} volumes", place.region)
        })?;
        counts.push(format!(
            "{} {pods} pods and {volumes} volumes",
            place.region
        ));
    }
    Ok(counts.join(", "))
}

async fn pods(
    cluster: &Cluster,
    place: &Place,
    locations: &BTreeMap<String, String>,
) -> Outcome<usize> {
    let mut count = 0;
    for namespace in place.names.namespaces() {
        for pod in cluster.pods(&namespace).await? {
            let node = pod
                .spec
                .as_ref()
                .and_then(|spec| spec.node_name.clone())
                .ok_or_else(|| Failure::new(format!("pod {} has no node", pod.name_any())))?;
            ensure(locations.get(&node) == Some(&place.location), || {
                format!(
                    "pod {} of {} is on node {node}",
                    pod.name_any(),
                    place.region
                )
            })?;
            count += 1;
        }
    }
    Ok(count)
}

fn volumes_of(
    place: &Place,
    volumes: &[PersistentVolume],
    locations: &BTreeMap<String, String>,
) -> Outcome<usize> {
    let namespaces = place.names.namespaces();
    let of_region = volumes.iter().filter(|volume| {
        volume
            .spec
            .as_ref()
            .and_then(|spec| spec.claim_ref.as_ref())
            .and_then(|claim| claim.namespace.as_ref())
            .is_some_and(|namespace| namespaces.contains(namespace))
    });
    let mut count = 0;
    for volume in of_region {
        let found = places_of(volume, locations);
        ensure(found == BTreeSet::from([place.location.as_str()]), || {
            format!(
                "volume {} of {} may be used in {found:?}",
                volume.name_any(),
                place.region
            )
        })?;
        let policy = volume
            .spec
            .as_ref()
            .and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
        ensure(policy == Some("Retain"), || {
            format!(
                "volume {} is not retained with its claim gone",
                volume.name_any()
            )
        })?;
        count += 1;
    }
    Ok(count)
}

/// The locations of the nodes that a volume's own affinity allows; a host that is no node is a place of its own.
fn places_of<'v>(
    volume: &'v PersistentVolume,
    locations: &'v BTreeMap<String, String>,
) -> BTreeSet<&'v str> {
    volume
        .spec
        .iter()
        .filter_map(|spec| spec.node_affinity.as_ref()?.required.as_ref())
        .flat_map(|required| &required.node_selector_terms)
        .flat_map(|term| term.match_expressions.iter().flatten())
        .filter(|expression| expression.operator == "In")
        .flat_map(|expression| {
            expression
                .values
                .iter()
                .flatten()
                .filter_map(|value| match expression.key.as_str() {
                    NODE_HOSTNAME => Some(locations.get(value).unwrap_or(value).as_str()),
                    NODE_REGION => Some(value.as_str()),
                    _ => None,
                })
        })
        .collect()
}
