//! What becomes of connections that stand when a way into or out of a Region is shut: who is ended, what a channel says, and
//! when it is over. Looks in a row, each knowing what the one before wrote into the status.

use std::collections::BTreeMap;

use bailiwick_api::region::{ChannelState, Region, RegionStatus, ResidencyStatus};
use bailiwick_model::channel::{Channel, channels};
use bailiwick_model::desired::{object_store, postgres};
use bailiwick_model::facts::patroni::{MemberFact, MemberRole, PatroniFacts};
use bailiwick_model::facts::postgres::{PostgresFacts, Sessions};
use bailiwick_model::facts::{Facts, Observed, PodFact};
use bailiwick_model::names::LABEL_NAME;
use bailiwick_model::plan::Plan;
use bailiwick_model::planner::plan;
use bailiwick_model::sql;
use bailiwick_model::sql::step::SqlStep;
use bailiwick_model::ways::{Kind, SETTLE, asks_for_sessions};
use jiff::{SignedDuration, Timestamp};

use crate::fixture::{facts_of_running, platform, tr_with};

/// Two clients of both services, and an endpoint.
const BOTH: &str = "{spec: {postgres: {instances: 2}, network: {
    clients: [
        {name: api, namespaceSelector: {matchLabels: {team: patient}}, to: [Postgres, ObjectStore]},
        {name: lab, namespaceSelector: {matchLabels: {team: lab}}, to: [Postgres, ObjectStore]}],
    external: [{name: mail, host: mail.example.org, cidrs: [203.0.113.0/28], ports: [443], location: tr-ist-1}]}}}";
/// The lab is taken out.
const ONE: &str = "{spec: {postgres: {instances: 2}, network: {
    clients: [{name: api, namespaceSelector: {matchLabels: {team: patient}}, to: [Postgres, ObjectStore]}],
    external: [{name: mail, host: mail.example.org, cidrs: [203.0.113.0/28], ports: [443], location: tr-ist-1}]}}}";
/// The endpoint is.
const NO_MAIL: &str = "{spec: {postgres: {instances: 2}, network: {
    clients: [
        {name: api, namespaceSelector: {matchLabels: {team: patient}}, to: [Postgres, ObjectStore]},
        {name: lab, namespaceSelector: {matchLabels: {team: lab}}, to: [Postgres, ObjectStore]}]}}}";

struct Looks {
    region: Region,
    facts: Facts,
}

/// A Region of one server of each that runs since yesterday, `tr-pg-0` leading. Each member has a session of an hour.
fn running() -> Looks {
    let region = tr_with(BOTH);
    let mut facts = facts_of_running(&region);
    facts.now = "2026-11-21T08:00:00Z".parse().unwrap();
    facts.network_policies = ["tr", "tr-obs", "tr-drill"]
        .map(|namespace| format!("{namespace}/default-deny"))
        .into();
    let yesterday: Timestamp = "2026-11-20T08:00:00Z".parse().unwrap();
    for (name, component) in [
        ("tr-pg-0", postgres::COMPONENT),
        ("tr-pg-1", postgres::COMPONENT),
        ("tr-s3-0", object_store::COMPONENT),
    ] {
        let pod = PodFact {
            labels: BTreeMap::from([(LABEL_NAME.to_owned(), component.to_owned())]),
            made: Some(yesterday),
            ..PodFact::default()
        };
        facts.pods.live.insert(name.to_owned(), pod);
    }
    let member = |role| MemberFact {
        role,
        state: "running".to_owned(),
        timeline: Some(1),
        lag_bytes: None,
        pending_restart: false,
        pending_settings: BTreeMap::new(),
    };
    facts.patroni = Observed::Seen(PatroniFacts {
        members: BTreeMap::from([
            ("tr-pg-0".to_owned(), member(MemberRole::Primary)),
            ("tr-pg-1".to_owned(), member(MemberRole::Replica)),
        ]),
        ..PatroniFacts::default()
    });
    let held = BTreeMap::from([(
        "clinical_app_writer".to_owned(),
        Sessions {
            count: 3,
            oldest: SignedDuration::from_hours(1),
        },
    )]);
    facts.postgres = Observed::Seen(PostgresFacts {
        sessions: held.clone(),
        standby_sessions: BTreeMap::from([("tr-pg-1".to_owned(), held)]),
        ..PostgresFacts::default()
    });
    let mut looks = Looks { region, facts };
    looks.look();
    looks
}

