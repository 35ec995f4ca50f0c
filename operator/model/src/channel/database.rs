//! Channels of Postgres, as its own catalogues were read back.

use std::collections::BTreeSet;

use super::{Sight, Verdict, counted};
use crate::facts::Observed;
use crate::facts::postgres::PostgresFacts;
use crate::sql::EXTENSIONS;

/// The database that every server has, and that nobody but a superuser makes anything in.
const MAINTENANCE_DATABASE: &str = "postgres";

/// Roles of Postgres whose members reach files and programs of the server.
const SERVER_ROLES: &[&str] = &[
    "pg_execute_server_program",
    "pg_read_server_files",
    "pg_write_server_files",
];

/// Settings by which values of statements reach the log, and what keeps them out.
/// <https://www.postgresql.org/docs/17/runtime-config-logging.html>
const QUIET_LOG: &[(&str, &[&str])] = &[
    ("log_parameter_max_length", &["0"]),
    ("log_parameter_max_length_on_error", &["0"]),
    ("log_statement", &["none", "ddl"]),
    ("log_min_duration_statement", &["-1"]),
    ("log_duration", &["off"]),
    // The text and the details of a statement that failed have its values in them.
    ("log_min_error_statement", &["panic"]),
    ("log_error_verbosity", &["terse"]),
    // Below a warning, messages quote what the server works on.
    (
        "log_min_messages",
        &["warning", "error", "log", "fatal", "panic"],
    ),
];

/// The same of libraries, which have a setting only while they are loaded: pgaudit and pg_cron write the statement
/// itself unless told otherwise, auto_explain the plan with its literals.
const QUIET_LIBRARIES: &[(&str, &[&str])] = &[
    ("auto_explain.log_min_duration", &["-1"]),
    ("cron.log_statement", &["off"]),
    ("pgaudit.log_parameter", &["off"]),
    ("pgaudit.log_statement", &["off"]),
];

fn postgres<'a>(sight: &Sight<'a>) -> Result<&'a PostgresFacts, Verdict> {
    match &sight.facts.postgres {
        Observed::Seen(seen) => Ok(seen),
        // The condition PostgresAvailable tells the cause.
        Observed::Failed(unread) => Err(Verdict::unknown(format!(
            "SQL: {}",
            unread.failure.as_str()
        ))),
        Observed::NotAsked => Err(Verdict::unknown("SQL: not asked")),
    }
}

pub(super) fn standbys(sight: &Sight<'_>) -> Verdict {
    let seen = match postgres(sight) {
        Ok(seen) => seen,
        Err(verdict) => return verdict,
    };
    let ours: BTreeSet<&str> = sight
        .facts
        .pods
        .live
        .values()
        .filter_map(|pod| pod.ip.as_deref())
        .collect();
    for walsender in &seen.replication {
        match &walsender.address {
            // Over the socket: a process of the primary's own pod.
            None => {}
            Some(address) if ours.contains(address.as_str()) => {}
            Some(_) => {
                return Verdict::open(
                    "walsenders",
                    format!(
                        "{} streams WAL to an address that is no pod of namespace {}; end its connection and look at \
                         who has the replication password",
                        walsender.application,
                        sight.plan.names.namespace()
                    ),
                );
            }
        }
    }
    Verdict::enforced(format!(
        "SQL: {}",
        counted(seen.replication.len(), "walsender")
    ))
}

pub(super) fn streams(sight: &Sight<'_>) -> Verdict {
    let seen = match postgres(sight) {
        Ok(seen) => seen,
        Err(verdict) => return verdict,
    };
    if let Some((slot, _)) = seen.slots.iter().find(|(_, slot)| slot.logical) {
        return Verdict::open(
            "slots",
            format!("replication slot {slot} is logical, so rows can be read from it; drop it"),
        );
    }
    for (name, database) in &seen.databases {
        let Some(inside) = &database.inside else {
            continue;
        };
        if inside.publications > 0 || inside.subscriptions > 0 {
            return Verdict::open(
                "publications",
                format!("database {name} has a publication or subscription; drop it"),
            );
        }
    }
    Verdict::enforced("SQL: no logical slot, publication or subscription")
        .and(|| looked_into(sight, seen))
}

/// Whether every database was looked into, but for the maintenance database and those that take no connection.
fn looked_into(sight: &Sight<'_>, seen: &PostgresFacts) -> Verdict {
    let left_out = seen.databases.iter().find(|(name, database)| {
        database.inside.is_none() && database.open && *name != MAINTENANCE_DATABASE
    });
    match left_out {
        None => Verdict::enforced(counted(seen.databases.len(), "database")),
        Some((name, database)) => Verdict::unknown(format!(
            "database {name} belongs to {} and not to the operator of {}, which does not look into it",
            database.owner,
            sight.plan.names.region()
        )),
    }
}

pub(super) fn sql_egress(sight: &Sight<'_>) -> Verdict {
    let seen = match postgres(sight) {
        Ok(seen) => seen,
        Err(verdict) => return verdict,
    };
    for (name, role) in &seen.roles {
        if role.superuser && !role.bootstrap {
            return Verdict::open(
                "roles",
                format!("role {name} is a superuser; ALTER ROLE {name} NOSUPERUSER"),
            );
        }
    }
    for membership in &seen.memberships {
        if SERVER_ROLES.contains(&membership.role.as_str()) {
            return Verdict::open(
                "roles",
                format!(
                    "role {} is a member of {}; REVOKE it",
                    membership.member, membership.role
                ),
            );
        }
    }
    for (name, database) in &seen.databases {
        let Some(inside) = &database.inside else {
            continue;
        };
        if inside.foreign_servers > 0 {
            return Verdict::open(
                "foreign servers",
                format!("database {name} knows a foreign server; drop it"),
            );
        }
        if let Some(extension) = inside
            .extensions
            .keys()
            .find(|extension| !EXTENSIONS.contains(&extension.as_str()))
        {
            return Verdict::open(
                "extensions",
                format!("database {name} has extension {extension}, which is not allowed; drop it"),
            );
        }
    }
    Verdict::enforced("SQL: roles, extensions and foreign servers").and(|| looked_into(sight, seen))
}

pub(super) fn logs(sight: &Sight<'_>) -> Verdict {
    let seen = match postgres(sight) {
        Ok(seen) => seen,
        Err(verdict) => return verdict,
    };
    let of_libraries = QUIET_LIBRARIES
        .iter()
        .filter(|(setting, _)| seen.settings.contains_key(*setting));
    for (setting, quiet) in QUIET_LOG.iter().chain(of_libraries) {
        match seen.settings.get(*setting) {
            Some(value) if quiet.contains(&value.as_str()) => {}
            Some(value) => {
                return Verdict::open(
                    "settings",
                    format!(
                        "{setting} is {value}, expected {}; take it out of spec.postgres.parameters",
                        quiet.join(" or ")
                    ),
                );
            }
            None => return Verdict::unknown(format!("SQL: {setting} was not read")),
        }
    }
    // What one role or database was given instead.
    for (given, value) in &seen.settings {
        let Some((setting, _)) = given.split_once(" of ") else {
            continue;
        };
        let loud = QUIET_LOG
            .iter()
            .chain(QUIET_LIBRARIES)
            .any(|(name, quiet)| *name == setting && !quiet.contains(&value.as_str()));
        if loud {
            return Verdict::open(
                "settings",
                format!(
                    "{given} is {value}; as a superuser, ALTER ROLE or ALTER DATABASE RESET it"
                ),
            );
        }
    }
    Verdict::enforced(format!("SQL: {}", counted(QUIET_LOG.len(), "setting")))
}
