//! What the operator does to a running Postgres cluster: each transition as a table, and every mix of outdated pods
//! and waiting settings carried out on a toy cluster whose invariants must hold all the way.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a toy that is used wrongly must end the test"
)]

mod fixture;

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_model::desired::postgres::parameters;
use bailiwick_model::facts::{Facts, JobFact, Observed, PodFact, StatefulSetFact};
use bailiwick_model::names::{BACKUP_BUCKET, BACKUP_USER};
use bailiwick_model::patroni::{
    MemberFact, MemberRole, PatroniFacts, PatroniStep, SettingChange, UNREACHABLE, config_patch,
    job_result, steps,
};
use bailiwick_model::plan::Plan;
use bailiwick_model::sql::{PostgresFacts, RunningSettings};
use bailiwick_model::step::Step;
use bailiwick_model::store::{self, BucketFact, StoreFacts, UserFact};
use fixture::{planned, tr_with};
use jiff::Timestamp;
use serde_json::json;

const OLD: &str = "tr-pg-old";
const NEW: &str = "tr-pg-new";

/// A Region of so many members.
fn plan_of(instances: i32, durability: &str) -> Plan {
    planned(&tr_with(&format!(
        "spec: {{postgres: {{instances: {instances}, durability: {durability}}}}}"
    )))
}

fn member(ordinal: i32) -> String {
    format!("tr-pg-{ordinal}")
}

/// What a toy member does just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// The pod ends, for so many more ticks.
    Ending(u8),
    /// Its Postgres comes up, for so many more ticks.
    Starting(u8),
    /// Its Patroni does not answer and its pod is not ready: nothing but a new pod helps.
    Broken,
}

#[derive(Clone, Debug)]
struct Toy {
    uid: u32,
    revision: &'static str,
    phase: Phase,
    pending: BTreeMap<String, SettingChange>,
}

/// A cluster that does what it is told, slowly.
struct Cluster {
    plan: Plan,
    members: BTreeMap<String, Toy>,
    leader: Option<String>,
    /// Who becomes the leader at the next tick.
    promoted: Option<String>,
    switchovers: usize,
    failovers: usize,
    disturbed: BTreeSet<String>,
}

impl Cluster {
    fn of(plan: Plan, leader: i32) -> Self {
        let members = (0..plan.spec.postgres.instances)
            .map(|ordinal| {
                let toy = Toy {
                    uid: 0,
                    revision: NEW,
                    phase: Phase::Serving,
                    pending: BTreeMap::new(),
                };
                (member(ordinal), toy)
            })
            .collect();
        Self {
            plan,
            members,
            leader: Some(member(leader)),
            promoted: None,
            switchovers: 0,
            failovers: 0,
            disturbed: BTreeSet::new(),
        }
    }

    fn outdated(mut self, ordinals: &[i32]) -> Self {
        for ordinal in ordinals {
            self.toy(&member(*ordinal)).revision = OLD;
        }
        self
    }

    fn pending(mut self, ordinals: &[i32], name: &str, from: &str, to: &str) -> Self {
        for ordinal in ordinals {
            let change = SettingChange {
                from: from.to_owned(),
                to: to.to_owned(),
            };
            self.toy(&member(*ordinal))
                .pending
                .insert(name.to_owned(), change);
        }
        self
    }

    fn phase(mut self, ordinal: i32, phase: Phase) -> Self {
        self.toy(&member(ordinal)).phase = phase;
        if self.leader == Some(member(ordinal)) && phase != Phase::Serving {
            self.leader = None;
        }
        self
    }

    fn toy(&mut self, name: &str) -> &mut Toy {
        self.members
            .get_mut(name)
            .unwrap_or_else(|| panic!("no member {name}"))
    }

