//! The libraries that Postgres loads when it starts, while an extension is in the spec, in a database, or perhaps there.

use bailiwick_model::desired::postgres::parameters::parameters;
use bailiwick_model::facts::patroni::PatroniFacts;
use bailiwick_model::facts::postgres::{DatabaseFact, ExtensionFact, Inside, PostgresFacts};
use bailiwick_model::facts::{Facts, Observed, ReadFailure};
use bailiwick_model::names::CONTROL_ROLE;
use bailiwick_model::planner::plan;
use serde_json::json;

use crate::fixture::{self, platform, tr_with};

/// A database of the operator's with these extensions, or one that was not looked into.
fn database(extensions: Option<&[&str]>) -> DatabaseFact {
    DatabaseFact {
        owner: CONTROL_ROLE.to_owned(),
        open: true,
        inside: extensions.map(|extensions| Inside {
            extensions: extensions
                .iter()
                .map(|name| ((*name).to_owned(), ExtensionFact::default()))
                .collect(),
            ..Inside::fresh()
        }),
        ..DatabaseFact::default()
    }
}

fn seen(databases: &[(&str, Option<&[&str]>)]) -> Observed<PostgresFacts> {
    Observed::Seen(PostgresFacts {
        databases: databases
            .iter()
            .map(|(name, extensions)| ((*name).to_owned(), database(*extensions)))
            .collect(),
        cron_database: Some("old".to_owned()),
        ..PostgresFacts::default()
    })
}

/// The libraries and pg_cron's database, with these extensions in the spec.
fn loaded(extensions: &str, postgres: Observed<PostgresFacts>) -> (Option<String>, Option<String>) {
    let region = tr_with(&format!(
        "spec: {{postgres: {{databases: [{{name: clinical, extensions: [{extensions}]}}]}}}}"
    ));
    let facts = Facts {
        postgres,
        patroni: Observed::Seen(PatroniFacts {
            config: json!({"postgresql": {"parameters": {
                "shared_preload_libraries": "pg_cron, pgaudit", "cron.database_name": "old"}}}),
            ..PatroniFacts::default()
        }),
        ..fixture::facts(&region)
    };
    let plan = plan(&region, &platform(), &facts).expect("the Region is accepted");
    let parameters = parameters(&plan);
    let of = |name: &str| parameters.get(name).cloned();
    (of("shared_preload_libraries"), of("cron.database_name"))
}

#[test]
fn a_library_stays_while_a_database_has_its_extension() {
    let text = |text: &str| Some(text.to_owned());
    let none = (None, None);
    assert_eq!(loaded("", seen(&[("clinical", Some(&[]))])), none);
    assert_eq!(
        loaded("pgaudit", seen(&[("clinical", Some(&[]))])),
        (text("pgaudit"), None)
    );
    assert_eq!(
        loaded("", seen(&[("clinical", Some(&["pgaudit"]))])),
        (text("pgaudit"), None),
        "it left the spec and stayed"
    );
    assert_eq!(
        loaded(
            "",
            seen(&[("clinical", Some(&[])), ("gone", Some(&["pg_cron"]))])
        ),
        (text("pg_cron"), text("old")),
        "so it does in a database that left the spec"
    );
    assert_eq!(
        loaded("pg_cron", seen(&[("clinical", Some(&["pg_cron"]))])),
        (text("pg_cron"), text("clinical"))
    );
}

#[test]
fn what_is_loaded_stays_while_it_is_not_known_who_needs_it() {
    let all = (Some("pg_cron,pgaudit".to_owned()), Some("old".to_owned()));
    for postgres in [
        Observed::NotAsked,
        Observed::Failed(ReadFailure::TimedOut.into()),
        seen(&[("clinical", None)]),
    ] {
        assert_eq!(loaded("", postgres), all);
    }
}
