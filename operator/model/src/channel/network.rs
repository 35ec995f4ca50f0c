//! Channels of the network: what the boundary, admission and the canary say of them.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::fence::closed_before_start;
use super::{Sight, Verdict, counted, some_of};
use crate::canary::question::Class;
use crate::canary::verdict::ClassVerdict;
use crate::facts::{Inventory, Observed};
use crate::names::{LABEL_REGION, NODE_REGION, component};
use crate::ways::{Kind, OF_BEFORE, closed_at, first_older_pod, let_through, name_of};

/// API groups by which networks of several clusters become one.
const MULTI_CLUSTER: &[&str] = &[
    "multicluster.x-k8s.io",
    "submariner.io",
    "networking.istio.io",
    "linkerd.io",
    "multicluster.linkerd.io",
    "networking.karmada.io",
    "work.karmada.io",
    "cluster.open-cluster-management.io",
];

/// What is in the Region's namespaces and around them, or that it is not known.
pub(super) fn inventory<'a>(sight: &Sight<'a>) -> Result<&'a Inventory, Verdict> {
    match &sight.facts.inventory {
        Observed::Seen(seen) => Ok(seen),
        Observed::Failed(unread) => Err(Verdict::unknown(format!(
            "the inventory of its namespaces was not read: {unread}"
        ))),
        Observed::NotAsked => Err(Verdict::unknown(
            "the inventory of its namespaces was not read",
        )),
    }
}

/// Whether admission policies, named without their prefix, are in force as they were shipped.
pub(super) fn admission(sight: &Sight<'_>, policies: &[&str]) -> Verdict {
    let evidence = format!("admission {}", policies.join(", "));
    match policies
        .iter()
        .map(|policy| format!("bailiwick-{policy}"))
        .find(|name| !sight.facts.admission.contains(name))
    {
        None => Verdict::enforced(evidence),
        Some(name) => Verdict::open(
            evidence,
            format!(
                "ValidatingAdmissionPolicy {name} is not in force as it was shipped; apply platform/policies again"
            ),
        ),
    }
}

/// Nothing of a kind that should not be there, or what is.
pub(super) fn none_of<'a>(
    what: &str,
    found: impl IntoIterator<Item = &'a str>,
    advice: &str,
) -> Verdict {
    let found: Vec<&str> = found.into_iter().collect();
    if found.is_empty() {
        Verdict::enforced(format!("no {what}"))
    } else {
        Verdict::open(
            what,
            format!("{}: {what} found; {advice}", some_of(found.iter().copied())),
        )
    }
}

/// Every namespace of the Region denies by default.
fn default_deny(sight: &Sight<'_>) -> Verdict {
    let missing: Vec<String> = sight
        .plan
        .names
        .namespaces()
        .into_iter()
        .filter(|namespace| {
            !sight
                .facts
                .network_policies
                .contains(&format!("{namespace}/default-deny"))
        })
        .collect();
    if missing.is_empty() {
        as_desired(sight)
    } else {
        Verdict::open(
            "default-deny",
            format!(
                "namespace {} has no NetworkPolicy default-deny; the operator makes it again",
                some_of(missing.iter().map(String::as_str))
            ),
        )
        .and(|| as_desired(sight))
    }
}

/// Whether the API server took every policy as it is desired. What stands in the place of one that it refused was not made
/// by this look, and may let through more.
fn as_desired(sight: &Sight<'_>) -> Verdict {
    let refused: Vec<String> = (sight.facts.refused.iter())
        .filter(|it| it.is_of_boundary())
        .map(ToString::to_string)
        .collect();
    if refused.is_empty() {
        Verdict::enforced("default-deny")
    } else {
        Verdict::open(
            "default-deny",
            format!(
                "{}; what is in force in its place may let through more: see condition Progressing",
                some_of(refused.iter().map(String::as_str))
            ),
        )
    }
}

pub(super) fn egress(sight: &Sight<'_>) -> Verdict {
    default_deny(sight)
        .and(|| closed_before_start(sight, true))
        .and(|| outside(sight))
}

/// What is outside of the cluster, or beneath it.
fn outside(sight: &Sight<'_>) -> Verdict {
    tried(sight, Class::OutsideAddress)
        .and(|| tried(sight, Class::MetadataAddress))
        .and(|| tried(sight, Class::OtherNode))
}

pub(super) fn between_regions(sight: &Sight<'_>) -> Verdict {
    let verdict = default_deny(sight)
        .and(|| closed_before_start(sight, false))
        .and(|| tried(sight, Class::OtherRegionPod))
        .and(|| tried(sight, Class::OtherRegionService))
        .and(|| clients(sight));
    and_standing(sight, verdict, &[Kind::Postgres, Kind::ObjectStore])
}

