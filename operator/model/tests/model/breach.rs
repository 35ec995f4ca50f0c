//! What a proven leak does to a Region, look by look: what shuts it off, what keeps it shut, and what opens it again.
//! Values in, values out.

use std::collections::BTreeMap;

use bailiwick_api::region::{
    BreachStatus, BreachedChannel, Exception, Region, RegionStatus, ResidencyStatus,
};
use bailiwick_model::breach::{HELD, known};
use bailiwick_model::canary::question::{Answer, Attempt, Class, Tried};
use bailiwick_model::canary::questions;
use bailiwick_model::channel::channels;
use bailiwick_model::desired::{boundary, desired_while_paused};
use bailiwick_model::facts::postgres::{PostgresFacts, Sessions};
use bailiwick_model::facts::store::{Outlet, StoreFacts};
use bailiwick_model::facts::{Facts, Observed, PodFact};
use bailiwick_model::flow::Guise;
use bailiwick_model::names::LABEL_TASK;
use bailiwick_model::plan::{Plan, Platform};
use bailiwick_model::planner::plan;
use bailiwick_model::sql::step::SqlStep;
use bailiwick_model::step::Step;
use bailiwick_model::steps::steps;
use bailiwick_model::{policy, sql};
use jiff::{SignedDuration, Timestamp};

use crate::fixture::{facts, platform, tr_with};

const BEGIN: Timestamp = Timestamp::constant(1_795_000_000, 0);

/// A Region and what is around it, one look after the other, a minute between each.
struct Looks {
    region: Region,
    platform: Platform,
    facts: Facts,
}

impl Looks {
    fn new(region: Region) -> Self {
        Self {
            facts: Facts {
                now: BEGIN,
                store: Observed::Seen(store()),
                admission: policy::names().map(str::to_owned).collect(),
                ..facts(&region)
            },
            platform: Platform {
                outside_address: Some("198.51.100.10:443".parse().unwrap()),
                ..platform()
            },
            region,
        }
    }

    /// Another look: the plan of it. Its breach is what the next one knows.
    fn look(&mut self) -> Plan {
        self.facts.now += SignedDuration::from_mins(1);
        let plan = plan(&self.region, &self.platform, &self.facts).expect("the Region is accepted");
        let found = channels(&plan, &self.facts, plan.assurance);
        let residency = ResidencyStatus {
            assurance: plan.assurance,
            channels: found.rows,
            exceptions: found.exceptions,
            checked_at: Some(self.facts.now),
            breach: plan.breach.clone(),
            ways: Some(plan.ways.clone()),
            evidence: None,
        };
        let status = self.region.status.get_or_insert_with(RegionStatus::default);
        status.residency = Some(residency);
        plan
    }

    /// Both canaries answer what this plan asks; `outcome` is that of addresses outside.
    fn answer(&mut self, plan: &Plan, outcome: Tried) {
        for (guise, question) in questions(plan) {
            let outcomes = question
                .targets
                .iter()
                .map(
                    |target| match (&target.attempt, target.class.allowed(guise)) {
                        (Attempt::Connect(_), true) => Tried::Reached,
                        (_, true) => Tried::Resolved,
                        (Attempt::Connect(_), false) if target.class == Class::OutsideAddress => {
                            outcome
                        }
                        (Attempt::Connect(_), false) => Tried::Blocked,
                        (_, false) => Tried::NotResolved,
                    },
                )
                .collect();
            let answer = Answer {
                question: question.id,
                outcomes,
            };
            self.tell(guise, &answer);
        }
    }

    fn tell(&mut self, guise: Guise, answer: &Answer) {
        let pod = PodFact {
            labels: [(LABEL_TASK.to_owned(), guise.label().to_owned())].into(),
            node: Some("tr-1".to_owned()),
            termination_message: Some(serde_json::to_string(answer).unwrap()),
            ended: Some(self.facts.now),
            ..PodFact::default()
        };
        let name = format!("tr-{}-{}", guise.label(), self.facts.now.as_second());
        self.facts.pods.live.insert(name, pod);
    }
}

/// A store that leads nowhere.
fn store() -> StoreFacts {
    StoreFacts {
        users_listed: true,
        region: "tr-ist-1".to_owned(),
        ..StoreFacts::default()
    }
}

/// The channels of a breach, with when each was first seen, in minutes from the beginning.
fn open(breach: &BreachStatus) -> Vec<(&str, i64)> {
    let minutes = |since: Timestamp| since.duration_since(BEGIN).as_mins();
    breach
        .channels
        .iter()
        .map(|one| (one.id.as_str(), minutes(one.since)))
        .collect()
}

/// The policies by which clients and declared endpoints are let through, as text.
fn ways(plan: &Plan) -> (bool, bool) {
    let policies: Vec<(String, String)> = boundary::manifests(plan)
        .iter()
        .map(|manifest| {
            let text = serde_json::to_string(&manifest.object).unwrap();
            (manifest.object.metadata.name.clone().unwrap(), text)
        })
        .collect();
    // As it is written: with the Region's own label.
    let mut label = plan.spec.network.clients[0].namespace_selector.clone();
    label
        .match_labels
        .get_or_insert_default()
        .insert("bailiwick.dev/region".to_owned(), "tr".to_owned());
    let label = serde_json::to_string(&label).unwrap();
    (
        policies.iter().any(|(_, text)| text.contains(&label)),
        policies
            .iter()
            .any(|(_, text)| text.contains("203.0.113.0/28")),
    )
}

