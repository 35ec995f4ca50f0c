//! What of Postgres' roles and databases stands in the status, and what of residency when nobody looks. Values only.

use std::collections::BTreeMap;

use bailiwick_api::region::RegionStatus;
use bailiwick_api::violation::{Reason, Violation};
use bailiwick_model::facts::patroni::{MemberFact, MemberRole, PatroniFacts};
use bailiwick_model::facts::postgres::{PostgresFacts, RoleFact, RunningSettings};
use bailiwick_model::facts::{Facts, Observed, ReadFailure};
use bailiwick_model::names::Names;
use bailiwick_model::outcome::{Applied, Outcome};
use bailiwick_model::status::{self, status};
use jiff::{SignedDuration, Timestamp};

use crate::fixture;

/// Status, reason and message of `Degraded`, with all members running and these facts of Postgres.
fn degraded(postgres: PostgresFacts) -> (String, String, String) {
    degraded_with(|_| MemberRole::Replica, postgres)
}

/// The same with these roles of the members, by ordinal.
fn degraded_with(
    role: impl Fn(i32) -> MemberRole,
    postgres: PostgresFacts,
) -> (String, String, String) {
    let region = fixture::tr();
    let plan = fixture::planned(&region);
    let names = Names::of(&region);
    let member = |ordinal| MemberFact {
        role: role(ordinal),
        state: if role(ordinal) == MemberRole::Primary {
            "running".to_owned()
        } else {
            "streaming".to_owned()
        },
        timeline: Some(1),
        lag_bytes: Some(0),
        pending_restart: false,
        pending_settings: BTreeMap::new(),
    };
    let facts = Facts {
        patroni: Observed::Seen(PatroniFacts {
            members: (0..region.spec.postgres.instances)
                .map(|ordinal| (names.postgres_member(ordinal), member(ordinal)))
                .collect(),
            ..PatroniFacts::default()
        }),
        postgres: Observed::Seen(postgres),
        ..fixture::facts(&region)
    };
    let applied = fixture::applied(&plan, &facts);
    let status = status(&region, &Outcome::Applied(applied), Timestamp::UNIX_EPOCH);
    let mut found = status.conditions.into_iter();
    let condition = found
        .find(|condition| condition.type_ == "Degraded")
        .expect("the condition is set");
    (condition.status, condition.reason, condition.message)
}

#[test]
fn what_only_a_superuser_can_mend_stands_in_the_status() {
    let (state, reason, _) = degraded(PostgresFacts::default());
    assert_eq!((&*state, &*reason), ("False", "Whole"));

    let stranger = RoleFact {
        superuser: true,
        ..RoleFact::default()
    };
    let (state, reason, message) = degraded(PostgresFacts {
        roles: [("stranger".to_owned(), stranger)].into(),
        ..PostgresFacts::default()
    });
    assert_eq!((&*state, &*reason), ("True", "PostgresDrifted"));
    assert_eq!(
        message,
        "role stranger is SUPERUSER: as a superuser, ALTER ROLE stranger NOSUPERUSER."
    );
}

#[test]
fn a_primary_whose_commits_nobody_else_holds_is_degraded() {
    let with = |other| {
        let role = move |ordinal| match ordinal {
            0 => MemberRole::Primary,
            _ => other,
        };
        degraded_with(role, PostgresFacts::default()).1
    };
    assert_eq!(with(MemberRole::Replica), "NoSyncStandby");
    assert_ne!(with(MemberRole::SyncStandby), "NoSyncStandby");
}

/// Status and reason of a condition.
fn condition(status: &RegionStatus, type_: &str) -> (String, String) {
    let found = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == type_);
    let found = found.expect("the condition is set");
    (found.status.clone(), found.reason.clone())
}

/// What `PendingRestart` says of a Region with settings, by what its primary was read to have.
fn in_force(running: Option<RunningSettings>) -> (String, String, String) {
    let region = fixture::tr_with(
        "spec: {postgres: {parameters: {work_mem: 8MB, timezone: Europe/Istanbul, pg_trgm.similarity_threshold: '0.40'}}}",
    );
    let plan = fixture::planned(&region);
    let facts = Facts {
        patroni: Observed::Seen(PatroniFacts::default()),
        postgres: Observed::Seen(PostgresFacts {
            running,
            ..PostgresFacts::default()
        }),
        ..fixture::facts(&region)
    };
    let applied = fixture::applied(&plan, &facts);
    let status = status(&region, &Outcome::Applied(applied), Timestamp::UNIX_EPOCH);
    let found = status
        .conditions
        .into_iter()
        .find(|condition| condition.type_ == "PendingRestart")
        .expect("the condition is set");
    (found.status, found.reason, found.message)
}

