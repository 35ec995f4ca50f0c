//! Steps as SQL: which statements a step is, in which database, and how they are run. Names and values are quoted by
//! the driver's own functions. Text out, then I/O in [`run`].

use std::collections::BTreeSet;

use bailiwick_model::facts::ReadFailure;
use bailiwick_model::names::CONTROL_ROLE;
use bailiwick_model::sql::{
    DefaultsOf, Grantee, Mark, ObjectClass, Privilege, PrivilegeChange, SqlStep, database_admin,
};
use jiff::SignedDuration;
use postgres_protocol::escape::{escape_identifier, escape_literal};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, GenericClient};

use super::connection::{Patience, within};
use super::password::Passwords;
use super::{MAINTENANCE_DATABASE, PostgresError};
use crate::cause::Cause;

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

/// In SQL: a backend's client is elsewhere. What comes through the API server to the member itself is let in by who broke
/// the glass.
pub(super) const NOT_LOOPBACK: &str = "client_addr <> ALL ('{127.0.0.1,::1}'::inet[])";

/// How many objects one statement names.
const BATCH: usize = 500;

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
        SqlStep::CreateDatabase { database } => vec![Work {
            database: MAINTENANCE_DATABASE.to_owned(),
            patience: Patience::Long,
            statements: Statements::Alone {
                sql: format!(
                    "CREATE DATABASE {} TEMPLATE template1",
                    escape_identifier(database)
                ),
                done_before: vec![SqlState::DUPLICATE_DATABASE],
            },
        }],
        SqlStep::MarkDatabase { database, .. }
        | SqlStep::OpenDatabase { database }
        | SqlStep::SetSearchPath { database, .. }
        | SqlStep::DatabasePrivileges { database, .. } => {
            vec![together(MAINTENANCE_DATABASE, database_sql(step, database))]
        }
        SqlStep::CreateSchema { database, .. }
        | SqlStep::SchemaPrivileges { database, .. }
        | SqlStep::DefaultPrivileges { database, .. }
        | SqlStep::ObjectPrivileges { database, .. }
        | SqlStep::CreateExtension { database, .. }
        | SqlStep::CreateCron { database, .. } => vec![Work {
            patience: match step {
                SqlStep::CreateExtension { .. } | SqlStep::CreateCron { .. } => Patience::Long,
                _ => Patience::Short,
            },
            ..together(database, inside_sql(step))
        }],
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

fn role_work(step: &SqlStep, passwords: &Passwords<'_>) -> Result<Work, PostgresError> {
    let mut done_before = Vec::new();
    let all = match step {
        SqlStep::CreateRole {
            role,
            login,
            connection_limit,
            mark,
        } => {
            // Whatever else is there under that name shows at the next look.
            done_before.push(SqlState::DUPLICATE_OBJECT);
            vec![
                format!(
                    "CREATE ROLE {} {} NOCREATEDB NOCREATEROLE INHERIT CONNECTION LIMIT {connection_limit}",
                    escape_identifier(role),
                    login_word(*login)
                ),
                comment_on_role(role, mark),
            ]
        }
        SqlStep::ActAs { role } => vec![format!(
            "GRANT {} TO {} WITH SET TRUE, INHERIT FALSE",
            escape_identifier(role),
            escape_identifier(CONTROL_ROLE)
        )],
        SqlStep::AlterRole {
            role,
            login,
            connection_limit,
        } => vec![format!(
            "ALTER ROLE {} {} NOCREATEDB NOCREATEROLE INHERIT CONNECTION LIMIT {connection_limit} \
             VALID UNTIL 'infinity'",
            escape_identifier(role),
            login_word(*login)
        )],
        SqlStep::MarkRole { role, mark } => vec![comment_on_role(role, mark)],
        SqlStep::SetPassword { role, secret, mark } => {
            let missing = || {
                PostgresError {
                failure: ReadFailure::NotReady,
                source: Some(
                    Cause(format!(
                        "Secret {secret}: password is missing, expected text; it is made anew when the Secret is deleted"
                    ))
                    .into(),
                ),
            }
            };
            let verifier = passwords.verifier(secret).ok_or_else(missing)?;
            let fingerprint = passwords.fingerprint(role, secret).ok_or_else(missing)?;
            let mark = Mark {
                password: Some(fingerprint),
                ..mark.clone()
            };
            vec![
                format!(
                    "ALTER ROLE {} PASSWORD {}",
                    escape_identifier(role),
                    escape_literal(&verifier)
                ),
                comment_on_role(role, &mark),
            ]
        }
        SqlStep::GrantRole { role, member } => vec![format!(
            "GRANT {} TO {} WITH INHERIT TRUE, SET TRUE",
            escape_identifier(role),
            escape_identifier(member)
        )],
        SqlStep::RevokeRole {
            role,
            member,
            grantor,
        } => {
            done_before.push(SqlState::UNDEFINED_OBJECT);
            vec![format!(
                "REVOKE {} FROM {} GRANTED BY {} CASCADE",
                escape_identifier(role),
                escape_identifier(member),
                escape_identifier(grantor)
            )]
        }
        _ => Vec::new(),
    };
    Ok(Work {
        database: MAINTENANCE_DATABASE.to_owned(),
        patience: Patience::Short,
        statements: Statements::Together {
            all: all.into_iter().map(Statement::Sql).collect(),
            done_before,
        },
    })
}

