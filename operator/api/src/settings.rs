//! The settings that `spec.postgres.parameters` may have: those of the PostgreSQL and of the extensions in the image, as
//! data, and what each may be. Text in, verdicts out; no I/O.
//!
//! It is a list of what may be set. What is not in it is refused, and of those that the operator keeps the list knows
//! the reason: a setting that nobody thought of opens nothing.

mod bounds;
mod value;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::region::RegionSpec;
use crate::spelling::nearest;
use crate::violation::{Reason, Violation};

pub use self::value::{Canonical, canonical};

/// The version that the list is of.
pub const VERSION: &str = "17.12";

/// The list, as text.
const TABLE: &str = include_str!("settings/postgresql-17.txt");

/// The time zones that the image's PostgreSQL knows: it takes no other, and starts with no other.
const TIME_ZONES: &str = include_str!("settings/time-zones.txt");

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name, in lower case.
    pub name: &'static str,
    /// What its values are, in PostgreSQL's words (`pg_settings.vartype`): `bool`, `integer`, `real`, `string`, `enum`.
    pub kind: Kind,
    /// When a change counts (`pg_settings.context`): `postmaster` needs a restart.
    pub context: &'static str,
    /// What a bare number counts (`pg_settings.unit`).
    pub unit: Option<&'static str>,
    /// The least and the greatest value, as the server writes them; none where it has none.
    pub range: Option<(&'static str, &'static str)>,
    /// The words of an `enum`, or of a string that may be one of a few; a word that begins with `@` is a grammar.
    pub words: Vec<&'static str>,
    /// Why a Region may not set it; none when it may.
    pub keeper: Option<Keeper>,
}

/// What a setting's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On or off.
    Bool,
    /// A whole number, perhaps with a unit.
    Integer,
    /// A number, perhaps with a unit.
    Real,
    /// Text.
    String,
    /// One of a few words.
    Enum,
}

impl Kind {
    /// PostgreSQL's word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Integer => "integer",
            Self::Real => "real",
            Self::String => "string",
            Self::Enum => "enum",
        }
    }

    fn of(word: &str) -> Option<Self> {
        [
            Self::Bool,
            Self::Integer,
            Self::Real,
            Self::String,
            Self::Enum,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == word)
    }
}

/// Why a Region may not set a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keeper {
    /// It decides how clients come in.
    Access,
    /// It keeps connections for the operator and Patroni.
    Connections,
    /// It says where files are.
    Files,
    /// It is of the archive and of recovery.
    Archive,
    /// It is of replication and failover.
    Failover,
    /// With it, acknowledged rows can be lost or damage goes unseen.
    Durability,
    /// It loads code into the server or says where jobs run.
    Code,
    /// It takes memory that the container does not have.
    Memory,
    /// With it, values of rows or statements reach the log, or the log does not reach the pod's output.
    Logs,
    /// With it, what is recorded of accesses can be turned off.
    Audit,
    /// It changes who may do what.
    Rights,
    /// It would hold for the sessions of the operator, Patroni and pgBackRest too.
    Sessions,
    /// The image has not what it is of.
    Absent,
    /// It is for those who develop PostgreSQL.
    Developer,
}

impl Keeper {
    /// All of them, in the order of the docs.
    pub const ALL: [Self; 14] = [
        Self::Access,
        Self::Connections,
        Self::Files,
        Self::Archive,
        Self::Failover,
        Self::Durability,
        Self::Code,
        Self::Memory,
        Self::Logs,
        Self::Audit,
        Self::Rights,
        Self::Sessions,
        Self::Absent,
        Self::Developer,
    ];