/// A verdict, and that connections may stand which were made before a way of these kinds was shut.
fn and_standing(sight: &Sight<'_>, verdict: Verdict, kinds: &[Kind]) -> Verdict {
    let names = &sight.plan.names;
    let shut = |kind: Kind| {
        let ways = sight.plan.ways.shut.iter();
        ways.filter(move |shut| Kind::of(&shut.way) == Some(kind))
    };
    let found = kinds.iter().find_map(|kind| {
        let who: Vec<&str> = shut(*kind).map(|shut| name_of(&shut.way)).collect();
        if who.is_empty() {
            return None;
        }
        // Since when is in the status.
        let who = some_of(who);
        let closed = shut(*kind).map(|shut| closed_at(shut.since)).max()?;
        Some(match kind {
            Kind::Postgres => format!(
                "client {who} is let in to Postgres no more and may hold {OF_BEFORE}; the operator ends them within a \
                 minute, once every member answers over SQL"
            ),
            Kind::ObjectStore => made_anew(
                sight,
                &format!(
                    "client {who} is let in to the object store no more and may hold {OF_BEFORE}"
                ),
                (component::OBJECT_STORE, &names.object_store()),
                closed,
            ),
            Kind::External => made_anew(
                sight,
                &format!(
                    "endpoint {who} is let through no more, and Postgres may hold {OF_BEFORE}"
                ),
                (component::POSTGRES, &names.postgres()),
                closed,
            ),
        })
    });
    match kept_open(sight, kinds).or(found) {
        Some(finding) => verdict.and(|| Verdict::open(OF_BEFORE, finding)),
        None => verdict,
    }
}

/// What the policies of a Region still let through though its spec does not: of one that is paused, or whose policies the
/// API server refused.
fn kept_open(sight: &Sight<'_>, kinds: &[Kind]) -> Option<String> {
    let wanted = let_through(sight.plan);
    // One that is let in to both counts once.
    let kept: BTreeSet<&str> = (sight.plan.ways.open.iter())
        .filter(|way| !wanted.contains(*way))
        .filter(|way| Kind::of(way).is_some_and(|kind| kinds.contains(&kind)))
        .map(|way| name_of(way))
        .collect();
    (!kept.is_empty()).then(|| {
        let why = if sight.facts.boundary_is_refused() {
            "the API server refuses the policies that shut it; see condition Progressing"
        } else {
            "the Region is paused; set spec.lifecycle.paused to false"
        };
        format!(
            "{} has left the spec and is let through as before, new connections and {OF_BEFORE}: {why}",
            some_of(kept)
        )
    })
}

/// What is found, and the command that ends it: nobody deletes pods for it but who knows when. Pods that are made before
/// `closed` may have been connected to anew.
fn made_anew(
    sight: &Sight<'_>,
    what: &str,
    (component, set): (&str, &str),
    closed: Timestamp,
) -> String {
    let namespace = sight.plan.names.namespace();
    let pod = first_older_pod(sight.facts, component, closed)
        .cloned()
        .unwrap_or_else(|| format!("{set}-0"));
    format!(
        "{what}: they end with its pods, from {closed:.0} on, one after the other, each once the one before is Ready again: \
         kubectl -n {namespace} delete pod {pod}; see docs/how-to/remove-a-client.md"
    )
}

/// What a client reads can leave by the client: its namespace must be as closed as the Region's.
fn clients(sight: &Sight<'_>) -> Verdict {
    let inventory = match inventory(sight) {
        Ok(inventory) => inventory,
        Err(verdict) => return verdict,
    };
    let location = sight.plan.policy.location();
    for (namespace, client) in &inventory.clients {
        let why = if client.region.as_deref() != Some(sight.plan.names.region()) {
            format!(
                "has no label {LABEL_REGION}={} and is not let in",
                sight.plan.names.region()
            )
        } else if !client.default_deny {
            "has no NetworkPolicy that denies all by default".to_owned()
        } else if let Some(node) = client.nodes.iter().find(|node| {
            sight
                .facts
                .nodes
                .get(*node)
                .and_then(|labels| labels.get(NODE_REGION))
                .map(String::as_str)
                != Some(location)
        }) {
            format!("runs pods on node {node}, which is not in {location}")
        } else {
            continue;
        };
        return Verdict::unknown(format!("client namespace {namespace} {why}"));
    }
    Verdict::enforced(counted(inventory.clients.len(), "client namespace"))
}

pub(super) fn additive(sight: &Sight<'_>) -> Verdict {
    admission(sight, &["network-policies", "network-plugins"]).and(|| match inventory(sight) {
        Ok(inventory) => none_of(
            "foreign NetworkPolicy",
            inventory.foreign_policies.iter().map(String::as_str),
            "remove it, or name what it is for in spec.network",
        ),
        Err(verdict) => verdict,
    })
}

