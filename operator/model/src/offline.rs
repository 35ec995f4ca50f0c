//! What the API server and the operator would say of a Region in a file: the schema, the rules, the namespaces and rights
//! that must come with it, and the plan. Documents in, faults out; no I/O.

use std::collections::BTreeMap;

use bailiwick_api::region::Region;
use bailiwick_api::settings;
use bailiwick_api::violation::Violation;
use jiff::Timestamp;
use kube::Resource;
use serde_json::Value;

use crate::admission::{Admission, Refusal};
use crate::delegation::{self, DocumentError};
use crate::names::Names;
use crate::plan::Platform;
use crate::planner::plan;
use crate::region_object::RegionObject;
use crate::yaml::read::{Document, Misread};
use crate::{assumption, residency};

/// Where the settings of PostgreSQL are.
const PARAMETERS: &str = "spec.postgres.parameters";

/// Whether a document is a Region, or was meant to be one: by its kind, or by its group.
#[must_use]
pub fn is_meant_as_region(object: &Value) -> bool {
    let (kind, api_version) = (text(object, &["kind"]), text(object, &["apiVersion"]));
    kind == Region::kind(&())
        || api_version
            .strip_prefix(&*Region::group(&()))
            .is_some_and(|version| version.starts_with('/'))
}

/// What kubectl says of a document that is no object; none of one that is.
#[must_use]
pub fn no_object(object: &Value) -> Option<Refusal> {
    ["kind", "apiVersion"]
        .into_iter()
        .find(|field| object[field].as_str().is_none_or(str::is_empty))
        .map(|field| Refusal {
            field: field.to_owned(),
            message: "is missing, expected that of an object of Kubernetes".to_owned(),
        })
}

/// What tells an object from all others of a cluster, for people: its kind, namespace and name. None of one without a name.
#[must_use]
pub fn identity(object: &Value) -> Option<String> {
    let name = text(object, &["metadata", "name"]);
    let namespace = text(object, &["metadata", "namespace"]);
    let kind = text(object, &["kind"]);
    match (name.is_empty(), namespace.is_empty()) {
        (true, _) => None,
        // A Region is in no namespace, whatever its file says.
        (_, false) if !is_meant_as_region(object) => {
            Some(format!("{kind} {name} of namespace {namespace}"))
        }
        _ => Some(format!("{kind} {name}")),
    }
}

/// Everything that is wrong at `now` with a Region of these documents; nothing when it is in order.
///
/// # Errors
/// A defect of the types: what must come with it cannot be written.
pub fn faults(
    admission: &Admission,
    region: &Document,
    documents: &[Document],
    now: Timestamp,
) -> Result<Vec<Refusal>, DocumentError> {
    let mut faults = of_object(admission, &region.object, documents, now)?;
    explain(&mut faults, &region.misread);
    Ok(faults)
}

/// Says of each refusal that what stands there is not read as it looks, and refuses numbers that are not: they may be in
/// their bounds, and others than were meant.
fn explain(refusals: &mut Vec<Refusal>, misread: &BTreeMap<String, Misread>) {
    for (path, misread) in misread {
        let mut refused = false;
        for refusal in refusals.iter_mut().filter(|refusal| refusal.field == *path) {
            refusal.message = format!("{}: {misread}", refusal.message);
            refused = true;
        }
        if !refused && !matches!(misread, Misread::Boolean { .. }) {
            refusals.push(Refusal {
                field: path.clone(),
                message: misread.to_string(),
            });
        }
    }
}

fn of_object(
    admission: &Admission,
    region: &Value,
    documents: &[Document],
    now: Timestamp,
) -> Result<Vec<Refusal>, DocumentError> {
    let refusals = admission.refusals(region, None);
    if !refusals.is_empty() {
        return Ok(with_settings_named(refusals, region));
    }
    let region = match serde_json::from_value(region.clone()) {
        Ok(RegionObject::Decoded(region)) => assumption::applied((*region).clone()),
        Ok(RegionObject::Undecodable(region)) => return Ok(vec![refusal(region.violation())]),
        Err(error) => {
            return Ok(vec![Refusal {
                field: String::new(),
                message: format!("is no Region: {error}"),
            }]);
        }
    };
    let mut faults = undelegated(admission, &region, documents)?;
    let mut violations = residency::ended_exceptions(&region.spec, now);
    let platform = assumption::platform(&region, Platform::default());
    if let Err(refused) = plan(&region, &platform, &assumption::facts(&region)) {
        violations.extend(refused);
    }
    faults.extend(violations.into_iter().map(refusal));
    Ok(faults)
}

