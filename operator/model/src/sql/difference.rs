//! The smallest difference between what Postgres is to hold and what it holds, as steps in the order in which they
//! can be done. Values in, values out; no I/O.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_api::region::Reclaim;

use super::wanted::{DATABASE_OWNER, NEED_PRELOAD};
use super::{SCHEMA_OF_EXTENSIONS, WantedDatabase, WantedPostgres, WantedRole, WantedSchema};
use crate::desired::postgres::preloaded::CRON;
use crate::facts::postgres::{
    AvailableExtension, DatabaseFact, DefaultsOf, Grantee, Inside, Mark, Membership, ObjectClass,
    ObjectsOf, PasswordFact, PostgresFacts, Privilege, Privileges, RoleFact, SchemaFact,
};
use crate::names::CONTROL_ROLE;
use crate::sql::step::{PrivilegeChange, SqlStep};

impl WantedPostgres {
    /// What to change now, in order. Nothing on a server that does not take writes.
    #[must_use]
    pub fn steps(&self, seen: &PostgresFacts) -> Vec<SqlStep> {
        if seen.in_recovery {
            return Vec::new();
        }
        let mut steps = Vec::new();
        for role in &self.roles {
            steps.extend(role_steps(role, seen.roles.get(&role.name)));
        }
        steps.extend(self.membership_steps(seen));
        for database in &self.databases {
            steps.extend(self.database_steps(database, seen));
        }
        steps.extend(self.removals(seen));
        steps
    }

    /// Memberships to end and to make.
    fn membership_steps(&self, seen: &PostgresFacts) -> Vec<SqlStep> {
        let mut steps: Vec<SqlStep> = self
            .surplus_memberships(seen)
            .filter(|membership| revocable(membership, seen))
            .map(revoke)
            .collect();
        for role in &self.roles {
            for parent in &role.member_of {
                let ours = seen.memberships.iter().find(|membership| {
                    membership.role == *parent
                        && membership.member == role.name
                        && membership.grantor == CONTROL_ROLE
                });
                if ours.is_some_and(is_plain) || !may_administer(parent, seen) {
                    continue;
                }
                steps.extend(ours.map(revoke));
                steps.push(SqlStep::GrantRole {
                    role: parent.clone(),
                    member: role.name.clone(),
                });
            }
        }
        steps
    }

