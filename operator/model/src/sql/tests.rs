//! The steps on the model of Postgres that `settle` is: from nothing, again, after a crash anywhere, after drift.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::names::{CONTROL_ROLE, Names};
use crate::region::{Reclaim, RegionSpec};
use crate::violation::Reason;

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
            (
                "postgis_topology",
                AvailableExtension {
                    schema: Some("topology".to_owned()),
                    ..extension(&["postgis"])
                },
            ),
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

/// A change behind the operator's back.
type Drift = fn(&mut PostgresFacts);

/// Changes that are stepped away, so that the facts end as they were.
const REPAIRED: &[(&str, Drift)] = &[
    ("CREATEDB", |facts| {
        facts
            .roles
            .get_mut("clinical_app_writer")
            .unwrap()
            .create_db = true;
    }),
    ("CREATEROLE", |facts| {
        facts
            .roles
            .get_mut("clinical_app_writer")
            .unwrap()
            .create_role = true;
    }),
    ("NOLOGIN", |facts| {
        facts.roles.get_mut("export").unwrap().login = false;
    }),
    ("LOGIN", |facts| {
        facts.roles.get_mut("analysts").unwrap().login = true;
    }),
    ("NOINHERIT", |facts| {
        facts.roles.get_mut("export").unwrap().inherit = false;
    }),
    ("a connection limit", |facts| {
        facts.roles.get_mut("export").unwrap().connection_limit = -1;
    }),
    ("an expiry", |facts| {
        facts.roles.get_mut("export").unwrap().expires = true;
    }),
    ("no SET", |facts| {
        facts.roles.get_mut("clinical_db_admin").unwrap().settable = false;
    }),
    ("another password", |facts| {
        facts.roles.get_mut("export").unwrap().password = PasswordFact::Stale;
    }),
    ("another reclaim", |facts| {
        let mark = &mut facts.roles.get_mut("export").unwrap().mark;
        mark.as_mut().unwrap().reclaim = Reclaim::Retain;
    }),
    ("a role is gone", |facts| {
        facts.roles.remove("export");
        facts
            .memberships
            .retain(|membership| membership.member != "export");
    }),
    ("a membership more", |facts| {
        facts.memberships.insert(Membership {
            role: "clinical_db_admin".to_owned(),
            member: "clinical_app_writer".to_owned(),
            grantor: CONTROL_ROLE.to_owned(),
            admin: false,
            inherit: true,
            set: true,
        });
    }),
    ("a membership less", |facts| facts.memberships.clear()),
    ("a membership that can be passed on", |facts| {
        facts.memberships = facts
            .memberships
            .iter()
            .map(|membership| Membership {
                admin: true,
                ..membership.clone()
            })
            .collect();
    }),
    ("a database is gone", |facts| {
        facts.databases.remove("billing");
    }),
    ("a database is shut", |facts| {
        facts.databases.get_mut("billing").unwrap().open = false;
    }),
    ("a database without a mark", |facts| {
        facts.databases.get_mut("billing").unwrap().mark = None;
    }),
    ("PUBLIC connects", |facts| {
        facts
            .databases
            .get_mut("billing")
            .unwrap()
            .privileges
            .insert(Grantee::Public, BTreeSet::from([Privilege::Connect]));
    }),
    ("another search path", |facts| {
        facts.databases.get_mut("billing").unwrap().search_path = None;
    }),
    ("PUBLIC creates in public", |facts| {
        let public = inside(facts, "clinical").schemas.get_mut("public").unwrap();
        public
            .privileges
            .insert(Grantee::Public, BTreeSet::from([Privilege::Create]));
    }),
    ("the writer creates in app", |facts| {
        let app = inside(facts, "clinical").schemas.get_mut("app").unwrap();
        app.privileges.insert(
            Grantee::role("clinical_app_writer"),
            BTreeSet::from([Privilege::Create, Privilege::Usage]),
        );
    }),
    ("a schema is gone", |facts| {
        let inside = inside(facts, "clinical");
        inside.schemas.remove("audit");
        inside
            .default_privileges
            .retain(|of, _| of.schema.as_deref() != Some("audit"));
    }),
    ("an extension is gone", |facts| {
        inside(facts, "clinical").extensions.remove("postgis");
    }),
    ("default privileges are gone", |facts| {
        inside(facts, "clinical").default_privileges.clear();
    }),
    ("everybody reads what comes", |facts| {
        inside(facts, "clinical").default_privileges.insert(
            DefaultsOf {
                role: "clinical_db_admin".to_owned(),
                schema: None,
                class: ObjectClass::Tables,
            },
            Privileges::from([(Grantee::Public, BTreeSet::from([Privilege::Select]))]),
        );
    }),
];