fn refusal(violation: Violation) -> Refusal {
    Refusal {
        field: violation.field,
        message: violation.message,
    }
}

/// The refusals, with each setting that is refused for its name at its own field: a rule on the map cannot name the key.
fn with_settings_named(refusals: Vec<Refusal>, region: &Value) -> Vec<Refusal> {
    let named: Vec<Refusal> = region["spec"]["postgres"]["parameters"]
        .as_object()
        .into_iter()
        .flat_map(|parameters| parameters.keys())
        .filter_map(|name| {
            Some(Refusal {
                field: format!("{PARAMETERS}.{name}"),
                message: settings::refused_name(name)?,
            })
        })
        .collect();
    let (of_all, mut others): (Vec<Refusal>, Vec<Refusal>) = refusals
        .into_iter()
        .partition(|refusal| refusal.field == PARAMETERS);
    others.extend(if named.is_empty() { of_all } else { named });
    others
}

/// What must come with the Region and does not, or comes otherwise, or as the API server would not take it.
fn undelegated(
    admission: &Admission,
    region: &Region,
    documents: &[Document],
) -> Result<Vec<Refusal>, DocumentError> {
    let residency = &region.spec.residency;
    let needed = delegation::delegation(
        &Names::of(region),
        &residency.jurisdiction,
        &residency.location,
    )?;
    let mut faults = Vec::new();
    let mut fault = |message: String| {
        faults.push(Refusal {
            field: "metadata.name".to_owned(),
            message,
        });
    };
    for needed in delegation::objects(&needed)? {
        let Some(what) = identity(&needed) else {
            continue;
        };
        let is_needed =
            |found: &&Document| identity(&found.object).is_some_and(|found| found == what);
        let Some(found) = documents.iter().find(is_needed) else {
            fault(format!(
                "{what} is not in the file; print it with `bailiwick-operator new`"
            ));
            continue;
        };
        let mut refusals: Vec<Refusal> = missing(&needed, &found.object, "")
            .into_iter()
            .map(|path| Refusal {
                message: format!("has not the expected {path}"),
                field: path,
            })
            .collect();
        for refused in admission.refusals_beside(&found.object) {
            // What is refused is not the expected either; the cause says more.
            refusals.retain(|refusal| refusal.field != refused.field);
            refusals.push(Refusal {
                message: refused.to_string(),
                field: refused.field,
            });
        }
        explain(&mut refusals, &found.misread);
        for refusal in refusals {
            fault(format!("{what} {}", refusal.message));
        }
    }
    Ok(faults)
}

/// The text at a path; empty when there is none.
#[must_use]
pub fn text(document: &Value, path: &[&str]) -> String {
    path.iter()
        .try_fold(document, |value, key| value.get(*key))
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// The paths of what is in `needed` and not, or otherwise, in `found`. Labels and annotations may be added to; lists
/// may not, since one more rule or subject is one more right.
fn missing(needed: &Value, found: &Value, path: &str) -> Vec<String> {
    match (needed, found) {
        (Value::Object(needed), Value::Object(found)) => needed
            .iter()
            .flat_map(|(key, value)| {
                let path = if path.is_empty() {
                    key.to_owned()
                } else {
                    format!("{path}.{key}")
                };
                // Annotations are for other tools, which are for the file's owner to choose.
                if path == "metadata.annotations" {
                    return Vec::new();
                }
                found
                    .get(key)
                    .map_or_else(|| vec![path.clone()], |found| missing(value, found, &path))
            })
            .collect(),
        (needed, found) if needed == found => Vec::new(),
        _ => vec![path.to_owned()],
    }
}