const fn login_word(login: bool) -> &'static str {
    if login { "LOGIN" } else { "NOLOGIN" }
}

fn comment_on_role(role: &str, mark: &Mark) -> String {
    format!(
        "COMMENT ON ROLE {} IS {}",
        escape_identifier(role),
        escape_literal(&mark.comment())
    )
}

/// What a role owns in a database is given to the database's administrator, its privileges there go, then the role
/// itself.
fn drop_role(role: &str, databases: &[String]) -> Vec<Work> {
    let name = escape_identifier(role);
    let heirs = databases.iter().map(|database| {
        let heir = database_admin(database);
        (database.as_str(), (heir != role).then_some(heir))
    });
    let mut work: Vec<Work> = heirs
        .chain([(MAINTENANCE_DATABASE, None)])
        .map(|(database, heir)| Work {
            database: database.to_owned(),
            patience: Patience::Long,
            statements: Statements::Together {
                all: vec![Statement::GiveUp {
                    role: role.to_owned(),
                    heir,
                }],
                done_before: vec![SqlState::UNDEFINED_OBJECT],
            },
        })
        .collect();
    // Who is in reads on after the role is gone, with a cursor that is held. Not before: one that cannot be dropped serves on.
    let to_end = [
        vec![Statement::Sql(format!("ALTER ROLE {name} NOLOGIN"))],
        vec![Statement::EndSessions {
            role: role.to_owned(),
            from_age: None,
        }],
    ];
    work.extend(to_end.map(|all| Work {
        database: MAINTENANCE_DATABASE.to_owned(),
        patience: Patience::Short,
        statements: Statements::Together {
            all,
            // `SET ROLE` has a code of its own for a role that is not there.
            done_before: vec![
                SqlState::UNDEFINED_OBJECT,
                SqlState::INVALID_PARAMETER_VALUE,
            ],
        },
    }));
    work.push(together(
        MAINTENANCE_DATABASE,
        vec![Statement::Sql(format!("DROP ROLE IF EXISTS {name}"))],
    ));
    work
}