pub(super) fn host(sight: &Sight<'_>) -> Verdict {
    const ENFORCE: &str = "pod-security.kubernetes.io/enforce";
    for namespace in sight.plan.names.namespaces() {
        let level = sight
            .facts
            .namespaces
            .get(&namespace)
            .and_then(|labels| labels.get(ENFORCE));
        if level.map(String::as_str) != Some("restricted") {
            return Verdict::open(
                "Pod Security",
                format!("namespace {namespace} has no label {ENFORCE}=restricted; set it"),
            );
        }
    }
    Verdict::enforced("Pod Security restricted")
        .and(|| {
            admission(
                sight,
                &["pods", "scheduling", "namespace-labels", "namespace-claims"],
            )
        })
        .and(|| match inventory(sight) {
            Ok(inventory) => none_of(
                "pod on a host network",
                inventory
                    .pods
                    .iter()
                    .filter(|(_, pod)| pod.host_network)
                    .map(|(name, _)| name.as_str()),
                "delete it",
            ),
            Err(verdict) => verdict,
        })
}

pub(super) fn services(sight: &Sight<'_>) -> Verdict {
    admission(sight, &["services", "endpoints"]).and(|| match inventory(sight) {
        Ok(inventory) => none_of(
            "published Service",
            inventory.published_services.iter().map(String::as_str),
            "delete it",
        )
        .and(|| {
            none_of(
                "EndpointSlice made by hand",
                inventory.manual_slices.iter().map(String::as_str),
                "delete it",
            )
        }),
        Err(verdict) => verdict,
    })
}

pub(super) fn ingress(sight: &Sight<'_>) -> Verdict {
    admission(sight, &["exposure"]).and(|| match inventory(sight) {
        Ok(inventory) => none_of(
            "Ingress",
            inventory.ingresses.iter().map(String::as_str),
            "delete it",
        ),
        Err(verdict) => verdict,
    })
}

/// NotApplicable when the API server serves none of these groups, else `otherwise`.
pub(super) fn absent(
    sight: &Sight<'_>,
    groups: &[&str],
    otherwise: impl FnOnce(&str) -> Verdict,
) -> Verdict {
    match inventory(sight) {
        Ok(inventory) => groups
            .iter()
            .find(|group| inventory.api_groups.contains(**group))
            .map_or_else(
                || Verdict::not_applicable("API groups: none of it served"),
                |group| otherwise(group),
            ),
        Err(verdict) => verdict,
    }
}

pub(super) fn mesh(sight: &Sight<'_>) -> Verdict {
    absent(sight, MULTI_CLUSTER, |group| {
        Verdict::unknown(format!("API group {group} is served"))
    })
    .and(|| admission(sight, &["other-clusters"]))
}

pub(super) fn names(sight: &Sight<'_>) -> Verdict {
    tried(sight, Class::OutsideName)
}

pub(super) fn declared(sight: &Sight<'_>) -> Verdict {
    // What was admitted is in the plan, and nothing else is rendered.
    let verdict = default_deny(sight).and(|| outside(sight)).and(|| {
        let places: Vec<String> = sight
            .plan
            .externals
            .iter()
            .map(|place| format!("{} in {}", place.place().name, place.location()))
            .collect();
        if places.is_empty() {
            Verdict::enforced("no declared endpoint")
        } else if !sight.plan.addresses_are_told {
            // Whoever declares a place would also say where it is.
            Verdict::unknown(format!(
                "{}: the operator was told no --location-addresses, so nobody but the Region says where it is",
                some_of(places.iter().map(String::as_str))
            ))
        } else {
            Verdict::enforced(some_of(places.iter().map(String::as_str)))
        }
    });
    and_standing(sight, verdict, &[Kind::External])
}

/// What the canaries found of a class of targets.
pub(super) fn tried(sight: &Sight<'_>, class: Class) -> Verdict {
    let called = class.as_str();
    match sight.network.classes.get(&class) {
        Some(ClassVerdict::Held { .. }) => Verdict::enforced(format!("canary: {called}")),
        Some(ClassVerdict::Leaked { targets, proven }) => {
            let evidence = format!("canary: {called}");
            let finding = format!(
                "{}: reached, and must not be; see docs/runbooks/network-enforced.md",
                some_of(targets.iter().map(String::as_str))
            );
            if *proven {
                Verdict::leaking(evidence, finding)
            } else {
                Verdict::open(evidence, finding)
            }
        }
        Some(ClassVerdict::NotApplicable) => Verdict::not_applicable(format!("no {called}")),
        Some(ClassVerdict::Broken { .. }) => {
            Verdict::unseen(format!("canary: {called} not reached, and must be"))
        }
        Some(ClassVerdict::NotTested) | None => {
            Verdict::unseen(format!("canary: {called} not tested"))
        }
    }
}
