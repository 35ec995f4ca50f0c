//! What will be seen once a step is done: the model of Postgres that the steps are made with. The tests of the steps
//! run on it, and the tests on a real server hold it to the truth. Values in, values out; no I/O.

use std::collections::BTreeSet;

use super::database_admin;
use super::difference::built_in_defaults;
use super::wanted::DATABASE_OWNER;
use crate::desired::postgres::preloaded::CRON;
use crate::facts::postgres::{
    DatabaseFact, DefaultsOf, ExtensionFact, Grantee, Inside, Mark, Membership, ObjectClass,
    ObjectsOf, PasswordFact, PostgresFacts, Privilege, Privileges, RoleFact, SchemaFact,
};
use crate::names::CONTROL_ROLE;
use crate::sql::step::{PrivilegeChange, SqlStep};

/// Changes the facts as doing the step changes what is seen. The fingerprint of a password is the adapter's: here
/// it is `set`.
pub fn settle(facts: &mut PostgresFacts, step: &SqlStep) {
    match step {
        SqlStep::EndSessions { role, standby, .. } => {
            let sessions = match standby {
                None => Some(&mut facts.sessions),
                Some(member) => facts.standby_sessions.get_mut(member),
            };
            if let Some(sessions) = sessions {
                sessions.remove(role);
            }
        }
        SqlStep::CreateRole { .. }
        | SqlStep::ActAs { .. }
        | SqlStep::AlterRole { .. }
        | SqlStep::MarkRole { .. }
        | SqlStep::SetPassword { .. }
        | SqlStep::GrantRole { .. }
        | SqlStep::RevokeRole { .. }
        | SqlStep::DropRole { .. } => settle_role(facts, step),
        SqlStep::CreateDatabase { database } => {
            facts
                .databases
                .entry(database.clone())
                .or_insert_with(new_database);
        }
        SqlStep::DropDatabase { database } => {
            facts.databases.remove(database);
        }
        SqlStep::MarkDatabase { database, .. }
        | SqlStep::OpenDatabase { database }
        | SqlStep::SetSearchPath { database, .. }
        | SqlStep::DatabasePrivileges { database, .. } => {
            if let Some(fact) = facts.databases.get_mut(database) {
                settle_database(fact, step);
            }
        }
        SqlStep::CreateSchema { database, .. }
        | SqlStep::SchemaPrivileges { database, .. }
        | SqlStep::DefaultPrivileges { database, .. }
        | SqlStep::ObjectPrivileges { database, .. }
        | SqlStep::CreateExtension { database, .. }
        | SqlStep::CreateCron { database, .. } => {
            let inside = facts
                .databases
                .get_mut(database)
                .and_then(|fact| fact.inside.as_mut());
            if let Some(inside) = inside {
                settle_inside(inside, step);
            }
        }
    }
}

fn new_database() -> DatabaseFact {
    DatabaseFact {
        owner: DATABASE_OWNER.to_owned(),
        open: true,
        privileges: Privileges::from([(
            Grantee::Public,
            BTreeSet::from([Privilege::Connect, Privilege::Temporary]),
        )]),
        inside: Some(Inside::fresh()),
        ..DatabaseFact::default()
    }
}

fn settle_role(facts: &mut PostgresFacts, step: &SqlStep) {
    match step {
        SqlStep::CreateRole {
            role,
            login,
            connection_limit,
            mark,
        } => {
            facts.roles.entry(role.clone()).or_insert_with(|| RoleFact {
                login: *login,
                inherit: true,
                connection_limit: *connection_limit,
                administered: true,
                settable: true,
                mark: Some(mark.clone()),
                password: if *login {
                    PasswordFact::Stale
                } else {
                    PasswordFact::Unknown
                },
                ..RoleFact::default()
            });
        }
        SqlStep::GrantRole { role, member } => {
            facts.memberships.insert(Membership {
                role: role.clone(),
                member: member.clone(),
                grantor: CONTROL_ROLE.to_owned(),
                admin: false,
                inherit: true,
                set: true,
            });
        }
        SqlStep::RevokeRole {
            role,
            member,
            grantor,
        } => facts.memberships.retain(|membership| {
            (&membership.role, &membership.member, &membership.grantor) != (role, member, grantor)
        }),
        SqlStep::DropRole { role, .. } => {
            facts.roles.remove(role);
            facts
                .memberships
                .retain(|membership| membership.role != *role && membership.member != *role);
            let gone = Grantee::role(role);
            for (name, database) in &mut facts.databases {
                forget(database, &database_admin(name), &gone, role);
            }
        }
        SqlStep::ActAs { role }
        | SqlStep::AlterRole { role, .. }
        | SqlStep::MarkRole { role, .. }
        | SqlStep::SetPassword { role, .. } => {
            if let Some(fact) = facts.roles.get_mut(role) {
                alter_role(fact, step);
            }
        }
        _ => {}
    }
}

