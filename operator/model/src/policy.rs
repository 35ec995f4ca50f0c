//! The admission policies as they are shipped in platform/policies, and whether what a cluster has is the same. Objects
//! of the API server in, yes or no out; no I/O.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize as _;
use serde_json::Value;

/// The shipped files; a test keeps the list whole.
const SHIPPED: &[&str] = &[
    include_str!("../../../platform/policies/exposure.yaml"),
    include_str!("../../../platform/policies/namespace-deletion.yaml"),
    include_str!("../../../platform/policies/namespace-labels.yaml"),
    include_str!("../../../platform/policies/network-policies.yaml"),
    include_str!("../../../platform/policies/pods.yaml"),
    include_str!("../../../platform/policies/region-deletion.yaml"),
    include_str!("../../../platform/policies/residency-exceptions.yaml"),
    include_str!("../../../platform/policies/rights.yaml"),
    include_str!("../../../platform/policies/secrets.yaml"),
    include_str!("../../../platform/policies/services.yaml"),
    include_str!("../../../platform/policies/tunnels.yaml"),
    include_str!("../../../platform/policies/volumes.yaml"),
];

/// The specs of the shipped objects, by kind and name.
fn shipped() -> &'static BTreeMap<(String, String), Value> {
    static OBJECTS: OnceLock<BTreeMap<(String, String), Value>> = OnceLock::new();
    OBJECTS.get_or_init(|| {
        SHIPPED
            .iter()
            .flat_map(|text| serde_yaml::Deserializer::from_str(text))
            .filter_map(|document| Value::deserialize(document).ok())
            .map(|object| {
                let text = |pointer| {
                    object
                        .pointer(pointer)
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                        .to_owned()
                };
                (
                    (text("/kind"), text("/metadata/name")),
                    object["spec"].clone(),
                )
            })
            .collect()
    })
}

/// The names of the shipped policies.
pub fn names() -> impl Iterator<Item = &'static str> {
    shipped()
        .keys()
        .filter(|(kind, _)| kind == "ValidatingAdmissionPolicy")
        .map(|(_, name)| name.as_str())
}

/// Whether an object of a kind and name has the shipped spec; what the API server fills in is no difference. The one
/// thing that an overlay writes itself, the list of image registries, must be the operator's own.
#[must_use]
pub fn is_shipped(
    kind: &str,
    name: &str,
    spec: &Value,
    registries: &BTreeMap<String, String>,
) -> bool {
    let Some(shipped) = shipped().get(&(kind.to_owned(), name.to_owned())) else {
        return false;
    };
    let mut shipped = shipped.clone();
    let variables = shipped.get_mut("variables").and_then(Value::as_array_mut);
    for variable in variables.into_iter().flatten() {
        if variable["name"] == "registries" {
            variable["expression"] = registries_in_cel(registries).into();
        }
    }
    holds(spec, &shipped)
}

/// The registries and the location of each, as the policy bailiwick-pods writes them.
fn registries_in_cel(registries: &BTreeMap<String, String>) -> String {
    let entries: Vec<String> = registries
        .iter()
        .map(|(prefix, location)| format!("'{prefix}': '{location}'"))
        .collect();
    format!("{{{}}}", entries.join(", "))
}

/// Whether everything of `wanted` is in `found`; lists are compared whole.
fn holds(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => wanted
            .iter()
            .all(|(field, wanted)| found.get(field).is_some_and(|found| holds(found, wanted))),
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len()
                && found
                    .iter()
                    .zip(wanted)
                    .all(|(found, wanted)| holds(found, wanted))
        }
        _ => found == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_file_of_the_kustomization_is_shipped() {
        let kustomization: Value = serde_yaml::from_str(include_str!(
            "../../../platform/policies/kustomization.yaml"
        ))
        .unwrap();
        let files = kustomization["resources"].as_array().unwrap().len();
        assert_eq!(SHIPPED.len(), files);
        assert_eq!(
            names().count() * 2,
            shipped().len(),
            "policies have bindings"
        );
        assert!(names().count() >= files);
    }

    #[test]
    fn any_change_is_seen_and_defaults_are_none() {
        let kind = "ValidatingAdmissionPolicy";
        let registries = BTreeMap::from([("bailiwick.dev".to_owned(), "*".to_owned())]);
        let is_shipped =
            |kind: &str, name: &str, spec: &Value| super::is_shipped(kind, name, spec, &registries);
        let mut changed = 0;
        for name in names() {
            let spec = &shipped()[&(kind.to_owned(), name.to_owned())];
            let mut live = spec.clone();
            live["matchConstraints"]["matchPolicy"] = json!("Equivalent");
            assert!(is_shipped(kind, name, &live), "{name}");
            for (pointer, value) in [
                ("/failurePolicy", json!("Ignore")),
                ("/validations/0/expression", json!("true")),
                ("/validations", json!([])),
                ("/matchConstraints/resourceRules/0/operations", json!([])),
            ] {
                let mut other = live.clone();
                *other.pointer_mut(pointer).unwrap() = value;
                assert!(!is_shipped(kind, name, &other), "{name} {pointer}");
                changed += 1;
            }
            let binding = "ValidatingAdmissionPolicyBinding";
            let mut other = shipped()[&(binding.to_owned(), name.to_owned())].clone();
            assert!(is_shipped(binding, name, &other));
            other["validationActions"] = json!(["Audit"]);
            assert!(!is_shipped(binding, name, &other), "{name}");
        }
        assert!(changed >= 12);
        assert!(!is_shipped(kind, "another", &json!({})));
    }

    #[test]
    fn registries_are_the_operators_own() {
        let kind = "ValidatingAdmissionPolicy";
        let name = "bailiwick-pods";
        let mut live = shipped()[&(kind.to_owned(), name.to_owned())].clone();
        let registries = BTreeMap::from([
            (
                "registry.example.org/mirror".to_owned(),
                "tr-ist-1".to_owned(),
            ),
            ("bailiwick.dev".to_owned(), "*".to_owned()),
        ]);
        assert!(!is_shipped(kind, name, &live, &registries));
        let variables = live["variables"].as_array_mut().unwrap();
        let ours = variables
            .iter_mut()
            .find(|variable| variable["name"] == "registries")
            .unwrap();
        ours["expression"] =
            json!("{'bailiwick.dev': '*', 'registry.example.org/mirror': 'tr-ist-1'}");
        assert!(is_shipped(kind, name, &live, &registries));
    }
}