/// What a primary shows that has the settings of [`in_force`].
fn running() -> RunningSettings {
    RunningSettings {
        values: [
            ("work_mem", "8192"),
            ("timezone", "Europe/Istanbul"),
            // As it was written: no library has read it yet.
            ("pg_trgm.similarity_threshold", "0.40"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        refused: Some(BTreeMap::new()),
        ..RunningSettings::default()
    }
}

#[test]
fn a_setting_is_in_force_when_it_was_read_back() {
    let (state, reason, _) = in_force(Some(running()));
    assert_eq!((&*state, &*reason), ("False", "UpToDate"));
    // Where the files cannot be looked into, what the sessions have is enough.
    let (state, reason, _) = in_force(Some(RunningSettings {
        refused: None,
        ..running()
    }));
    assert_eq!((&*state, &*reason), ("False", "UpToDate"));

    let (state, reason, _) = in_force(None);
    assert_eq!((&*state, &*reason), ("Unknown", "NotRead"));

    for (name, value) in [
        ("work_mem", Some("4096")),
        ("timezone", Some("UTC")),
        ("pg_trgm.similarity_threshold", None),
    ] {
        let mut other = running();
        match value {
            Some(value) => other.values.insert(name.to_owned(), value.to_owned()),
            None => other.values.remove(name),
        };
        let (state, reason, message) = in_force(Some(other));
        assert_eq!((&*state, &*reason), ("True", "NotInForce"), "{name}");
        assert!(message.starts_with(&format!("{name}: ")), "{message}");
    }
}

#[test]
fn what_the_server_cannot_take_is_named_with_its_cause() {
    let mut refused = running();
    refused.refused = Some(BTreeMap::from([
        (
            "log_timezone".to_owned(),
            "setting could not be applied".to_owned(),
        ),
        // What only waits for a restart is refused with the same words.
        (
            "max_connections".to_owned(),
            "setting could not be applied".to_owned(),
        ),
    ]));
    refused.pending.insert("max_connections".to_owned());
    let (state, reason, message) = in_force(Some(refused));
    assert_eq!((&*state, &*reason), ("True", "SettingRefused"));
    assert!(
        message.starts_with("log_timezone: setting could not be applied: "),
        "{message}"
    );
    assert!(!message.contains("max_connections"), "{message}");
}

#[test]
fn a_step_that_failed_is_named_with_the_servers_code() {
    let region = fixture::tr();
    let plan = fixture::planned(&region);
    let facts = Facts {
        patroni: Observed::Seen(fixture::members(&region)),
        ..fixture::facts(&region)
    };
    for (cause, expected) in [
        (
            Some("SQLSTATE 25006"),
            "postgres: create role app: NotReady (SQLSTATE 25006). It is tried again.",
        ),
        (
            None,
            "postgres: create role app: NotReady. It is tried again.",
        ),
    ] {
        let failed = [(
            "postgres: create role app".to_owned(),
            ReadFailure::NotReady,
            cause.map(str::to_owned),
        )];
        let applied = Applied {
            failed_steps: &failed,
            ..fixture::applied(&plan, &facts)
        };
        let status = status(&region, &Outcome::Applied(applied), Timestamp::UNIX_EPOCH);
        let found = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == "Degraded")
            .expect("the condition is set");
        assert_eq!(found.message, expected);
    }
}

/// A setting that the server's files have and that it cannot take.
fn refused_setting() -> RunningSettings {
    RunningSettings {
        refused: Some(
            [(
                "log_timezone".to_owned(),
                "setting could not be applied".to_owned(),
            )]
            .into(),
        ),
        ..RunningSettings::default()
    }
}

#[test]
fn no_fault_hides_another_and_the_most_severe_gives_the_reason() {
    let region = fixture::tr();
    let plan = fixture::planned(&region);
    let names = Names::of(&region);
    let mut facts = fixture::facts_of_running(&region);
    // A Secret without its value, a role that only a superuser can mend, and a setting that is refused.
    let login = names.postgres_role("clinical_app_writer");
    let secret = facts.secrets.get_mut(&login).expect("there is a login");
    secret.keys.remove("password");
    let stranger = RoleFact {
        superuser: true,
        ..RoleFact::default()
    };
    facts.postgres = Observed::Seen(PostgresFacts {
        roles: [("stranger".to_owned(), stranger)].into(),
        running: Some(refused_setting()),
        ..PostgresFacts::default()
    });
    // A member waits for a restart, besides.
    let mut patroni = fixture::members(&region);
    let primary = patroni.members.get_mut(&names.postgres_member(0));
    primary.expect("there is a primary").pending_restart = true;
    facts.patroni = Observed::Seen(patroni);
    let failed: Vec<_> = (0..5)
        .map(|number| {
            (
                format!("object store: create bucket b{number}"),
                ReadFailure::NotReady,
                None,
            )
        })
        .collect();
    let applied = Applied {
        failed_steps: &failed,
        archive: bailiwick_model::archive::Archive::Failing {
            reason: "ArchiveHangs",
            since: Timestamp::UNIX_EPOCH,
        },
        ..fixture::applied(&plan, &facts)
    };
    let told = status(&region, &Outcome::Applied(applied), Timestamp::UNIX_EPOCH);
    let found = |type_: &str| {
        let mut all = told.conditions.iter();
        let found = all.find(|it| it.type_ == type_).expect("it is set");
        (found.reason.as_str(), found.message.as_str())
    };
    let (reason, message) = found("Degraded");
    assert_eq!(reason, "WALArchivingFailing");
    let mut at = 0;
    let all = [
        "see condition WALArchiving.",
        &format!("Also SecretValueMissing: Secret {login} has no value"),
        "Also StepFailed: ",
        "create bucket b0",
        "create bucket b4",
        "Also PostgresDrifted: role stranger is SUPERUSER",
    ];
    for expected in all {
        let next = message[at..].find(expected);
        at += next.unwrap_or_else(|| panic!("{expected} is not told after {at}: {message}"));
    }
    assert!(message.chars().count() < 4_000);
    // What has a condition of its own is told there, and no part of it hides another.
    let (reason, message) = found("PendingRestart");
    assert_eq!(reason, "SettingRefused");
    assert!(message.contains("log_timezone"), "{message}");
    assert!(message.contains("Also SettingsChanged: "), "{message}");

    // Nor does that the API server does not let us work, however often.
    let mut region = region;
    region.status = Some(told);
    for round in 0..3 {
        let failed = Outcome::Failed {
            reason: "Apply",
            message: "StatefulSet/tr-pg: HTTP 403, Forbidden",
            refused: &[],
        };
        let told = status(&region, &failed, Timestamp::UNIX_EPOCH);
        let degraded = told
            .conditions
            .iter()
            .find(|it| it.type_ == "Degraded")
            .expect("it is set");
        assert_eq!(degraded.reason, "Apply", "{round}");
        let expected = "StatefulSet/tr-pg: HTTP 403, Forbidden As last seen: WALArchivingFailing: WAL is not archived";
        assert!(
            degraded.message.starts_with(expected),
            "{}",
            degraded.message
        );
        assert!(
            degraded.message.contains("role stranger"),
            "{}",
            degraded.message
        );
        assert_eq!(degraded.message.matches("As last seen").count(), 1);
        region.status = Some(told);
    }
}

#[test]
fn a_paused_region_says_which_of_its_secrets_is_missing() {
    let region = fixture::tr_with("spec: {lifecycle: {paused: true}}");
    let plan = fixture::planned(&region);
    let names = Names::of(&region);
    let mut facts = fixture::facts_of_running(&region);
    let login = names.postgres_role("clinical_app_writer");
    let key = names.backup_key();
    facts.secrets.remove(&login).expect("there is a login");
    facts.secrets.remove(&key).expect("there is a key");
    facts.remembered.insert(key.clone());
    facts.absent = vec!["Service/tr-pg-ro".to_owned()];
    let told = status(
        &region,
        &Outcome::Applied(fixture::applied(&plan, &facts)),
        Timestamp::UNIX_EPOCH,
    );
    let mut all = told.conditions.iter();
    let found = all.find(|it| it.type_ == "Degraded").expect("it is set");
    assert_eq!(found.status, "True");
    for expected in [
        &format!("Secret {login} is missing, and is made anew once spec.lifecycle.paused is false"),
        &format!("Secret {key} is missing, and is put back as it was"),
        "ObjectMissing: Service/tr-pg-ro is missing",
    ] {
        assert!(found.message.contains(expected), "{}", found.message);
    }
}

#[test]
fn what_nobody_has_looked_at_for_a_quarter_of_an_hour_is_unknown() {
    let mut region = fixture::tr();
    let plan = fixture::planned(&region);
    let facts = Facts {
        now: Timestamp::UNIX_EPOCH,
        ..fixture::facts(&region)
    };
    let applied = fixture::applied(&plan, &facts);
    let seen = status(&region, &Outcome::Applied(applied), Timestamp::UNIX_EPOCH);
    region.status = Some(seen.clone());
    let failed = Outcome::Failed {
        reason: "Unreachable",
        message: "the API server",
        refused: &[],
    };
    let after = |minutes| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes);
    let soon = status(&region, &failed, after(14));
    let late = status(&region, &failed, after(16));
    let mut unknown = 0;
    for condition_of in &late.conditions {
        let type_ = condition_of.type_.as_str();
        if ["Accepted", "Progressing", "Degraded"].contains(&type_) {
            continue;
        }
        assert_eq!(condition(&soon, type_), condition(&seen, type_), "{type_}");
        let expected = ("Unknown".to_owned(), "NotLookedAt".to_owned());
        assert_eq!(condition(&late, type_), expected, "{type_}");
        unknown += 1;
    }
    assert_eq!(unknown, 15);
}