    /// The cluster as the operator observes it.
    fn facts(&self) -> Facts {
        let mut facts = fixture::facts(&tr_with("{}"));
        let mut seen = PatroniFacts {
            config: parameters::dynamic(&self.plan),
            ..PatroniFacts::default()
        };
        for (name, toy) in &self.members {
            let leads = self.leader.as_ref() == Some(name);
            facts.pods.live.insert(
                name.clone(),
                PodFact {
                    uid: format!("{name}-{}", toy.uid),
                    ready: toy.phase == Phase::Serving,
                    terminating: matches!(toy.phase, Phase::Ending(_)),
                    revision: Some(toy.revision.to_owned()),
                    ..PodFact::default()
                },
            );
            let state = match toy.phase {
                Phase::Serving if leads => "running",
                Phase::Serving => "streaming",
                Phase::Ending(_) => "stopping",
                Phase::Starting(_) => "starting",
                Phase::Broken => UNREACHABLE,
            };
            seen.members.insert(
                name.clone(),
                MemberFact {
                    role: if leads {
                        MemberRole::Primary
                    } else {
                        MemberRole::SyncStandby
                    },
                    state: state.to_owned(),
                    timeline: Some(1),
                    lag_bytes: (!leads).then_some(0),
                    pending_restart: !toy.pending.is_empty(),
                    pending_settings: toy.pending.clone(),
                },
            );
        }
        facts.patroni = Observed::Seen(seen);
        facts.stateful_sets.insert(
            "tr-pg".to_owned(),
            StatefulSetFact {
                observed: true,
                replicas: self.plan.spec.postgres.instances,
                ready: 0,
                fenced: true,
                marks_claims: true,
                volume_size: None,
                update_revision: Some(NEW.to_owned()),
            },
        );
        facts
    }

    /// Does a step as Kubernetes and Patroni do it.
    fn take(&mut self, step: &Step) {
        match step {
            Step::DeletePod { name, uid } => {
                let toy = self.toy(name);
                assert_eq!(uid, &format!("{name}-{}", toy.uid), "the wrong pod");
                toy.phase = Phase::Ending(2);
                self.disturbed.insert(name.clone());
                if self.leader.as_ref() == Some(name) {
                    self.leader = None;
                    self.failovers += 1;
                }
            }
            Step::Patroni(PatroniStep::Restart { member }) => {
                self.restart(&member.clone());
                self.disturbed.insert(member.clone());
            }
            Step::Patroni(PatroniStep::Switchover { from, to }) => {
                assert_eq!(
                    self.leader.as_ref(),
                    Some(from),
                    "only the leader can hand over"
                );
                assert_eq!(
                    self.toy(to).phase,
                    Phase::Serving,
                    "only to one that serves"
                );
                self.leader = None;
                self.promoted = Some(to.clone());
                self.switchovers += 1;
                // Patroni starts the former primary anew, as a replica: here it keeps waiting, the worse case.
                self.toy(from).phase = Phase::Starting(2);
            }
            other => panic!("a step that is not for members: {other:?}"),
        }
    }

    /// A restart brings settings into force, except that no replica can have less than its primary.
    fn restart(&mut self, name: &str) {
        let leads = self.leader.as_deref() == Some(name);
        let held: BTreeSet<String> = self
            .leader
            .as_ref()
            .filter(|_| !leads)
            .map(|leader| {
                let pending = &self.members[leader].pending;
                let number = |text: &str| text.parse::<u32>().ok();
                pending
                    .iter()
                    .filter(|(_, change)| number(&change.to) < number(&change.from))
                    .map(|(setting, _)| setting.clone())
                    .collect()
            })
            .unwrap_or_default();
        let toy = self.toy(name);
        toy.pending
            .retain(|setting, _| setting == "max_connections" && held.contains(setting));
        toy.phase = Phase::Starting(2);
    }

    fn tick(&mut self) {
        if let Some(promoted) = self.promoted.take() {
            self.leader = Some(promoted);
        }
        let names: Vec<String> = self.members.keys().cloned().collect();
        for name in &names {
            let toy = self.toy(name);
            match toy.phase {
                Phase::Ending(0) => {
                    toy.uid += 1;
                    toy.revision = NEW;
                    toy.phase = Phase::Starting(2);
                    let leader = self.leader.clone();
                    self.restart(name);
                    self.leader = leader;
                }
                Phase::Ending(left) => toy.phase = Phase::Ending(left - 1),
                Phase::Starting(0) => toy.phase = Phase::Serving,
                Phase::Starting(left) => toy.phase = Phase::Starting(left - 1),
                Phase::Serving | Phase::Broken => {}
            }
        }
        if self.leader.is_none() && self.promoted.is_none() {
            self.leader = names
                .into_iter()
                .find(|name| self.members[name].phase == Phase::Serving);
        }
    }

    fn down(&self) -> usize {
        self.members
            .values()
            .filter(|toy| toy.phase != Phase::Serving)
            .count()
    }