fn without_endpoints() -> Region {
    tr_with(
        "{spec: {network: {clients: [{name: api, namespaceSelector: {matchLabels: {team: patient}}, to: [Postgres]}]}}}",
    )
}

fn with_endpoints() -> Region {
    tr_with(
        "{spec: {network: {
            clients: [{name: api, namespaceSelector: {matchLabels: {team: patient}}, to: [ObjectStore]}],
            external: [{name: mail, host: mail.example.org, cidrs: [203.0.113.0/28], ports: [443], location: tr-ist-1}]}}}",
    )
}

#[test]
fn a_leak_shuts_clients_off_in_the_look_that_finds_it_and_lets_them_in_once_none_is_found() {
    let mut looks = Looks::new(without_endpoints());
    let plan = looks.look();
    assert_eq!((open(&plan.breach), ways(&plan)), (vec![], (true, false)));
    looks.answer(&plan, Tried::Blocked);
    let plan = looks.look();
    assert_eq!(plan.breach, BreachStatus::default());

    looks.answer(&plan, Tried::Reached);
    let shut = looks.look();
    assert_eq!(open(&shut.breach), [("1", 3), ("9", 3)]);
    assert_eq!((shut.breach.count, ways(&shut)), (1, (false, false)));

    // Until the boundary that is shut was tried nothing is known, and what is not known opens nothing.
    let still = looks.look();
    assert_eq!(
        (&still.breach, ways(&still)),
        (&shut.breach, (false, false))
    );
    // It leaks on: it is told since when.
    looks.answer(&still, Tried::Reached);
    let still = looks.look();
    assert_eq!(open(&still.breach), [("1", 3), ("9", 3)]);
    assert_eq!(still.breach.count, 1);

    looks.answer(&still, Tried::Blocked);
    let released = looks.look();
    assert_eq!(
        (open(&released.breach), ways(&released)),
        (vec![], (true, false))
    );
    assert_eq!((released.breach.count, released.breach.since), (1, None));
    // The answer from before the breach speaks of the same boundary, and counts no more.
    let later = looks.look();
    assert_eq!(later.breach, released.breach);
    assert!(
        !questions(&later)
            .values()
            .any(|now| questions(&plan).values().any(|before| before.id == now.id)),
        "a question of before the breach is asked again"
    );

    looks.answer(&later, Tried::Reached);
    let again = looks.look();
    assert_eq!((again.breach.count, ways(&again)), (2, (false, false)));
}

/// Postgres with a session of each of two roles of applications.
fn held() -> PostgresFacts {
    PostgresFacts {
        sessions: BTreeMap::from([
            ("clinical_app_reader".to_owned(), Sessions::default()),
            ("clinical_app_writer".to_owned(), Sessions::default()),
        ]),
        ..PostgresFacts::default()
    }
}

/// Network plugins let through what stood before a policy shut it.
#[test]
fn connections_that_nobody_may_hold_are_ended() {
    let held = held();
    let ended = |plan: &Plan| -> Vec<String> {
        sql::steps(plan, &held)
            .iter()
            .filter_map(|step| match step {
                SqlStep::EndSessions { role, .. } => Some(role.clone()),
                _ => None,
            })
            .collect()
    };
    let both = ["clinical_app_reader", "clinical_app_writer"];
    let mut looks = Looks::new(without_endpoints());
    let open = looks.look();
    assert!(!open.breach.is_active());
    assert!(ended(&open).is_empty());
    let mut shut = open;
    shut.breach.since = Some(BEGIN);
    shut.breach.channels = vec![BreachedChannel {
        id: "1".to_owned(),
        since: BEGIN,
        finding: "reached".to_owned(),
    }];
    assert!(shut.breach.is_active());
    assert_eq!(ended(&shut), both);
    // Nobody is let in any more.
    let mut nobody = looks.look();
    nobody.spec.network.clients.clear();
    assert_eq!(ended(&nobody), both);
    let mut seen = held.clone();
    for step in sql::steps(&nobody, &held) {
        sql::settle(&mut seen, &step);
    }
    assert!(seen.sessions.is_empty());
}

#[test]
fn where_endpoints_are_declared_it_stays_shut_for_a_while() {
    let mut looks = Looks::new(with_endpoints());
    let plan = looks.look();
    assert_eq!(ways(&plan), (true, true));
    looks.answer(&plan, Tried::Reached);
    let shut = looks.look();
    assert_eq!(ways(&shut), (false, false));
    let begun = shut.breach.since.unwrap();
    loop {
        let plan = looks.look();
        looks.answer(&plan, Tried::Blocked);
        if looks.facts.now.duration_since(begun) >= HELD {
            // This look took place before the answer to it was there.
            let plan = looks.look();
            assert_eq!((open(&plan.breach), ways(&plan)), (vec![], (true, true)));
            break;
        }
        assert_eq!(ways(&plan), (false, false), "{}", looks.facts.now);
    }
}