fn alter_role(fact: &mut RoleFact, step: &SqlStep) {
    match step {
        SqlStep::ActAs { .. } => fact.settable = true,
        SqlStep::AlterRole {
            login,
            connection_limit,
            ..
        } => {
            fact.login = *login;
            fact.connection_limit = *connection_limit;
            fact.inherit = true;
            fact.create_db = false;
            fact.create_role = false;
            fact.expires = false;
        }
        SqlStep::MarkRole { mark, .. } => fact.mark = Some(mark.clone()),
        SqlStep::SetPassword { mark, .. } => {
            fact.password = PasswordFact::Current;
            fact.mark = Some(Mark {
                password: Some("set".to_owned()),
                ..mark.clone()
            });
        }
        _ => {}
    }
}

/// Removes a role's privileges, and what it owned.
/// What a role owned is its heir's, and what it held is gone.
fn forget(database: &mut DatabaseFact, heir: &str, grantee: &Grantee, role: &str) {
    database.privileges.remove(grantee);
    if let Some(inside) = &mut database.inside {
        for schema in inside.schemas.values_mut() {
            if schema.owner == role {
                heir.clone_into(&mut schema.owner);
            }
        }
        inside.default_privileges.retain(|of, _| of.role != role);
        for schema in inside.schemas.values_mut() {
            schema.privileges.remove(grantee);
            for privileges in schema.objects.values_mut() {
                privileges.remove(grantee);
            }
        }
        for privileges in inside.default_privileges.values_mut() {
            privileges.remove(grantee);
        }
    }
}

fn settle_database(fact: &mut DatabaseFact, step: &SqlStep) {
    match step {
        SqlStep::MarkDatabase { mark, .. } => fact.mark = Some(mark.clone()),
        SqlStep::OpenDatabase { .. } => fact.open = true,
        SqlStep::SetSearchPath { schemas, .. } => fact.search_path = Some(schemas.clone()),
        SqlStep::DatabasePrivileges { change, .. } => {
            change_privileges(&mut fact.privileges, change);
        }
        _ => {}
    }
}

fn settle_inside(inside: &mut Inside, step: &SqlStep) {
    match step {
        SqlStep::CreateSchema { schema, owner, .. } => {
            inside
                .schemas
                .entry(schema.clone())
                .or_insert_with(|| SchemaFact {
                    owner: owner.clone(),
                    ..SchemaFact::default()
                });
        }
        SqlStep::SchemaPrivileges { schema, change, .. } => {
            if let Some(fact) = inside.schemas.get_mut(schema) {
                change_privileges(&mut fact.privileges, change);
            }
        }
        SqlStep::DefaultPrivileges { of, change, .. } => settle_defaults(inside, of, change),
        SqlStep::ObjectPrivileges {
            schema,
            class,
            grantee,
            revoke,
            ..
        } => {
            let change = PrivilegeChange {
                grantee: grantee.clone(),
                grant: BTreeSet::new(),
                revoke: revoke.clone(),
            };
            change_objects(inside, schema, *class, &change);
        }
        SqlStep::CreateExtension {
            extension,
            schema,
            version,
            ..
        } => {
            inside
                .extensions
                .entry(extension.clone())
                .or_insert_with(|| ExtensionFact {
                    version: version.clone(),
                    schema: schema.clone(),
                });
        }
        SqlStep::CreateCron { version, .. } => {
            inside
                .extensions
                .entry(CRON.to_owned())
                .or_insert_with(|| ExtensionFact {
                    version: version.clone(),
                    schema: "pg_catalog".to_owned(),
                });
        }
        _ => {}
    }
}

fn settle_defaults(inside: &mut Inside, of: &DefaultsOf, change: &PrivilegeChange) {
    let privileges = inside
        .default_privileges
        .entry(of.clone())
        .or_insert_with(|| built_in_defaults(of));
    change_privileges(privileges, change);
    // Postgres forgets an entry that says what holds anyway.
    if *privileges == built_in_defaults(of) {
        inside.default_privileges.remove(of);
    }
    if let Some(schema) = &of.schema {
        let given = PrivilegeChange {
            revoke: BTreeSet::new(),
            ..change.clone()
        };
        change_objects(inside, schema, of.class, &given);
    }
}

fn change_objects(inside: &mut Inside, schema: &str, class: ObjectClass, change: &PrivilegeChange) {
    let own = ObjectsOf {
        class,
        of_schema_owner: true,
    };
    let objects = inside
        .schemas
        .get_mut(schema)
        .and_then(|fact| fact.objects.get_mut(&own));
    // Where there are no objects there is nothing to change.
    if let Some(privileges) = objects {
        change_privileges(privileges, change);
    }
}

fn change_privileges(privileges: &mut Privileges, change: &PrivilegeChange) {
    let held = privileges.entry(change.grantee.clone()).or_default();
    held.extend(&change.grant);
    held.retain(|privilege| !change.revoke.contains(privilege));
    if held.is_empty() {
        privileges.remove(&change.grantee);
    }
}
