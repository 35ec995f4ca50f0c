//! Steps as SQL: which statements a step is, in which database, and how they are run. Names and values are quoted by
//! the driver's own functions. Text out, then I/O in [`run`].

mod databases;
mod privileges;
mod roles;
mod run;

use bailiwick_model::facts::postgres::ObjectClass;
use bailiwick_model::sql::step::SqlStep;
use databases::{contents_sql, create_database, database_sql, drop_database};
use jiff::SignedDuration;
use privileges::privileges_sql;
use roles::{drop_role, role_work};
use tokio_postgres::error::SqlState;

pub(super) use self::run::{NOT_LOOPBACK, run};
use super::connection::Patience;
use super::password::Passwords;
use super::{MAINTENANCE_DATABASE, PostgresError};

/// Statements to run on one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Work {
    /// The database to connect to.
    pub(super) database: String,
    /// How long it may take.
    pub(super) patience: Patience,
    /// What to run.
    pub(super) statements: Statements,
}

/// What to run on one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Statements {
    /// All of them or none.
    Together {
        /// The statements.
        all: Vec<Statement>,
        /// Errors that say that it was done before.
        done_before: Vec<SqlState>,
    },
    /// One that cannot be part of a transaction.
    Alone {
        /// The statement.
        sql: String,
        /// Errors that say that it was done before.
        done_before: Vec<SqlState>,
    },
}

/// A statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Statement {
    /// As it stands.
    Sql(String),
    /// One for all objects of a class in a schema that belong to a role: `before` objects `after`.
    OnObjects {
        schema: String,
        owner: String,
        class: ObjectClass,
        before: String,
        after: String,
    },
    /// Ends the connections to a database, each with the rights of the role that holds it.
    EndConnections { database: String },
    /// Ends the connections that a role holds over the network, with its own rights.
    EndSessions {
        role: String,
        from_age: Option<SignedDuration>,
    },
    /// Gives what a role owns in this database to its heir, and takes what others gave it here. Without an heir it must
    /// own nothing here: no data is dropped with a role.
    GiveUp { role: String, heir: Option<String> },
}

/// The statements of a step.
pub(super) fn work(step: &SqlStep, passwords: &Passwords<'_>) -> Result<Vec<Work>, PostgresError> {
    Ok(match step {
        SqlStep::CreateRole { .. }
        | SqlStep::ActAs { .. }
        | SqlStep::AlterRole { .. }
        | SqlStep::MarkRole { .. }
        | SqlStep::SetPassword { .. }
        | SqlStep::GrantRole { .. }
        | SqlStep::RevokeRole { .. } => vec![role_work(step, passwords)?],
        SqlStep::EndSessions { role, from_age, .. } => vec![together(
            MAINTENANCE_DATABASE,
            vec![Statement::EndSessions {
                role: role.clone(),
                from_age: *from_age,
            }],
        )],
        SqlStep::DropRole { role, databases } => drop_role(role, databases),
        SqlStep::DropDatabase { database } => drop_database(database),
        SqlStep::CreateDatabase { database } => vec![create_database(database)],
        SqlStep::MarkDatabase { database, .. }
        | SqlStep::OpenDatabase { database }
        | SqlStep::SetSearchPath { database, .. }
        | SqlStep::DatabasePrivileges { database, .. } => {
            vec![together(MAINTENANCE_DATABASE, database_sql(step, database))]
        }
        SqlStep::SchemaPrivileges { database, .. }
        | SqlStep::DefaultPrivileges { database, .. }
        | SqlStep::ObjectPrivileges { database, .. } => {
            vec![together(database, privileges_sql(step))]
        }
        SqlStep::CreateSchema { database, .. } => vec![together(database, contents_sql(step))],
        SqlStep::CreateExtension { database, .. } | SqlStep::CreateCron { database, .. } => {
            vec![Work {
                patience: Patience::Long,
                ..together(database, contents_sql(step))
            }]
        }
    })
}

