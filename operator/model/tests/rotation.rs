//! Which processes run with credentials that were made anew since, and what becomes of them. Facts in, steps and sentences
//! out; no I/O.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::collections::BTreeMap;

use bailiwick_model::desired::postgres::parameters::dynamic;
use bailiwick_model::facts::{Facts, Observed, PodFact, ReadFailure, SecretFact};
use bailiwick_model::names::{Names, REPLICATION_ROLE, REWIND_ROLE};
use bailiwick_model::patroni::{self, MemberFact, MemberRole, PatroniFacts};
use bailiwick_model::plan::plan;
use bailiwick_model::rotation::{outdates_member, steps, told};
use bailiwick_model::secret::{Due, due};
use bailiwick_model::sql::PostgresFacts;
use bailiwick_model::step::Step;
use fixture::{facts_of_running, planned, platform, tr, tr_with};
use jiff::Timestamp;

const BEFORE: &str = "2026-11-27T02:00:00Z";
const SINCE: &str = "2026-11-27T03:00:00Z";
const AFTER: &str = "2026-11-27T03:00:01Z";

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

fn pod(made: &str) -> PodFact {
    PodFact {
        uid: format!("of {made}"),
        ready: true,
        made: Some(at(made)),
        ..PodFact::default()
    }
}

/// Four servers of the store and two members, all from before.
fn running() -> Facts {
    let mut facts = facts_of_running(&tr());
    let names = Names::new("tr");
    for ordinal in 0..4 {
        let server = format!("{}-{ordinal}", names.object_store());
        facts.pods.live.insert(server, pod(BEFORE));
    }
    for ordinal in 0..2 {
        let member = names.postgres_member(ordinal);
        facts.pods.live.insert(member, pod(BEFORE));
    }
    facts.postgres = Observed::Seen(PostgresFacts {
        logins: [REPLICATION_ROLE, REWIND_ROLE]
            .map(|role| (role, Ok(())))
            .into(),
        ..PostgresFacts::default()
    });
    facts
}

fn secret<'a>(facts: &'a mut Facts, name: &str) -> &'a mut SecretFact {
    facts.secrets.get_mut(name).unwrap()
}

#[test]
fn only_a_store_that_refuses_newer_root_credentials_is_restarted_and_then_as_a_whole() {
    let plan = planned(&tr_with("{spec: {objectStore: {servers: 4}}}"));
    let deleted = |facts: &Facts| -> Vec<String> {
        steps(&plan, facts)
            .into_iter()
            .map(|step| match step {
                Step::DeletePod { name, uid } => format!("{name} {uid}"),
                step => panic!("{step:?}"),
            })
            .collect()
    };
    let mut facts = running();
    let all = [0, 1, 2, 3].map(|ordinal| format!("tr-s3-{ordinal} of {BEFORE}"));
    for (store, made, edited, expected) in [
        (ReadFailure::Unauthenticated, Some(SINCE), None, &all[..]),
        // Somebody set another one.
        (
            ReadFailure::Unauthenticated,
            Some(BEFORE),
            Some(SINCE),
            &all,
        ),
        (ReadFailure::Unreachable, Some(SINCE), None, &[]),
        (ReadFailure::Forbidden, Some(SINCE), None, &[]),
        (ReadFailure::Unauthenticated, Some(BEFORE), None, &[]),
        (ReadFailure::Unauthenticated, None, None, &[]),
    ] {
        facts.store = Observed::Failed(store.into());
        let root = secret(&mut facts, "tr-s3-root");
        (root.made, root.edited) = (made.map(at), edited.map(at));
        assert_eq!(deleted(&facts), expected, "{store:?} {made:?} {edited:?}");
    }

    // One that was made since is left alone, and so is one that ends.
    facts.store = Observed::Failed(ReadFailure::Unauthenticated.into());
    secret(&mut facts, "tr-s3-root").made = Some(at(SINCE));
    facts.pods.live.insert("tr-s3-1".to_owned(), pod(AFTER));
    facts.pods.live.get_mut("tr-s3-2").unwrap().terminating = true;
    assert_eq!(deleted(&facts), [all[0].clone(), all[3].clone()]);
    assert_eq!(
        told(&plan, &facts)[0].to_string(),
        "Secret tr-s3-root has other values since 2026-11-27T03:00:00Z, and tr-s3-0, tr-s3-2, tr-s3-3 run with the ones \
         before: they are restarted together"
    );
}