#[test]
fn what_is_no_proof_shuts_nothing() {
    // A reset may be the enforcer's own.
    let mut looks = Looks::new(without_endpoints());
    let plan = looks.look();
    looks.answer(&plan, Tried::Refused);
    let plan = looks.look();
    assert_eq!(plan.breach, BreachStatus::default());
    let found = channels(&plan, &looks.facts, plan.assurance);
    assert!(found.open.iter().any(|(id, _)| *id == 1), "{found:?}");

    // Silence, garbage and a missing control.
    let mut looks = Looks::new(without_endpoints());
    let plan = looks.look();
    looks.answer(&plan, Tried::Failed);
    looks.facts.network_policies.clear();
    looks.facts.admission.clear();
    looks.facts.store = Observed::NotAsked;
    assert_eq!(looks.look().breach, BreachStatus::default());
}

#[test]
fn a_store_that_copies_elsewhere_is_a_leak_until_it_does_not() {
    let mut looks = Looks::new(without_endpoints());
    looks.look();
    let drifted = StoreFacts {
        outlets: [Outlet::SiteReplication].into(),
        ..store()
    };
    looks.facts.store = Observed::Seen(drifted);
    let shut = looks.look();
    assert_eq!(
        (open(&shut.breach), ways(&shut)),
        (vec![("18", 2)], (false, false))
    );
    // A store that does not answer has not stopped.
    looks.facts.store = Observed::NotAsked;
    assert_eq!(looks.look().breach, shut.breach);
    looks.facts.store = Observed::Seen(store());
    assert_eq!(ways(&looks.look()), (true, false));
}

#[test]
fn who_answers_for_a_channel_keeps_it_open_and_a_paused_region_is_shut_off_all_the_same() {
    let mut looks = Looks::new(without_endpoints());
    let plan = looks.look();
    looks.answer(&plan, Tried::Reached);
    let exceptions = &mut looks.region.spec.residency.exceptions;
    for channel in ["1", "9"] {
        exceptions.push(Exception {
            channel: channel.to_owned(),
            reason: "a drill".to_owned(),
            approved_by: "dpo@example.org".to_owned(),
            expires: BEGIN + SignedDuration::from_hours(1),
        });
    }
    assert_eq!(looks.look().breach, BreachStatus::default());
    looks.region.spec.residency.exceptions.clear();
    looks.region.spec.lifecycle.paused = true;
    let plan = looks.look();
    assert_eq!(open(&plan.breach), [("1", 3), ("9", 3)]);
    assert_eq!(ways(&plan), (false, false));
    // The boundary is all that is applied, and sessions are all that is ended.
    assert_eq!(desired_while_paused(&plan), boundary::manifests(&plan));
    looks.facts.postgres = Observed::Seen(held());
    let done = steps(&plan, &looks.facts);
    assert_eq!(done.len(), 2, "{done:?}");
    let ends = |step: &Step| matches!(step, Step::Sql(SqlStep::EndSessions { .. }));
    assert!(done.iter().all(ends), "{done:?}");
    // It is opened by nobody while it is paused.
    looks.answer(&plan, Tried::Blocked);
    let plan = looks.look();
    assert_eq!(ways(&plan), (false, false));
    assert!(plan.breach.is_active());
    looks.region.spec.lifecycle.paused = false;
    assert_eq!(ways(&looks.look()), (true, false));
    // One that is paused and does not leak is left as it is.
    looks.region.spec.lifecycle.paused = true;
    let plan = looks.look();
    assert_eq!(plan.breach.channels, []);
    assert_eq!(desired_while_paused(&plan), []);
    assert_eq!(steps(&plan, &looks.facts), []);
}

#[test]
fn what_the_operator_wrote_itself_outlives_a_status_that_tells_less() {
    let active = |count, id: &str| BreachStatus {
        count,
        since: Some(BEGIN),
        channels: vec![BreachedChannel {
            id: id.to_owned(),
            since: BEGIN,
            finding: "reached".to_owned(),
        }],
    };
    let over = |count| BreachStatus {
        count,
        ..BreachStatus::default()
    };
    for (status, written, expected) in [
        (over(0), Some(active(1, "1")), active(1, "1")),
        (over(1), Some(active(1, "1")), active(1, "1")),
        (active(1, "2"), Some(active(1, "1")), active(1, "1")),
        (over(0), Some(over(3)), over(3)),
        // Another replica has been there since.
        (over(2), Some(active(1, "1")), over(2)),
        (active(2, "2"), Some(over(1)), active(2, "2")),
        (active(1, "1"), Some(over(0)), active(1, "1")),
        (active(1, "1"), None, active(1, "1")),
    ] {
        let known = known(status.clone(), written.as_ref());
        assert_eq!(known, expected, "{status:?} {written:?}");
    }
}