/// Nobody new is let in, those inside are sent away, and the database is dropped.
fn drop_database(database: &str) -> Vec<Work> {
    let name = escape_identifier(database);
    vec![
        Work {
            database: MAINTENANCE_DATABASE.to_owned(),
            patience: Patience::Short,
            statements: Statements::Together {
                all: vec![
                    Statement::Sql(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")),
                    Statement::EndConnections {
                        database: database.to_owned(),
                    },
                ],
                done_before: vec![SqlState::INVALID_CATALOG_NAME, SqlState::UNDEFINED_DATABASE],
            },
        },
        Work {
            database: MAINTENANCE_DATABASE.to_owned(),
            patience: Patience::Long,
            statements: Statements::Alone {
                sql: format!("DROP DATABASE IF EXISTS {name}"),
                done_before: Vec::new(),
            },
        },
    ]
}

fn database_sql(step: &SqlStep, database: &str) -> Vec<Statement> {
    let name = escape_identifier(database);
    let all = match step {
        SqlStep::MarkDatabase { mark, .. } => vec![format!(
            "COMMENT ON DATABASE {name} IS {}",
            escape_literal(&mark.comment())
        )],
        SqlStep::OpenDatabase { .. } => {
            vec![format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")]
        }
        SqlStep::SetSearchPath { schemas, .. } => {
            let schemas: Vec<String> = schemas
                .iter()
                .map(|schema| escape_identifier(schema))
                .collect();
            vec![format!(
                "ALTER DATABASE {name} SET search_path = {}",
                schemas.join(", ")
            )]
        }
        SqlStep::DatabasePrivileges { change, .. } => {
            privilege_sql(change, &format!("DATABASE {name}"))
        }
        _ => Vec::new(),
    };
    all.into_iter().map(Statement::Sql).collect()
}

fn inside_sql(step: &SqlStep) -> Vec<Statement> {
    match step {
        SqlStep::CreateSchema { schema, owner, .. } => vec![Statement::Sql(format!(
            "CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}",
            escape_identifier(schema),
            escape_identifier(owner)
        ))],
        SqlStep::SchemaPrivileges {
            schema,
            owner,
            change,
            ..
        } => {
            let on = format!("SCHEMA {}", escape_identifier(schema));
            owner
                .iter()
                .map(|owner| act_as(owner))
                .chain(privilege_sql(change, &on).into_iter().map(Statement::Sql))
                .collect()
        }
        SqlStep::DefaultPrivileges { of, change, .. } => default_privileges_sql(of, change),
        SqlStep::ObjectPrivileges {
            schema,
            owner,
            class,
            grantee,
            revoke,
            ..
        } => {
            let mut all = vec![act_as(owner)];
            all.extend(
                revocations(revoke)
                    .into_iter()
                    .map(|what| Statement::OnObjects {
                        schema: schema.clone(),
                        owner: owner.clone(),
                        class: *class,
                        before: format!("REVOKE {what} ON {} ", singular(*class)),
                        after: format!(" FROM {} CASCADE", grantee_sql(grantee)),
                    }),
            );
            all
        }
        SqlStep::CreateExtension {
            extension,
            schema,
            version,
            ..
        } => {
            vec![Statement::Sql(format!(
                "CREATE EXTENSION IF NOT EXISTS {} SCHEMA {} VERSION {}",
                escape_identifier(extension),
                escape_identifier(schema),
                escape_literal(version)
            ))]
        }
        SqlStep::CreateCron { user, .. } => vec![Statement::Sql(format!(
            "SELECT bailiwick.create_pg_cron({})",
            escape_literal(user)
        ))],
        _ => Vec::new(),
    }
}

fn default_privileges_sql(of: &DefaultsOf, change: &PrivilegeChange) -> Vec<Statement> {
    let scope = of.schema.as_ref().map_or_else(String::new, |schema| {
        format!(" IN SCHEMA {}", escape_identifier(schema))
    });
    let prefix = format!(
        "ALTER DEFAULT PRIVILEGES FOR ROLE {}{scope} ",
        escape_identifier(&of.role)
    );
    let mut all = vec![act_as(&of.role)];
    all.extend(
        privilege_sql(change, plural(of.class))
            .into_iter()
            .map(|sql| Statement::Sql(prefix.clone() + &sql)),
    );
    // What is there already gets what later things get.
    if let Some(schema) = &of.schema
        && !change.grant.is_empty()
    {
        all.push(Statement::OnObjects {
            schema: schema.clone(),
            owner: of.role.clone(),
            class: of.class,
            before: format!("GRANT {} ON {} ", words(&change.grant), singular(of.class)),
            after: format!(" TO {}", grantee_sql(&change.grantee)),
        });
    }
    all
}

/// For the rest of the transaction, with the rights of a role and no others.
fn act_as(role: &str) -> Statement {
    Statement::Sql(format!("SET LOCAL ROLE {}", escape_identifier(role)))
}

/// `GRANT` and `REVOKE` of a change on something.
fn privilege_sql(change: &PrivilegeChange, on: &str) -> Vec<String> {
    let grantee = grantee_sql(&change.grantee);
    let mut all: Vec<String> = revocations(&change.revoke)
        .into_iter()
        .map(|what| format!("REVOKE {what} ON {on} FROM {grantee} CASCADE"))
        .collect();
    if !change.grant.is_empty() {
        all.push(format!(
            "GRANT {} ON {on} TO {grantee}",
            words(&change.grant)
        ));
    }
    all
}

/// What stands between `REVOKE` and `ON`, once for the privileges and once for the right to pass them on.
fn revocations(revoke: &BTreeSet<Privilege>) -> Vec<String> {
    let mut privileges = revoke.clone();
    let option = privileges.remove(&Privilege::GrantOption);
    let mut all = Vec::new();
    if !privileges.is_empty() {
        all.push(words(&privileges));
    }
    if option {
        all.push("GRANT OPTION FOR ALL".to_owned());
    }
    all
}

fn words(privileges: &BTreeSet<Privilege>) -> String {
    let words: Vec<&str> = privileges
        .iter()
        .map(|privilege| privilege.as_str())
        .collect();
    words.join(", ")
}

fn grantee_sql(grantee: &Grantee) -> String {
    match grantee {
        Grantee::Public => "PUBLIC".to_owned(),
        Grantee::Role(role) => escape_identifier(role),
    }
}

const fn plural(class: ObjectClass) -> &'static str {
    match class {
        ObjectClass::Tables => "TABLES",
        ObjectClass::Sequences => "SEQUENCES",
        ObjectClass::Routines => "ROUTINES",
    }
}

const fn singular(class: ObjectClass) -> &'static str {
    match class {
        ObjectClass::Tables => "TABLE",
        ObjectClass::Sequences => "SEQUENCE",
        ObjectClass::Routines => "ROUTINE",
    }
}

