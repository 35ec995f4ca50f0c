//! What a value of a setting may be: PostgreSQL's own grammar of `postgresql.conf`, a little narrower where the server
//! would guess. Text in, a value out; pure.

use super::{Kind, Setting, time_zones};

/// The longest value.
const LONGEST: usize = 1024;

/// Classes of statements that pgaudit knows.
const CLASSES: &[&str] = &[
    "all", "ddl", "function", "misc", "misc_set", "none", "read", "role", "write",
];

/// Checks that PL/pgSQL can make.
const CHECKS: &[&str] = &[
    "all",
    "none",
    "shadowed_variables",
    "strict_multi_assignment",
    "too_many_rows",
];

/// A value as the server holds it, whatever way it was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Canonical {
    /// On or off.
    Bool(bool),
    /// A number, in the setting's own unit.
    Number(f64),
    /// A word or text.
    Text(String),
}

impl Canonical {
    /// Whether the server has this value, as `pg_settings.setting` shows it.
    #[must_use]
    pub fn is_shown_as(&self, shown: &str) -> bool {
        match self {
            Self::Bool(value) => shown == if *value { "on" } else { "off" },
            // The server shows a real with six digits or more.
            Self::Number(value) => shown
                .parse::<f64>()
                .is_ok_and(|it| (it - value).abs() <= value.abs().max(f64::MIN_POSITIVE) * 1e-5),
            Self::Text(value) => shown.eq_ignore_ascii_case(value),
        }
    }
}

/// The value that `text` is of `setting`.
///
/// # Errors
/// What was expected. The text is repeated only where it is a number or a single word.
pub fn canonical(setting: &Setting, text: &str) -> Result<Canonical, String> {
    if text.is_empty() || text.len() > LONGEST || text.contains(char::is_control) {
        return Err(
            "is empty, too long or has a control character; expected one line of at most 1024 bytes"
                .to_owned(),
        );
    }
    match setting.kind {
        Kind::Bool => boolean(text)
            .map(Canonical::Bool)
            .ok_or_else(|| format!("is {}, expected on or off", shown(text))),
        Kind::Integer | Kind::Real => number(setting, text).map(Canonical::Number),
        Kind::Enum => word(&setting.words, text),
        Kind::String => match setting.words.as_slice() {
            ["@zone"] => time_zones()
                .find(|zone| zone.eq_ignore_ascii_case(text))
                .map(|zone| Canonical::Text(zone.to_owned()))
                .ok_or_else(|| {
                    format!(
                        "is {}, which is no time zone that the server knows; expected one such as UTC or \
                         Europe/Istanbul",
                        shown(text)
                    )
                }),
            ["@role"] => role(text),
            ["@classes"] => words(text, CLASSES, "-"),
            ["@checks"] => words(text, CHECKS, ""),
            words => word(words, text),
        },
    }
}

/// A value for a message: short and plain, or nothing of it.
fn shown(text: &str) -> String {
    let plain = text.len() <= 40
        && text
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || b"+-._/ ".contains(&it));
    if plain {
        format!("{text:?}")
    } else {
        "no such value".to_owned()
    }
}

/// As `parse_bool` of PostgreSQL: unique beginnings of the words, in any case.
fn boolean(text: &str) -> Option<bool> {
    let text = text.to_ascii_lowercase();
    let begins = |word: &str, least: usize| text.len() >= least && word.starts_with(&text);
    if begins("true", 1) || begins("yes", 1) || text == "on" || text == "1" {
        Some(true)
    } else if begins("false", 1) || begins("no", 1) || begins("off", 2) || text == "0" {
        Some(false)
    } else {
        None
    }
}

fn word(words: &[&str], text: &str) -> Result<Canonical, String> {
    words
        .iter()
        .find(|word| word.eq_ignore_ascii_case(text))
        .map(|word| Canonical::Text((*word).to_owned()))
        .ok_or_else(|| {
            let listed: Vec<String> = words
                .iter()
                .map(|word| {
                    if word.contains([' ', ',']) {
                        format!("{word:?}")
                    } else {
                        (*word).to_owned()
                    }
                })
                .collect();
            format!("is {}, expected one of {}", shown(text), listed.join(", "))
        })
}

/// A list of words with commas between them, each after an optional `sign`.
fn words(text: &str, known: &[&str], sign: &str) -> Result<Canonical, String> {
    let listed = text.split(',').map(str::trim).all(|item| {
        let item = item.strip_prefix(sign).unwrap_or(item);
        known.iter().any(|it| it.eq_ignore_ascii_case(item))
    });
    if listed {
        Ok(Canonical::Text(text.to_owned()))
    } else {
        Err(format!(
            "is {}, expected a list of {}",
            shown(text),
            known.join(", ")
        ))
    }
}

