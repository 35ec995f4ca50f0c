//! Who is restarted, replaced or made primary next, one look at a time.

use bailiwick_model::desired::postgres::parameters;
use bailiwick_model::facts::Observed;
use bailiwick_model::facts::patroni::MemberRole;
use bailiwick_model::facts::postgres::{PostgresFacts, RunningSettings};
use bailiwick_model::patroni::step::PatroniStep;
use bailiwick_model::patroni::steps;
use bailiwick_model::step::Step;
use serde_json::json;

use super::{Cluster, NEW, Phase, facts_with, member, plan_of, restart};
use crate::fixture::{planned, tr_with};

fn delete(ordinal: i32) -> Step {
    Step::DeletePod {
        name: member(ordinal),
        uid: format!("{}-0", member(ordinal)),
    }
}

fn switchover(from: i32, to: i32) -> Step {
    Step::Patroni(PatroniStep::Switchover {
        from: member(from),
        to: member(to),
    })
}

#[test]
fn each_single_decision() {
    let of = |instances: i32| Cluster::of(plan_of(instances, "PreferZeroLoss"), 0);
    let cases: Vec<(&str, Cluster, Vec<Step>)> = vec![
        ("nothing to do", of(3), vec![]),
        (
            "a replica first",
            of(3).outdated(&[0, 1, 2]),
            vec![delete(1)],
        ),
        (
            "the next one while the first starts",
            of(3).outdated(&[0, 2]).phase(1, Phase::Starting(1)),
            vec![],
        ),
        (
            "then the primary hands over",
            of(3).outdated(&[0]),
            vec![switchover(0, 1)],
        ),
        (
            "not while a replica is away",
            of(3).outdated(&[0]).phase(2, Phase::Starting(1)),
            vec![],
        ),
        (
            "not while a replica ends",
            of(3).outdated(&[1]).phase(2, Phase::Ending(1)),
            vec![],
        ),
        (
            "a dead pod at once",
            of(3).outdated(&[1, 2]).phase(2, Phase::Broken),
            vec![delete(2)],
        ),
        (
            "two dead pods, one after the other",
            of(3)
                .outdated(&[1, 2])
                .phase(1, Phase::Broken)
                .phase(2, Phase::Broken),
            vec![delete(1)],
        ),
        (
            "a dead pod of the right revision is Patroni's and the kubelet's",
            of(3).phase(1, Phase::Broken),
            vec![],
        ),
        (
            "nobody is disturbed while one is dead",
            of(3).outdated(&[2]).phase(1, Phase::Broken),
            vec![],
        ),
        (
            "a replica that starts is not deleted for being old",
            of(2).outdated(&[1]).phase(1, Phase::Starting(1)),
            vec![delete(1)],
        ),
        (
            "a replica that does not follow is not restarted",
            of(2)
                .pending(&[1], "shared_buffers", "1", "2")
                .phase(1, Phase::Starting(1)),
            vec![],
        ),
        (
            "a new pod brings new settings too",
            of(2)
                .outdated(&[1])
                .pending(&[1], "shared_buffers", "1", "2"),
            vec![delete(1)],
        ),
        (
            "a restart in place when alone",
            of(1).pending(&[0], "shared_buffers", "1", "2"),
            vec![restart(0)],
        ),
        (
            "a new pod when alone",
            of(1).outdated(&[0]),
            vec![delete(0)],
        ),
    ];
    for (what, cluster, expected) in cases {
        assert_eq!(steps(&cluster.plan, &cluster.facts()), expected, "{what}");
    }
}

#[test]
fn nobody_is_restarted_while_the_files_have_what_the_server_cannot_take() {
    let cluster = Cluster::of(plan_of(2, "PreferZeroLoss"), 0).outdated(&[0, 1]);
    for (pending, expected) in [(false, vec![]), (true, vec![delete(1)])] {
        let name = "subtransaction_buffers".to_owned();
        let running = RunningSettings {
            refused: Some([(name.clone(), "invalid value".to_owned())].into()),
            // What only waits for a restart is refused with the same words.
            pending: pending.then_some(name).into_iter().collect(),
            ..RunningSettings::default()
        };
        let facts = facts_with(&cluster, |facts, _| {
            facts.postgres = Observed::Seen(PostgresFacts {
                running: Some(running),
                ..PostgresFacts::default()
            });
        });
        assert_eq!(steps(&cluster.plan, &facts), expected, "pending: {pending}");
    }
}

#[test]
fn when_in_doubt_nothing_is_disturbed() {
    let cluster = Cluster::of(plan_of(2, "PreferZeroLoss"), 0).outdated(&[0, 1]);
    let plan = &cluster.plan;
    assert_eq!(steps(plan, &cluster.facts()), [delete(1)]);

    let maintenance = facts_with(&cluster, |_, seen| seen.config["pause"] = json!(true));
    assert_eq!(steps(plan, &maintenance), []);

    let no_primary = facts_with(&cluster, |_, seen| {
        for member in seen.members.values_mut() {
            member.role = MemberRole::Replica;
        }
    });
    assert_eq!(steps(plan, &no_primary), []);

    let unobserved = facts_with(&cluster, |facts, _| {
        facts
            .stateful_sets
            .get_mut("tr-pg")
            .expect("a set")
            .observed = false;
    });
    assert_eq!(steps(plan, &unobserved), []);

    // Its pods are ready: that Patroni cannot be read says nothing of them.
    let mut unseen = cluster.facts();
    unseen.patroni = Observed::NotAsked;
    assert_eq!(steps(plan, &unseen), []);
}

