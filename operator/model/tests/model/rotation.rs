//! Which processes run with credentials that were made anew since, and what becomes of them. Facts in, steps and sentences
//! out; no I/O.

use std::collections::BTreeMap;

use bailiwick_model::desired::postgres::parameters::dynamic;
use bailiwick_model::facts::patroni::{MemberFact, MemberRole, PatroniFacts};
use bailiwick_model::facts::postgres::PostgresFacts;
use bailiwick_model::facts::{Facts, Observed, PodFact, ReadFailure, SecretFact};
use bailiwick_model::names::{Names, REPLICATION_ROLE, REWIND_ROLE};
use bailiwick_model::patroni;
use bailiwick_model::planner::plan;
use bailiwick_model::repository::PASSPHRASE;
use bailiwick_model::rotation::{outdates_member, steps, told};
use bailiwick_model::secret::{
    Due, SIGNING_KEY, SIGNING_PUBLIC_KEY, due, has_control_character, is_usable, lacking,
};
use bailiwick_model::step::Step;
use jiff::Timestamp;

use crate::fixture::{facts_of_running, planned, platform, tr, tr_with};

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

#[test]
fn what_somebody_signs_in_with_is_one_line_and_pem_is_not() {
    const MANY_LINES: [&str; 7] = [
        "ca.crt",
        "tls.crt",
        "tls.key",
        SIGNING_KEY,
        SIGNING_PUBLIC_KEY,
        "kms-key",
        PASSPHRASE,
    ];
    for key in MANY_LINES {
        assert!(is_usable(key, b"one\ntwo\n"), "{key}");
        assert!(!is_usable(key, b"") && !is_usable(key, b"\xff"), "{key}");
    }
    let mut count = 0;
    for secret in planned(&tr()).secrets {
        let keys = secret.contents.generated().into_iter();
        for key in keys.filter(|key| !MANY_LINES.contains(key)) {
            count += 1;
            for usable in ["a", "with a blank ", "\u{fc}mlaut", "%0A", "\\n"] {
                assert!(is_usable(key, usable.as_bytes()), "{key} {usable:?}");
            }
            for not in [
                "x\n", "x\r\n", "\nx", "x\ty", "x\0", "x\u{7f}", "x\u{85}", "\n", "",
            ] {
                assert!(!is_usable(key, not.as_bytes()), "{key} {not:?}");
            }
            assert!(!is_usable(key, b"\xff"), "{key}");
            assert!(!has_control_character(key, b"\xff\n"), "it is no text");
        }
    }
    // Root's two, four inside Postgres, three of roles, three of users of the store.
    assert_eq!(count, 12);
}

#[test]
fn a_value_that_nobody_can_sign_in_with_restarts_nothing_and_is_told_by_its_cause() {
    let plan = planned(&tr());
    for (name, key, next) in [
        ("tr-s3-user-pgbackrest", "secret-key", "it is made anew"),
        ("tr-pg-internal", "rewind-password", "the value that it had"),
    ] {
        let mut facts = running();
        secret(&mut facts, name).edited = Some(at(SINCE));
        assert!(outdates_member(&plan, &facts, "tr-pg-0"), "{name}");
        assert_eq!(lacking(&plan.secrets, &facts), Vec::<String>::new());

        let found = secret(&mut facts, name);
        found.keys.remove(key);
        found.control.insert(key.to_owned());
        assert!(!outdates_member(&plan, &facts, "tr-pg-0"), "{name}");
        assert_eq!(told(&plan, &facts), []);
        let [said] = &lacking(&plan.secrets, &facts)[..] else {
            panic!("one is lacking");
        };
        let of = format!(
            "Secret {name} has a line break or another control character in the value of key {key}"
        );
        for part in [&of, "stays in force", "printf %s", "--from-literal", next] {
            assert!(said.contains(part), "{said}");
        }

        secret(&mut facts, name).control.clear();
        let said = lacking(&plan.secrets, &facts).concat();
        assert!(
            said.contains("has no value") && said.ends_with(next),
            "{said}"
        );
    }
}
