//! Which libraries the server loads when it starts, and the database of pg_cron's jobs. A spec and facts in, both out; no
//! I/O.

use bailiwick_api::region::RegionSpec;

use crate::facts::Facts;
use crate::names::CONTROL_ROLE;

/// The extension that runs jobs: it can be in one database only.
pub const CRON: &str = "pg_cron";
/// The libraries that an extension of the same name needs loaded at the server's start.
const PRELOADED: &[&str] = &[CRON, "pgaudit"];
/// The setting that names them.
pub(super) const LIBRARIES: &str = "shared_preload_libraries";
/// The setting that names the database of pg_cron's jobs.
pub(super) const CRON_DATABASE: &str = "cron.database_name";

/// What is loaded at the server's start for extensions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preloaded {
    /// The libraries, in a fixed order.
    pub libraries: Vec<&'static str>,
    /// The database that pg_cron keeps its jobs in.
    pub cron_database: Option<String>,
}

impl Preloaded {
    /// What the spec's extensions need, and those that left the spec and stayed in a database: without its library,
    /// pgaudit's event triggers make every change of a table fail. Where the databases are not known, what is loaded
    /// stays loaded.
    #[must_use]
    pub fn of(spec: &RegionSpec, facts: &Facts) -> Self {
        let libraries: Vec<&str> = PRELOADED
            .iter()
            .copied()
            .filter(|library| is_in_spec(spec, library) || is_in_use(facts, library))
            .collect();
        let cron_database = libraries
            .contains(&CRON)
            .then(|| {
                cron_database(spec)
                    .map_or_else(|| cron_database_now(facts), |it| Some(it.to_owned()))
            })
            .flatten();
        Self {
            libraries,
            cron_database,
        }
    }
}

fn is_in_spec(spec: &RegionSpec, extension: &str) -> bool {
    spec.postgres
        .databases
        .iter()
        .any(|database| database.extensions.iter().any(|it| it == extension))
}

/// Whether a database of the operator's has an extension, or may have it and its library is loaded.
fn is_in_use(facts: &Facts, extension: &str) -> bool {
    let is_loaded = || {
        let now = setting_now(facts, LIBRARIES);
        now.is_some_and(|now| now.split(',').any(|it| it.trim() == extension))
    };
    let Some(seen) = facts.postgres.seen() else {
        return is_loaded();
    };
    seen.databases
        .values()
        .filter(|database| database.owner == CONTROL_ROLE)
        .any(|database| {
            database
                .inside
                .as_ref()
                .map_or_else(is_loaded, |it| it.extensions.contains_key(extension))
        })
}

fn cron_database_now(facts: &Facts) -> Option<String> {
    let seen = facts.postgres.seen();
    seen.and_then(|seen| seen.cron_database.clone())
        .or_else(|| setting_now(facts, CRON_DATABASE).map(str::to_owned))
}

/// A setting as Patroni has it now.
fn setting_now<'a>(facts: &'a Facts, name: &str) -> Option<&'a str> {
    let config = &facts.patroni.seen()?.config;
    config["postgresql"]["parameters"][name].as_str()
}

/// The database that pg_cron keeps its jobs in: it can be only one.
fn cron_database(spec: &RegionSpec) -> Option<&str> {
    spec.postgres
        .databases
        .iter()
        .find(|database| database.extensions.iter().any(|it| it == CRON))
        .map(|database| database.name.as_str())
}
