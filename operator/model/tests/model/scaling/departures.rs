//! Who leaves, who waits and why: each mix as one look.

use std::collections::BTreeMap;

use bailiwick_api::region::Region;
use bailiwick_model::facts::patroni::PatroniFacts;
use bailiwick_model::facts::postgres::PostgresFacts;
use bailiwick_model::facts::{Facts, Observed, PodFact, ReadFailure};
use bailiwick_model::names::Names;
use bailiwick_model::outcome::Outcome;
use bailiwick_model::patroni::step::PatroniStep;
use bailiwick_model::patroni::steps;
use bailiwick_model::plan::Plan;
use bailiwick_model::scale::{self, Departure, Wait};
use bailiwick_model::status::status;
use bailiwick_model::step::Step;
use jiff::Timestamp;
use serde_json::json;

use super::{Cluster, Health, allowed, member, mixes, planned, region, replicas};
use crate::fixture::{self, tr_with};

/// What one look did in all the mixes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    looks: usize,
    left: usize,
    handed_over: usize,
    waited: BTreeMap<&'static str, usize>,
}

#[test]
fn whoever_leaves_is_neither_the_primary_nor_the_last_in_sync_nor_one_of_two() {
    let mut counts = Counts::default();
    for durability in ["Bounded", "PreferZeroLoss", "ZeroLoss"] {
        for (from, to) in (1..=5).flat_map(|from| (1..from).map(move |to| (from, to))) {
            if !allowed(from, durability) || !allowed(to, durability) {
                continue;
            }
            let region = region(to, durability);
            let look = Look {
                facts: fixture::facts_of_running(&region),
                plan: fixture::planned(&region),
                region,
                durability,
            };
            let settled = Cluster::of(&self::region(from, durability), 0);
            for leader in (0..from).map(Some).chain([None]) {
                for members in mixes(from) {
                    if leader.is_some_and(|leader| members[&leader] != Health::InSync) {
                        continue;
                    }
                    let mut cluster = settled.clone();
                    cluster.members = members;
                    cluster.leader = leader;
                    look.at(&cluster, &mut counts);
                }
            }
        }
    }
    let waited = |wait| counts.waited.get(wait).copied().unwrap_or_default();
    assert_eq!(
        (
            counts.looks,
            counts.left,
            counts.handed_over,
            waited("NoPrimary"),
            waited("NoSuccessor"),
            waited("LastStandby"),
        ),
        (7008, 2784, 590, 2709, 313, 612)
    );
    assert_eq!(
        counts.left + counts.handed_over + counts.waited.values().sum::<usize>(),
        counts.looks
    );
}

/// A Region whose cluster has too many members.
struct Look {
    region: Region,
    /// The facts but for the cluster.
    facts: Facts,
    /// The plan but for the members.
    plan: Plan,
    durability: &'static str,
}

impl Look {
    /// Looks at a cluster, and checks what is done.
    fn at(&self, cluster: &Cluster, counts: &mut Counts) {
        let facts = cluster.in_facts(&self.region, self.facts.clone());
        let mut plan = self.plan.clone();
        plan.members = scale::members(&plan.names, &plan.spec, &facts);
        let now = plan.members.replicas;
        let steps = steps(&plan, &facts);
        let what = format!(
            "{} {cluster:?} to {}",
            self.durability, self.region.spec.postgres.instances
        );
        counts.looks += 1;
        assert!(
            (cluster.replicas - 1..=cluster.replicas).contains(&now),
            "{what}: {now}"
        );
        assert!(steps.len() <= 1, "{what}: {steps:?}");
        match &plan.members.leaving.as_ref().expect("one is to leave").what {
            Departure::Goes => {
                assert_eq!(now, cluster.replicas - 1, "{what}");
                assert_eq!(steps, [], "{what}: nobody else is disturbed");
                self.check_leaves(cluster, now, &what);
                counts.left += 1;
            }
            Departure::HandsOver(to) => {
                assert_eq!(now, cluster.replicas, "{what}");
                self.check_hands_over(cluster, to, &steps, &what);
                counts.handed_over += 1;
            }
            Departure::Waits(wait) => {
                assert_eq!(now, cluster.replicas, "{what}");
                let wait = match wait {
                    Wait::NoPrimary => "NoPrimary",
                    Wait::NoSuccessor => "NoSuccessor",
                    Wait::LastStandby => "LastStandby",
                    other => panic!("{what}: {other:?}"),
                };
                *counts.waited.entry(wait).or_default() += 1;
            }
        }
    }