impl Looks {
    /// A look; its status is what the next one knows.
    fn look(&mut self) -> Plan {
        let plan = plan(&self.region, &platform(), &self.facts).expect("the Region is accepted");
        let found = channels(&plan, &self.facts, plan.assurance);
        let status = self.region.status.get_or_insert_with(RegionStatus::default);
        status.residency = Some(ResidencyStatus {
            assurance: plan.assurance,
            channels: found.rows,
            exceptions: found.exceptions,
            checked_at: Some(self.facts.now),
            breach: plan.breach.clone(),
            ways: Some(plan.ways.clone()),
            evidence: None,
        });
        plan
    }

    /// The spec as somebody edits it; the status stays.
    fn edit(&mut self, spec: &str) {
        self.region.spec = tr_with(spec).spec;
    }

    fn pass(&mut self, time: SignedDuration) {
        self.facts.now += time;
        let Observed::Seen(seen) = &mut self.facts.postgres else {
            return;
        };
        let standbys = seen.standby_sessions.values_mut();
        for sessions in standbys
            .chain([&mut seen.sessions])
            .flat_map(BTreeMap::values_mut)
        {
            sessions.oldest += time;
        }
    }

    /// The sessions that this look ends: the standby, the role and the age from which on.
    fn ended(&self, plan: &Plan) -> Vec<(Option<String>, String, Option<SignedDuration>)> {
        let Some(seen) = self.facts.postgres.seen() else {
            return Vec::new();
        };
        sql::steps(plan, seen)
            .into_iter()
            .filter_map(|step| match step {
                SqlStep::EndSessions {
                    role,
                    standby,
                    from_age,
                } => Some((standby, role, from_age)),
                _ => None,
            })
            .collect()
    }

    /// Ends them, as the adapter does.
    fn end(&mut self, plan: &Plan) {
        let Observed::Seen(seen) = &mut self.facts.postgres else {
            return;
        };
        for step in sql::steps(plan, seen) {
            if matches!(step, SqlStep::EndSessions { .. }) {
                sql::settle(seen, &step);
            }
        }
    }

    fn finding(&self, plan: &Plan, id: u8) -> Option<String> {
        let verdict = Channel::of(id)?.judge(plan, &self.facts);
        let found = verdict.finding?;
        assert_eq!(verdict.state, ChannelState::Unknown);
        // Nothing was seen to get out: it is no reason for a quarantine.
        assert_ne!(verdict.leak, Some(true));
        Some(found)
    }

    fn make_anew(&mut self, pods: &[&str]) {
        for pod in pods {
            self.facts.pods.live.get_mut(*pod).unwrap().made = Some(self.facts.now);
        }
    }
}

fn shut(plan: &Plan) -> Vec<Kind> {
    let ways = plan.ways.shut.iter();
    ways.filter_map(|shut| Kind::of(&shut.way)).collect()
}

#[test]
fn nothing_is_ended_while_nothing_is_shut() {
    let mut looks = running();
    looks.pass(SignedDuration::from_mins(5));
    let plan = looks.look();
    assert_eq!(plan.ways.open.len(), 5, "{:?}", plan.ways.open);
    assert_eq!(shut(&plan), []);
    assert_eq!(looks.ended(&plan), []);
    // A client that is added shuts nobody off.
    looks.edit(ONE);
    looks.region.status = None;
    looks.look();
    looks.edit(BOTH);
    let plan = looks.look();
    assert_eq!((shut(&plan), looks.ended(&plan)), (vec![], vec![]));
}

#[test]
fn one_of_several_clients_that_is_taken_out_holds_no_session_on_any_member() {
    let mut looks = running();
    looks.edit(ONE);
    let plan = looks.look();
    assert_eq!(shut(&plan), [Kind::ObjectStore, Kind::Postgres]);
    assert!(asks_for_sessions(
        looks
            .region
            .status
            .as_ref()
            .unwrap()
            .residency
            .as_ref()
            .unwrap()
    ));
    // The plugin may let a new one in for a moment: nothing is ended that could come back.
    assert_eq!(looks.ended(&plan), []);
    let found = looks.finding(&plan, 2).unwrap();
    assert!(
        found.contains("client lab") && !found.contains("api"),
        "{found}"
    );
    looks.pass(SETTLE - SignedDuration::from_secs(1));
    let plan = looks.look();
    assert_eq!(looks.ended(&plan), []);

    looks.pass(SignedDuration::from_secs(11));
    let plan = looks.look();
    let from = Some(SignedDuration::from_secs(10));
    let role = || "clinical_app_writer".to_owned();
    assert_eq!(
        looks.ended(&plan),
        [
            (None, role(), from),
            (Some("tr-pg-1".to_owned()), role(), from)
        ]
    );
    looks.end(&plan);
    let plan = looks.look();
    // Those who are let in have connected again: they stay, and it is over.
    if let Observed::Seen(seen) = &mut looks.facts.postgres {
        let young = Sessions {
            count: 3,
            oldest: SignedDuration::from_secs(2),
        };
        seen.sessions.insert(role(), young);
    }
    let after = looks.look();
    assert_eq!(looks.ended(&after), []);
    assert_eq!(shut(&plan), [Kind::ObjectStore]);
    assert_eq!(shut(&after), [Kind::ObjectStore]);
}

