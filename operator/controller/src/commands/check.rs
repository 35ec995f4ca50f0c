//! `bailiwick-operator check`: says of files what the API server and the operator would say of the Regions in them,
//! without a cluster: the schema, the rules, the namespaces and rights that must come with them, and the plan.

use std::io::Write;
use std::path::{Path, PathBuf};

use bailiwick_model::admission::Admission;
use bailiwick_model::assumption;
use bailiwick_model::delegation;
use bailiwick_model::names::Names;
use bailiwick_model::plan::{Platform, plan};
use bailiwick_model::region::Region;
use clap::Args;
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
    let (mut regions, mut faults) = (0, 0);
    for file in &files {
        let documents = read(file)?;
        let found = documents.iter().filter(|document| is_region(document));
        let before = regions;
        for document in found {
            regions += 1;
            let name = text(document, &["metadata", "name"]);
            for fault in judge(&admission, document, &documents)? {
                faults += 1;
                writeln!(out, "{}: Region {name}: {fault}", file.display())?;
            }
        }
        if regions == before {
            faults += 1;
            writeln!(
                out,
                "{}: holds no Region; name a file that `bailiwick-operator new` printed",
                file.display()
            )?;
        }
    }
    if faults > 0 {
        return Err(CommandError::Faults {
            faults,
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

/// The text at a path; empty when there is none.
pub(super) fn text(document: &Value, path: &[&str]) -> String {
    path.iter()
        .try_fold(document, |value, key| value.get(*key))
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// Everything that is wrong with a Region, as `field: message`.
fn judge(
    admission: &Admission,
    document: &Value,
    documents: &[Value],
) -> Result<Vec<String>, CommandError> {
    let json = serde_json::to_value(document)
        .map_err(|error| CommandError::Argument(format!("the Region is not JSON: {error}")))?;
    let mut faults: Vec<String> = admission
        .refusals(&json, None)
        .into_iter()
        .map(|refusal| match refusal.field.as_str() {
            "" => refusal.message,
            field => format!("{field}: {}", refusal.message),
        })
        .collect();
    if !faults.is_empty() {
        return Ok(faults);
    }
    let region: Region = match serde_json::from_value(json) {
        Ok(region) => assumption::applied(region),
        Err(error) => return Ok(vec![format!("spec: {error}")]),
    };
    faults.extend(undelegated(&region, documents)?);
    let platform = assumption::platform(&region, Platform::default());
    if let Err(violations) = plan(&region, &platform, &assumption::facts(&region)) {
        faults.extend(violations.iter().map(ToString::to_string));
    }
    Ok(faults)
}

/// What must come with the Region and does not, or comes otherwise.
fn undelegated(region: &Region, documents: &[Value]) -> Result<Vec<String>, CommandError> {
    let residency = &region.spec.residency;
    let needed = delegation::delegation(
        &Names::of(region),
        &residency.jurisdiction,
        &residency.location,
    )?;
    let key = |document: &Value| {
        (
            text(document, &["kind"]),
            text(document, &["metadata", "namespace"]),
            text(document, &["metadata", "name"]),
        )
    };
    let mut faults = Vec::new();
    for needed in needed.into_iter().map(|document| document.object) {
        let (kind, namespace, name) = key(&needed);
        let what = if namespace.is_empty() {
            format!("{kind} {name}")
        } else {
            format!("{kind} {name} of namespace {namespace}")
        };
        let Some(found) = documents.iter().find(|found| key(found) == key(&needed)) else {
            faults.push(format!(
                "metadata.name: {what} is not in the file; print it with `bailiwick-operator new`"
            ));
            continue;
        };
        for difference in missing(&needed, found, "") {
            faults.push(format!("metadata.name: {what} has not {difference}"));
        }
    }
    Ok(faults)
}

/// The paths of what is in `needed` and not, or otherwise, in `found`. Labels and annotations may be added to; lists
/// may not, since one more rule or subject is one more right.
fn missing(needed: &Value, found: &Value, path: &str) -> Vec<String> {
    match (needed, found) {
        (Value::Mapping(needed), Value::Mapping(found)) => needed
            .iter()
            .flat_map(|(key, value)| {
                let key = key.as_str().unwrap_or_default();
                let path = if path.is_empty() {
                    key.to_owned()
                } else {
                    format!("{path}.{key}")
                };
                // Annotations are for other tools, which are for the file's owner to choose.
                if path == "metadata.annotations" {
                    return Vec::new();
                }
                found.get(key).map_or_else(
                    || vec![format!("the expected {path}")],
                    |found| missing(value, found, &path),
                )
            })
            .collect(),
        (needed, found) if needed == found => Vec::new(),
        _ => vec![format!("the expected {path}")],
    }
}