    fn current(&self) -> bool {
        self.down() == 0
            && self
                .members
                .values()
                .all(|toy| toy.revision == NEW && toy.pending.is_empty())
    }

    /// Looks and acts until all is current. At most one member more may be down than at the start.
    fn settle(&mut self) -> usize {
        let allowed = self.down().max(1);
        let mut taken = 0;
        for _ in 0..200 {
            let steps = steps(&self.plan, &self.facts());
            assert!(steps.len() <= 1, "one member at a time: {steps:?}");
            for step in steps {
                let before = self.down();
                self.take(&step);
                taken += 1;
                assert!(self.down() <= allowed, "{step:?} with {before} down");
            }
            if self.current() && self.leader.is_some() {
                return taken;
            }
            self.tick();
        }
        panic!(
            "not settled after {taken} steps: {:?}, leader {:?}",
            self.members, self.leader
        );
    }
}

/// All subsets of the first `count` ordinals.
fn subsets(count: i32) -> Vec<Vec<i32>> {
    (0..1_i32 << count)
        .map(|mask| {
            (0..count)
                .filter(|ordinal| mask & (1 << ordinal) != 0)
                .collect()
        })
        .collect()
}

#[test]
fn every_mix_of_outdated_pods_and_waiting_settings_settles_without_two_members_down() {
    let mut runs = 0;
    for instances in 1..=3 {
        for durability in ["Bounded", "PreferZeroLoss"] {
            let plan = plan_of(instances, durability);
            for leader in 0..instances {
                for outdated in subsets(instances) {
                    for pending in subsets(instances) {
                        let mut cluster = Cluster::of(plan.clone(), leader)
                            .outdated(&outdated)
                            .pending(&pending, "shared_buffers", "128MB", "256MB");
                        let taken = cluster.settle();
                        let touched: BTreeSet<i32> =
                            outdated.iter().chain(&pending).copied().collect();
                        let primary_touched = touched.contains(&leader);
                        // Each of them once, and one switchover when the primary is among them and has a successor.
                        let expected =
                            touched.len() + usize::from(primary_touched && instances > 1);
                        assert_eq!(
                            taken, expected,
                            "{instances} {leader} {outdated:?} {pending:?}"
                        );
                        let lone = instances == 1 && !outdated.is_empty();
                        assert_eq!(
                            cluster.failovers,
                            usize::from(lone),
                            "a primary with successors hands over"
                        );
                        runs += 1;
                    }
                }
            }
        }
    }
    assert_eq!(runs, 2 * (4 + 2 * 16 + 3 * 64));
}

#[test]
fn a_setting_that_no_replica_may_have_smaller_restarts_the_primary_in_place() {
    for instances in 1..=3 {
        let all: Vec<i32> = (0..instances).collect();
        let mut cluster = Cluster::of(plan_of(instances, "PreferZeroLoss"), 0).pending(
            &all,
            "max_connections",
            "200",
            "100",
        );
        cluster.settle();
        assert_eq!(cluster.switchovers, 0);
        assert_eq!(cluster.disturbed.len(), all.len());
    }
}

#[test]
fn the_same_setting_raised_goes_to_the_replicas_first() {
    let mut cluster = Cluster::of(plan_of(2, "PreferZeroLoss"), 0).pending(
        &[0, 1],
        "max_connections",
        "100",
        "200",
    );
    assert_eq!(steps(&cluster.plan, &cluster.facts()), [restart(1)]);
    cluster.settle();
    assert_eq!(cluster.switchovers, 1);
}

#[test]
fn a_lowered_and_another_setting_together_settle() {
    for instances in 1..=3 {
        let all: Vec<i32> = (0..instances).collect();
        let mut cluster = Cluster::of(plan_of(instances, "PreferZeroLoss"), 0)
            .pending(&all, "max_connections", "200", "100")
            .pending(&all, "shared_buffers", "128MB", "256MB")
            .outdated(&all[..1]);
        cluster.settle();
    }
}

fn delete(ordinal: i32) -> Step {
    Step::DeletePod {
        name: member(ordinal),
        uid: format!("{}-0", member(ordinal)),
    }
}