#[test]
fn pods_that_never_came_up_are_replaced_without_patroni() {
    let cluster = Cluster::of(plan_of(2, "PreferZeroLoss"), 0)
        .outdated(&[0, 1])
        .phase(0, Phase::Broken)
        .phase(1, Phase::Broken);
    let mut facts = cluster.facts();
    facts.patroni = Observed::NotAsked;
    assert_eq!(steps(&cluster.plan, &facts), [delete(0)]);
}

#[test]
fn pods_that_are_all_unready_are_rolled_when_their_members_serve() {
    let cluster = Cluster::of(plan_of(3, "PreferZeroLoss"), 0).outdated(&[0, 1, 2]);
    let unready = |names: &[&str]| {
        let mut facts = cluster.facts();
        for name in names {
            facts.pods.live.get_mut(*name).expect("a pod").ready = false;
        }
        facts
    };
    let all = unready(&["tr-pg-0", "tr-pg-1", "tr-pg-2"]);
    assert_eq!(steps(&cluster.plan, &all), [delete(1)]);

    // The first new pod is not ready either: the others stay as they are.
    let mut first = all;
    first.pods.live.get_mut("tr-pg-1").expect("a pod").revision = Some(NEW.to_owned());
    assert_eq!(steps(&cluster.plan, &first), []);
}

#[test]
fn the_successor_is_ready() {
    let cluster =
        Cluster::of(plan_of(3, "PreferZeroLoss"), 0).pending(&[0], "shared_buffers", "1", "2");
    assert_eq!(steps(&cluster.plan, &cluster.facts()), [switchover(0, 1)]);
    let mut facts = cluster.facts();
    facts.pods.live.get_mut("tr-pg-1").expect("a pod").ready = false;
    assert_eq!(steps(&cluster.plan, &facts), []);
}

#[test]
fn the_successor_is_one_that_commits_waited_for() {
    let cluster = Cluster::of(plan_of(3, "PreferZeroLoss"), 0).outdated(&[0]);
    let only_last = facts_with(&cluster, |_, seen| {
        seen.members.get_mut("tr-pg-1").expect("a member").role = MemberRole::Replica;
    });
    assert_eq!(steps(&cluster.plan, &only_last), [switchover(0, 2)]);

    let none = facts_with(&cluster, |_, seen| {
        for name in ["tr-pg-1", "tr-pg-2"] {
            seen.members.get_mut(name).expect("a member").role = MemberRole::Replica;
        }
    });
    assert_eq!(steps(&cluster.plan, &none), [], "nobody would be lossless");
    let bounded = plan_of(3, "Bounded");
    let wanted = parameters::dynamic(&bounded);
    let none = facts_with(&cluster, |_, seen| {
        seen.config = wanted;
        for (name, lag) in [("tr-pg-1", 4096), ("tr-pg-2", 0)] {
            let member = seen.members.get_mut(name).expect("a member");
            member.role = MemberRole::Replica;
            member.lag_bytes = Some(lag);
        }
    });
    assert_eq!(
        steps(&bounded, &none),
        [switchover(0, 2)],
        "the one with least to replay"
    );
}

#[test]
fn one_that_patroni_would_not_let_lead_is_no_successor() {
    let cluster = Cluster::of(plan_of(3, "PreferZeroLoss"), 0).outdated(&[0]);
    for (lags, expected) in [
        ([(1 << 20) + 1, 4096], Some(2)),
        ([1 << 20, (1 << 20) + 1], Some(1)),
        ([(1 << 20) + 1, (1 << 20) + 1], None),
    ] {
        let facts = facts_with(&cluster, |_, seen| {
            for (name, lag) in ["tr-pg-1", "tr-pg-2"].into_iter().zip(lags) {
                seen.members.get_mut(name).expect("a member").lag_bytes = Some(lag);
            }
        });
        let expected: Vec<Step> = expected.map(|to| switchover(0, to)).into_iter().collect();
        assert_eq!(steps(&cluster.plan, &facts), expected, "{lags:?}");
    }
}

#[test]
fn a_replica_that_lags_far_holds_everything_up() {
    let cluster = Cluster::of(plan_of(3, "PreferZeroLoss"), 0).outdated(&[0, 1]);
    for lag in [None, Some(1 << 30)] {
        let facts = facts_with(&cluster, |_, seen| {
            seen.members.get_mut("tr-pg-2").expect("a member").lag_bytes = lag;
        });
        assert_eq!(steps(&cluster.plan, &facts), [], "{lag:?}");
    }
}

#[test]
fn nothing_is_done_to_a_region_that_is_stopped_on_purpose() {
    for field in ["hibernated", "paused"] {
        let plan = planned(&tr_with(&format!("spec: {{lifecycle: {{{field}: true}}}}")));
        let cluster = Cluster::of(plan, 0).outdated(&[0, 1]);
        assert_eq!(steps(&cluster.plan, &cluster.facts()), [], "{field}");
    }
}