    /// Memberships that the spec does not name and that concern a role of the spec, on either side. Roles that were
    /// retained keep theirs.
    pub(super) fn surplus_memberships<'a>(
        &'a self,
        seen: &'a PostgresFacts,
    ) -> impl Iterator<Item = &'a Membership> {
        let retained = |name: &str| {
            !self.has_role(name) && seen.roles.get(name).is_some_and(|role| role.mark.is_some())
        };
        seen.memberships.iter().filter(move |membership| {
            let named = self.roles.iter().any(|role| {
                role.name == membership.member && role.member_of.contains(&membership.role)
            });
            let concerns = self.has_role(&membership.member)
                || (self.has_role(&membership.role) && !retained(&membership.member));
            concerns && (!named || membership.grantor != CONTROL_ROLE)
        })
    }

    fn database_steps(&self, database: &WantedDatabase, seen: &PostgresFacts) -> Vec<SqlStep> {
        let name = || database.name.clone();
        let made = DatabaseFact {
            owner: DATABASE_OWNER.to_owned(),
            open: true,
            // What PUBLIC has on a database by default.
            privileges: Privileges::from([(
                Grantee::Public,
                BTreeSet::from([Privilege::Connect, Privilege::Temporary]),
            )]),
            inside: Some(Inside::fresh()),
            ..DatabaseFact::default()
        };
        let mut steps = Vec::new();
        let fact = seen.databases.get(&database.name).unwrap_or_else(|| {
            steps.push(SqlStep::CreateDatabase { database: name() });
            &made
        });
        if fact.owner != DATABASE_OWNER {
            // Somebody else's: it is reported, and nothing in it is touched.
            return steps;
        }
        if !fact.open {
            steps.push(SqlStep::OpenDatabase { database: name() });
        }
        // First of all, nobody else is let in.
        steps.extend(
            self.database_privileges(database, fact, seen)
                .into_iter()
                .map(|change| SqlStep::DatabasePrivileges {
                    database: name(),
                    change,
                }),
        );
        if let Some(mark) = changed_mark(fact.mark.as_ref(), database.reclaim) {
            steps.push(SqlStep::MarkDatabase {
                database: name(),
                mark,
            });
        }
        let schemas = database.search_path();
        if fact.search_path.as_ref() != Some(&schemas) {
            steps.push(SqlStep::SetSearchPath {
                database: name(),
                schemas,
            });
        }
        if let Some(inside) = &fact.inside {
            steps.extend(inside_steps(database, inside, seen));
        }
        steps
    }

    /// What changes on a database itself. Roles that were retained keep what they have.
    fn database_privileges(
        &self,
        database: &WantedDatabase,
        fact: &DatabaseFact,
        seen: &PostgresFacts,
    ) -> Vec<PrivilegeChange> {
        let retained = |grantee: &Grantee| match grantee {
            Grantee::Public => false,
            Grantee::Role(name) => {
                !self.has_role(name) && seen.roles.get(name).is_some_and(|role| role.mark.is_some())
            }
        };
        let grantees: BTreeSet<&Grantee> = fact
            .privileges
            .keys()
            .chain(database.privileges.keys())
            .collect();
        grantees
            .into_iter()
            .filter(|grantee| !retained(grantee))
            .filter_map(|grantee| {
                PrivilegeChange::between(
                    grantee,
                    &held(&fact.privileges, grantee),
                    &held(&database.privileges, grantee),
                )
            })
            .collect()
    }

    /// What left the spec and is marked for deletion: databases first, since roles own things in them.
    fn removals(&self, seen: &PostgresFacts) -> Vec<SqlStep> {
        let dropped: BTreeSet<&String> = seen
            .databases
            .iter()
            .filter(|(name, fact)| {
                !self.has_database(name)
                    && fact.owner == DATABASE_OWNER
                    && is_doomed(fact.mark.as_ref())
            })
            .map(|(name, _)| name)
            .collect();
        let left: Vec<String> = seen
            .databases
            .iter()
            .filter(|(name, fact)| {
                fact.owner == DATABASE_OWNER && fact.open && !dropped.contains(name)
            })
            .map(|(name, _)| name.clone())
            .collect();
        let mut steps: Vec<SqlStep> = dropped
            .iter()
            .map(|name| SqlStep::DropDatabase {
                database: (*name).clone(),
            })
            .collect();
        for (name, fact) in &seen.roles {
            if self.has_role(name) || !fact.administered || !is_doomed(fact.mark.as_ref()) {
                continue;
            }
            if !fact.settable {
                steps.push(SqlStep::ActAs { role: name.clone() });
            }
            steps.push(SqlStep::DropRole {
                role: name.clone(),
                databases: left.clone(),
            });
        }
        steps
    }
}

fn is_doomed(mark: Option<&Mark>) -> bool {
    mark.is_some_and(|mark| mark.reclaim == Reclaim::Delete)
}

/// The mark to write, when what is there says something else or nothing.
fn changed_mark(mark: Option<&Mark>, reclaim: Reclaim) -> Option<Mark> {
    match mark {
        Some(mark) if mark.reclaim == reclaim => None,
        Some(mark) => Some(mark.reclaimed(reclaim)),
        None => Some(Mark::new(reclaim)),
    }
}

fn role_steps(wanted: &WantedRole, fact: Option<&RoleFact>) -> Vec<SqlStep> {
    let role = || wanted.name.clone();
    let mut steps = Vec::new();
    let password = if let Some(fact) = fact {
        if !fact.administered {
            // Somebody else's: it is reported, and not touched.
            return steps;
        }
        if !fact.settable {
            steps.push(SqlStep::ActAs { role: role() });
        }
        let as_wanted = fact.login == wanted.login
            && fact.connection_limit == wanted.connection_limit
            && fact.inherit
            && !fact.create_db
            && !fact.create_role
            && !fact.expires;
        // Only a superuser can alter a superuser.
        if !as_wanted && !fact.superuser {
            steps.push(SqlStep::AlterRole {
                role: role(),
                login: wanted.login,
                connection_limit: wanted.connection_limit,
            });
        }
        if let Some(mark) = changed_mark(fact.mark.as_ref(), wanted.reclaim) {
            steps.push(SqlStep::MarkRole { role: role(), mark });
        }
        if fact.superuser {
            PasswordFact::Unknown
        } else {
            fact.password
        }
    } else {
        steps.push(SqlStep::CreateRole {
            role: role(),
            login: wanted.login,
            connection_limit: wanted.connection_limit,
            mark: Mark::new(wanted.reclaim),
        });
        PasswordFact::Stale
    };
    if let (PasswordFact::Stale, Some(secret)) = (password, &wanted.secret) {
        steps.push(SqlStep::SetPassword {
            role: role(),
            secret: secret.clone(),
            mark: Mark::new(wanted.reclaim),
        });
    }
    steps
}

