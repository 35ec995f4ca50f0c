//! What comes into the spec and what leaves it.

use super::*;
use crate::facts::postgres::AvailableExtension;

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
    spec.postgres.databases[0].extensions = vec!["postgis_sfcgal".to_owned(), "vector".to_owned()];
    let wanted = wanted(&spec);
    let made: Vec<(String, String)> = wanted
        .steps(&bootstrapped())
        .into_iter()
        .filter_map(|step| match step {
            SqlStep::CreateExtension {
                database,
                extension,
                schema,
                ..
            } if database == "clinical" => Some((extension, schema)),
            _ => None,
        })
        .collect();
    assert_eq!(
        made,
        [
            ("postgis".to_owned(), SCHEMA_OF_EXTENSIONS.to_owned()),
            ("postgis_sfcgal".to_owned(), SCHEMA_OF_EXTENSIONS.to_owned()),
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
    let refused = |change: &dyn Fn(&mut RegionSpec)| -> Vec<String> {
        let mut spec = spec();
        change(&mut spec);
        violations(&spec)
            .into_iter()
            .map(|violation| {
                assert_eq!(violation.reason, Reason::Invalid);
                violation.field
            })
            .collect()
    };
    assert_eq!(refused(&|_| {}), Vec::<String>::new());
    for extension in ["dblink", "postgres_fdw", "file_fdw", "plpython3u", "lo"] {
        assert_eq!(
            refused(&|spec| spec.postgres.databases[1]
                .extensions
                .push(extension.to_owned())),
            ["spec.postgres.databases[1].extensions"],
            "{extension}"
        );
    }
    assert_eq!(
        refused(&|spec| spec.postgres.roles[0].name = "billing_db_admin".to_owned()),
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
        assert_eq!(
            refused(&|spec| spec.postgres.roles[1].member_of = vec![parent.to_owned()]),
            ["spec.postgres.roles[1].memberOf[0]"],
            "{parent}"
        );
    }
    assert_eq!(
        refused(&|spec| spec.postgres.roles[0].member_of = vec!["export".to_owned()]),
        [
            "spec.postgres.roles[0].memberOf",
            "spec.postgres.roles[1].memberOf"
        ]
    );
}

#[test]
fn an_extension_waits_until_its_library_is_loaded() {
    let mut spec = spec();
    spec.postgres.databases[0].extensions = vec!["pgaudit".to_owned(), "pg_cron".to_owned()];
    let wanted = wanted(&spec);
    let mut facts = bootstrapped();
    for (name, superuser_only) in [("pgaudit", false), ("pg_cron", true)] {
        let available = AvailableExtension {
            superuser_only,
            schema: superuser_only.then(|| "pg_catalog".to_owned()),
            ..facts.available_extensions["pgcrypto"].clone()
        };
        facts
            .available_extensions
            .insert(name.to_owned(), available);
    }
    let made = |facts: &PostgresFacts| -> Vec<String> {
        wanted
            .steps(facts)
            .iter()
            .filter(|step| matches!(step, SqlStep::CreateExtension { database, .. } | SqlStep::CreateCron { database, .. } if database == "clinical"))
            .map(SqlStep::describe)
            .collect()
    };
    assert_eq!(made(&facts), Vec::<String>::new());
    facts.preloaded_libraries = ["pgaudit", "pg_cron"].map(str::to_owned).into();
    facts.cron_database = Some("postgres".to_owned());
    assert_eq!(
        made(&facts),
        ["create extension pgaudit in database clinical"]
    );
    facts.cron_database = Some("clinical".to_owned());
    assert_eq!(
        made(&facts),
        [
            "create extension pgaudit in database clinical",
            "create extension pg_cron in database clinical",
        ]
    );
    let after = settled(&wanted, facts);
    assert_eq!(wanted.findings(&after), Vec::<String>::new());
}
