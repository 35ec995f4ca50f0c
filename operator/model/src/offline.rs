//! What the API server and the operator would say of a Region in a file: the schema, the rules, the namespaces and rights
//! that must come with it, and the plan. Documents in, faults out; no I/O.

use jiff::Timestamp;
use serde_json::Value as Json;
use serde_yaml::Value;

use crate::admission::{Admission, Refusal};
use crate::assumption;
use crate::delegation::{self, DocumentError};
use crate::names::Names;
use crate::plan::{Platform, plan};
use crate::region::Region;
use crate::region_object::RegionObject;
use crate::residency;
use crate::settings;
use crate::violation::Violation;

/// Where the settings of PostgreSQL are.
const PARAMETERS: &str = "spec.postgres.parameters";

/// Everything that is wrong at `now` with a Region of these documents; nothing when it is in order.
///
/// # Errors
/// A defect of the types: what must come with it cannot be written.
pub fn faults(
    admission: &Admission,
    region: &Json,
    documents: &[Value],
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
    let mut faults = undelegated(&region, documents)?;
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
fn with_settings_named(refusals: Vec<Refusal>, region: &Json) -> Vec<Refusal> {
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

/// What must come with the Region and does not, or comes otherwise.
fn undelegated(region: &Region, documents: &[Value]) -> Result<Vec<Refusal>, DocumentError> {
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
    let mut fault = |message: String| {
        faults.push(Refusal {
            field: "metadata.name".to_owned(),
            message,
        });
    };
    for needed in needed.into_iter().map(|document| document.object) {
        let (kind, namespace, name) = key(&needed);
        let what = if namespace.is_empty() {
            format!("{kind} {name}")
        } else {
            format!("{kind} {name} of namespace {namespace}")
        };
        let Some(found) = documents.iter().find(|found| key(found) == key(&needed)) else {
            fault(format!(
                "{what} is not in the file; print it with `bailiwick-operator new`"
            ));
            continue;
        };
        for difference in missing(&needed, found, "") {
            fault(format!("{what} has not {difference}"));
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
