//! Channels of the network: what the boundary, admission and the canary say of them.

use super::{Sight, Verdict, counted, some_of};
use crate::facts::Surroundings;
use crate::names::{LABEL_REGION, NODE_REGION};

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

/// What the Region is surrounded by, or why that is not known.
pub(super) fn surroundings<'a>(sight: &Sight<'a>) -> Result<&'a Surroundings, Verdict> {
    sight
        .facts
        .surroundings
        .seen()
        .ok_or_else(|| Verdict::unknown("its surroundings were not read"))
}

/// Whether an admission policy is in force as it was shipped.
pub(super) fn admission(sight: &Sight<'_>, policy: &str) -> Verdict {
    let name = format!("bailiwick-{policy}");
    if sight.facts.admission.contains(&name) {
        Verdict::enforced(format!("admission {policy}"))
    } else {
        Verdict::open(
            format!("admission {policy}"),
            format!(
                "ValidatingAdmissionPolicy {name} is not in force as it was shipped; apply platform/policies again"
            ),
        )
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
        Verdict::enforced("default-deny")
    } else {
        Verdict::open(
            "default-deny",
            format!(
                "namespace {} has no NetworkPolicy default-deny; the operator makes it again",
                some_of(missing.iter().map(String::as_str))
            ),
        )
    }
}

pub(super) fn egress(sight: &Sight<'_>) -> Verdict {
    default_deny(sight)
        .and(|| sight.tried("outside address"))
        .and(|| sight.tried("metadata address"))
        .and(|| sight.tried("other nodes"))
}

pub(super) fn between_regions(sight: &Sight<'_>) -> Verdict {
    default_deny(sight)
        .and(|| sight.tried("other regions' pods"))
        .and(|| sight.tried("other regions' Services"))
        .and(|| clients(sight))
}

/// What a client reads can leave by the client: its namespace must be as closed as the Region's.
fn clients(sight: &Sight<'_>) -> Verdict {
    let surroundings = match surroundings(sight) {
        Ok(surroundings) => surroundings,
        Err(verdict) => return verdict,
    };
    let location = sight.plan.policy.location();
    for (namespace, client) in &surroundings.clients {
        let why = if client.region.as_deref() != Some(sight.plan.names.region()) {
            format!("has no label {LABEL_REGION}={}", sight.plan.names.region())
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
    Verdict::enforced(counted(surroundings.clients.len(), "client namespace"))
}

pub(super) fn additive(sight: &Sight<'_>) -> Verdict {
    admission(sight, "network-policies").and(|| match surroundings(sight) {
        Ok(surroundings) => none_of(
            "foreign NetworkPolicy",
            surroundings.foreign_policies.iter().map(String::as_str),
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
        .and(|| admission(sight, "pod-isolation"))
        .and(|| match surroundings(sight) {
            Ok(surroundings) => none_of(
                "pod on a host network",
                surroundings
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
    admission(sight, "services").and(|| match surroundings(sight) {
        Ok(surroundings) => none_of(
            "published Service",
            surroundings.published_services.iter().map(String::as_str),
            "delete it",
        )
        .and(|| {
            none_of(
                "EndpointSlice made by hand",
                surroundings.manual_slices.iter().map(String::as_str),
                "delete it",
            )
        }),
        Err(verdict) => verdict,
    })
}

pub(super) fn ingress(sight: &Sight<'_>) -> Verdict {
    admission(sight, "routes").and(|| match surroundings(sight) {
        Ok(surroundings) => none_of(
            "Ingress",
            surroundings.ingresses.iter().map(String::as_str),
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
    match surroundings(sight) {
        Ok(surroundings) => groups
            .iter()
            .find(|group| surroundings.api_groups.contains(**group))
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
}

pub(super) fn names(sight: &Sight<'_>) -> Verdict {
    sight.tried("outside name")
}

pub(super) fn declared(sight: &Sight<'_>) -> Verdict {
    // What was admitted is in the plan, and nothing else is rendered.
    egress(sight).and(|| {
        let places: Vec<String> = sight
            .plan
            .externals
            .iter()
            .map(|place| format!("{} in {}", place.place().name, place.location()))
            .collect();
        if places.is_empty() {
            Verdict::enforced("no declared endpoint")
        } else {
            Verdict::enforced(some_of(places.iter().map(String::as_str)))
        }
    })
}

impl Sight<'_> {
    /// What the canary found of a class of targets.
    fn tried(&self, class: &str) -> Verdict {
        Verdict::unknown(format!("canary: {class} not tried"))
    }
}