/// The name of a role that needs no quotes.
fn role(text: &str) -> Result<Canonical, String> {
    let plain = text.len() <= 63
        && text.starts_with(|it: char| it.is_ascii_lowercase())
        && text
            .bytes()
            .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_');
    if plain {
        Ok(Canonical::Text(text.to_owned()))
    } else {
        Err(
            "is not the name of a role; expected lower-case letters, digits and underscores"
                .to_owned(),
        )
    }
}

/// Units, and how many of the base each is: bytes, microseconds.
/// <https://www.postgresql.org/docs/17/config-setting.html>
const MEMORY: &[(&str, f64)] = &[
    ("B", 1.0),
    ("kB", 1024.0),
    ("MB", 1_048_576.0),
    ("GB", 1_073_741_824.0),
    ("TB", 1_099_511_627_776.0),
];
const TIME: &[(&str, f64)] = &[
    ("us", 1.0),
    ("ms", 1e3),
    ("s", 1e6),
    ("min", 6e7),
    ("h", 3.6e9),
    ("d", 8.64e10),
];

/// The units that a setting takes, and how many of the base its own is.
fn units(setting: &Setting) -> Option<(&'static [(&'static str, f64)], f64)> {
    let own = setting.unit?;
    if own == "8kB" {
        return Some((MEMORY, 8192.0));
    }
    [MEMORY, TIME].into_iter().find_map(|units| {
        let (_, size) = units.iter().find(|(name, _)| *name == own)?;
        Some((units, *size))
    })
}

fn number(setting: &Setting, text: &str) -> Result<f64, String> {
    let expected = expected(setting);
    let wrong = |hint: &str| format!("is {}, expected {expected}{hint}", shown(text));
    let text_of_number = text.trim();
    let end = text_of_number
        .char_indices()
        .find(|(at, it)| {
            // The `e` of an exponent, which only a digit or a sign makes one.
            let exponent = matches!(it, 'e' | 'E')
                && text_of_number[at + 1..]
                    .starts_with(|it: char| it.is_ascii_digit() || it == '-' || it == '+');
            let sign = matches!(it, '-' | '+')
                && (*at == 0 || text_of_number[..*at].ends_with(['e', 'E']));
            !(it.is_ascii_digit() || *it == '.' || exponent || sign)
        })
        .map_or(text_of_number.len(), |(at, _)| at);
    let (digits, unit) = text_of_number.split_at(end);
    let unit = unit.trim();
    let unsigned = digits.trim_start_matches(['-', '+']);
    if unsigned.len() > 1 && unsigned.starts_with('0') && !unsigned.starts_with("0.") {
        return Err(wrong(
            "; PostgreSQL takes a leading zero for an octal number",
        ));
    }
    let value: f64 = digits
        .parse()
        .ok()
        .filter(|it: &f64| it.is_finite())
        .ok_or_else(|| wrong(""))?;
    let value = match (unit, units(setting)) {
        ("", _) => value,
        (_, None) => return Err(wrong("; it has no unit")),
        (unit, Some((units, own))) => {
            let (_, size) = units
                .iter()
                .find(|(name, _)| *name == unit)
                .ok_or_else(|| wrong(&unit_meant(units, unit)))?;
            value * size / own
        }
    };
    if setting.kind == Kind::Integer && value.fract() != 0.0 {
        return Err(wrong("; it is not a whole number of that unit"));
    }
    let (least, greatest) = range(setting);
    if value < least || value > greatest {
        return Err(wrong(""));
    }
    Ok(value)
}

/// The range of a number.
fn range(setting: &Setting) -> (f64, f64) {
    let parsed = |text: &str| text.parse::<f64>().ok();
    setting
        .range
        .and_then(|(least, greatest)| Some((parsed(least)?, parsed(greatest)?)))
        .unwrap_or((f64::MIN, f64::MAX))
}

/// What a number may be, in words.
fn expected(setting: &Setting) -> String {
    let what = match setting.kind {
        Kind::Integer => "a whole number",
        _ => "a number",
    };
    let range = setting
        .range
        .map(|(least, greatest)| format!(" from {least} to {greatest}"))
        .unwrap_or_default();
    match units(setting) {
        None => format!("{what}{range}"),
        Some((units, _)) => {
            let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
            format!(
                "{what} of {}{range}, or one with a unit ({})",
                setting.unit.unwrap_or_default(),
                names.join(", ")
            )
        }
    }
}

/// The unit that was meant: PostgreSQL tells their case apart, and Kubernetes has others.
fn unit_meant(units: &[(&str, f64)], unit: &str) -> String {
    let plain = unit.strip_suffix(['i', 'I']).unwrap_or(unit);
    let meant = units.iter().find(|(name, _)| {
        name.eq_ignore_ascii_case(unit)
            || name
                .strip_suffix('B')
                .is_some_and(|it| !it.is_empty() && it.eq_ignore_ascii_case(plain))
    });
    match meant {
        Some((name, _)) => format!("; units are case-sensitive, write {name}"),
        None => String::new(),
    }
}
