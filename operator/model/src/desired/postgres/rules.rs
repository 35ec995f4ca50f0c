//! What is wrong with a Region's Postgres and backup that one look at the spec can tell. A spec in, violations out;
//! pure. Rules that the CRD states too are here as well: a spec may come from `check`, without an API server.

use std::collections::BTreeSet;

use bailiwick_api::region::{
    DATABASE_ROLE_SUFFIXES, Durability, RESERVED_DATABASES, RESERVED_PREFIXES, RESERVED_ROLES,
    RegionSpec,
};
use bailiwick_api::violation::{Reason, Violation};
use bailiwick_api::{duration, quantity, settings};

use crate::sql;

/// The least memory with which a member starts: its shared buffers beside Patroni and pgBackRest.
const LEAST_MEMORY: u64 = 256 << 20;
/// The least volume: a new cluster, its WAL and room for a segment or two.
const LEAST_VOLUME: u64 = 512 << 20;
/// The least recovery point objective, in seconds: every segment is 16 MB, however little is in it.
const LEAST_RPO: i64 = 30;
/// The greatest, in seconds.
const GREATEST_RPO: i64 = 24 * 3600;
/// PostgreSQL's limit on names, in bytes (`NAMEDATALEN` less one).
const LONGEST_NAME: usize = 63;

/// What is wrong with `spec.postgres` and `spec.backup`, in the order of the spec.
#[must_use]
pub fn violations(spec: &RegionSpec) -> Vec<Violation> {
    let mut found = Vec::new();
    found.extend(members(spec));
    found.extend(sizes(spec));
    found.extend(settings::violations(spec));
    found.extend(databases(spec));
    found.extend(roles(spec));
    found.extend(sql::violations(spec));
    found.extend(failover(spec));
    found.extend(backup(spec));
    found
}

fn invalid(field: impl Into<String>, message: impl Into<String>) -> Violation {
    Violation::new(field, Reason::Invalid, message)
}

fn members(spec: &RegionSpec) -> Vec<Violation> {
    let postgres = &spec.postgres;
    let mut found = Vec::new();
    if postgres.instances < 1 {
        found.push(invalid(
            "spec.postgres.instances",
            format!(
                "is {}, expected 1 or more; use lifecycle.hibernated to stop all members",
                postgres.instances
            ),
        ));
    }
    if postgres.durability == Durability::ZeroLoss && postgres.instances == 1 {
        found.push(invalid(
            "spec.postgres.durability",
            "is ZeroLoss with 1 instance, where every write would wait for ever; expected 2 or more instances, or \
             PreferZeroLoss",
        ));
    }
    found
}

fn sizes(spec: &RegionSpec) -> Vec<Violation> {
    let postgres = &spec.postgres;
    let mut found = Vec::new();
    let cpu = &postgres.resources.cpu;
    if quantity::asked_millicpus(cpu).is_none() {
        found.push(invalid(
            "spec.postgres.resources.cpu",
            format!("is {cpu:?}, {}", quantity::CPUS_EXPECTED),
        ));
    }
    let memory = quantity::asked_bytes(&postgres.resources.memory);
    if memory.is_none_or(|it| it < LEAST_MEMORY) {
        found.push(invalid(
            "spec.postgres.resources.memory",
            format!(
                "is {:?}, expected at least 256Mi: {}",
                postgres.resources.memory,
                quantity::BYTES_EXPECTED
            ),
        ));
    }
    if quantity::asked_bytes(&postgres.storage.data.size).is_none_or(|it| it < LEAST_VOLUME) {
        found.push(invalid(
            "spec.postgres.storage.data.size",
            format!(
                "is {:?}, expected at least 512Mi: {}",
                postgres.storage.data.size,
                quantity::BYTES_EXPECTED
            ),
        ));
    }
    found
}

/// Whether `name` is one that needs no quotes, and a DNS label once underscores are hyphens.
fn plain(name: &str) -> bool {
    name.starts_with(|it: char| it.is_ascii_lowercase())
        && !name.ends_with('_')
        && name
            .bytes()
            .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_')
}

const PLAIN: &str = "lower-case letters, digits and underscores, beginning with a letter and not ending with an \
                     underscore";

fn databases(spec: &RegionSpec) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let longest = LONGEST_NAME
        - DATABASE_ROLE_SUFFIXES
            .iter()
            .map(|it| it.len())
            .max()
            .unwrap_or(0);
    for (index, database) in spec.postgres.databases.iter().enumerate() {
        let field = format!("spec.postgres.databases[{index}]");
        let name = database.name.as_str();
        if !plain(name) || name.len() > longest {
            found.push(invalid(
                format!("{field}.name"),
                format!("is {name:?}, expected at most {longest} {PLAIN}"),
            ));
        } else if RESERVED_DATABASES.contains(&name) || reserved(name) {
            found.push(invalid(
                format!("{field}.name"),
                format!("is {name}, which is reserved; choose another name"),
            ));
        }
        if !seen.insert(name) {
            found.push(invalid(
                format!("{field}.name"),
                format!("is {name}, which the list has already; remove one"),
            ));
        }
        found.extend(schemas(&field, database));
        let mut extensions = BTreeSet::new();
        for (position, extension) in database.extensions.iter().enumerate() {
            if !extensions.insert(extension) {
                found.push(invalid(
                    format!("{field}.extensions[{position}]"),
                    format!("is {extension}, which the list has already; remove one"),
                ));
            }
        }
    }
    let scheduling: Vec<usize> = spec
        .postgres
        .databases
        .iter()
        .enumerate()
        .filter(|(_, database)| database.extensions.iter().any(|it| it == "pg_cron"))
        .map(|(index, _)| index)
        .collect();
    for index in scheduling.iter().skip(1) {
        found.push(invalid(
            format!("spec.postgres.databases[{index}].extensions"),
            format!(
                "has pg_cron, as spec.postgres.databases[{}] has; pg_cron keeps its jobs in one database: remove it \
                 from the others",
                scheduling[0]
            ),
        ));
    }
    found
}

