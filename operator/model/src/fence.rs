//! What a pod's start fence is told, and what it measured. Facts in; targets, sentences and seconds out. No I/O.

use std::net::SocketAddr;
use std::time::Duration;

use bailiwick_api::violation::{Reason, Violation};
use bailiwick_fence::RESPONDER_PORT;
pub use bailiwick_fence::{Family, Outcome, Report, Targets};

use crate::endpoint;
use crate::facts::{Facts, FenceFact, PodFact};
use crate::flow::Guise;
use crate::names::{FENCE_NAMESPACE, FENCE_SERVICE, LABEL_TASK};
use crate::residency::{ExternalEndpoint, Resident};

/// The name of the init container and of its volume.
pub const CONTAINER: &str = "fence";
/// How many of the responder's addresses a fence tries of each family, at most.
pub const MOST_ADDRESSES: usize = 4;

/// The endpoints that a fenced pod does not reach: the responder's where it is ready, or else wherever it is known, and
/// the platform's own one outside. None when nothing is known of the responder.
///
/// What the Region declares is left out: its pods reach it for good, and would never start.
#[must_use]
pub fn targets(
    facts: &Facts,
    outside: Option<SocketAddr>,
    externals: &[Resident<ExternalEndpoint>],
) -> Option<Targets> {
    let known = facts.fence_responder.seen().filter(|it| !it.is_empty())?;
    let forbidden = |endpoint: &SocketAddr| !declared(externals, *endpoint);
    let of_family = |is_ipv4: bool| {
        let family = move || known.iter().filter(move |(ip, _)| ip.is_ipv4() == is_ipv4);
        let any_ready = family().any(|(_, ready)| *ready);
        family()
            .filter(move |(_, ready)| **ready || !any_ready)
            .map(|(ip, _)| SocketAddr::new(*ip, RESPONDER_PORT))
            .filter(forbidden)
            .take(MOST_ADDRESSES)
    };
    let closed = of_family(true)
        .chain(of_family(false))
        .chain(outside.filter(forbidden))
        .map(|endpoint| endpoint.to_string())
        .collect();
    Some(Targets { closed })
}

/// Why a Region cannot be made yet: its pods would wait for a file that nobody can write. One whose pods are fenced has
/// that file, and it stays.
#[must_use]
pub fn violation(facts: &Facts) -> Option<Violation> {
    let known = facts.fence_responder.seen();
    if known.is_some_and(|known| !known.is_empty())
        || facts.stateful_sets.values().any(|set| set.fenced)
    {
        return None;
    }
    let found = if known.is_some() {
        "has no address"
    } else {
        "could not be looked for"
    };
    Some(Violation::new(
        "metadata.name",
        Reason::FenceResponderMissing,
        format!(
            "Service {FENCE_SERVICE} of namespace {FENCE_NAMESPACE} {found}, so that no pod of the Region could tell \
             whether it is fenced; apply platform/fence and platform/operator/fence, and see `kubectl -n \
             {FENCE_NAMESPACE} get pods,endpointslices`"
        ),
    ))
}

/// The pods that run in the Region's namespaces, as [`crate::facts::ByNamespace::all`] names them. One that its fence
/// holds does not.
pub fn running(facts: &Facts) -> impl Iterator<Item = (&str, &PodFact)> {
    facts
        .pods
        .all()
        .filter(|(_, pod)| {
            pod.node.is_some()
                && !pod.finished
                && pod.ended.is_none()
                && !matches!(pod.fence, FenceFact::Holds { .. })
        })
        .map(|(name, pod)| (name.as_str(), pod))
}

/// The pods that run and did not start behind the fence.
pub fn unfenced(facts: &Facts) -> impl Iterator<Item = &str> {
    running(facts)
        .filter(|(_, pod)| pod.fence == FenceFact::Missing)
        .map(|(name, _)| name)
}

/// Whether a pod is a canary, which starts wherever it is.
#[must_use]
pub fn is_canary(pod: &PodFact) -> bool {
    let task = pod.labels.get(LABEL_TASK);
    Guise::ALL
        .iter()
        .any(|guise| task.is_some_and(|task| task == guise.label()))
}

/// How long canaries reached a target before their addresses were closed, the longest of those that are there: zero when
/// none was reached. None when none of them has said.
#[must_use]
pub fn start_window(facts: &Facts) -> Option<Duration> {
    facts
        .pods
        .live
        .values()
        .filter(|pod| is_canary(pod))
        .filter_map(|pod| pod.fence.report())
        .filter(|report| report.outcome != Outcome::Unverified)
        .flat_map(|report| &report.families)
        .map(|family| Duration::from_millis(family.window_millis.unwrap_or_default()))
        .max()
}

/// A start window in few words, which stay the same from run to run.
#[must_use]
pub const fn in_words(window: Duration) -> &'static str {
    match window.as_millis() {
        0 => "no window",
        1..5_000 => "window < 5 s",
        5_000..30_000 => "window < 30 s",
        _ => "window >= 30 s",
    }
}

/// Why a pod of a StatefulSet has not started, if its fence is why: a sentence without its full stop.
#[must_use]
pub fn held(facts: &Facts, set: &str) -> Option<String> {
    let is_member = |name: &str| {
        name.strip_prefix(set)
            .and_then(|rest| rest.strip_prefix('-'))
            .is_some_and(|ordinal| ordinal.bytes().all(|byte| byte.is_ascii_digit()))
    };
    facts
        .pods
        .live
        .iter()
        .filter(|(name, _)| is_member(name))
        .find_map(|(name, pod)| {
            let FenceFact::Holds { failures, report } = &pod.fence else {
                return None;
            };
            let why = match report.as_ref().map(|report| report.outcome) {
                // It may only just have begun.
                _ if *failures == 0 => return None,
                Some(Outcome::Open) => "its address still reaches outside",
                Some(_) | None => "see its report",
            };
            Some(format!(
                "Pod {name} waits for its fence: {why}; see docs/runbooks/network-enforced.md"
            ))
        })
}

/// Whether the spec opens this endpoint to Postgres.
pub(crate) fn declared(externals: &[Resident<ExternalEndpoint>], address: SocketAddr) -> bool {
    externals.iter().any(|external| {
        let external = external.place();
        external.ports.contains(&i32::from(address.port()))
            && external
                .cidrs
                .iter()
                .any(|cidr| endpoint::may_hold(cidr, address.ip()))
    })
}
