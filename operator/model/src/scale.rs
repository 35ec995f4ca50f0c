//! How many members of Postgres there are to be just now. More are made at once; too many leave one at a time, the
//! highest ordinal first, and never the primary nor the last that holds what was committed. The spec and the facts in,
//! a number and what it waits for out; no I/O.
//!
//! A StatefulSet stops its highest ordinals and asks nobody what they do. So the number of its replicas is lowered only
//! when the member that it would stop may go: the primary hands over first, to a member that stays.

use std::fmt;

use bailiwick_api::MAX_INSTANCES;
use bailiwick_api::region::{Durability, RegionSpec};
use serde_json::{Value, json};

use crate::facts::patroni::{MemberFact, MemberRole, PatroniFacts, same};
use crate::facts::{Facts, PodFact};
use crate::names::Names;

/// The members of a Region's Postgres, now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// How many the StatefulSet is to have.
    pub replicas: i32,
    /// How many there are or are to be, counting those that leave until their pods are gone.
    pub present: i32,
    /// Whether no pod of a member is there, not even one that ends: the object store takes WAL until then.
    pub ended: bool,
    /// The members that leave, or are to leave: their ordinals are the spec's `instances` and above.
    pub leaving: Option<Leaving>,
}

/// What becomes of the member that leaves next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// The member.
    pub member: String,
    /// What is to be done for it, or waited for.
    pub what: Departure,
}

/// What a member that is too many does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Departure {
    /// It goes: nothing is in its way.
    Goes,
    /// It is the primary, and hands over to this member first.
    HandsOver(String),
    /// It stays until something changes.
    Waits(Wait),
}

/// Why a member that is too many stays for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Patroni could not be read, so nobody knows who leads.
    PatroniNotRead,
    /// Somebody has put Patroni into its maintenance mode.
    Maintenance,
    /// No member is a running primary: Patroni may choose any of them.
    NoPrimary,
    /// It is the primary, and no member that stays could take over without loss.
    NoSuccessor,
    /// It is the last that serves beside the primary, though others are to stay.
    LastStandby,
    /// How many members commits wait for is being changed.
    SynchronousMode,
    /// Commits may still wait for a member that has left.
    Quorum,
}

impl Wait {
    /// Whether it goes by without anybody doing anything, as a rule.
    #[must_use]
    pub const fn passes(self) -> bool {
        matches!(self, Self::SynchronousMode | Self::Quorum)
    }
}

impl fmt::Display for Leaving {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { member, what } = self;
        match what {
            Departure::Goes => write!(out, "{member} leaves"),
            Departure::HandsOver(to) => {
                write!(out, "{member} is the primary and hands over to {to}")
            }
            Departure::Waits(wait) => match wait {
                Wait::PatroniNotRead => write!(
                    out,
                    "{member} is to leave and Patroni could not be read: see condition PostgresAvailable"
                ),
                Wait::Maintenance => write!(
                    out,
                    "{member} is to leave and Patroni is in maintenance mode: end it with `patronictl resume`"
                ),
                Wait::NoPrimary => write!(
                    out,
                    "{member} is to leave and no member is a running primary: see condition PostgresAvailable"
                ),
                Wait::NoSuccessor => write!(
                    out,
                    "{member} is the primary and no member that stays is in sync: bring one of them up, or set \
                     spec.postgres.instances back"
                ),
                Wait::LastStandby => write!(
                    out,
                    "{member} is the last that could take over from the primary, and none of the others that stay is \
                     in sync: bring one of them up, or set spec.postgres.instances back"
                ),
                Wait::SynchronousMode => write!(
                    out,
                    "{member} is to leave once Patroni has taken over how many members commits wait for"
                ),
                Wait::Quorum => write!(
                    out,
                    "{member} is to leave once commits no longer wait for a member that has left"
                ),
            },
        }
    }
}

/// The members of a Region's Postgres by its spec and what is seen.
#[must_use]
pub fn members(names: &Names, spec: &RegionSpec, facts: &Facts) -> Members {
    let wanted = spec.postgres.instances;
    let present = present(names, spec, facts);
    let ended = pods(names, facts) == 0;
    if spec.lifecycle.hibernated {
        return Members {
            replicas: 0,
            present,
            ended,
            leaving: None,
        };
    }
    // Nobody runs: the volumes say how many there were, and the one with the newest data may be any of them.
    let running = replicas(names, facts).filter(|replicas| *replicas > 0);
    let current = running.unwrap_or_else(|| volumes(names, facts));
    let replicas = current.max(wanted);
    if present > replicas {
        // The one before is still going.
        return Members {
            replicas,
            present,
            ended,
            leaving: Some(Leaving {
                member: names.postgres_member(present - 1),
                what: Departure::Goes,
            }),
        };
    }
    if current <= wanted {
        return Members {
            replicas,
            present: replicas,
            ended,
            leaving: None,
        };
    }
    let member = names.postgres_member(current - 1);
    let what = if running.is_none() {
        Departure::Waits(Wait::NoPrimary)
    } else {
        Cluster::of(names, spec, facts).map_or_else(Departure::Waits, |it| it.departure(current))
    };
    Members {
        replicas: current - i32::from(what == Departure::Goes),
        present: current,
        ended,
        leaving: Some(Leaving { member, what }),
    }
}

/// How many members there are or are to be: those of the spec, of the StatefulSet, and those whose pods are still there.
/// These are the ones that Patroni may say something of.
#[must_use]
pub fn present(names: &Names, spec: &RegionSpec, facts: &Facts) -> i32 {
    let of_set = replicas(names, facts).unwrap_or(0);
    spec.postgres.instances.max(of_set).max(pods(names, facts))
}

