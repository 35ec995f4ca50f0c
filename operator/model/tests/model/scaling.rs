//! Members of Postgres that leave: every mix of numbers, leaders, health and durability as one look, and clusters that
//! are scaled up and down until they settle, with what must hold all the way.

mod departures;
mod simulation;

use std::collections::BTreeMap;

use bailiwick_api::region::Region;
use bailiwick_model::desired::desired;
use bailiwick_model::desired::postgres::parameters;
use bailiwick_model::facts::patroni::{MemberFact, MemberRole, PatroniFacts, UNREACHABLE};
use bailiwick_model::facts::postgres::PostgresFacts;
use bailiwick_model::facts::{ClaimFact, Facts, Observed, PodFact, StatefulSetFact};
use bailiwick_model::plan::Plan;
use bailiwick_model::planner::plan;
use serde_json::{Value, json};

use crate::fixture::{self, identity, platform, tr_with};

fn member(ordinal: i32) -> String {
    format!("tr-pg-{ordinal}")
}

fn region(instances: i32, durability: &str) -> Region {
    tr_with(&format!(
        "spec: {{postgres: {{instances: {instances}, durability: {durability}}}}}"
    ))
}

fn planned(region: &Region, facts: &Facts) -> Plan {
    plan(region, &platform(), facts).expect("the Region is accepted")
}

/// How a toy member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    /// It follows, and commits wait for it if they wait for any.
    InSync,
    /// It follows, and no commit waits for it.
    Follows,
    /// Its pod is pending: nobody answers.
    Pending,
}

const HEALTHS: [Health; 3] = [Health::InSync, Health::Follows, Health::Pending];

/// A cluster of members, of whom one may lead.
#[derive(Clone, Debug)]
struct Cluster {
    members: BTreeMap<i32, Health>,
    leader: Option<i32>,
    replicas: i32,
    config: Value,
    /// Members that the primary still waits for.
    awaited: Vec<i32>,
    claims: i32,
}

impl Cluster {
    /// A settled cluster of a Region.
    fn of(region: &Region, leader: i32) -> Self {
        let instances = region.spec.postgres.instances;
        Self {
            members: (0..instances)
                .map(|ordinal| (ordinal, Health::InSync))
                .collect(),
            leader: Some(leader),
            replicas: instances,
            config: parameters::dynamic(&fixture::planned(region)),
            awaited: Vec::new(),
            claims: instances,
        }
    }

    fn role(&self, ordinal: i32, bounded: bool) -> MemberRole {
        match self.members.get(&ordinal) {
            _ if self.leader == Some(ordinal) => MemberRole::Primary,
            Some(Health::InSync) if !bounded => MemberRole::SyncStandby,
            _ => MemberRole::Replica,
        }
    }

    fn facts(&self, region: &Region) -> Facts {
        self.in_facts(region, fixture::facts_of_running(region))
    }

    /// The cluster as it is observed, in facts that say nothing of it yet.
    fn in_facts(&self, region: &Region, mut facts: Facts) -> Facts {
        facts.claims.live = (0..self.claims)
            .map(|ordinal| {
                let claim = ClaimFact {
                    labels: identity(region),
                    ..ClaimFact::default()
                };
                (format!("data-{}", member(ordinal)), claim)
            })
            .collect();
        let bounded = self.config["synchronous_mode"] == json!(false);
        let mut seen = PatroniFacts {
            config: self.config.clone(),
            ..PatroniFacts::default()
        };
        for (ordinal, health) in &self.members {
            let leads = self.leader == Some(*ordinal);
            let answers = *health != Health::Pending;
            facts.pods.live.insert(
                member(*ordinal),
                PodFact {
                    uid: format!("uid-{ordinal}"),
                    ready: answers,
                    ..PodFact::default()
                },
            );
            let state = match (answers, leads) {
                (false, _) => UNREACHABLE,
                (true, true) => "running",
                (true, false) => "streaming",
            };
            seen.members.insert(
                member(*ordinal),
                MemberFact {
                    role: self.role(*ordinal, bounded),
                    state: state.to_owned(),
                    timeline: Some(1),
                    lag_bytes: (answers && !leads).then_some(0),
                    pending_restart: false,
                    pending_settings: BTreeMap::new(),
                },
            );
        }
        facts.patroni = Observed::Seen(seen);
        facts.postgres = Observed::Seen(PostgresFacts {
            awaited: self
                .awaited
                .iter()
                .map(|ordinal| member(*ordinal))
                .collect(),
            ..PostgresFacts::default()
        });
        facts.stateful_sets.insert(
            "tr-pg".to_owned(),
            StatefulSetFact {
                observed: true,
                replicas: self.replicas,
                ..StatefulSetFact::default()
            },
        );
        facts
    }
}

/// The replicas that the StatefulSet is applied with.
fn replicas(plan: &Plan) -> i32 {
    desired(plan)
        .iter()
        .find(|manifest| manifest.id() == "StatefulSet/tr-pg")
        .and_then(|manifest| manifest.object.data["spec"]["replicas"].as_i64())
        .and_then(|replicas| i32::try_from(replicas).ok())
        .expect("a number of replicas")
}

/// The numbers that a durability allows.
fn allowed(instances: i32, durability: &str) -> bool {
    match durability {
        "Bounded" => instances % 2 == 1,
        "ZeroLoss" => instances >= 2,
        _ => true,
    }
}

/// Every way in which so many members can be.
fn mixes(count: i32) -> Vec<BTreeMap<i32, Health>> {
    let mut mixes = vec![BTreeMap::new()];
    for ordinal in 0..count {
        mixes = mixes
            .iter()
            .flat_map(|mix| {
                HEALTHS.map(|health| {
                    let mut mix = mix.clone();
                    mix.insert(ordinal, health);
                    mix
                })
            })
            .collect();
    }
    mixes
}
