//! Channels of places: where pods run and volumes lie, as it was read back.

use super::network::{absent, admission, inventory, none_of};
use super::{Sight, Verdict, counted};
use crate::facts::{Facts, Inventory, VolumeFact};
use crate::names::{LABEL_TASK, NODE_HOSTNAME, NODE_REGION, SNAPSHOTS};
use crate::plan::Plan;
use crate::residency::{ImagePlace, Place};

/// Where a node is.
pub(crate) fn location_of<'a>(facts: &'a Facts, node: &str) -> Option<&'a str> {
    facts.nodes.get(node)?.get(NODE_REGION).map(String::as_str)
}

/// The pods that run in the Region's namespaces, each with the node that it is bound to: those that the watch tells of at
/// once, those of the data's namespace by their names and the others as `namespace/name`, as those are that only the probe
/// finds. What has ended runs nowhere.
pub(crate) fn running_pods<'a>(
    facts: &'a Facts,
    inventory: Option<&'a Inventory>,
) -> impl Iterator<Item = (&'a String, &'a String)> {
    facts
        .pods
        .all()
        .filter(|(_, pod)| pod.ended.is_none() || !pod.labels.contains_key(LABEL_TASK))
        .map(|(name, pod)| (name, pod.node.as_ref()))
        .chain(
            inventory
                .into_iter()
                .flat_map(|inventory| &inventory.pods)
                .filter(|(_, pod)| !pod.ended)
                .map(|(name, pod)| (name, pod.node.as_ref())),
        )
        .filter_map(|(name, node)| Some((name, node?)))
}

pub(super) fn pods(sight: &Sight<'_>) -> Verdict {
    let location = sight.plan.policy.location();
    let inventory = match inventory(sight) {
        Ok(inventory) => inventory,
        Err(verdict) => return verdict,
    };
    let mut read = 0;
    for (name, node) in running_pods(sight.facts, Some(inventory)) {
        read += 1;
        match location_of(sight.facts, node) {
            Some(found) if found == location => {}
            Some(found) => {
                return Verdict::open(
                    "nodes of pods",
                    format!(
                        "pod {name} runs on node {node}, which is in {found}, expected {location}; nothing is moved by \
                         itself: see the runbook for ResidencyEnforced"
                    ),
                );
            }
            None => return Verdict::unknown(format!("node {node} says of no place")),
        }
    }
    if read == 0 {
        return Verdict::unknown("no pod runs");
    }
    Verdict::enforced("nodes of pods").and(|| admission(sight, &["pods", "scheduling"]))
}

/// The volumes that the Region's claims are bound to.
pub(crate) fn volumes_of<'a>(
    plan: &Plan,
    facts: &'a Facts,
) -> impl Iterator<Item = (&'a String, &'a VolumeFact)> {
    let namespaces = plan.names.namespaces();
    facts
        .volumes
        .iter()
        .filter(move |(_, volume)| namespaces.contains(&volume.namespace))
}

/// The place that every alternative of a volume's node affinity keeps it in; none when one leaves it open.
pub(crate) fn place_of(facts: &Facts, volume: &VolumeFact) -> Option<String> {
    let mut places = volume.alternatives.iter().map(|alternative| {
        let named = alternative.get(NODE_REGION);
        let by_host = alternative.get(NODE_HOSTNAME);
        let mut found: Vec<&str> = match (named, by_host) {
            (Some(regions), _) => regions.iter().map(String::as_str).collect(),
            (None, Some(hosts)) => {
                let mut places = Vec::new();
                for host in hosts {
                    let node = facts
                        .nodes
                        .values()
                        .find(|labels| labels.get(NODE_HOSTNAME) == Some(host))?;
                    places.push(node.get(NODE_REGION)?.as_str());
                }
                places
            }
            (None, None) => return None,
        };
        found.sort_unstable();
        found.dedup();
        match found.as_slice() {
            [only] => Some((*only).to_owned()),
            _ => None,
        }
    });
    let first = places.next()??;
    places
        .all(|place| place.as_deref() == Some(first.as_str()))
        .then_some(first)
}

/// The host that every alternative of a volume's node affinity keeps it on; none when there may be several.
pub(crate) fn host_of(volume: &VolumeFact) -> Option<&String> {
    let mut hosts = volume.alternatives.iter().map(|alternative| {
        let mut hosts = alternative.get(NODE_HOSTNAME)?.iter();
        hosts.next().filter(|_| hosts.next().is_none())
    });
    let first = hosts.next()??;
    hosts.all(|host| host == Some(first)).then_some(first)
}

