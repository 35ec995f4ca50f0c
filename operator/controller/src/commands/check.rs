//! `bailiwick-operator check`: says of files what the API server and the operator would say of the Regions in them,
//! without a cluster: the schema, the rules, the namespaces and rights that must come with them, and the plan.

use std::io::Write;
use std::path::{Path, PathBuf};

use bailiwick_model::admission::Admission;
use bailiwick_model::offline::{faults, text};
use clap::Args;
use jiff::Timestamp;
use serde::Deserialize;
use serde_yaml::Value;

use super::CommandError;

/// What is checked.
#[derive(Args, Debug)]
pub struct Check {
    /// Files with Regions, each with the namespaces and bindings that it needs.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Check {
    /// A check of these files.
    #[must_use]
    pub const fn of(files: Vec<PathBuf>) -> Self {
        Self { files }
    }
}

/// Prints each fault as `file: Region name: field: message` to `out`, and what it comes to, to `hints`.
///
/// # Errors
/// A file cannot be read, the output cannot be written, or a Region has faults.
pub fn run(check: Check, out: &mut impl Write, hints: &mut impl Write) -> Result<(), CommandError> {
    let Check { files } = check;
    let admission = Admission::new()?;
    let now = Timestamp::now();
    let (mut regions, mut count) = (0, 0);
    for file in &files {
        let documents = read(file)?;
        let found = documents.iter().filter(|document| is_region(document));
        let before = regions;
        for document in found {
            regions += 1;
            let name = text(document, &["metadata", "name"]);
            let region = serde_json::to_value(document).map_err(|error| {
                CommandError::Argument(format!("the Region is not JSON: {error}"))
            })?;
            for fault in faults(&admission, &region, &documents, now)? {
                count += 1;
                writeln!(out, "{}: Region {name}: {fault}", file.display())?;
            }
        }
        if regions == before {
            count += 1;
            writeln!(
                out,
                "{}: holds no Region; name a file that `bailiwick-operator new` printed",
                file.display()
            )?;
        }
    }
    if count > 0 {
        return Err(CommandError::Faults {
            faults: count,
            files: files.len(),
        });
    }
    writeln!(
        hints,
        "{regions} Regions in {} files are in order. Next: `kubectl apply -f` them; whether the cluster has their \
         nodes and storage classes is for the operator to say.",
        files.len()
    )?;
    Ok(())
}

/// The documents of a file.
///
/// # Errors
/// The file cannot be read or is not YAML.
pub(super) fn read(file: &Path) -> Result<Vec<Value>, CommandError> {
    let contents = std::fs::read_to_string(file).map_err(|source| CommandError::Read {
        file: file.to_owned(),
        source,
    })?;
    serde_yaml::Deserializer::from_str(&contents)
        .map(|document| {
            Value::deserialize(document).map_err(|source| CommandError::Yaml {
                file: file.to_owned(),
                source,
            })
        })
        .filter(|document| !matches!(document, Ok(Value::Null)))
        .collect()
}

pub(super) fn is_region(document: &Value) -> bool {
    text(document, &["kind"]) == "Region"
        && text(document, &["apiVersion"]).starts_with("bailiwick.dev/")
}
