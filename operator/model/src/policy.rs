//! The admission policies as they are shipped in platform/policies, and whether what a cluster has is the same. Objects
//! of the API server in, yes or no out; no I/O.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize as _;
use serde_json::Value;

/// The shipped files; a test keeps the list whole.
const SHIPPED: &[&str] = &[
    include_str!("../../../platform/policies/namespace-deletion.yaml"),
    include_str!("../../../platform/policies/namespace-labels.yaml"),
    include_str!("../../../platform/policies/region-deletion.yaml"),
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

/// Whether an object of a kind and name has the shipped spec; what the API server fills in is no difference.
#[must_use]
pub fn is_shipped(kind: &str, name: &str, spec: &Value) -> bool {
    shipped()
        .get(&(kind.to_owned(), name.to_owned()))
        .is_some_and(|shipped| holds(spec, shipped))
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
}
