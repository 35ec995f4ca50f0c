//! What of Postgres' roles and databases stands in the status, and what of residency when nobody looks. Values only.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod fixture;

use std::collections::BTreeMap;

use bailiwick_model::facts::{Facts, Observed, ReadFailure};
use bailiwick_model::names::Names;
use bailiwick_model::patroni::{MemberFact, MemberRole, PatroniFacts};
use bailiwick_model::region::RegionStatus;
use bailiwick_model::sql::{PostgresFacts, RoleFact, RunningSettings};
use bailiwick_model::status::{self, Applied, Outcome, status};
use bailiwick_model::violation::{Reason, Violation};
use jiff::{SignedDuration, Timestamp};

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
    let facts = fixture::facts(&region);
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
    };
    let after = |minutes| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes);
    let soon = status(&region, &failed, after(14));
    let late = status(&region, &failed, after(16));
    let residency = [
        "ResidencyEnforced",
        "NetworkEnforced",
        "PlacementEnforced",
        "StorageResident",
        "BackupsResident",
    ];
    for type_ in residency {
        assert_eq!(condition(&soon, type_), condition(&seen, type_), "{type_}");
        let unknown = ("Unknown".to_owned(), "NotLookedAt".to_owned());
        assert_eq!(condition(&late, type_), unknown, "{type_}");
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
        status::undecodable(
            Vec::new(),
            Some(2),
            &violation,
            deleted,
            Timestamp::UNIX_EPOCH,
        )
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