fn revoke(membership: &Membership) -> SqlStep {
    SqlStep::RevokeRole {
        role: membership.role.clone(),
        member: membership.member.clone(),
        grantor: membership.grantor.clone(),
    }
}

/// Whether the control role can end a membership: what a superuser granted, only a superuser takes away.
pub(super) fn revocable(membership: &Membership, seen: &PostgresFacts) -> bool {
    membership.grantor == CONTROL_ROLE && may_administer(&membership.role, seen)
}

/// Whether the control role may grant a role; it may grant those that it has yet to make.
fn may_administer(role: &str, seen: &PostgresFacts) -> bool {
    seen.roles.get(role).is_none_or(|fact| fact.administered)
}

const fn is_plain(membership: &Membership) -> bool {
    membership.inherit && membership.set && !membership.admin
}

fn inside_steps(database: &WantedDatabase, inside: &Inside, seen: &PostgresFacts) -> Vec<SqlStep> {
    let mut steps = Vec::new();
    if let Some(public) = inside.schemas.get("public")
        && ["pg_database_owner", DATABASE_OWNER].contains(&public.owner.as_str())
    {
        let nothing = Privileges::new();
        steps.extend(schema_privileges(
            database, "public", None, public, &nothing,
        ));
    }
    steps.extend(schema_steps(
        database,
        inside,
        SCHEMA_OF_EXTENSIONS,
        DATABASE_OWNER,
        &database.on_schema_of_extensions(),
    ));
    steps.extend(extension_steps(database, inside, seen));
    if !may_administer(&database.admin, seen) {
        return steps;
    }
    // The schemas' owner is who the next steps are done as.
    for schema in &database.schemas {
        steps.extend(schema_steps(
            database,
            inside,
            &schema.name,
            &database.admin,
            &database.on_schema(),
        ));
    }
    for class in ObjectClass::ALL {
        steps.extend(default_privileges(database, inside, None, class));
    }
    for schema in &database.schemas {
        let fact = inside.schemas.get(&schema.name);
        if fact.is_some_and(|fact| fact.owner != database.admin) {
            continue;
        }
        for class in ObjectClass::ALL {
            steps.extend(default_privileges(database, inside, Some(schema), class));
            steps.extend(
                surplus_on_objects(database, schema, fact, class, true)
                    .into_iter()
                    .map(|(grantee, revoke)| SqlStep::ObjectPrivileges {
                        database: database.name.clone(),
                        schema: schema.name.clone(),
                        owner: database.admin.clone(),
                        class,
                        grantee,
                        revoke,
                    }),
            );
        }
    }
    steps
}

/// A schema and who may use it. One that belongs to another role is reported, and not touched.
fn schema_steps(
    database: &WantedDatabase,
    inside: &Inside,
    schema: &str,
    owner: &str,
    wanted: &Privileges,
) -> Vec<SqlStep> {
    let mut steps = Vec::new();
    let made = SchemaFact {
        owner: owner.to_owned(),
        ..SchemaFact::default()
    };
    let fact = inside.schemas.get(schema).unwrap_or_else(|| {
        steps.push(SqlStep::CreateSchema {
            database: database.name.clone(),
            schema: schema.to_owned(),
            owner: owner.to_owned(),
        });
        &made
    });
    if fact.owner == owner {
        let act_as = (owner != DATABASE_OWNER).then_some(owner);
        steps.extend(schema_privileges(database, schema, act_as, fact, wanted));
    }
    steps
}

fn schema_privileges(
    database: &WantedDatabase,
    schema: &str,
    owner: Option<&str>,
    fact: &SchemaFact,
    wanted: &Privileges,
) -> Vec<SqlStep> {
    let mut grantees = BTreeSet::from(database.kept_grantees());
    if owner != Some(database.admin.as_str()) {
        grantees.insert(Grantee::role(&database.admin));
    }
    grantees
        .iter()
        .filter_map(|grantee| {
            PrivilegeChange::between(
                grantee,
                &held(&fact.privileges, grantee),
                &held(wanted, grantee),
            )
        })
        .map(|change| SqlStep::SchemaPrivileges {
            database: database.name.clone(),
            schema: schema.to_owned(),
            owner: owner.map(str::to_owned),
            change,
        })
        .collect()
}

