//! The steps on the model of Postgres that `settle` is: from nothing, again, after a crash anywhere, after drift.

mod drift;
mod spec_changes;

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_api::region::{Reclaim, RegionSpec};
use bailiwick_api::violation::Reason;

use super::*;
use crate::facts::postgres::{
    AvailableExtension, DatabaseFact, Grantee, Inside, Privilege, RoleFact,
};
use crate::names::{CONTROL_ROLE, Names};

/// A spec with one database as it is by default, one that is smaller, and some roles.
fn spec() -> RegionSpec {
    serde_yaml::from_str(
        "
residency: {jurisdiction: TR, location: tr-ist-1}
postgres:
  version: 17
  instances: 1
  storage: {data: {size: 1Gi, storageClass: fast}}
  databases:
  - {name: clinical}
  - {name: billing, extensions: [citext], schemas: [{name: ledger, appendOnly: true}], reclaim: Delete}
  roles:
  - {name: analysts, memberOf: [clinical_app_reader]}
  - {name: export, login: true, database: clinical, memberOf: [analysts], connectionLimit: 3, reclaim: Delete}
objectStore: {servers: 1, volume: {size: 1Gi, storageClass: fast}}
",
    )
    .unwrap()
}

fn wanted(spec: &RegionSpec) -> WantedPostgres {
    WantedPostgres::of(&Names::new("tr"), &spec.postgres)
}

/// What the image's bootstrap leaves: a superuser, the control role, and the files of some extensions.
fn bootstrapped() -> PostgresFacts {
    let extension = |requires: &[&str]| AvailableExtension {
        version: "1.0".to_owned(),
        requires: requires.iter().map(|&name| name.to_owned()).collect(),
        ..AvailableExtension::default()
    };
    let superuser = RoleFact {
        login: true,
        superuser: true,
        bootstrap: true,
        inherit: true,
        connection_limit: -1,
        ..RoleFact::default()
    };
    let control = RoleFact {
        superuser: false,
        bootstrap: false,
        create_db: true,
        create_role: true,
        ..superuser.clone()
    };
    PostgresFacts {
        server_version: 170_012,
        roles: BTreeMap::from([
            ("postgres".to_owned(), superuser),
            (CONTROL_ROLE.to_owned(), control),
        ]),
        databases: BTreeMap::from([(
            "postgres".to_owned(),
            DatabaseFact {
                owner: "postgres".to_owned(),
                open: true,
                ..DatabaseFact::default()
            },
        )]),
        available_extensions: [
            ("postgis", extension(&[])),
            ("postgis_sfcgal", extension(&["postgis"])),
            ("uuid-ossp", extension(&[])),
            ("pgcrypto", extension(&[])),
            ("citext", extension(&[])),
            (
                "dblink",
                AvailableExtension {
                    superuser_only: true,
                    ..extension(&[])
                },
            ),
        ]
        .map(|(name, extension)| (name.to_owned(), extension))
        .into(),
        ..PostgresFacts::default()
    }
}

/// Does all steps until there are none.
fn settled(wanted: &WantedPostgres, mut facts: PostgresFacts) -> PostgresFacts {
    for _ in 0..3 {
        for step in wanted.steps(&facts) {
            settle(&mut facts, &step);
        }
    }
    assert_eq!(wanted.steps(&facts), []);
    facts
}

fn inside<'a>(facts: &'a mut PostgresFacts, database: &str) -> &'a mut Inside {
    facts
        .databases
        .get_mut(database)
        .unwrap()
        .inside
        .as_mut()
        .unwrap()
}

#[test]
fn from_nothing_one_pass_is_enough_and_the_next_has_nothing_to_do() {
    let wanted = wanted(&spec());
    let mut facts = bootstrapped();
    let steps = wanted.steps(&facts);
    for step in &steps {
        settle(&mut facts, step);
    }
    assert_eq!(wanted.steps(&facts), []);
    assert_eq!(wanted.findings(&facts), Vec::<String>::new());
    assert_eq!(wanted.retained(&facts), Vec::<String>::new());
    assert!(steps.len() > 60, "{}", steps.len());
}

#[test]
fn a_crash_anywhere_leaves_the_rest_and_the_same_end() {
    let wanted = wanted(&spec());
    let steps = wanted.steps(&bootstrapped());
    let end = settled(&wanted, bootstrapped());
    for done in 0..=steps.len() {
        let mut facts = bootstrapped();
        for step in &steps[..done] {
            settle(&mut facts, step);
        }
        assert_eq!(wanted.steps(&facts), steps[done..], "after {done}");
        // The answer to the last was lost, and it is done again.
        if let Some(last) = done.checked_sub(1) {
            let before = facts.clone();
            settle(&mut facts, &steps[last]);
            assert_eq!(facts, before, "{:?}", steps[last]);
        }
        assert_eq!(settled(&wanted, facts), end, "after {done}");
    }
}

#[test]
fn a_server_that_replays_wal_is_left_alone() {
    let facts = PostgresFacts {
        in_recovery: true,
        ..bootstrapped()
    };
    assert_eq!(wanted(&spec()).steps(&facts), []);
}

#[test]
fn nobody_is_let_into_a_database_before_public_is_out() {
    let steps = wanted(&spec()).steps(&bootstrapped());
    let made = steps
        .iter()
        .position(
            |step| matches!(step, SqlStep::CreateDatabase { database } if database == "clinical"),
        )
        .unwrap();
    let SqlStep::DatabasePrivileges { database, change } = &steps[made + 1] else {
        panic!("{:?}", steps[made + 1]);
    };
    assert_eq!(
        (database.as_str(), &change.grantee),
        ("clinical", &Grantee::Public)
    );
    assert_eq!(
        change.revoke,
        BTreeSet::from([Privilege::Connect, Privilege::Temporary])
    );
}

#[test]
fn every_privilege_has_its_word() {
    for (privilege, word) in Privilege::WORDS {
        assert_eq!(privilege.as_str(), word);
        assert_eq!(Privilege::parse(word), Some(privilege));
    }
    assert_eq!(Privilege::parse("GRANT OPTION"), None);
    assert_eq!(Privilege::parse("select"), None);
}
