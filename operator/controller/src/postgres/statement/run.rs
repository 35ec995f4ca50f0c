//! Runs the statements of a step on a connection. Statements in, I/O to Postgres, done or why not out.

use std::collections::BTreeSet;

use bailiwick_model::facts::ReadFailure;
use bailiwick_model::facts::postgres::ObjectClass;
use bailiwick_model::names::CONTROL_ROLE;
use jiff::SignedDuration;
use postgres_protocol::escape::{escape_identifier, escape_literal};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, GenericClient};

use super::{Statement, Statements};
use crate::cause::Cause;
use crate::postgres::PostgresError;
use crate::postgres::connection::{Patience, within};

/// In SQL: a backend's client is elsewhere. What comes through the API server to the member itself is let in by who broke
/// the glass.
pub(in crate::postgres) const NOT_LOOPBACK: &str = "client_addr <> ALL ('{127.0.0.1,::1}'::inet[])";

/// How many objects one statement names.
const BATCH: usize = 500;

/// Runs statements; errors that say that they were run before are success.
pub(in crate::postgres) async fn run(
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