    /// Its word in the list.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Connections => "connections",
            Self::Files => "files",
            Self::Archive => "archive",
            Self::Failover => "failover",
            Self::Durability => "durability",
            Self::Code => "code",
            Self::Memory => "memory",
            Self::Logs => "logs",
            Self::Audit => "audit",
            Self::Rights => "rights",
            Self::Sessions => "sessions",
            Self::Absent => "absent",
            Self::Developer => "developer",
        }
    }

    /// The reason, after the name of a setting.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Access => {
                "decides how clients come in (addresses, TLS, passwords), which the operator does"
            }
            Self::Connections => {
                "keeps connections for the operator and Patroni, which must come in when all others are taken"
            }
            Self::Files => {
                "says where or how the server keeps its files, of which the data volume is the only place"
            }
            Self::Archive => "is of the archive and of recovery, which are pgBackRest's",
            Self::Failover => "is of replication and failover, which are Patroni's",
            Self::Durability => {
                "can lose rows that were acknowledged, or hide damage; spec.postgres.durability is the way to choose"
            }
            Self::Code => {
                "loads code into the server or says as whom jobs run, which follows from the databases' extensions"
            }
            Self::Memory => {
                "takes memory that the pod has not; spec.postgres.resources.memory sizes the server"
            }
            Self::Logs => {
                "decides whether values of rows and statements reach the log, which is read outside the database"
            }
            Self::Audit => "can turn off what is recorded of accesses",
            Self::Rights => "changes who may do what, which follows from the databases and roles",
            Self::Sessions => {
                "would hold for the sessions of the operator, Patroni and pgBackRest too; give it to the sessions or \
                 roles that need it (SET, ALTER ROLE ... SET)"
            }
            Self::Absent => "has no effect: the image has not, or does not load, what it is of",
            Self::Developer => "is for those who develop PostgreSQL itself",
        }
    }

    fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|keeper| keeper.as_str() == word)
    }
}

impl Setting {
    /// One line of the list.
    fn parse(line: &'static str) -> Option<Self> {
        let fields: Vec<&'static str> = line.split('|').collect();
        let &[name, kind, context, unit, least, greatest, words, keeper] = fields.as_slice() else {
            return None;
        };
        let given = |it: &'static str| (it != "-").then_some(it);
        Some(Self {
            name,
            kind: Kind::of(kind)?,
            context,
            unit: given(unit),
            range: given(least).zip(given(greatest)),
            words: given(words).map_or_else(Vec::new, |it| it.split(';').collect()),
            keeper: match given(keeper) {
                Some(word) => Some(Keeper::of(word)?),
                None => None,
            },
        })
    }

    /// Whether a change waits for a restart of the members.
    #[must_use]
    pub fn needs_restart(&self) -> bool {
        self.context == "postmaster"
    }

    /// The number of which its value must be a multiple; none when it need not be.
    #[must_use]
    pub fn step(&self) -> Option<f64> {
        bounds::step(self.name)
    }

    /// The extension whose library must be loaded at the server's start for it to mean anything.
    #[must_use]
    pub fn extension(&self) -> Option<&'static str> {
        match self.name.split_once('.')?.0 {
            "cron" => Some("pg_cron"),
            "pgaudit" => Some("pgaudit"),
            _ => None,
        }
    }
}

/// The lines of the list.
fn lines() -> impl Iterator<Item = &'static str> {
    TABLE.lines().filter(|line| !line.starts_with('#'))
}

/// All settings, by name.
#[must_use]
pub fn all() -> &'static BTreeMap<&'static str, Setting> {
    static ALL: LazyLock<BTreeMap<&'static str, Setting>> = LazyLock::new(|| {
        lines()
            .filter_map(Setting::parse)
            .map(|setting| (setting.name, setting))
            .collect()
    });
    &ALL
}

/// The time zones that a setting may name.
pub fn time_zones() -> impl Iterator<Item = &'static str> {
    TIME_ZONES.lines()
}

/// The setting of a name, in whatever case, when a Region may set it.
#[must_use]
pub fn allowed(name: &str) -> Option<&'static Setting> {
    all()
        .get(name.to_ascii_lowercase().as_str())
        .filter(|it| it.keeper.is_none())
}

/// Whether the server, which shows `shown`, has the value `wanted` of a setting. One of a library that is not loaded is
/// shown as it was written.
#[must_use]
pub fn is_shown(setting: &Setting, wanted: &str, shown: Option<&str>) -> bool {
    let (Ok(wanted), Some(shown)) = (canonical(setting, wanted), shown) else {
        return false;
    };
    wanted.is_shown_as(shown) || canonical(setting, shown).is_ok_and(|it| it == wanted)
}

