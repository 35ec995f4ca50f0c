//! Connections that stand: network plugins let through what was established before a policy shut it
//! (<https://kubernetes.io/docs/concepts/services-networking/network-policies/>). A plan, the facts and what was known of
//! the ways into and out of a Region in; which are open, which were shut and may still have connections, and which
//! sessions must end for it out. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_api::region::{ResidencyStatus, Service, ShutWay, WaysStatus};
use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};
use serde::Serialize;

use crate::evidence::Hash;
use crate::facts::postgres::Sessions;
use crate::facts::{Facts, PodFact};
use crate::names::{LABEL_NAME, component};
use crate::plan::Plan;

/// How long after a way left the policies a connection of it may still be made, on the slowest of nodes: plugins take
/// seconds. Differences of clocks are in it as well.
pub const SETTLE: SignedDuration = SignedDuration::from_secs(30);
/// How many ways of one kind that were shut are told apart; the oldest beyond are one.
const TOLD_APART: usize = 16;
/// What is found of a way that may still have connections.
pub(crate) const OF_BEFORE: &str = "connections of before";
/// What stands for the name of those that are not told apart. No name of a spec has a `*`.
const OTHERS: &str = "*";
/// How much of a hash a way's text has.
const HASH: usize = 16;

/// What a way connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Clients to Postgres.
    Postgres,
    /// Clients to the object store.
    ObjectStore,
    /// Postgres to a declared endpoint.
    External,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Postgres, Self::ObjectStore, Self::External];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "Postgres",
            Self::ObjectStore => "ObjectStore",
            Self::External => "External",
        }
    }

    /// The kind of a way's text; none of a text that is no way's.
    #[must_use]
    pub fn of(way: &str) -> Option<Self> {
        let kind = way.split('/').next()?;
        Self::ALL.into_iter().find(|it| it.as_str() == kind)
    }

    /// Whether sessions of Postgres may hold what is connected this way: as its clients, or on behalf of them.
    const fn is_held_by_sessions(self) -> bool {
        matches!(self, Self::Postgres | Self::External)
    }
}

/// The client or endpoint of a way's text, for people.
#[must_use]
pub fn name_of(way: &str) -> &str {
    match way.split('/').nth(1) {
        None | Some(OTHERS) => "others",
        Some(name) => name,
    }
}

/// Whether a channel's finding is of connections that stand: nothing that is listed ends it, it may be there for days.
#[must_use]
pub fn is_of_before(finding: &str) -> bool {
    finding.contains(OF_BEFORE)
}

/// A way as text: what it connects, its name in the spec, and a hash of all that the spec says of it, so that a selector
/// or a range that is changed is another way.
fn way(kind: Kind, name: &str, said: &impl Serialize) -> String {
    let said = serde_json::to_vec(said).unwrap_or_default();
    let hash = Hash::of(&said).to_string();
    format!(
        "{}/{name}/{}",
        kind.as_str(),
        hash.get(..HASH).unwrap_or(&hash)
    )
}

/// The ways that the policies of a plan let through.
#[must_use]
pub fn let_through(plan: &Plan) -> BTreeSet<String> {
    if plan.breach.is_active() {
        return BTreeSet::new();
    }
    let network = &plan.spec.network;
    let clients = network.clients.iter().flat_map(|client| {
        client.to.iter().map(|service| {
            let kind = match service {
                Service::Postgres => Kind::Postgres,
                Service::ObjectStore => Kind::ObjectStore,
            };
            way(
                kind,
                &client.name,
                &(&client.namespace_selector, &client.pod_selector),
            )
        })
    });
    let externals = network.external.iter().map(|endpoint| {
        way(
            Kind::External,
            &endpoint.name,
            &(&endpoint.cidrs, &endpoint.ports),
        )
    });
    clients.chain(externals).collect()
}

/// What is known of the ways after `before`, once the policies of this plan are applied. A Region of which nothing is
/// known begins with what its policies let through. The policies of one that is paused stay as they are, unless it is
/// shut off. Where the API server refused some, each may be as it was or as it is desired.
#[must_use]
pub fn ways(before: Option<&WaysStatus>, plan: &Plan, facts: &Facts) -> WaysStatus {
    let untouched = plan.spec.lifecycle.paused && !plan.breach.is_active();
    let open: BTreeSet<String> = match before {
        Some(before) if facts.boundary_is_refused() => {
            let open = before.open.iter().cloned();
            open.chain(let_through(plan)).collect()
        }
        Some(before) if untouched => before.open.iter().cloned().collect(),
        _ => let_through(plan),
    };
    let mut shut: BTreeMap<String, Timestamp> = BTreeMap::new();
    if let Some(before) = before {
        shut.extend(before.shut.iter().map(|it| (it.way.clone(), it.since)));
        // One that was let in again in between is shut anew.
        shut.extend(before.open.iter().map(|way| (way.clone(), facts.now)));
    }
    // What is let through again holds its connections by right.
    shut.retain(|way, since| !open.contains(way) && may_stand(facts, way, *since));
    WaysStatus {
        open: open.into_iter().collect(),
        shut: told_apart(&shut),
    }
}

/// What is known when the ways that were shut cannot be read any more: any may have been, until `now`.
#[must_use]
pub fn doubted(now: Timestamp) -> WaysStatus {
    let shut = Kind::ALL.map(|kind| ShutWay {
        way: others(kind),
        since: now,
    });
    WaysStatus {
        open: Vec::new(),
        shut: shut.into(),
    }
}

