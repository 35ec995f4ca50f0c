//! What of Postgres' roles and databases stands in the status, and what of residency when nobody looks. Values only.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod fixture;

use std::collections::BTreeMap;

use bailiwick_model::facts::{Facts, Observed};
use bailiwick_model::names::Names;
use bailiwick_model::patroni::{MemberFact, MemberRole, PatroniFacts};
use bailiwick_model::region::RegionStatus;
use bailiwick_model::sql::{PostgresFacts, RoleFact};
use bailiwick_model::status::{Outcome, status};
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
