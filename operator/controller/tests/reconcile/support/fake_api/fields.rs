//! Fields and labels of an object, and who owns which.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Path, Stored};

pub fn selected(value: &Value, selector: &str) -> bool {
    let labels = value.pointer("/metadata/labels");
    let label = |key: &str| labels.and_then(|it| it.get(key)).and_then(Value::as_str);
    selector
        .split(',')
        .filter(|it| !it.is_empty())
        .all(|requirement| match requirement.split_once('=') {
            Some((key, value)) => label(key) == Some(value),
            None => label(requirement).is_some(),
        })
}

/// What a client gets: with the managed fields, or the metadata alone.
pub fn served(stored: &Stored) -> Value {
    let mut value = stored.value.clone();
    let managed: Vec<Value> = stored
        .managers
        .iter()
        .filter(|(_, paths)| !paths.is_empty())
        .map(|(key, paths)| {
            let (manager, operation, subresource) = key;
            let mut fields = json!({});
            for path in paths {
                let mut at = &mut fields;
                for step in path {
                    at = at
                        .as_object_mut()
                        .unwrap()
                        .entry(format!("f:{step}"))
                        .or_insert_with(|| json!({}));
                }
            }
            let mut entry = json!({
                "manager": manager, "operation": operation, "fieldsType": "FieldsV1", "fieldsV1": fields,
                "apiVersion": value["apiVersion"],
            });
            if let Some(time) = stored.times.get(key) {
                entry["time"] = json!(time);
            }
            if !subresource.is_empty() {
                entry["subresource"] = json!(subresource);
            }
            entry
        })
        .collect();
    value["metadata"]["managedFields"] = json!(managed);
    value
}

pub fn metadata_of(value: &Value) -> Value {
    json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": value["metadata"],
    })
}

/// The paths of all values that are not objects with fields; lists count as one value.
pub fn leaves(value: &Value) -> BTreeSet<Path> {
    fn walk(value: &Value, at: &mut Path, found: &mut BTreeSet<Path>) {
        match value {
            Value::Null => {}
            Value::Object(fields) if !fields.is_empty() => {
                for (name, value) in fields {
                    at.push(name.clone());
                    walk(value, at, found);
                    at.pop();
                }
            }
            _ => {
                found.insert(at.clone());
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(value, &mut Vec::new(), &mut found);
    found.retain(|path| {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        !matches!(
            path.as_slice(),
            ["apiVersion" | "kind"]
                | [
                    "metadata",
                    "name"
                        | "namespace"
                        | "uid"
                        | "resourceVersion"
                        | "generation"
                        | "creationTimestamp"
                        | "deletionTimestamp"
                        | "managedFields",
                    ..
                ]
        )
    });
    found
}

pub fn at<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, step| value.get(step))
}

pub fn set(value: &mut Value, path: &[String], new: Value) {
    let mut at = value;
    for step in path {
        if !at.is_object() {
            *at = json!({});
        }
        at = at
            .as_object_mut()
            .unwrap()
            .entry(step.clone())
            .or_insert(Value::Null);
    }
    *at = new;
}

/// Removes a field, and objects that are empty then.
pub fn unset(value: &mut Value, path: &[String]) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    let Some(fields) = value.as_object_mut() else {
        return;
    };
    if rest.is_empty() {
        fields.remove(first);
        return;
    }
    if let Some(inner) = fields.get_mut(first) {
        unset(inner, rest);
        if inner.as_object().is_some_and(Map::is_empty) {
            fields.remove(first);
        }
    }
}

/// Whether an object is being deleted.
pub fn is_terminating(value: &Value) -> bool {
    value.pointer("/metadata/deletionTimestamp").is_some()
}

pub fn has_finalizers(value: &Value) -> bool {
    value
        .pointer("/metadata/finalizers")
        .and_then(Value::as_array)
        .is_some_and(|finalizers| !finalizers.is_empty())
}