#[test]
fn sessions_that_were_not_read_are_not_taken_for_gone() {
    let mut looks = running();
    looks.edit(ONE);
    looks.look();
    looks.pass(SETTLE + SignedDuration::from_secs(1));
    let plan = looks.look();
    looks.end(&plan);
    let gone = looks.facts.clone();
    let stands = |facts: Facts, looks: &mut Looks| {
        let before = looks.region.clone();
        looks.facts = facts;
        let plan = looks.look();
        looks.region = before;
        let found = looks.finding(&plan, 2).unwrap();
        (
            shut(&plan).contains(&Kind::Postgres),
            found.contains("to Postgres"),
        )
    };
    for unread in [
        Observed::NotAsked,
        Observed::Failed(bailiwick_model::facts::ReadFailure::TimedOut.into()),
    ] {
        let mut facts = gone.clone();
        facts.postgres = unread;
        assert_eq!(stands(facts, &mut looks), (true, true));
    }
    let mut facts = gone.clone();
    if let Observed::Seen(seen) = &mut facts.postgres {
        seen.standby_sessions.clear();
    }
    assert_eq!(stands(facts.clone(), &mut looks), (true, true));
    // A standby that was made since holds none of before, whether it answers or not.
    facts.pods.live.get_mut("tr-pg-1").unwrap().made = Some(facts.now);
    assert_eq!(stands(facts, &mut looks), (false, false));
    assert_eq!(stands(gone, &mut looks), (false, false));
}

#[test]
fn the_object_store_may_hold_connections_until_all_its_pods_are_made_anew() {
    let mut looks = running();
    looks.edit(ONE);
    looks.look();
    looks.pass(SignedDuration::from_hours(1));
    let plan = looks.look();
    looks.end(&plan);
    let plan = looks.look();
    assert_eq!(shut(&plan), [Kind::ObjectStore]);
    let found = looks.finding(&plan, 2).unwrap();
    assert!(
        found.contains("client lab is let in to the object store no more")
            && found.contains("kubectl -n tr delete pod tr-s3-0"),
        "{found}"
    );
    // The moment from which on it helps: a pod that is made before that counts as one of before.
    let since = plan.ways.shut.first().unwrap().since;
    let closed = since.checked_add(SETTLE).unwrap();
    assert!(found.contains(&format!("from {closed:.0} on")), "{found}");
    // A pod whose age is not known may be older.
    looks.facts.pods.live.get_mut("tr-s3-0").unwrap().made = None;
    assert_eq!(shut(&looks.look()), [Kind::ObjectStore]);
    looks.make_anew(&["tr-s3-0"]);
    let plan = looks.look();
    assert_eq!((shut(&plan), looks.finding(&plan, 2)), (vec![], None));
}

/// The API server tells in whole seconds, rounded down, when a pod was made.
#[test]
fn a_pod_that_is_made_anew_at_the_moment_that_is_told_helps() {
    let mut looks = running();
    looks.facts.now = "2026-11-21T08:00:00.654321Z".parse().unwrap();
    looks.edit(ONE);
    looks.look();
    looks.pass(SignedDuration::from_hours(1));
    let plan = looks.look();
    looks.end(&plan);
    let plan = looks.look();
    let found = looks.finding(&plan, 2).unwrap();
    assert!(found.contains("from 2026-11-21T08:00:31Z on"), "{found}");
    let mut made = |at: &str| {
        let pod = looks.facts.pods.live.get_mut("tr-s3-0").unwrap();
        pod.made = Some(at.parse().unwrap());
        shut(&looks.look()).contains(&Kind::ObjectStore)
    };
    assert!(made("2026-11-21T08:00:30Z"), "it may be of 08:00:30.1");
    assert!(!made("2026-11-21T08:00:31Z"));
}

