//! The Regions of `tests/regions`: good ones, and bad ones that each say by whom and at which field they are refused.
//! Reads files of the repository.
#![allow(dead_code, reason = "each test takes what it needs")]
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Who refuses a bad Region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedBy {
    /// The API server, by the definition of Region.
    Admission,
    /// The operator, by `plan`.
    Plan,
}

/// A bad Region.
#[derive(Clone, Debug)]
pub struct Bad {
    /// The file's name, which is the violation's.
    pub name: String,
    /// Who refuses it.
    pub by: RefusedBy,
    /// The field that is named; empty for the Region's name, which the API server gives no path.
    pub field: String,
    /// The good Region that it is an update of, if it is one.
    pub update_of: Option<Value>,
    /// The Region.
    pub region: Value,
}

/// The folder of the cases.
pub fn folder() -> PathBuf {
    // From either crate: the controller's tests hold the same Regions to a real API server.
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/regions")
}

fn files(folder: &Path) -> BTreeMap<String, String> {
    std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

fn parse(name: &str, text: &str) -> Value {
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The good Regions, by file.
pub fn valid() -> BTreeMap<String, Value> {
    files(&folder().join("valid"))
        .into_iter()
        .map(|(name, text)| {
            let region = parse(&name, &text);
            (name, region)
        })
        .collect()
}

/// The bad Regions.
pub fn invalid() -> Vec<Bad> {
    let valid = valid();
    files(&folder().join("invalid"))
        .into_iter()
        .map(|(name, text)| {
            let header = |key: &str| {
                text.lines()
                    .find_map(|line| line.strip_prefix(&format!("# {key}:")))
                    .map(|value| value.trim().to_owned())
            };
            Bad {
                by: match header("refused-by").as_deref() {
                    Some("admission") => RefusedBy::Admission,
                    Some("plan") => RefusedBy::Plan,
                    other => panic!("{name}: refused-by is {other:?}, expected admission or plan"),
                },
                field: header("field").unwrap_or_else(|| panic!("{name}: has no line `# field:`")),
                update_of: header("update-of").map(|of| {
                    valid
                        .get(&of)
                        .unwrap_or_else(|| panic!("{name}: there is no valid/{of}.yaml"))
                        .clone()
                }),
                region: parse(&name, &text),
                name,
            }
        })
        .collect()
}