    fn could_lead(&self, health: Health) -> bool {
        match health {
            Health::InSync => true,
            Health::Follows => self.durability == "Bounded",
            Health::Pending => false,
        }
    }

    fn check_leaves(&self, cluster: &Cluster, now: i32, what: &str) {
        let leader = cluster.leader.expect("somebody leads when somebody leaves");
        assert!(leader < now, "{what}: the primary leaves");
        let others = |range: std::ops::Range<i32>| {
            range
                .filter(|it| *it != leader && self.could_lead(cluster.members[it]))
                .count()
        };
        assert!(
            now == 1 || others(0..now) > 0 || others(0..cluster.replicas) == 0,
            "{what}: the last that could take over leaves"
        );
    }

    fn check_hands_over(&self, cluster: &Cluster, to: &str, steps: &[Step], what: &str) {
        let leader = cluster.leader.expect("a primary");
        assert_eq!(leader, cluster.replicas - 1, "{what}: it need not");
        let successor = (0..self.region.spec.postgres.instances)
            .find(|ordinal| member(*ordinal) == *to)
            .expect("one that stays");
        assert!(
            self.could_lead(cluster.members[&successor]),
            "{what}: to one that is not in sync"
        );
        let switchover = Step::Patroni(PatroniStep::Switchover {
            from: member(leader),
            to: to.to_owned(),
        });
        assert_eq!(steps, [switchover], "{what}");
    }
}

/// What one look says of two members of which the second leads and one is to stay, after an edit of the facts.
fn waits(edit: impl FnOnce(&mut Facts)) -> (i32, Option<Departure>) {
    let region = region(2, "PreferZeroLoss");
    let mut facts = Cluster::of(&self::region(3, "PreferZeroLoss"), 0).facts(&region);
    edit(&mut facts);
    let plan = planned(&region, &facts);
    (
        replicas(&plan),
        plan.members.leaving.clone().map(|leaving| leaving.what),
    )
}