fn restart(ordinal: i32) -> Step {
    Step::Patroni(PatroniStep::Restart {
        member: member(ordinal),
    })
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

/// Facts of two members, the first the primary, with an edit.
fn facts_with(cluster: &Cluster, edit: impl FnOnce(&mut Facts, &mut PatroniFacts)) -> Facts {
    let mut facts = cluster.facts();
    let Observed::Seen(mut seen) = std::mem::take(&mut facts.patroni) else {
        panic!("the toy is always seen");
    };
    edit(&mut facts, &mut seen);
    facts.patroni = Observed::Seen(seen);
    facts
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

#[test]
fn a_patch_is_the_smallest_difference() {
    let wanted = json!({
        "ttl": 30,
        "failsafe_mode": true,
        "postgresql": {"use_slots": true, "parameters": {"work_mem": "4MB", "jit": "off"}},
    });
    for (what, seen, expected) in [
        ("the same", wanted.clone(), None),
        (
            "what Patroni takes for the same",
            json!({"ttl": "30", "failsafe_mode": "True",
                   "postgresql": {"use_slots": true, "parameters": {"work_mem": "4MB", "jit": "off"}}}),
            None,
        ),
        (
            "keys of others are left alone",
            json!({"ttl": 30, "failsafe_mode": true, "pause": true, "slots": {"mine": {"type": "physical"}},
                   "postgresql": {"use_slots": true, "pg_hba": [], "parameters": {"work_mem": "4MB", "jit": "off"}}}),
            None,
        ),
        (
            "one setting",
            json!({"ttl": 30, "failsafe_mode": true,
                   "postgresql": {"use_slots": true, "parameters": {"work_mem": "8MB", "jit": "off"}}}),
            Some(json!({"postgresql": {"parameters": {"work_mem": "4MB"}}})),
        ),
        (
            "a setting that is no longer wanted",
            json!({"ttl": 30, "failsafe_mode": true,
                   "postgresql": {"use_slots": true, "parameters": {"work_mem": "4MB", "jit": "off", "autovacuum": "off"}}}),
            Some(json!({"postgresql": {"parameters": {"autovacuum": null}}})),
        ),
        (
            "no settings at all",
            json!({"ttl": 20}),
            Some(wanted.clone()),
        ),
        ("not read", serde_json::Value::Null, None),
    ] {
        let patch = config_patch(&wanted, &seen);
        assert_eq!(patch, expected, "{what}");
    }
}

#[test]
fn settings_come_before_any_restart() {
    let cluster = Cluster::of(plan_of(2, "PreferZeroLoss"), 0).outdated(&[0, 1]);
    let facts = facts_with(&cluster, |_, seen| seen.config["ttl"] = json!(60));
    assert_eq!(
        steps(&cluster.plan, &facts),
        [Step::Patroni(PatroniStep::PatchConfig(json!({"ttl": 30})))]
    );
}

/// The kind and name of what a step creates.
fn created(steps: &[Step]) -> Vec<String> {
    steps
        .iter()
        .filter_map(|step| match step {
            Step::Create(manifest) => Some(manifest.id()),
            _ => None,
        })
        .collect()
}

#[test]
fn the_archive_is_made_once_the_store_and_a_primary_are_there() {
    let cluster = Cluster::of(plan_of(2, "PreferZeroLoss"), 0);
    let plan = &cluster.plan;
    let mut facts = cluster.facts();
    assert_eq!(steps(plan, &facts), [], "the store was not seen");
    facts.store = Observed::Seen(store_with_archive());
    assert_eq!(created(&steps(plan, &facts)), ["Job/tr-pg-stanza-i1"]);

    let running = JobFact {
        uid: "stanza-1".to_owned(),
        ..JobFact::default()
    };
    facts
        .jobs
        .insert("tr-pg-stanza-i1".to_owned(), running.clone());
    assert_eq!(steps(plan, &facts), [], "it runs");

    let ended: Timestamp = "2026-11-21T08:00:00Z".parse().expect("a time");
    let failed = JobFact {
        failed: true,
        ended: Some(ended),
        ..running.clone()
    };
    facts.jobs.insert("tr-pg-stanza-i1".to_owned(), failed);
    facts.now = "2026-11-21T08:00:59Z".parse().expect("a time");
    assert_eq!(steps(plan, &facts), [], "too early to try again");
    facts.now = "2026-11-21T08:01:00Z".parse().expect("a time");
    assert_eq!(
        steps(plan, &facts),
        [Step::DeleteJob {
            name: "tr-pg-stanza-i1".to_owned(),
            uid: "stanza-1".to_owned()
        }]
    );

    let done = JobFact {
        succeeded: true,
        ended: Some(ended),
        ..running
    };
    facts
        .jobs
        .insert("tr-pg-stanza-i1".to_owned(), done.clone());
    assert_eq!(created(&steps(plan, &facts)), ["Job/tr-pg-first-backup-i1"]);
    facts.jobs.insert("tr-pg-first-backup-i1".to_owned(), done);
    assert_eq!(steps(plan, &facts), [], "all done");

    let no_primary = Cluster::of(plan.clone(), 0).phase(0, Phase::Starting(1));
    let mut facts = no_primary.facts();
    facts.store = Observed::Seen(store_with_archive());
    assert_eq!(
        created(&steps(plan, &facts)),
        [""; 0],
        "without a primary there is nothing to archive"
    );
}

/// A store that is ready to take WAL.
fn store_with_archive() -> StoreFacts {
    let policy = store::policy_name(BACKUP_USER);
    StoreFacts {
        encrypts: true,
        buckets: [(BACKUP_BUCKET.to_owned(), BucketFact::default())].into(),
        policies: [(policy.clone(), json!({}))].into(),
        users: [(
            BACKUP_USER.to_owned(),
            UserFact {
                enabled: true,
                key_current: true,
                policies: [policy].into(),
                ..UserFact::default()
            },
        )]
        .into(),
        ..StoreFacts::default()
    }
}

#[test]
fn the_archive_waits_for_its_bucket_and_its_user() {
    let cluster = Cluster::of(plan_of(2, "PreferZeroLoss"), 0);
    let edits: [fn(&mut StoreFacts); 6] = [
        |store| store.encrypts = false,
        |store| store.buckets.clear(),
        |store| store.policies.clear(),
        |store| store.users.clear(),
        |store| {
            for user in store.users.values_mut() {
                user.enabled = false;
            }
        },
        |store| {
            for user in store.users.values_mut() {
                user.key_current = false;
            }
        },
    ];
    for (index, edit) in edits.into_iter().enumerate() {
        let mut store = store_with_archive();
        edit(&mut store);
        let mut facts = cluster.facts();
        facts.store = Observed::Seen(store);
        assert_eq!(steps(&cluster.plan, &facts), [], "edit {index}");
    }
}

#[test]
fn a_jobs_result_is_that_of_its_own_pod() {
    let mut facts = Facts::default();
    let pod = |job: &str, message: Option<&str>| PodFact {
        labels: [("batch.kubernetes.io/job-name".to_owned(), job.to_owned())].into(),
        termination_message: message.map(str::to_owned),
        ..PodFact::default()
    };
    facts.pods.live.insert(
        "a".to_owned(),
        pod("other", Some(r#"{"state": "Failed", "reason": "Timeout"}"#)),
    );
    facts.pods.live.insert("b".to_owned(), pod("stanza", None));
    assert_eq!(job_result(&facts, "stanza"), None);
    facts.pods.live.insert(
        "c".to_owned(),
        pod(
            "stanza",
            Some(r#"{"state": "Succeeded", "stanza": "tr-i1"}"#),
        ),
    );
    assert_eq!(
        job_result(&facts, "stanza").map(|it| it.stanza),
        Some("tr-i1".to_owned())
    );
}

#[test]
fn a_jobs_result_is_that_of_the_pod_that_ended_last_whatever_its_name() {
    let of = |names: [&str; 2]| {
        let pod = |ended: &str, message: &str| PodFact {
            labels: [(
                "batch.kubernetes.io/job-name".to_owned(),
                "stanza".to_owned(),
            )]
            .into(),
            termination_message: Some(message.to_owned()),
            ended: ended.parse().ok(),
            ..PodFact::default()
        };
        let mut facts = Facts::default();
        let failed = pod(
            "2026-11-21T08:00:00Z",
            r#"{"state": "Failed", "reason": "Timeout", "stanza": "tr-i1"}"#,
        );
        let succeeded = pod(
            "2026-11-21T08:01:00Z",
            r#"{"state": "Succeeded", "stanza": "tr-i2"}"#,
        );
        facts.pods.live.insert(names[0].to_owned(), failed);
        facts.pods.live.insert(names[1].to_owned(), succeeded);
        job_result(&facts, "stanza").map(|it| it.stanza)
    };
    for names in [["stanza-a", "stanza-z"], ["stanza-z", "stanza-a"]] {
        assert_eq!(of(names), Some("tr-i2".to_owned()), "{names:?}");
    }
}
