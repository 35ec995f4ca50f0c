//! What drifted: what is repaired, and what is only said.

use super::*;
use crate::facts::postgres::{
    DefaultsOf, ExtensionFact, Grantee, Membership, ObjectClass, ObjectsOf, PasswordFact,
    Privilege, Privileges, SlotFact,
};

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