/// Runs statements; errors that say that they were run before are success.
pub(super) async fn run(
    client: &mut Client,
    statements: &Statements,
    patience: Patience,
) -> Result<(), PostgresError> {
    let (result, done_before) = match statements {
        Statements::Alone { sql, done_before } => (
            within_patience(patience, client.batch_execute(sql)).await,
            done_before,
        ),
        Statements::Together { all, done_before } => {
            (run_together(client, all, patience).await, done_before)
        }
    };
    match result {
        Err(Failed::Refused(code, _)) if done_before.contains(&code) => Ok(()),
        Err(Failed::Refused(_, error) | Failed::Broken(error)) => Err(error),
        Ok(()) => Ok(()),
    }
}

/// How a statement failed.
enum Failed {
    /// The server refused it, with a SQLSTATE.
    Refused(SqlState, PostgresError),
    /// There was no answer.
    Broken(PostgresError),
}

async fn within_patience<T>(
    patience: Patience,
    call: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Failed> {
    let mut code = None;
    let call = async { call.await.inspect_err(|error| code = error.code().cloned()) };
    within(patience.call(), call)
        .await
        .map_err(|error| match code {
            Some(code) => Failed::Refused(code, error),
            None => Failed::Broken(error),
        })
}

async fn run_together(
    client: &mut Client,
    all: &[Statement],
    patience: Patience,
) -> Result<(), Failed> {
    let transaction = within_patience(patience, client.transaction()).await?;
    for statement in all {
        match statement {
            Statement::Sql(sql) => {
                within_patience(patience, transaction.batch_execute(sql)).await?;
            }
            Statement::OnObjects {
                schema,
                owner,
                class,
                before,
                after,
            } => {
                let objects = objects(&transaction, schema, owner, *class, patience).await?;
                for batch in objects.chunks(BATCH) {
                    let sql = format!("{before}{}{after}", batch.join(", "));
                    within_patience(patience, transaction.batch_execute(&sql)).await?;
                }
            }
            Statement::EndConnections { database } => {
                end_connections(&transaction, database, patience).await?;
            }
            Statement::EndSessions { role, from_age } => {
                let condition = sessions_to_end(*from_age);
                end_with_rights(&transaction, role, &condition, patience).await?;
            }
            Statement::GiveUp { role, heir } => {
                give_up(&transaction, role, heir.as_deref(), patience).await?;
            }
        }
    }
    within_patience(patience, transaction.commit()).await
}

/// The condition in SQL on the sessions over the network that are ended: all, or those of an age. It holds of the very
/// session that is ended, whatever its number was before.
fn sessions_to_end(from_age: Option<SignedDuration>) -> String {
    let of_the_network = format!("client_addr IS NOT NULL AND {NOT_LOOPBACK}");
    match from_age {
        None => of_the_network,
        Some(age) => format!(
            "{of_the_network} AND backend_start <= clock_timestamp() - interval '{} seconds'",
            age.as_secs()
        ),
    }
}

/// The objects of a class in a schema that belong to a role, quoted.
async fn objects(
    client: &impl GenericClient,
    schema: &str,
    owner: &str,
    class: ObjectClass,
    patience: Patience,
) -> Result<Vec<String>, Failed> {
    let query = match class {
        ObjectClass::Tables => {
            "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_roles r ON r.oid = c.relowner \
             WHERE n.nspname = $1 AND r.rolname = $2 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY c.oid"
        }
        ObjectClass::Sequences => {
            "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_roles r ON r.oid = c.relowner \
             WHERE n.nspname = $1 AND r.rolname = $2 AND c.relkind = 'S' ORDER BY c.oid"
        }
        ObjectClass::Routines => {
            "SELECT format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) \
             FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_roles r ON r.oid = p.proowner \
             WHERE n.nspname = $1 AND r.rolname = $2 ORDER BY p.oid"
        }
    };
    let rows = within_patience(patience, client.query(query, &[&schema, &owner])).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Ends the connections to a database. A backend may be ended with the rights of its own role; those of roles that
/// we may not act as stay, and the database with them until they are gone.
async fn end_connections(
    client: &impl GenericClient,
    database: &str,
    patience: Patience,
) -> Result<(), Failed> {
    let query = "SELECT DISTINCT usename::text FROM pg_stat_activity \
         WHERE datname = $1 AND usename IS NOT NULL AND pg_has_role(usesysid, 'SET')";
    let rows = within_patience(patience, client.query(query, &[&database])).await?;
    for row in &rows {
        let role: String = row.get(0);
        let to_it = format!("datname = {}", escape_literal(database));
        end_with_rights(client, &role, &to_it, patience).await?;
    }
    Ok(())
}

/// Ends those backends of a role of which a condition in SQL holds, with the role's own rights.
async fn end_with_rights(
    client: &impl GenericClient,
    role: &str,
    condition: &str,
    patience: Patience,
) -> Result<(), Failed> {
    let sql = format!(
        "SET LOCAL ROLE {}; SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE {condition} AND usename = {}; RESET ROLE",
        escape_identifier(role),
        escape_literal(role)
    );
    within_patience(patience, client.batch_execute(&sql)).await
}

/// `DROP OWNED BY` takes a privilege only with the rights of who gave it, which is who owns the object. For this
/// transaction the control role has the rights of all owners here that it administers, as it never has otherwise.
async fn give_up(
    client: &impl GenericClient,
    role: &str,
    heir: Option<&str>,
    patience: Patience,
) -> Result<(), Failed> {
    // What is dropped below must be privileges alone, so it goes by what is owned now, in this transaction.
    let heir = heir_of_something(client, role, heir, patience).await?;
    let query = "SELECT DISTINCT r.rolname::text FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid \
         WHERE d.refclassid = 'pg_authid'::regclass AND d.deptype = 'o' \
         AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         AND r.rolname <> current_user AND NOT r.rolsuper AND pg_has_role(r.oid, 'MEMBER WITH ADMIN OPTION')";
    let rows = within_patience(patience, client.query(query, &[])).await?;
    let mut owners: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    owners.insert(role.to_owned());
    owners.extend(heir.map(str::to_owned));
    let with = |inherit: &str| {
        let grants: Vec<String> = owners
            .iter()
            .map(|owner| {
                format!(
                    "GRANT {} TO {} WITH INHERIT {inherit}; ",
                    escape_identifier(owner),
                    escape_identifier(CONTROL_ROLE)
                )
            })
            .collect();
        grants.concat()
    };
    let name = escape_identifier(role);
    let reassign = heir.map_or_else(String::new, |heir| {
        format!("REASSIGN OWNED BY {name} TO {}; ", escape_identifier(heir))
    });
    let sql = format!(
        "{}{reassign}DROP OWNED BY {name}; {}",
        with("TRUE"),
        with("FALSE")
    );
    within_patience(patience, client.batch_execute(&sql)).await
}

/// The heir, when the role owns something in this database that there must be an heir for. Default privileges and user
/// mappings are no data.
///
/// # Errors
/// When there is no heir, or the role owns a whole database, which would fall to the heir with it.
async fn heir_of_something<'a>(
    client: &impl GenericClient,
    role: &str,
    heir: Option<&'a str>,
    patience: Patience,
) -> Result<Option<&'a str>, Failed> {
    let query = "SELECT count(*) FILTER (WHERE d.dbid <> 0) AS here, count(*) FILTER (WHERE d.dbid = 0) AS shared, \
                current_database()::text AS database \
         FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid \
         WHERE d.refclassid = 'pg_authid'::regclass AND d.deptype = 'o' AND r.rolname = $1 \
         AND d.classid NOT IN ('pg_default_acl'::regclass, 'pg_user_mapping'::regclass) \
         AND (d.dbid = 0 OR d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()))";
    let row = within_patience(patience, client.query_one(query, &[&role])).await?;
    let (here, shared, database): (i64, i64, String) =
        (row.get("here"), row.get("shared"), row.get("database"));
    let refused = |what: String| {
        Failed::Broken(PostgresError {
            failure: ReadFailure::Forbidden,
            source: Some(Cause(what).into()),
        })
    };
    if shared > 0 {
        return Err(refused(format!(
            "role {role} owns {shared} databases or tablespaces, expected none: as a superuser, give them to another role"
        )));
    }
    if here > 0 && heir.is_none() {
        return Err(refused(format!(
            "role {role} owns {here} objects in database {database}, which has nobody to take them over: as a \
             superuser, REASSIGN OWNED BY {role} there, or put the role back into the spec"
        )));
    }
    Ok(heir.filter(|_| here > 0))
}

#[cfg(test)]
mod tests {
    use bailiwick_model::names::Names;

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