/// How many there are by their pods, those that end among them.
fn pods(names: &Names, facts: &Facts) -> i32 {
    highest(|ordinal| {
        facts
            .pods
            .live
            .contains_key(&names.postgres_member(ordinal))
    })
}

/// How many the StatefulSet has; none while there is no StatefulSet.
fn replicas(names: &Names, facts: &Facts) -> Option<i32> {
    let set = facts.stateful_sets.get(&names.postgres())?;
    Some(set.replicas.clamp(0, MAX_INSTANCES))
}

/// How many members there were by the volumes that they left.
fn volumes(names: &Names, facts: &Facts) -> i32 {
    highest(|ordinal| {
        facts
            .claims
            .live
            .contains_key(&names.postgres_claim(ordinal))
    })
}

/// One more than the highest ordinal for which something is there.
fn highest(is_there: impl Fn(i32) -> bool) -> i32 {
    (0..MAX_INSTANCES)
        .rev()
        .find(|ordinal| is_there(*ordinal))
        .map_or(0, |ordinal| ordinal + 1)
}

/// A cluster with a running primary.
struct Cluster<'a> {
    names: &'a Names,
    spec: &'a RegionSpec,
    facts: &'a Facts,
    patroni: &'a PatroniFacts,
    primary: &'a str,
}

impl<'a> Cluster<'a> {
    fn of(names: &'a Names, spec: &'a RegionSpec, facts: &'a Facts) -> Result<Self, Wait> {
        let patroni = facts.patroni.seen().ok_or(Wait::PatroniNotRead)?;
        if patroni.in_maintenance() {
            return Err(Wait::Maintenance);
        }
        let primary = patroni.primary().ok_or(Wait::NoPrimary)?;
        // One whose pod is going takes its lead with it.
        let stays = |pod: &PodFact| !pod.terminating;
        facts
            .pods
            .live
            .get(primary)
            .filter(|pod| stays(pod))
            .ok_or(Wait::NoPrimary)?;
        Ok(Self {
            names,
            spec,
            facts,
            patroni,
            primary,
        })
    }

    fn waits_for_standbys(&self) -> bool {
        self.spec.postgres.durability != Durability::Bounded
    }

    /// What the last of `current` members does.
    fn departure(&self, current: i32) -> Departure {
        let member = self.names.postgres_member(current - 1);
        if member == self.primary {
            return (0..self.spec.postgres.instances)
                .map(|ordinal| self.names.postgres_member(ordinal))
                .filter(|name| self.could_lead(name))
                // Of equals the first.
                .min_by_key(|name| self.fact(name).and_then(|fact| fact.lag_bytes))
                .map_or(Departure::Waits(Wait::NoSuccessor), Departure::HandsOver);
        }
        if self.mode_changes(current) {
            return Departure::Waits(Wait::SynchronousMode);
        }
        if self.waits_for_one_that_left(current) {
            return Departure::Waits(Wait::Quorum);
        }
        if self.is_leaned_on(&member) && !self.another_serves(current - 1) {
            return Departure::Waits(Wait::LastStandby);
        }
        Departure::Goes
    }

    fn fact(&self, member: &str) -> Option<&MemberFact> {
        self.patroni.members.get(member)
    }

    /// Whether a member could take over without losing a row: it follows closely, and commits wait for it if they
    /// wait for any.
    fn could_lead(&self, member: &str) -> bool {
        let in_sync = |role| match role {
            MemberRole::Primary => false,
            MemberRole::SyncStandby => true,
            MemberRole::Replica => !self.waits_for_standbys(),
        };
        let pod = self.facts.pods.live.get(member);
        pod.is_some_and(|pod| pod.ready && !pod.terminating)
            && self
                .fact(member)
                .is_some_and(|fact| fact.could_take_over() && in_sync(fact.role))
    }

    /// Whether how many members commits wait for is not what it is to be with this many.
    fn mode_changes(&self, current: i32) -> bool {
        let is = |key: &str| self.patroni.config.get(key).cloned().unwrap_or_default();
        synchronous(self.spec, current)
            .iter()
            .any(|(key, wanted)| !same(wanted, &is(key)))
    }

    /// Whether the primary still counts on a member beyond these, or it is not known. Until it does not, a failover
    /// might ask for the vote of one that is gone.
    fn waits_for_one_that_left(&self, current: i32) -> bool {
        self.waits_for_standbys()
            && self.facts.postgres.seen().is_none_or(|seen| {
                (current..MAX_INSTANCES)
                    .map(|ordinal| self.names.postgres_member(ordinal))
                    .any(|gone| seen.awaited.contains(&gone))
            })
    }

    /// Whether somebody would miss the member: it could take over, or may be one that commits wait for.
    fn is_leaned_on(&self, member: &str) -> bool {
        self.fact(member).map_or_else(
            || self.waits_for_standbys(),
            |fact| fact.role == MemberRole::SyncStandby || fact.serves(),
        )
    }

    /// Whether of the first `staying` members another than the primary could take over; nobody asks for one when the
    /// primary alone is to stay.
    fn another_serves(&self, staying: i32) -> bool {
        staying == 1
            || (0..staying)
                .map(|ordinal| self.names.postgres_member(ordinal))
                .any(|name| name != self.primary && self.could_lead(&name))
    }
}

/// What commits wait for with so many members, in Patroni's words.
#[must_use]
pub fn synchronous(spec: &RegionSpec, members: i32) -> [(&'static str, Value); 2] {
    let durability = spec.postgres.durability;
    let mode = match (durability, members) {
        (Durability::Bounded, _) => json!(false),
        // With one standby there is no choice for a quorum to make.
        (_, ..=2) => json!(true),
        _ => json!("quorum"),
    };
    [
        ("synchronous_mode", mode),
        (
            "synchronous_mode_strict",
            json!(durability == Durability::ZeroLoss),
        ),
    ]
}
