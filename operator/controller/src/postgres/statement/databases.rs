//! Databases as SQL, with their schemas and extensions. Steps in, statements out; no I/O.

use bailiwick_model::sql::step::SqlStep;
use postgres_protocol::escape::{escape_identifier, escape_literal};
use tokio_postgres::error::SqlState;

use super::privileges::privilege_sql;
use super::{Statement, Statements, Work};
use crate::postgres::MAINTENANCE_DATABASE;
use crate::postgres::connection::Patience;

/// A new database is a copy of the template that every server has.
pub(super) fn create_database(database: &str) -> Work {
    Work {
        database: MAINTENANCE_DATABASE.to_owned(),
        patience: Patience::Long,
        statements: Statements::Alone {
            sql: format!(
                "CREATE DATABASE {} TEMPLATE template1",
                escape_identifier(database)
            ),
            done_before: vec![SqlState::DUPLICATE_DATABASE],
        },
    }
}

/// Nobody new is let in, those inside are sent away, and the database is dropped.
pub(super) fn drop_database(database: &str) -> Vec<Work> {
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

/// The statements of a step about a database as a whole.
pub(super) fn database_sql(step: &SqlStep, database: &str) -> Vec<Statement> {
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

/// The statements of a step that makes something within a database.
pub(super) fn contents_sql(step: &SqlStep) -> Vec<Statement> {
    match step {
        SqlStep::CreateSchema { schema, owner, .. } => vec![Statement::Sql(format!(
            "CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}",
            escape_identifier(schema),
            escape_identifier(owner)
        ))],
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
