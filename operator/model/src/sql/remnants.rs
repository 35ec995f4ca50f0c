//! What the steps leave alone: what left the spec and was retained, and what only a person can put right. Values in,
//! sentences out, which name objects and never hold data; no I/O.

use bailiwick_api::region::Reclaim;

use super::difference::{extensions_in_order, revocable, surplus_on_objects};
use super::wanted::DATABASE_OWNER;
use super::{EXTENSIONS, SCHEMA_OF_EXTENSIONS, WantedDatabase, WantedPostgres};
use crate::desired::postgres::preloaded::CRON;
use crate::facts::postgres::{Grantee, Inside, Mark, ObjectClass, PostgresFacts};
use crate::names::CONTROL_ROLE;

impl WantedPostgres {
    /// The roles, databases, schemas and extensions that left the spec and stayed.
    #[must_use]
    pub fn retained(&self, seen: &PostgresFacts) -> Vec<String> {
        let kept = |mark: Option<&Mark>| mark.is_none_or(|mark| mark.reclaim == Reclaim::Retain);
        let databases = seen
            .databases
            .iter()
            .filter(|(name, fact)| {
                !self.has_database(name) && fact.owner == DATABASE_OWNER && kept(fact.mark.as_ref())
            })
            .map(|(name, _)| format!("database {name}"));
        let roles = seen
            .roles
            .iter()
            .filter(|(name, fact)| {
                !self.has_role(name) && fact.mark.is_some() && kept(fact.mark.as_ref())
            })
            .map(|(name, _)| format!("role {name}"));
        let mut retained: Vec<String> = databases.chain(roles).collect();
        for database in &self.databases {
            if let Some(inside) = inside(database, seen) {
                retained.extend(retained_inside(database, inside, seen));
            }
        }
        retained
    }

    /// What is not as it should be and the steps cannot mend, each with what to do.
    #[must_use]
    pub fn findings(&self, seen: &PostgresFacts) -> Vec<String> {
        let mut findings = Vec::new();
        for (name, fact) in &seen.roles {
            if self.has_role(name) && !fact.administered {
                findings.push(format!(
                    "role {name} was not made by the operator: as a superuser, GRANT {name} TO {CONTROL_ROLE} WITH \
                     ADMIN TRUE, or drop it"
                ));
            }
            for (has, attribute) in [
                (fact.superuser, "SUPERUSER"),
                (fact.replication, "REPLICATION"),
                (fact.bypass_rls, "BYPASSRLS"),
            ] {
                let ours = self.has_role(name) || fact.mark.is_some();
                // A superuser of unknown origin can do anything, whoever's it is.
                if has && (ours || (fact.superuser && !fact.bootstrap)) {
                    findings.push(format!(
                        "role {name} is {attribute}: as a superuser, ALTER ROLE {name} NO{attribute}"
                    ));
                }
            }
        }
        for membership in self.surplus_memberships(seen) {
            if !revocable(membership, seen) {
                let (role, member, grantor) =
                    (&membership.role, &membership.member, &membership.grantor);
                findings.push(format!(
                    "role {member} is a member of {role}, which the spec does not say: as a superuser, REVOKE {role} \
                     FROM {member} GRANTED BY {grantor}"
                ));
            }
        }
        for (name, slot) in &seen.slots {
            if slot.logical {
                findings.push(format!(
                    "replication slot {name} is logical, so rows can be read from it: drop it"
                ));
            }
        }
        for database in &self.databases {
            findings.extend(database_findings(database, seen));
        }
        findings
    }
}

fn inside<'a>(database: &WantedDatabase, seen: &'a PostgresFacts) -> Option<&'a Inside> {
    seen.databases
        .get(&database.name)
        .and_then(|fact| fact.inside.as_ref())
}

fn retained_inside<'a>(
    database: &'a WantedDatabase,
    inside: &'a Inside,
    seen: &PostgresFacts,
) -> impl Iterator<Item = String> + 'a {
    let name = &database.name;
    let schemas = inside
        .schemas
        .iter()
        .filter(|(schema, fact)| {
            fact.owner == database.admin
                && !database
                    .schemas
                    .iter()
                    .any(|wanted| wanted.name == **schema)
        })
        .map(move |(schema, _)| format!("schema {schema} in database {name}"));
    let wanted: Vec<String> = extensions_in_order(&database.extensions, &seen.available_extensions)
        .into_iter()
        .map(|(extension, _)| extension.to_owned())
        .chain(database.extensions.iter().cloned())
        .collect();
    let extensions = inside
        .extensions
        .keys()
        .filter(move |extension| {
            !wanted.contains(extension) && EXTENSIONS.contains(&extension.as_str())
        })
        .map(move |extension| format!("extension {extension} in database {name}"));
    schemas.chain(extensions)
}