pub(super) fn volumes(sight: &Sight<'_>) -> Verdict {
    let location = sight.plan.policy.location();
    let mut read = 0;
    for (name, volume) in volumes_of(sight.plan, sight.facts) {
        read += 1;
        match place_of(sight.facts, volume) {
            Some(place) if place == location => {}
            Some(place) => {
                return Verdict::open(
                    "node affinity of volumes",
                    format!(
                        "PersistentVolume {name} of claim {} lies in {place}, expected {location}; nothing is moved by \
                         itself: see the runbook for ResidencyEnforced",
                        if volume.namespace == sight.plan.names.namespace() {
                            volume.claim.clone()
                        } else {
                            format!("{}/{}", volume.namespace, volume.claim)
                        }
                    ),
                );
            }
            None => {
                return Verdict::unknown(format!(
                    "PersistentVolume {name} has no node affinity that names a place"
                ));
            }
        }
    }
    let bound = sight
        .facts
        .claims
        .all()
        .filter(|(_, claim)| claim.capacity.is_some())
        .count();
    if read == 0 {
        return Verdict::unknown("no volume was seen yet");
    }
    if read < bound {
        return Verdict::unknown(format!(
            "{} of {} read",
            read,
            counted(bound, "bound volume")
        ));
    }
    Verdict::enforced(format!("node affinity of {}", counted(read, "volume")))
        .and(|| admission(sight, &["volumes", "volume-copies"]))
}

pub(super) fn snapshots(sight: &Sight<'_>) -> Verdict {
    admission(sight, &["snapshots", "volume-copies"])
        .and(|| absent(sight, &[SNAPSHOTS], |_| snapshots_elsewhere(sight)))
}

/// Snapshots that stand, whoever let them be made. Where one lies is only told by its class, by the convention that
/// admission goes by: `<location>` or `<location>-<anything>`.
fn snapshots_elsewhere(sight: &Sight<'_>) -> Verdict {
    let inventory = match inventory(sight) {
        Ok(inventory) => inventory,
        Err(verdict) => return verdict,
    };
    let Some(snapshots) = &inventory.snapshots else {
        return Verdict::unknown("VolumeSnapshots are served and could not be listed");
    };
    let location = sight.plan.policy.location();
    let here = |class: &str| {
        class
            .strip_prefix(location)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    none_of(
        "VolumeSnapshot of a class elsewhere",
        snapshots
            .iter()
            .filter(|(_, class)| !here(class))
            .map(|(name, _)| name.as_str()),
        "find out where its class keeps it, then delete it",
    )
}

pub(super) fn reuse(sight: &Sight<'_>) -> Verdict {
    let mut read = 0;
    for (name, volume) in volumes_of(sight.plan, sight.facts) {
        read += 1;
        if !volume.retained {
            return Verdict::open(
                "reclaim policies",
                format!(
                    "PersistentVolume {name} is deleted with its claim; set its persistentVolumeReclaimPolicy to Retain"
                ),
            );
        }
    }
    if read == 0 {
        return Verdict::unknown("no volume was seen yet");
    }
    Verdict::enforced(format!("Retain on {}", counted(read, "volume")))
}

pub(super) fn copies(sight: &Sight<'_>) -> Verdict {
    let drill = format!("{}/", sight.plan.names.drill_namespace());
    match inventory(sight) {
        Ok(inventory) => {
            let running = inventory
                .pods
                .keys()
                .filter(|pod| pod.starts_with(&drill))
                .count();
            if running == 0 {
                Verdict::not_applicable("no pod in the drill namespace")
            } else {
                Verdict::unknown(format!(
                    "{} in the drill namespace",
                    counted(running, "pod")
                ))
            }
        }
        Err(verdict) => verdict,
    }
}

pub(super) fn dumps(sight: &Sight<'_>) -> Verdict {
    match inventory(sight) {
        Ok(inventory) => {
            let verdict = none_of(
                "foreign pod",
                inventory
                    .pods
                    .iter()
                    .filter(|(_, pod)| !pod.ours)
                    .map(|(name, _)| name.as_str()),
                "find out what it does with the data, then delete it",
            );
            // A person with a login can always write down what they read.
            if verdict.finding.is_none() {
                Verdict::audited(verdict.evidence)
            } else {
                verdict
            }
        }
        Err(verdict) => verdict,
    }
}

/// Whether every image that runs is one that the plan's policy admits.
fn running_images(sight: &Sight<'_>) -> Verdict {
    let inventory = match inventory(sight) {
        Ok(inventory) => inventory,
        Err(verdict) => return verdict,
    };
    let registries = &sight.plan.postgres_image.place().registries;
    for (name, pod) in &inventory.pods {
        for image in &pod.images {
            let place = ImagePlace {
                image: image.clone(),
                registries: registries.clone(),
            };
            if place.location(&sight.plan.policy).as_deref() != Ok(sight.plan.policy.location()) {
                return Verdict::open(
                    "images of pods",
                    format!(
                        "pod {name} runs an image of no registry that serves {}; delete it",
                        sight.plan.policy.location()
                    ),
                );
            }
        }
    }
    Verdict::enforced("images of pods")
}

pub(super) fn images(sight: &Sight<'_>) -> Verdict {
    running_images(sight).and(|| match inventory(sight) {
        Ok(inventory) => none_of(
            "writable root filesystem",
            inventory
                .pods
                .iter()
                .filter(|(_, pod)| pod.writable_root)
                .map(|(name, _)| name.as_str()),
            "delete the pod",
        ),
        Err(verdict) => verdict,
    })
}

pub(super) fn registries(sight: &Sight<'_>) -> Verdict {
    running_images(sight).and(|| admission(sight, &["pods"]))
}
