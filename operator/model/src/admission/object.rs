//! What the API server holds objects of all kinds to: type, kind, metadata, and no field that there is not. An object as
//! JSON in, refusals out; no I/O.

use std::collections::BTreeMap;

use bailiwick_api::region::Region;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::{Refusal, Refusals, check, no_field, refusal};

/// The fields of every object that are judged here.
pub(super) const OF_ALL: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// The schemas of what is no custom resource.
pub(super) struct Schemas {
    metadata: Value,
    /// By kind.
    beside: BTreeMap<&'static str, Value>,
}

/// The schema of a type, with everything in its place.
fn schema<T: JsonSchema>() -> Value {
    SchemaSettings::openapi3()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

impl Schemas {
    pub(super) fn new() -> Self {
        Self {
            metadata: schema::<ObjectMeta>(),
            beside: BTreeMap::from([
                ("Namespace", schema::<Namespace>()),
                ("Role", schema::<Role>()),
                ("RoleBinding", schema::<RoleBinding>()),
                ("ServiceAccount", schema::<ServiceAccount>()),
            ]),
        }
    }

    /// Holds what a Region has beside its spec and status to the schema.
    pub(super) fn region(&self, object: &Value, found: &mut Refusals<'_>) {
        for (field, expected) in [
            ("apiVersion", Region::api_version(&())),
            ("kind", Region::kind(&())),
        ] {
            if object[field] != *expected {
                found.push(refusal(field, is_not(&object[field], &expected)));
            }
        }
        let known = serde_json::json!({"properties": {
            "apiVersion": {}, "kind": {}, "metadata": {}, "spec": {}, "status": {},
        }});
        for name in object.as_object().into_iter().flat_map(|all| all.keys()) {
            if known["properties"].get(name).is_none() {
                found.push(refusal(name, no_field(found.kind, &known, name, name)));
            }
        }
        let metadata = without_nulls(&object["metadata"]);
        if !metadata.is_null() {
            check(&self.metadata, &metadata, "metadata", found);
        }
        let is_named = match &metadata["name"] {
            Value::Null => false,
            name => name != "",
        };
        if !is_named {
            found.push(refusal(
                "metadata.name",
                "is missing, expected the Region's name, after which its namespaces and Services are called",
            ));
        }
    }

    /// What is wrong with an object of another kind, by the schema of its kind.
    pub(super) fn beside(&self, object: &Value) -> Vec<Refusal> {
        let kind = object["kind"].as_str().unwrap_or_default();
        let Some((kind, schema)) = self.beside.get_key_value(kind) else {
            return Vec::new();
        };
        let mut found = Refusals::of(kind);
        let object = without_nulls(object);
        for (name, value) in object.as_object().into_iter().flatten() {
            match schema["properties"].get(name) {
                Some(schema) => check(schema, value, name, &mut found),
                None => found.push(refusal(name, no_field(kind, schema, name, name))),
            }
        }
        found.all
    }
}

fn is_not(found: &Value, expected: &str) -> String {
    match found {
        Value::Null => format!("is missing, expected {expected}"),
        found => format!("is {found}, expected {expected}"),
    }
}

/// A value without its fields that are null: what is no custom resource may have them.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), without_nulls(value)))
            .collect(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}