#[test]
fn members_are_outdated_by_a_newer_user_of_the_archive_and_by_passwords_that_the_database_takes() {
    let plan = planned(&tr());
    let outdated =
        |facts: &Facts| ["tr-pg-0", "tr-pg-1"].map(|it| outdates_member(&plan, facts, it));
    let mut facts = running();
    facts.pods.live.insert("tr-pg-1".to_owned(), pod(AFTER));
    assert_eq!(outdated(&facts), [false, false]);

    secret(&mut facts, "tr-s3-user-pgbackrest").made = Some(at(SINCE));
    assert_eq!(outdated(&facts), [true, false]);
    secret(&mut facts, "tr-s3-user-pgbackrest").made = Some(at(BEFORE));
    assert_eq!(outdated(&facts), [false, false]);

    // A key that was put back is what it was, and none of others' business.
    for name in [
        "tr-pg-internal",
        "tr-backup-key",
        "tr-pg-role-clinical-app-writer",
    ] {
        secret(&mut facts, name).made = Some(at(SINCE));
    }
    secret(&mut facts, "tr-pg-role-clinical-app-writer").edited = Some(at(SINCE));
    assert_eq!(outdated(&facts), [false, false]);
    secret(&mut facts, "tr-pg-internal").edited = Some(at(SINCE));
    assert_eq!(outdated(&facts), [true, false]);
    facts.postgres = Observed::Failed(ReadFailure::Unauthenticated.into());
    assert_eq!(outdated(&facts), [false, false]);
}

#[test]
fn a_key_that_is_gone_is_put_back_if_it_is_remembered_and_else_keeps_the_region_from_being_applied()
{
    let region = tr();
    let plan_of = |facts: &Facts| plan(&region, &platform(), facts);
    let mut count = 0;
    for wanted in planned(&region).secrets {
        let mut facts = facts_of_running(&region);
        facts.secrets.remove(&wanted.name);
        if !wanted.key {
            assert!(plan_of(&facts).is_ok(), "{}", wanted.name);
            continue;
        }
        assert!(plan_of(&facts).is_err(), "{}", wanted.name);
        facts.remembered.insert(wanted.name.clone());
        let plan = plan_of(&facts).unwrap();
        let due = due(&plan.secrets, &facts);
        assert!(
            due.contains(&(wanted.clone(), Due::PutBack)),
            "{}",
            wanted.name
        );
        count += 1;
    }
    assert_eq!(count, 4);
}

#[test]
fn a_replica_that_lost_the_primary_by_its_old_password_is_restarted_before_those_that_follow() {
    let region = tr_with("{spec: {postgres: {instances: 3}}}");
    let plan = planned(&region);
    let mut facts = running();
    facts.pods.live.insert("tr-pg-2".to_owned(), pod(BEFORE));
    secret(&mut facts, "tr-pg-internal").edited = Some(at(SINCE));
    let member = |role, state: &str| MemberFact {
        role,
        state: state.to_owned(),
        timeline: Some(1),
        lag_bytes: (state == "streaming").then_some(0),
        pending_restart: false,
        pending_settings: BTreeMap::new(),
    };
    facts.patroni = Observed::Seen(PatroniFacts {
        members: [
            ("tr-pg-0", member(MemberRole::Primary, "running")),
            ("tr-pg-1", member(MemberRole::SyncStandby, "streaming")),
            ("tr-pg-2", member(MemberRole::Replica, "running")),
        ]
        .map(|(name, fact)| (name.to_owned(), fact))
        .into(),
        config: dynamic(&plan),
        system_identifier: None,
    });
    let restarted = |facts: &Facts| -> Vec<String> {
        patroni::steps(&plan, facts)
            .into_iter()
            .filter_map(|step| match step {
                Step::DeletePod { name, .. } => Some(name),
                _ => None,
            })
            .collect()
    };
    assert_eq!(restarted(&facts), ["tr-pg-2"]);
    // Until it follows again, nobody else is disturbed.
    facts.pods.live.insert("tr-pg-2".to_owned(), pod(AFTER));
    assert_eq!(restarted(&facts), Vec::<String>::new());
}