/// What changes for what the owner of the schemas makes later: in one of them, or (none) in all.
fn default_privileges(
    database: &WantedDatabase,
    inside: &Inside,
    schema: Option<&WantedSchema>,
    class: ObjectClass,
) -> Vec<SqlStep> {
    let of = DefaultsOf {
        role: database.admin.clone(),
        schema: schema.map(|schema| schema.name.clone()),
        class,
    };
    let wanted = schema.map_or_else(BTreeMap::new, |schema| database.on_objects(schema, class));
    let seen = inside
        .default_privileges
        .get(&of)
        .cloned()
        .unwrap_or_else(|| built_in_defaults(&of));
    database
        .kept_grantees()
        .iter()
        .filter_map(|grantee| {
            PrivilegeChange::between(grantee, &held(&seen, grantee), &held(&wanted, grantee))
        })
        .map(|change| SqlStep::DefaultPrivileges {
            database: database.name.clone(),
            of: of.clone(),
            change,
        })
        .collect()
}

/// What holds where default privileges were never altered: everybody may execute what anybody makes.
pub(super) fn built_in_defaults(of: &DefaultsOf) -> Privileges {
    if of.schema.is_none() && of.class == ObjectClass::Routines {
        Privileges::from([(Grantee::Public, BTreeSet::from([Privilege::Execute]))])
    } else {
        Privileges::new()
    }
}

/// What is held on objects of a schema beyond what may be, by whom.
pub(super) fn surplus_on_objects(
    database: &WantedDatabase,
    schema: &WantedSchema,
    fact: Option<&SchemaFact>,
    class: ObjectClass,
    of_schema_owner: bool,
) -> Vec<(Grantee, BTreeSet<Privilege>)> {
    let Some(privileges) = fact.and_then(|fact| {
        fact.objects.get(&ObjectsOf {
            class,
            of_schema_owner,
        })
    }) else {
        return Vec::new();
    };
    database
        .kept_grantees()
        .into_iter()
        .filter_map(|grantee| {
            let most = database.most_on_objects(schema, class, &grantee);
            let surplus = &held(privileges, &grantee) - &most;
            (!surplus.is_empty()).then_some((grantee, surplus))
        })
        .collect()
}

/// The extensions that are missing, each after those that it needs.
fn extension_steps(
    database: &WantedDatabase,
    inside: &Inside,
    seen: &PostgresFacts,
) -> Vec<SqlStep> {
    let schema_is_ours = inside
        .schemas
        .get(SCHEMA_OF_EXTENSIONS)
        .is_none_or(|schema| schema.owner == DATABASE_OWNER);
    extensions_in_order(&database.extensions, &seen.available_extensions)
        .into_iter()
        .filter(|(name, _)| !inside.extensions.contains_key(*name))
        // Until the server was restarted with its library, the extension cannot be made.
        .filter(|(name, _)| {
            !NEED_PRELOAD.contains(name) || seen.preloaded_libraries.contains(*name)
        })
        .filter_map(|(name, available)| {
            if name == CRON {
                return (seen.cron_database.as_ref() == Some(&database.name)).then(|| {
                    SqlStep::CreateCron {
                        database: database.name.clone(),
                        user: database.admin.clone(),
                        version: available.version.clone(),
                    }
                });
            }
            let creatable =
                schema_is_ours && !available.superuser_only && available.schema.is_none();
            creatable.then(|| SqlStep::CreateExtension {
                database: database.name.clone(),
                extension: name.to_owned(),
                schema: SCHEMA_OF_EXTENSIONS.to_owned(),
                version: available.version.clone(),
            })
        })
        .collect()
}

/// The extensions asked for that the server has, and those that they need, each after what it needs.
pub(super) fn extensions_in_order<'a>(
    asked: &'a [String],
    available: &'a BTreeMap<String, AvailableExtension>,
) -> Vec<(&'a str, &'a AvailableExtension)> {
    fn visit<'a>(
        name: &'a str,
        available: &'a BTreeMap<String, AvailableExtension>,
        visited: &mut BTreeSet<&'a str>,
        order: &mut Vec<(&'a str, &'a AvailableExtension)>,
    ) {
        if let Some(extension) = available.get(name)
            && visited.insert(name)
        {
            for needed in &extension.requires {
                visit(needed, available, visited, order);
            }
            order.push((name, extension));
        }
    }
    let mut order = Vec::new();
    let mut visited = BTreeSet::new();
    for name in asked {
        visit(name, available, &mut visited, &mut order);
    }
    order
}

/// What a grantee holds.
fn held(privileges: &Privileges, grantee: &Grantee) -> BTreeSet<Privilege> {
    privileges.get(grantee).cloned().unwrap_or_default()
}