fn together(database: &str, all: Vec<Statement>) -> Work {
    Work {
        database: database.to_owned(),
        patience: Patience::Short,
        statements: Statements::Together {
            all,
            done_before: Vec::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bailiwick_model::facts::postgres::{DefaultsOf, Grantee, Privilege};
    use bailiwick_model::names::Names;
    use bailiwick_model::sql::step::PrivilegeChange;

    use super::*;
    use crate::credentials::Credentials;

    /// The statements of a step that needs no credentials, as text.
    fn sql(step: &SqlStep) -> Vec<String> {
        let (names, credentials) = (Names::new("tr"), Credentials::default());
        let work = work(step, &Passwords::new(&names, &credentials)).unwrap();
        work.into_iter()
            .flat_map(|work| match work.statements {
                Statements::Alone { sql, .. } => vec![sql],
                Statements::Together { all, .. } => all
                    .into_iter()
                    .map(|statement| match statement {
                        Statement::Sql(sql) => sql,
                        Statement::OnObjects { before, after, .. } => format!("{before}...{after}"),
                        other => format!("{other:?}"),
                    })
                    .collect(),
            })
            .collect()
    }

    /// Whether quotes are balanced and every character of the name stands within them.
    fn is_quoted(sql: &str, name: &str) -> bool {
        sql.contains(&format!("\"{}\"", name.replace('"', "\"\"")))
    }

    #[test]
    fn names_cannot_leave_their_quotes() {
        for name in [
            "a\"; DROP DATABASE clinical; --",
            "\"",
            "\"\"",
            "a'b",
            "a\\b",
            "$$",
            "select",
            "İstanbul",
            "a b\nc",
        ] {
            let change = PrivilegeChange {
                grantee: Grantee::role(name),
                grant: BTreeSet::from([Privilege::Connect]),
                revoke: BTreeSet::from([Privilege::Create, Privilege::GrantOption]),
            };
            let steps = [
                SqlStep::EndSessions {
                    role: name.to_owned(),
                    standby: None,
                    from_age: None,
                },
                SqlStep::ActAs {
                    role: name.to_owned(),
                },
                SqlStep::CreateDatabase {
                    database: name.to_owned(),
                },
                SqlStep::GrantRole {
                    role: name.to_owned(),
                    member: name.to_owned(),
                },
                SqlStep::DatabasePrivileges {
                    database: name.to_owned(),
                    change: change.clone(),
                },
                SqlStep::SetSearchPath {
                    database: name.to_owned(),
                    schemas: vec![name.to_owned()],
                },
                SqlStep::DropDatabase {
                    database: name.to_owned(),
                },
                SqlStep::CreateSchema {
                    database: "d".to_owned(),
                    schema: name.to_owned(),
                    owner: name.to_owned(),
                },
                SqlStep::DefaultPrivileges {
                    database: "d".to_owned(),
                    of: DefaultsOf {
                        role: name.to_owned(),
                        schema: Some(name.to_owned()),
                        class: ObjectClass::Tables,
                    },
                    change,
                },
            ];
            for step in steps {
                for sql in sql(&step) {
                    let whole = sql.starts_with("End");
                    assert!(whole || is_quoted(&sql, name), "{name:?}: {sql}");
                }
            }
        }
    }

    #[test]
    fn values_cannot_leave_their_quotes() {
        let step = SqlStep::CreateCron {
            database: "d".to_owned(),
            user: "a'); DROP DATABASE d; --".to_owned(),
            version: "1".to_owned(),
        };
        assert_eq!(
            sql(&step),
            ["SELECT bailiwick.create_pg_cron('a''); DROP DATABASE d; --')"]
        );
    }

    #[test]
    fn a_change_of_privileges_takes_before_it_gives() {
        let step = SqlStep::SchemaPrivileges {
            database: "clinical".to_owned(),
            schema: "audit".to_owned(),
            owner: Some("clinical_db_admin".to_owned()),
            change: PrivilegeChange {
                grantee: Grantee::Public,
                grant: BTreeSet::from([Privilege::Usage]),
                revoke: BTreeSet::from([Privilege::Create, Privilege::GrantOption]),
            },
        };
        assert_eq!(
            sql(&step),
            [
                r#"SET LOCAL ROLE "clinical_db_admin""#,
                r#"REVOKE CREATE ON SCHEMA "audit" FROM PUBLIC CASCADE"#,
                r#"REVOKE GRANT OPTION FOR ALL ON SCHEMA "audit" FROM PUBLIC CASCADE"#,
                r#"GRANT USAGE ON SCHEMA "audit" TO PUBLIC"#,
            ]
        );
    }
}
