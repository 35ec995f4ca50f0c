//! What the operator does to a running Postgres cluster: each transition as a table, and every mix of outdated pods
//! and waiting settings carried out on a toy cluster whose invariants must hold all the way.

mod archive;
mod decisions;
mod settings;
mod settling;

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_model::desired::postgres::parameters;
use bailiwick_model::facts::patroni::{
    MemberFact, MemberRole, PatroniFacts, SettingChange, UNREACHABLE,
};
use bailiwick_model::facts::{Facts, Observed, PodFact, StatefulSetFact};
use bailiwick_model::patroni::step::PatroniStep;
use bailiwick_model::patroni::steps;
use bailiwick_model::plan::Plan;
use bailiwick_model::step::Step;

use crate::fixture::{self, planned, tr_with};

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

fn restart(ordinal: i32) -> Step {
    Step::Patroni(PatroniStep::Restart {
        member: member(ordinal),
    })
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