#[test]
fn an_endpoint_that_is_taken_out_ends_sessions_and_is_told_of_until_postgres_is_made_anew() {
    let mut looks = running();
    looks.edit(NO_MAIL);
    looks.look();
    looks.pass(SETTLE);
    let plan = looks.look();
    assert_eq!(looks.ended(&plan).len(), 2);
    looks.end(&plan);
    looks.pass(SignedDuration::from_mins(10));
    let plan = looks.look();
    assert_eq!(shut(&plan), [Kind::External]);
    let found = looks.finding(&plan, 9).unwrap();
    assert!(
        found.contains("endpoint mail") && found.contains("tr-pg-0"),
        "{found}"
    );
    assert_eq!(looks.finding(&plan, 2), None);
    looks.make_anew(&["tr-pg-1"]);
    assert_eq!(shut(&looks.look()), [Kind::External]);
    looks.make_anew(&["tr-pg-0"]);
    let plan = looks.look();
    assert_eq!((shut(&plan), looks.finding(&plan, 9)), (vec![], None));
}

#[test]
fn a_way_that_is_changed_is_shut_and_one_that_is_opened_again_is_not() {
    let mut looks = running();
    let other = BOTH.replace("team: lab", "team: research");
    looks.edit(&other);
    let plan = looks.look();
    assert_eq!(shut(&plan), [Kind::ObjectStore, Kind::Postgres]);
    looks.edit(BOTH);
    let plan = looks.look();
    // What the other selector let in is shut now, and the first is let in by right.
    assert_eq!(shut(&plan), [Kind::ObjectStore, Kind::Postgres]);
    assert_eq!(plan.ways.open.len(), 5);
    looks.edit(&other);
    looks.look();
    looks.pass(SignedDuration::from_mins(1));
    let plan = looks.look();
    // Twice as many would be here, were what is open again still told of.
    assert_eq!(shut(&plan), [Kind::ObjectStore, Kind::Postgres]);
}

#[test]
fn a_client_whose_selector_changed_twice_is_named_once() {
    let mut looks = running();
    for team in ["research", "another"] {
        looks.edit(&BOTH.replace("team: lab", &format!("team: {team}")));
        looks.look();
    }
    let plan = looks.look();
    assert_eq!(shut(&plan).len(), 4);
    let found = looks.finding(&plan, 2).unwrap();
    assert!(
        found.contains("client lab is let in to Postgres no more"),
        "{found}"
    );
}

#[test]
fn a_way_that_is_shut_anew_counts_from_then() {
    let mut looks = running();
    looks.edit(ONE);
    looks.look();
    looks.edit(BOTH);
    looks.look();
    looks.pass(SignedDuration::from_hours(1));
    looks.edit(ONE);
    let plan = looks.look();
    assert!(
        plan.ways
            .shut
            .iter()
            .all(|shut| shut.since == looks.facts.now)
    );
    assert_eq!(looks.ended(&plan), []);
}

#[test]
fn what_is_told_apart_is_bounded_and_the_rest_is_not_forgotten() {
    let mut looks = running();
    let most = 16;
    for number in 0..40 {
        looks.edit(&BOTH.replace("team: lab", &format!("team: lab-{number}")));
        looks.look();
        looks.pass(SignedDuration::from_secs(1));
    }
    let plan = looks.look();
    let of = |kind: Kind| shut(&plan).into_iter().filter(|it| *it == kind).count();
    assert_eq!((of(Kind::Postgres), of(Kind::ObjectStore)), (most, most));
    let found = looks.finding(&plan, 2).unwrap();
    assert!(
        found.contains("others") || found.contains("more"),
        "{found}"
    );
    looks.pass(SignedDuration::from_hours(1));
    looks.make_anew(&["tr-s3-0", "tr-pg-0", "tr-pg-1"]);
    assert_eq!(shut(&looks.look()), []);
}

#[test]
fn a_region_that_is_paused_keeps_what_its_policies_let_through() {
    let mut looks = running();
    let paused = |spec: &str| spec.replacen("{spec: {", "{spec: {lifecycle: {paused: true}, ", 1);
    looks.edit(&paused(ONE));
    let plan = looks.look();
    assert_eq!((plan.ways.open.len(), shut(&plan)), (5, vec![]));
    // Whoever asks is told that its spec is not what is let through.
    let found = looks.finding(&plan, 2).expect("channel 2 is not closed");
    assert!(found.contains("the Region is paused"), "{found}");
    // It goes on: now the client goes.
    looks.pass(SignedDuration::from_hours(1));
    looks.edit(ONE);
    let plan = looks.look();
    assert_eq!(shut(&plan), [Kind::ObjectStore, Kind::Postgres]);
    assert!(
        plan.ways
            .shut
            .iter()
            .all(|shut| shut.since == looks.facts.now)
    );
}
