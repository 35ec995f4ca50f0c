//! What of Postgres' roles and databases stands in the status. Values only.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod fixture;

use std::collections::BTreeMap;

use bailiwick_model::archive::Archive;
use bailiwick_model::facts::{Facts, Observed};
use bailiwick_model::names::Names;
use bailiwick_model::patroni::{MemberFact, MemberRole, PatroniFacts};
use bailiwick_model::sql::{PostgresFacts, RoleFact};
use bailiwick_model::status::{Applied, Outcome, status};
use jiff::Timestamp;

/// Status, reason and message of `Degraded`, with all members running and these facts of Postgres.
fn degraded(postgres: PostgresFacts) -> (String, String, String) {
    let region = fixture::tr();
    let plan = fixture::planned(&region);
    let names = Names::of(&region);
    let member = MemberFact {
        role: MemberRole::Replica,
        state: "streaming".to_owned(),
        timeline: Some(1),
        lag_bytes: Some(0),
        pending_restart: false,
        pending_settings: BTreeMap::new(),
    };
    let facts = Facts {
        patroni: Observed::Seen(PatroniFacts {
            members: (0..region.spec.postgres.instances)
                .map(|ordinal| (names.postgres_member(ordinal), member.clone()))
                .collect(),
            ..PatroniFacts::default()
        }),
        postgres: Observed::Seen(postgres),
        ..fixture::facts(&region)
    };
    let applied = Applied {
        plan: &plan,
        facts: &facts,
        steps_due: 0,
        failed_steps: &[],
        archive: Archive::Working {
            latest_restorable: None,
        },
        full_backup: None,
        retained: (Vec::new(), Vec::new()),
    };
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