#[test]
fn drift_that_can_be_mended_is_mended() {
    let wanted = wanted(&spec());
    let before = settled(&wanted, bootstrapped());
    for (what, drift) in REPAIRED {
        let mut drifted = before.clone();
        drift(&mut drifted);
        assert_ne!(wanted.steps(&drifted), [], "{what} is not seen");
        assert_eq!(wanted.findings(&drifted), Vec::<String>::new(), "{what}");
        assert_eq!(settled(&wanted, drifted), before, "{what}");
    }
}

#[test]
fn rights_on_objects_beyond_the_most_are_taken_and_lesser_ones_stay() {
    let wanted = wanted(&spec());
    let mut facts = settled(&wanted, bootstrapped());
    let own = |class| ObjectsOf {
        class,
        of_schema_owner: true,
    };
    let audit = inside(&mut facts, "clinical")
        .schemas
        .get_mut("audit")
        .unwrap();
    let writer = Grantee::role("clinical_app_writer");
    audit.objects.insert(
        own(ObjectClass::Tables),
        Privileges::from([
            (
                writer.clone(),
                BTreeSet::from([Privilege::Insert, Privilege::Update, Privilege::Truncate]),
            ),
            (Grantee::role("export"), BTreeSet::from([Privilege::Update])),
        ]),
    );
    audit.objects.insert(
        own(ObjectClass::Routines),
        Privileges::from([
            (writer.clone(), BTreeSet::from([Privilege::Execute])),
            (Grantee::Public, BTreeSet::from([Privilege::Execute])),
        ]),
    );
    let taken: Vec<_> = wanted
        .steps(&facts)
        .into_iter()
        .map(|step| match step {
            SqlStep::ObjectPrivileges {
                class,
                grantee,
                revoke,
                ..
            } => (class, grantee, revoke),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        taken,
        [
            (
                ObjectClass::Tables,
                writer,
                BTreeSet::from([Privilege::Truncate, Privilege::Update])
            ),
            (
                ObjectClass::Routines,
                Grantee::Public,
                BTreeSet::from([Privilege::Execute])
            ),
        ]
    );
}

/// Changes that no step can undo, and what is said of them.
const REPORTED: &[(&str, Drift)] = &[
    ("role export is SUPERUSER", |facts| {
        facts.roles.get_mut("export").unwrap().superuser = true;
    }),
    ("role export is REPLICATION", |facts| {
        facts.roles.get_mut("export").unwrap().replication = true;
    }),
    ("role export is BYPASSRLS", |facts| {
        facts.roles.get_mut("export").unwrap().bypass_rls = true;
    }),
    ("role export was not made by the operator", |facts| {
        facts.roles.get_mut("export").unwrap().administered = false;
    }),
    ("role export is a member of pg_read_server_files", |facts| {
        facts.memberships.insert(Membership {
            role: "pg_read_server_files".to_owned(),
            member: "export".to_owned(),
            grantor: "postgres".to_owned(),
            admin: false,
            inherit: true,
            set: true,
        });
    }),
    ("database billing belongs to postgres", |facts| {
        facts.databases.get_mut("billing").unwrap().owner = "postgres".to_owned();
    }),
    (
        "schema app in database clinical belongs to postgres",
        |facts| {
            inside(facts, "clinical")
                .schemas
                .get_mut("app")
                .unwrap()
                .owner = "postgres".to_owned();
        },
    ),
    (
        "extension dblink in database clinical is not one",
        |facts| {
            inside(facts, "clinical")
                .extensions
                .insert("dblink".to_owned(), ExtensionFact::default());
        },
    ),
    (
        "extension citext in database billing stands in schema public",
        |facts| {
            inside(facts, "billing")
                .extensions
                .get_mut("citext")
                .unwrap()
                .schema = "public".to_owned();
        },
    ),
    ("database billing has 2 publications", |facts| {
        inside(facts, "billing").publications = 2;
    }),
    ("database billing has 1 subscription", |facts| {
        inside(facts, "billing").subscriptions = 1;
    }),
    ("database billing has 1 foreign server", |facts| {
        inside(facts, "billing").foreign_servers = 1;
    }),
    ("replication slot out is logical", |facts| {
        facts.slots.insert(
            "out".to_owned(),
            SlotFact {
                logical: true,
                active: false,
            },
        );
    }),
    (
        "clinical_app_writer has UPDATE on an object of schema audit",
        |facts| {
            let audit = inside(facts, "clinical").schemas.get_mut("audit").unwrap();
            audit.objects.insert(
                ObjectsOf {
                    class: ObjectClass::Tables,
                    of_schema_owner: false,
                },
                Privileges::from([(
                    Grantee::role("clinical_app_writer"),
                    BTreeSet::from([Privilege::Update]),
                )]),
            );
        },
    ),
];

#[test]
fn drift_that_cannot_be_mended_is_said_and_stops_nothing_else() {
    let wanted = wanted(&spec());
    let before = settled(&wanted, bootstrapped());
    for (said, drift) in REPORTED {
        let mut drifted = before.clone();
        drift(&mut drifted);
        let findings = wanted.findings(&drifted);
        assert_eq!(findings.len(), 1, "{said}: {findings:#?}");
        assert!(findings[0].starts_with(said), "{findings:#?}");
        assert_eq!(wanted.steps(&drifted), [], "{said}");
        // Something else that is amiss is still mended.
        drifted.databases.get_mut("clinical").unwrap().search_path = None;
        assert_eq!(wanted.steps(&drifted).len(), 1, "{said}");
    }
}

#[test]
fn what_leaves_the_spec_goes_only_when_it_was_marked_so() {
    let full = wanted(&spec());
    let before = settled(&full, bootstrapped());
    let mut smaller = spec();
    smaller.postgres.databases.clear();
    smaller.postgres.roles.clear();
    let left = wanted(&smaller);
    let dropped: Vec<String> = left.steps(&before).iter().map(SqlStep::describe).collect();
    assert_eq!(
        dropped,
        [
            "drop database billing",
            "drop role billing_app_reader",
            "drop role billing_app_writer",
            "drop role billing_db_admin",
            "drop role export",
        ]
    );
    let after = settled(&left, before.clone());
    assert_eq!(
        left.retained(&after),
        [
            "database clinical",
            "role analysts",
            "role clinical_app_reader",
            "role clinical_app_writer",
            "role clinical_db_admin",
        ]
    );

    // Marks are followed as they change, and what has none is kept.
    let mut kept = spec();
    kept.postgres.databases[1].reclaim = Reclaim::Retain;
    kept.postgres.roles[1].reclaim = Reclaim::Retain;
    let changed = settled(&wanted(&kept), before.clone());
    assert_eq!(left.steps(&changed), []);
    let mut unmarked = before;
    for role in unmarked.roles.values_mut() {
        role.mark = None;
    }
    for database in unmarked.databases.values_mut() {
        database.mark = None;
    }
    assert_eq!(left.steps(&unmarked), []);
    assert!(
        left.retained(&unmarked)
            .contains(&"database billing".to_owned())
    );
}

#[test]
fn schemas_and_extensions_that_leave_the_spec_are_retained() {
    let before = settled(&wanted(&spec()), bootstrapped());
    let mut smaller = spec();
    smaller.postgres.databases[0].extensions = vec!["pgcrypto".to_owned()];
    smaller.postgres.databases[0].schemas.truncate(1);
    let left = wanted(&smaller);
    let after = settled(&left, before);
    assert_eq!(
        left.retained(&after),
        [
            "schema audit in database clinical",
            "extension postgis in database clinical",
            "extension uuid-ossp in database clinical",
        ]
    );
}

#[test]
fn an_extension_comes_after_what_it_needs_and_one_that_is_not_there_is_said() {
    let mut spec = spec();
    spec.postgres.databases[0].extensions =
        vec!["postgis_topology".to_owned(), "vector".to_owned()];
    let wanted = wanted(&spec);
    let made: Vec<(String, String, bool)> = wanted
        .steps(&bootstrapped())
        .into_iter()
        .filter_map(|step| match step {
            SqlStep::CreateExtension {
                database,
                extension,
                schema,
                insists,
                ..
            } if database == "clinical" => Some((extension, schema, insists)),
            _ => None,
        })
        .collect();
    assert_eq!(
        made,
        [
            ("postgis".to_owned(), SCHEMA_OF_EXTENSIONS.to_owned(), false),
            ("postgis_topology".to_owned(), "topology".to_owned(), true),
        ]
    );
    let after = settled(&wanted, bootstrapped());
    let findings = wanted.findings(&after);
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert!(findings[0].starts_with("extension vector of database clinical is not in the image"));
    assert_eq!(wanted.retained(&after), Vec::<String>::new());
}

#[test]
fn every_login_has_the_secret_that_is_minted_for_it() {
    let spec = spec();
    let names = Names::new("tr");
    let minted: BTreeSet<String> = crate::desired::postgres::secrets(&names, &spec)
        .into_iter()
        .filter(|secret| {
            matches!(
                secret.contents,
                crate::secret::Contents::PostgresLogin { .. }
            )
        })
        .map(|secret| secret.name)
        .collect();
    let used: BTreeSet<String> = WantedPostgres::of(&names, &spec.postgres)
        .roles
        .into_iter()
        .filter_map(|role| role.secret)
        .collect();
    assert_eq!(used, minted);
    assert_eq!(used.len(), 7);
}

#[test]
fn violations_name_the_field() {
    let refused = |change: fn(&mut RegionSpec)| {
        let mut spec = spec();
        change(&mut spec);
        violations(&spec)
            .into_iter()
            .map(|violation| {
                assert_eq!(violation.reason, Reason::Invalid);
                violation.field
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(refused(|_| {}), Vec::<String>::new());
    for extension in ["dblink", "postgres_fdw", "file_fdw", "plpython3u", "lo"] {
        let mut spec = spec();
        spec.postgres.databases[1]
            .extensions
            .push(extension.to_owned());
        assert_eq!(violations(&spec).len(), 1, "{extension}");
    }
    assert_eq!(
        refused(|spec| spec.postgres.databases[1]
            .extensions
            .push("dblink".to_owned())),
        ["spec.postgres.databases[1].extensions"]
    );
    assert_eq!(
        refused(|spec| spec.postgres.roles[0].name = "billing_db_admin".to_owned()),
        [
            "spec.postgres.roles[0].name",
            "spec.postgres.roles[1].memberOf[0]"
        ]
    );
    for parent in [
        "pg_execute_server_program",
        "postgres",
        CONTROL_ROLE,
        "nobody",
    ] {
        let mut spec = spec();
        spec.postgres.roles[1].member_of = vec![parent.to_owned()];
        assert_eq!(
            violations(&spec)[0].field,
            "spec.postgres.roles[1].memberOf[0]",
            "{parent}"
        );
    }
    assert_eq!(
        refused(|spec| spec.postgres.roles[0].member_of = vec!["export".to_owned()]),
        [
            "spec.postgres.roles[0].memberOf",
            "spec.postgres.roles[1].memberOf"
        ]
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
