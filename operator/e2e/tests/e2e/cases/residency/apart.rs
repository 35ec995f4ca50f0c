//! Pods of a Region, with all that its boundary opens to them, get to nothing of another Region and to nothing outside
//! of the cluster. I/O: client pods in the Regions' namespaces.

use bailiwick_model::flow::Flow;
use bailiwick_model::names::port;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use kube::api::{Api, ListParams};

use crate::cases::components::access::{Target, reach};
use crate::client::Stand;
use crate::cluster::{Cluster, Place};
use crate::failure::{Outcome, ensure};

/// What plays the internet, and a cloud's metadata service: both answer on every port.
const OUTSIDE: [&str; 2] = ["198.51.100.10", "169.254.169.254"];
/// The ports that are tried outside: of the web, of DNS over TLS, of Postgres and of S3.
const OUTSIDE_PORTS: [i32; 5] = [80, 443, 853, port::POSTGRES, port::S3];
/// What the boundary opens within a Region to each flow.
const OPEN: [(Flow, &[i32]); 3] = [
    (Flow::Postgres, &[port::POSTGRES, port::PATRONI, port::S3]),
    (Flow::ObjectStore, &[port::S3]),
    (Flow::Backup, &[port::PGBACKREST, port::S3]),
];

/// Tries every flow of every Region.
pub async fn regions(cluster: &Cluster) -> Outcome<String> {
    let mut attempts = Vec::new();
    for place in &cluster.places {
        for (flow, open) in OPEN {
            let mut targets = outside(false);
            for other in &cluster.places {
                let own = other.region == place.region;
                targets.extend(
                    addresses(cluster, other)
                        .await?
                        .into_iter()
                        .map(|(host, port)| Target {
                            host,
                            port,
                            served: own && open.contains(&port),
                        }),
                );
            }
            let who = format!("a pod of {} with flow {}", place.region, flow.label());
            attempts.push((who, Stand::inside(place, flow), targets));
        }
        // Whoever no boundary holds gets outside: else nothing would be shown by the others' not getting there.
        attempts.push((
            format!("a stranger in {}", place.location),
            Stand::stranger(&place.location),
            outside(true),
        ));
    }
    let answers = try_join_all(
        attempts
            .iter()
            .map(|(_, stand, targets)| reach(cluster, stand, targets)),
    )
    .await?;
    let (mut opened, mut blocked) = (0, 0);
    for ((who, _, targets), answers) in attempts.iter().zip(&answers) {
        for (target, answer) in targets.iter().zip(answers) {
            // A reset of the target's own comes from there: packets do as well.
            let fine = if target.served {
                answer == "open"
            } else {
                answer == "no answer"
            };
            ensure(fine, || {
                format!("{who} tried {}:{}: {answer}", target.host, target.port)
            })?;
            *(if target.served {
                &mut opened
            } else {
                &mut blocked
            }) += 1;
        }
    }
    ensure(opened > 0 && blocked > 0, || "nothing was tried".to_owned())?;
    Ok(format!(
        "{blocked} attempts across a border failed, {opened} within one succeeded"
    ))
}

fn outside(served: bool) -> Vec<Target> {
    OUTSIDE
        .iter()
        .flat_map(|host| OUTSIDE_PORTS.map(|port| (host, port)))
        .map(|(host, port)| Target {
            host: (*host).to_owned(),
            port,
            served,
        })
        .collect()
}

/// Every address and port of a Region's pods and Services.
async fn addresses(cluster: &Cluster, place: &Place) -> Outcome<Vec<(String, i32)>> {
    let mut addresses = Vec::new();
    let store = place.names.object_store();
    let members = [port::POSTGRES, port::PATRONI, port::PGBACKREST];
    for pod in cluster.pods(&place.names.namespace()).await? {
        let status = pod.status.as_ref();
        let running = status.is_some_and(|status| status.phase.as_deref() == Some("Running"));
        let Some(address) = status
            .and_then(|status| status.pod_ip.clone())
            .filter(|_| running)
        else {
            continue;
        };
        let name = pod.name_any();
        if name.starts_with(&store) {
            addresses.push((address, port::S3));
        } else if name.starts_with(&place.names.postgres()) {
            addresses.extend(members.map(|port| (address.clone(), port)));
        }
    }
    let services = Api::<Service>::namespaced(cluster.client.clone(), &place.names.namespace());
    for service in services.list(&ListParams::default()).await? {
        let spec = service.spec.unwrap_or_default();
        let address = spec.cluster_ip.unwrap_or_default();
        if address != "None" {
            let ports = spec.ports.into_iter().flatten();
            addresses.extend(ports.map(|port| (address.clone(), port.port)));
        }
    }
    ensure(addresses.len() >= 10, || {
        format!("{} has only {} ports to try", place.region, addresses.len())
    })?;
    Ok(addresses)
}
