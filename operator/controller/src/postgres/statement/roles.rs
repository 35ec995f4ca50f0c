//! Roles as SQL: what they are, their passwords and memberships, and their end. Steps in, statements out; no I/O.

use bailiwick_model::facts::ReadFailure;
use bailiwick_model::facts::postgres::Mark;
use bailiwick_model::names::CONTROL_ROLE;
use bailiwick_model::sql::database_admin;
use bailiwick_model::sql::step::SqlStep;
use postgres_protocol::escape::{escape_identifier, escape_literal};
use tokio_postgres::error::SqlState;

use super::{Statement, Statements, Work, together};
use crate::cause::Cause;
use crate::postgres::connection::Patience;
use crate::postgres::password::Passwords;
use crate::postgres::{MAINTENANCE_DATABASE, PostgresError};

/// The statements of a step about one role.
///
/// # Errors
/// `NotReady` when a password is to be set that its Secret does not hold.
pub(super) fn role_work(step: &SqlStep, passwords: &Passwords<'_>) -> Result<Work, PostgresError> {
    let all = match step {
        SqlStep::SetPassword { role, secret, mark } => {
            set_password_sql(role, secret, mark, passwords)?
        }
        _ => role_sql(step),
    };
    let done_before = match step {
        // Whatever else is there under that name shows at the next look.
        SqlStep::CreateRole { .. } => vec![SqlState::DUPLICATE_OBJECT],
        SqlStep::RevokeRole { .. } => vec![SqlState::UNDEFINED_OBJECT],
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

fn role_sql(step: &SqlStep) -> Vec<String> {
    match step {
        SqlStep::CreateRole {
            role,
            login,
            connection_limit,
            mark,
        } => {
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
            vec![format!(
                "REVOKE {} FROM {} GRANTED BY {} CASCADE",
                escape_identifier(role),
                escape_identifier(member),
                escape_identifier(grantor)
            )]
        }
        _ => Vec::new(),
    }
}

/// The password's verifier, and in the role's mark which password it is.
fn set_password_sql(
    role: &str,
    secret: &str,
    mark: &Mark,
    passwords: &Passwords<'_>,
) -> Result<Vec<String>, PostgresError> {
    let missing = || {
        let cause = format!(
            "Secret {secret}: password is missing, expected text; it is made anew when the Secret is deleted"
        );
        PostgresError {
            failure: ReadFailure::NotReady,
            source: Some(Cause(cause).into()),
        }
    };
    let verifier = passwords.verifier(secret).ok_or_else(missing)?;
    let fingerprint = passwords.fingerprint(role, secret).ok_or_else(missing)?;
    let mark = Mark {
        password: Some(fingerprint),
        ..mark.clone()
    };
    Ok(vec![
        format!(
            "ALTER ROLE {} PASSWORD {}",
            escape_identifier(role),
            escape_literal(&verifier)
        ),
        comment_on_role(role, &mark),
    ])
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
pub(super) fn drop_role(role: &str, databases: &[String]) -> Vec<Work> {
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