#[test]
fn of_a_region_that_cannot_be_decoded_or_is_refused_nothing_from_before_is_believed() {
    let mut region = fixture::tr();
    let plan = fixture::planned(&region);
    let facts = Facts {
        store: Observed::Seen(bailiwick_model::facts::store::StoreFacts::default()),
        patroni: Observed::Seen(fixture::members(&region)),
        postgres: Observed::Seen(PostgresFacts::default()),
        ..fixture::facts(&region)
    };
    let applied = fixture::applied(&plan, &facts);
    let mut seen = status(&region, &Outcome::Applied(applied), Timestamp::UNIX_EPOCH);
    status::evidence_recorded(
        &mut seen,
        None,
        status::Recording::Whole,
        Timestamp::UNIX_EPOCH,
    );
    for type_ in ["PostgresAvailable", "ObjectStoreAvailable", "WALArchiving"] {
        assert_eq!(condition(&seen, type_).0, "True", "{type_}");
    }
    region.status = Some(seen.clone());
    let violation = Violation::new(
        "spec.postgres.instances",
        Reason::Undecodable,
        "is no number",
    );
    let undecodable = RegionStatus {
        conditions: status::undecodable(
            &seen.conditions,
            Some(2),
            &violation,
            None,
            Timestamp::UNIX_EPOCH,
        ),
        ..seen.clone()
    };
    let violation = Violation::new("spec", Reason::NotThisCluster, "is elsewhere");
    let refused = Outcome::Refused(std::slice::from_ref(&violation));
    let refused = status(&region, &refused, Timestamp::UNIX_EPOCH);
    for (told, reason, accepted) in [
        (&undecodable, "Undecodable", "Undecodable"),
        (&refused, "NotAccepted", "NotThisCluster"),
    ] {
        assert_eq!(told.conditions.len(), 19);
        for found in &told.conditions {
            let expected = match found.type_.as_str() {
                "Accepted" => ("False", accepted),
                "Ready" | "Progressing" => ("False", reason),
                _ => ("Unknown", reason),
            };
            assert_eq!(
                (&*found.status, &*found.reason),
                expected,
                "{}",
                found.type_
            );
        }
    }
}