/// What is wrong with `spec.postgres.parameters`, in the order of the names.
#[must_use]
pub fn violations(spec: &RegionSpec) -> Vec<Violation> {
    let parameters = &spec.postgres.parameters;
    parameters
        .iter()
        .filter_map(|(name, value)| {
            let other = parameters
                .keys()
                .find(|other| *other != name && other.eq_ignore_ascii_case(name));
            let found = match other {
                Some(other) if name.bytes().any(|it| it.is_ascii_uppercase()) => Err(format!(
                    "is {other} again, which PostgreSQL does not tell apart; keep the one in lower case"
                )),
                _ => judge(spec, name, &value.to_string()),
            };
            let message = found.err()?;
            Some(Violation::new(
                format!("spec.postgres.parameters.{name}"),
                Reason::Invalid,
                message,
            ))
        })
        .collect()
}

/// Why a setting of this name can be in no Region, whatever its value; none when one may have it.
#[must_use]
pub fn refused_name(name: &str) -> Option<String> {
    named(name).err()
}

/// The setting of a name that a Region may have, or why it may not.
fn named(name: &str) -> Result<&'static Setting, String> {
    let setting = all().get(name).ok_or_else(|| unknown(name))?;
    match setting.keeper {
        Some(keeper) => Err(format!("{}; take it out", keeper.reason())),
        None => Ok(setting),
    }
}

/// Whether one setting of a spec can be taken, or why not.
fn judge(spec: &RegionSpec, name: &str, value: &str) -> Result<(), String> {
    let setting = named(name)?;
    if let Some(extension) = setting.extension()
        && !has_extension(spec, extension)
    {
        return Err(format!(
            "has no effect: no database has {extension} among its extensions; add it, or take the setting out"
        ));
    }
    let canonical = canonical(setting, value)?;
    bounds::check(spec, setting, &canonical)
}

fn has_extension(spec: &RegionSpec, extension: &str) -> bool {
    spec.postgres
        .databases
        .iter()
        .any(|database| database.extensions.iter().any(|it| it == extension))
}

/// What to say of a name that is in no list: the one that was meant, if it is near.
fn unknown(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    if all().contains_key(lower.as_str()) {
        return format!("is not in lower case; expected {lower}");
    }
    match nearest(name, all().keys().copied()) {
        Some(known) => format!(
            "is no setting of PostgreSQL {VERSION} or of an extension in its image; did you mean {known}?"
        ),
        None => format!(
            "is no setting of PostgreSQL {VERSION} or of an extension in its image; \
             docs/reference/postgres-parameters.md has those that can be set"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_setting_and_none_is_there_twice() {
        let mut parsed = 0;
        for line in lines() {
            let setting = Setting::parse(line);
            assert!(setting.is_some(), "{line}");
            parsed += usize::from(setting.is_some());
        }
        assert_eq!(parsed, 416);
        assert_eq!(all().len(), parsed);
        assert_eq!(all().values().filter(|it| it.keeper.is_none()).count(), 218);
        for name in all().keys() {
            assert_eq!(*name, name.to_ascii_lowercase());
        }
    }

    #[test]
    fn text_that_may_be_set_has_a_grammar() {
        let mut texts = 0;
        for setting in all().values().filter(|it| it.keeper.is_none()) {
            if matches!(setting.kind, Kind::String | Kind::Enum) {
                assert!(!setting.words.is_empty(), "{}", setting.name);
                texts += 1;
            }
        }
        assert!(texts >= 30, "only {texts} were looked at");
    }

    #[test]
    fn every_reason_keeps_something() {
        for keeper in Keeper::ALL {
            assert!(
                all().values().any(|it| it.keeper == Some(keeper)),
                "{keeper:?}"
            );
            assert_eq!(Keeper::of(keeper.as_str()), Some(keeper));
        }
    }

    #[test]
    fn what_was_meant_is_said() {
        for (name, meant) in [
            ("max_conections", "did you mean max_connections?"),
            ("wokr_mem", "did you mean work_mem?"),
            ("Work_Mem", "expected work_mem"),
            ("statement_timout", "did you mean statement_timeout?"),
            ("foo.bar", "postgres-parameters.md"),
            ("gssencmode", "postgres-parameters.md"),
        ] {
            let said = unknown(name);
            assert!(said.contains(meant), "{name}: {said}");
        }
    }
}