/// The way that stands for several of a kind.
fn others(kind: Kind) -> String {
    format!("{}/{OTHERS}/{OTHERS}", kind.as_str())
}

/// The ways that were shut, a bounded number: of the oldest of a kind it is known when the last of them was shut, and
/// they are one.
fn told_apart(shut: &BTreeMap<String, Timestamp>) -> Vec<ShutWay> {
    let mut told = Vec::new();
    for kind in Kind::ALL {
        let mut of_kind: Vec<ShutWay> = shut
            .iter()
            .filter(|(way, _)| Kind::of(way) == Some(kind))
            .map(|(way, since)| ShutWay {
                way: way.clone(),
                since: *since,
            })
            .collect();
        of_kind.sort_by(|a, b| b.since.cmp(&a.since).then(a.way.cmp(&b.way)));
        if of_kind.len() > TOLD_APART {
            let since = of_kind[TOLD_APART - 1].since;
            of_kind.truncate(TOLD_APART - 1);
            of_kind.push(ShutWay {
                way: others(kind),
                since,
            });
        }
        told.extend(of_kind);
    }
    told.sort_by(|a, b| a.way.cmp(&b.way));
    told
}

/// From when on nothing was let through a way any more that was shut then, on any node: a pod that is made before that may
/// have been connected to anew. A whole second, since the API server tells in whole seconds, rounded down, when a pod was
/// made: one that is made in the last part of a second would else count as one of before.
#[must_use]
pub fn closed_at(since: Timestamp) -> Timestamp {
    let closed = since.checked_add(SETTLE).unwrap_or(Timestamp::MAX);
    let second = TimestampRound::new()
        .smallest(Unit::Second)
        .mode(RoundMode::Ceil);
    closed.round(second).unwrap_or(Timestamp::MAX)
}

/// Whether a way that was shut may still have connections. What was not read may hold some.
fn may_stand(facts: &Facts, way: &str, since: Timestamp) -> bool {
    let closed = closed_at(since);
    match Kind::of(way) {
        None => false,
        Some(Kind::ObjectStore) => has_older_pod(facts, component::OBJECT_STORE, closed),
        Some(Kind::External) => has_older_pod(facts, component::POSTGRES, closed),
        Some(Kind::Postgres) => {
            facts.now < closed
                || pods_of(facts, component::POSTGRES)
                    .filter(|(_, pod)| is_older(pod, closed))
                    .any(|(member, _)| {
                        sessions_of(facts, member).is_none_or(|sessions| {
                            sessions.values().any(|it| begun(facts, it) < closed)
                        })
                    })
        }
    }
}

/// When the oldest of some sessions began, by the clock of the look.
fn begun(facts: &Facts, sessions: &Sessions) -> Timestamp {
    facts
        .now
        .checked_sub(sessions.oldest)
        .unwrap_or(Timestamp::MIN)
}

/// The sessions of applications on a member; none when they were not read.
fn sessions_of<'a>(facts: &'a Facts, member: &str) -> Option<&'a BTreeMap<String, Sessions>> {
    let seen = facts.postgres.seen()?;
    if facts.patroni.seen()?.primary() == Some(member) {
        return Some(&seen.sessions);
    }
    seen.standby_sessions.get(member)
}

fn pods_of<'a>(
    facts: &'a Facts,
    component: &'a str,
) -> impl Iterator<Item = (&'a String, &'a PodFact)> {
    facts.pods.live.iter().filter(move |(_, pod)| {
        !pod.finished && pod.labels.get(LABEL_NAME).map(String::as_str) == Some(component)
    })
}

fn is_older(pod: &PodFact, than: Timestamp) -> bool {
    pod.made.is_none_or(|made| made < than)
}

fn has_older_pod(facts: &Facts, component: &str, than: Timestamp) -> bool {
    first_older_pod(facts, component, than).is_some()
}

/// The first pod of a component, by name, that was made before a moment, or nobody knows when.
pub(crate) fn first_older_pod<'a>(
    facts: &'a Facts,
    component: &'a str,
    than: Timestamp,
) -> Option<&'a String> {
    pods_of(facts, component)
        .filter(|(_, pod)| is_older(pod, than))
        .map(|(name, _)| name)
        .min()
}

/// Whether the sessions of standbys must be known too: the Region is shut off, or a way was shut that sessions may hold.
#[must_use]
pub fn asks_for_sessions(residency: &ResidencyStatus) -> bool {
    residency.breach.is_active()
        || residency
            .ways
            .iter()
            .flat_map(|ways| &ways.shut)
            .any(|shut| Kind::of(&shut.way).is_some_and(Kind::is_held_by_sessions))
}

/// The age from which on sessions of applications are ended: they were begun before a way was shut for good that they may
/// hold. None while there is no such way. Those who are let in connect again; nobody else does.
#[must_use]
pub fn stale_sessions(ways: &WaysStatus, now: Timestamp) -> Option<SignedDuration> {
    ways.shut
        .iter()
        .filter(|shut| Kind::of(&shut.way).is_some_and(Kind::is_held_by_sessions))
        .map(|shut| closed_at(shut.since))
        .filter(|closed| *closed <= now)
        .max()
        .map(|closed| now.duration_since(closed))
}