fn database_findings(database: &WantedDatabase, seen: &PostgresFacts) -> Vec<String> {
    let name = &database.name;
    let mut findings = Vec::new();
    let Some(fact) = seen.databases.get(name) else {
        return findings;
    };
    if fact.owner != DATABASE_OWNER {
        findings.push(format!(
            "database {name} belongs to {}: as a superuser, ALTER DATABASE {name} OWNER TO {DATABASE_OWNER}, or drop it",
            fact.owner
        ));
        return findings;
    }
    let Some(inside) = &fact.inside else {
        return findings;
    };
    findings.extend(extension_findings(database, inside, seen));
    let wanted_schemas = database
        .schemas
        .iter()
        .map(|schema| (schema.name.as_str(), database.admin.as_str()))
        .chain([(SCHEMA_OF_EXTENSIONS, DATABASE_OWNER)]);
    for (schema, owner) in wanted_schemas {
        if let Some(fact) = inside.schemas.get(schema)
            && fact.owner != owner
        {
            findings.push(format!(
                "schema {schema} in database {name} belongs to {}: as a superuser, ALTER SCHEMA {schema} OWNER TO \
                 {owner}",
                fact.owner
            ));
        }
    }
    for schema in &database.schemas {
        for class in ObjectClass::ALL {
            let fact = inside.schemas.get(&schema.name);
            for (grantee, surplus) in surplus_on_objects(database, schema, fact, class, false) {
                let who = match grantee {
                    Grantee::Public => "PUBLIC".to_owned(),
                    Grantee::Role(role) => role,
                };
                let words: Vec<&str> = surplus.iter().map(|privilege| privilege.as_str()).collect();
                findings.push(format!(
                    "{who} has {} on an object of schema {} in database {name} that does not belong to {}: as its \
                     owner, revoke it, or as a superuser change its owner",
                    words.join(", "),
                    schema.name,
                    database.admin
                ));
            }
        }
    }
    for (count, what) in [
        (inside.foreign_servers, "foreign server"),
        (inside.publications, "publication"),
        (inside.subscriptions, "subscription"),
    ] {
        if count > 0 {
            findings.push(format!(
                "database {name} has {count} {what}{}, a way for data out: drop {}",
                if count == 1 { "" } else { "s" },
                if count == 1 { "it" } else { "them" }
            ));
        }
    }
    findings
}

fn extension_findings(
    database: &WantedDatabase,
    inside: &Inside,
    seen: &PostgresFacts,
) -> Vec<String> {
    let name = &database.name;
    let mut findings = Vec::new();
    for extension in &database.extensions {
        if inside.extensions.contains_key(extension) {
            continue;
        }
        match seen.available_extensions.get(extension) {
            None => findings.push(format!(
                "extension {extension} of database {name} is not in the image: take it out of the spec, or use an \
                 image that has it"
            )),
            Some(available) if available.superuser_only && extension != CRON => findings.push(format!(
                "extension {extension} of database {name} needs a superuser: as one, CREATE EXTENSION \
                 \"{extension}\" SCHEMA {SCHEMA_OF_EXTENSIONS}"
            )),
            Some(_) => {}
        }
    }
    for (extension, fact) in &inside.extensions {
        let insists = seen
            .available_extensions
            .get(extension)
            .and_then(|available| available.schema.as_ref());
        if !EXTENSIONS.contains(&extension.as_str()) {
            findings.push(format!(
                "extension {extension} in database {name} is not one that a Region may have: drop it"
            ));
        } else if insists.is_none() && fact.schema != SCHEMA_OF_EXTENSIONS {
            findings.push(format!(
                "extension {extension} in database {name} stands in schema {}, not in {SCHEMA_OF_EXTENSIONS}: \
                 applications may be unable to use it",
                fact.schema
            ));
        }
    }
    findings
}