fn patroni(facts: &mut Facts) -> &mut PatroniFacts {
    match &mut facts.patroni {
        Observed::Seen(seen) => seen,
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_leaves_waits_while_anything_is_not_known() {
    assert_eq!(waits(|_| {}), (2, Some(Departure::Goes)));
    let stays = |wait| (3, Some(Departure::Waits(wait)));
    assert_eq!(
        waits(|facts| facts.patroni = Observed::Failed(ReadFailure::TimedOut.into())),
        stays(Wait::PatroniNotRead)
    );
    assert_eq!(
        waits(|facts| facts.patroni = Observed::NotAsked),
        stays(Wait::PatroniNotRead)
    );
    assert_eq!(
        waits(|facts| patroni(facts).config["pause"] = json!(true)),
        stays(Wait::Maintenance)
    );
    assert_eq!(
        waits(|facts| patroni(facts).config["synchronous_mode"] = json!(true)),
        stays(Wait::SynchronousMode)
    );
    assert_eq!(
        waits(|facts| patroni(facts).config["synchronous_mode_strict"] = json!(true)),
        stays(Wait::SynchronousMode)
    );
    assert_eq!(
        waits(|facts| facts.postgres = Observed::Failed(ReadFailure::TimedOut.into())),
        stays(Wait::Quorum)
    );
    assert_eq!(
        waits(|facts| {
            facts.postgres = Observed::Seen(PostgresFacts {
                awaited: [member(3)].into(),
                ..PostgresFacts::default()
            });
        }),
        stays(Wait::Quorum)
    );
    assert_eq!(
        waits(|facts| facts
            .pods
            .live
            .get_mut(&member(0))
            .expect("a pod")
            .terminating = true),
        stays(Wait::NoPrimary)
    );
    // The one before it is still going.
    let going = |facts: &mut Facts| {
        facts.pods.live.insert(member(3), PodFact::default());
    };
    assert_eq!(waits(going), (3, Some(Departure::Goes)));
    let last = |facts: &mut Facts| {
        let set = facts.stateful_sets.get_mut("tr-pg").expect("a set");
        set.replicas = 2;
    };
    assert_eq!(waits(last), (2, Some(Departure::Goes)), "nobody follows it");
}

#[test]
fn the_primary_hands_over_to_one_that_patroni_lets_lead() {
    const NEAR: i64 = 1 << 20;
    let wanted = region(2, "PreferZeroLoss");
    for (lags, expected) in [
        ([0, 0], Departure::HandsOver(member(0))),
        ([4096, 0], Departure::HandsOver(member(1))),
        ([NEAR + 1, NEAR], Departure::HandsOver(member(1))),
        ([NEAR + 1, NEAR + 1], Departure::Waits(Wait::NoSuccessor)),
    ] {
        let mut facts = Cluster::of(&region(3, "PreferZeroLoss"), 2).facts(&wanted);
        let Observed::Seen(seen) = &mut facts.patroni else {
            panic!("Patroni is read");
        };
        for (ordinal, lag) in (0..).zip(lags) {
            seen.members
                .get_mut(&member(ordinal))
                .expect("a member")
                .lag_bytes = Some(lag);
        }
        let leaving = planned(&wanted, &facts)
            .members
            .leaving
            .expect("one leaves");
        assert_eq!(
            (leaving.member, leaving.what),
            (member(2), expected),
            "{lags:?}"
        );
    }
}

#[test]
fn growth_is_immediate_and_hibernation_stops_all() {
    let grown = region(5, "ZeroLoss");
    let mut facts = Cluster::of(&region(2, "ZeroLoss"), 1).facts(&grown);
    facts.patroni = Observed::Failed(ReadFailure::TimedOut.into());
    let plan = planned(&grown, &facts);
    assert_eq!((replicas(&plan), plan.members.leaving.clone()), (5, None));

    let asleep = tr_with("spec: {postgres: {instances: 1}, lifecycle: {hibernated: true}}");
    let facts = Cluster::of(&region(3, "PreferZeroLoss"), 2).facts(&asleep);
    assert_eq!(replicas(&planned(&asleep, &facts)), 0);
}

#[test]
fn a_cluster_that_wakes_or_is_taken_up_again_starts_all_that_have_a_volume() {
    let region = region(1, "PreferZeroLoss");
    let mut cluster = Cluster::of(&self::region(3, "PreferZeroLoss"), 2);
    cluster.members.clear();
    cluster.replicas = 0;
    let mut facts = cluster.facts(&region);
    facts.patroni = Observed::NotAsked;
    assert_eq!(replicas(&planned(&region, &facts)), 3, "it wakes");
    facts.stateful_sets.clear();
    assert_eq!(
        replicas(&planned(&region, &facts)),
        3,
        "it is taken up again"
    );
    facts.claims.live.clear();
    assert_eq!(replicas(&planned(&region, &facts)), 1, "it is new");
}

/// Reason and message of a condition for three members, of which one is to stay, that are like this.
fn told(type_: &str, leader: i32, members: [Health; 3]) -> (String, String) {
    let region = region(1, "PreferZeroLoss");
    let mut cluster = Cluster::of(&self::region(3, "PreferZeroLoss"), leader);
    cluster.members = (0..).zip(members).collect();
    let facts = cluster.facts(&region);
    let plan = planned(&region, &facts);
    let outcome = Outcome::Applied(fixture::applied(&plan, &facts));
    status(&region, &outcome, Timestamp::UNIX_EPOCH)
        .conditions
        .into_iter()
        .find(|condition| condition.type_ == type_)
        .map(|condition| (condition.reason, condition.message))
        .expect("the condition is set")
}

#[test]
fn who_leaves_and_why_one_does_not_stands_in_the_status() {
    use Health::{InSync, Pending};
    let (reason, message) = told("Progressing", 0, [InSync; 3]);
    assert_eq!((&*reason, &*message), ("MembersLeaving", "tr-pg-2 leaves."));
    let (reason, message) = told("Progressing", 2, [InSync; 3]);
    assert_eq!(reason, "MembersLeaving");
    assert_eq!(message, "tr-pg-2 is the primary and hands over to tr-pg-0.");
    for type_ in ["Progressing", "Degraded"] {
        let (reason, message) = told(type_, 2, [Pending, InSync, InSync]);
        assert_eq!(reason, "ScaleDownWaits");
        assert!(
            message.starts_with("tr-pg-2 is the primary and no member that stays is in sync"),
            "{message}"
        );
    }
}

#[test]
fn jobs_find_a_primary_that_is_to_leave() {
    let region = region(1, "PreferZeroLoss");
    let mut cluster = Cluster::of(&self::region(3, "PreferZeroLoss"), 2);
    cluster.members.insert(0, Health::Pending);
    let plan = planned(&region, &cluster.facts(&region));
    let files = bailiwick_model::desired::postgres::config::files(&plan);
    let host = Names::of(&region).postgres_member_host(2);
    assert!(files["pgbackrest-job.conf"].contains(&format!("pg3-host={host}\n")));
}
