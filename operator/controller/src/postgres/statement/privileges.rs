//! Privileges as SQL: of databases and schemas, of what is in them, and of what will be. Changes in, statements out; no
//! I/O.

use std::collections::BTreeSet;

use bailiwick_model::facts::postgres::{DefaultsOf, Grantee, ObjectClass, Privilege};
use bailiwick_model::sql::step::{PrivilegeChange, SqlStep};
use postgres_protocol::escape::escape_identifier;

use super::Statement;

/// The statements of a step about privileges within a database.
pub(super) fn privileges_sql(step: &SqlStep) -> Vec<Statement> {
    match step {
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
pub(super) fn privilege_sql(change: &PrivilegeChange, on: &str) -> Vec<String> {
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