#[test]
fn a_region_that_is_deleted_and_cannot_be_decoded_says_what_keeps_it() {
    let violation = Violation::new(
        "spec.postgres.instances",
        Reason::Undecodable,
        "is no number",
    );
    let told = |deleted: Option<&Names>| {
        status::undecodable(&[], Some(2), &violation, deleted, Timestamp::UNIX_EPOCH)
            .into_iter()
            .find(|condition| condition.type_ == status::DELETION_BLOCKED)
    };
    assert_eq!(told(None), None);
    let blocked = told(Some(&Names::new("tr"))).expect("the condition is set");
    assert_eq!(
        (&*blocked.status, &*blocked.reason),
        ("True", "Undecodable")
    );
    assert!(
        blocked
            .message
            .contains("Mend spec.postgres.instances with: kubectl edit region tr"),
        "{}",
        blocked.message
    );
}

#[test]
fn that_patroni_elects_nobody_while_it_is_paused_is_told_before_and_after_the_primary_is_lost() {
    let region = fixture::tr();
    let plan = fixture::planned(&region);
    let mut facts = fixture::facts_of_running(&region);
    let mut patroni = fixture::members(&region);
    patroni.config["pause"] = serde_json::json!(true);
    let told = |patroni: &bailiwick_model::facts::patroni::PatroniFacts,
                facts: &mut Facts,
                type_: &str| {
        facts.patroni = Observed::Seen(patroni.clone());
        let outcome = Outcome::Applied(fixture::applied(&plan, facts));
        let told = status(&region, &outcome, Timestamp::UNIX_EPOCH);
        let mut all = told.conditions.into_iter();
        let found = all.find(|it| it.type_ == type_).expect("it is set");
        (found.reason, found.message)
    };
    let (reason, message) = told(&patroni, &mut facts, "Degraded");
    assert_eq!(reason, "FailoverPaused");
    assert!(message.contains("patronictl resume tr-pg"), "{message}");

    let primary = patroni.primary().expect("there is one").to_owned();
    patroni.members.remove(&primary);
    let (_, message) = told(&patroni, &mut facts, "PostgresAvailable");
    assert!(message.contains("elects none while"), "{message}");
    patroni.config["pause"] = serde_json::json!(false);
    let (_, message) = told(&patroni, &mut facts, "PostgresAvailable");
    assert!(message.contains("will elect one"), "{message}");
}