fn schemas(field: &str, database: &bailiwick_api::region::Database) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for (position, schema) in database.schemas.iter().enumerate() {
        let field = format!("{field}.schemas[{position}].name");
        let name = schema.name.as_str();
        if !plain(name) || name.len() > LONGEST_NAME {
            found.push(invalid(
                &field,
                format!("is {name:?}, expected at most {LONGEST_NAME} {PLAIN}"),
            ));
        } else if sql::TAKEN_SCHEMAS.contains(&name) || reserved(name) {
            found.push(invalid(
                &field,
                format!("is {name}, which is reserved; choose another name"),
            ));
        }
        if !seen.insert(name) {
            found.push(invalid(
                &field,
                format!("is {name}, which the list has already; remove one"),
            ));
        }
    }
    found
}

fn reserved(name: &str) -> bool {
    RESERVED_PREFIXES.iter().any(|it| name.starts_with(it))
}

fn roles(spec: &RegionSpec) -> Vec<Violation> {
    let mut found = Vec::new();
    let databases: BTreeSet<&str> = spec
        .postgres
        .databases
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    let mut seen = BTreeSet::new();
    for (index, role) in spec.postgres.roles.iter().enumerate() {
        let field = format!("spec.postgres.roles[{index}]");
        let name = role.name.as_str();
        if !plain(name) || name.len() > LONGEST_NAME {
            found.push(invalid(
                format!("{field}.name"),
                format!("is {name:?}, expected at most {LONGEST_NAME} {PLAIN}"),
            ));
        } else if RESERVED_ROLES.contains(&name) || reserved(name) {
            found.push(invalid(
                format!("{field}.name"),
                format!("is {name}, which is reserved; choose another name"),
            ));
        }
        if !seen.insert(name) {
            found.push(invalid(
                format!("{field}.name"),
                format!("is {name}, which the list has already; remove one"),
            ));
        }
        match role.database.as_deref() {
            None if role.login => found.push(invalid(
                format!("{field}.database"),
                "is missing, expected the database that the role's Secret connects to, since login is true",
            )),
            Some(database) if !databases.contains(database) => found.push(invalid(
                format!("{field}.database"),
                format!("is {database}, which spec.postgres.databases does not list; add it there or name another"),
            )),
            _ => {}
        }
        if role.connection_limit < -1 {
            found.push(invalid(
                format!("{field}.connectionLimit"),
                format!(
                    "is {}, expected -1 (no limit) or more",
                    role.connection_limit
                ),
            ));
        }
    }
    found
}

fn failover(spec: &RegionSpec) -> Vec<Violation> {
    let failover = &spec.postgres.failover;
    let mut found = Vec::new();
    // Patroni's own lower bounds: it would take its defaults instead.
    for (field, value, least) in [
        ("ttlSeconds", failover.ttl_seconds, 20),
        ("loopWaitSeconds", failover.loop_wait_seconds, 1),
        ("retryTimeoutSeconds", failover.retry_timeout_seconds, 3),
    ] {
        if value < least {
            found.push(invalid(
                format!("spec.postgres.failover.{field}"),
                format!("is {value}, expected {least} or more"),
            ));
        }
    }
    let least =
        i64::from(failover.loop_wait_seconds) + 2 * i64::from(failover.retry_timeout_seconds);
    if i64::from(failover.ttl_seconds) < least {
        found.push(invalid(
            "spec.postgres.failover.ttlSeconds",
            format!(
                "is {}, expected at least loopWaitSeconds + 2 * retryTimeoutSeconds = {least}",
                failover.ttl_seconds
            ),
        ));
    }
    found
}

fn backup(spec: &RegionSpec) -> Vec<Violation> {
    let backup = &spec.backup;
    let mut found = Vec::new();
    if duration::seconds(&backup.rpo).is_none_or(|it| !(LEAST_RPO..=GREATEST_RPO).contains(&it)) {
        found.push(invalid(
            "spec.backup.rpo",
            format!(
                "is {:?}, expected a duration from 30s to 24h, such as 5m",
                backup.rpo
            ),
        ));
    }
    if backup.repos.len() != 1 {
        found.push(invalid(
            "spec.backup.repos",
            format!(
                "has {} entries, expected exactly one, in the Region's own store",
                backup.repos.len()
            ),
        ));
    }
    for (index, repo) in backup.repos.iter().enumerate() {
        for (field, value) in [("full", repo.retention.full), ("diff", repo.retention.diff)] {
            if value < 1 {
                found.push(invalid(
                    format!("spec.backup.repos[{index}].retention.{field}"),
                    format!("is {value}, expected 1 or more"),
                ));
            }
        }
    }
    found
}
