//! What the API server would say of a Region, said without one: its type and metadata and the bounds of the schema first
//! and then, when those are kept, the rules. A Region as JSON in, refusals out; no I/O.

mod object;

use std::collections::HashSet;
use std::fmt;

use bailiwick_api::region::{self, CrdError};
use bailiwick_api::spelling::nearest;
use kube::core::cel::{CompiledSchema, Validator, compile_schema};
use object::Schemas;
use regex::Regex;
use serde_json::{Map, Value};

use crate::region_object::without_places;

/// Why the API server would refuse a Region.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// The path in the Region, for example `spec.postgres.instances`; empty for the whole.
    pub field: String,
    /// What was expected.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => f.write_str(&self.message),
            field => write!(f, "{field}: {}", self.message),
        }
    }
}

/// The definition of Region, ready to judge Regions.
pub struct Admission {
    objects: Schemas,
    schema: Value,
    rules: CompiledSchema,
    validator: Validator,
}

impl Admission {
    /// Reads and compiles the definition.
    ///
    /// # Errors
    /// A defect of the types: the definition cannot be written.
    pub fn new() -> Result<Self, CrdError> {
        let definition = serde_json::to_value(region::crd()?)?;
        let schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
        Ok(Self {
            objects: Schemas::new(),
            rules: compile_schema(&schema),
            schema,
            validator: Validator::new(),
        })
    }

    /// The schema that Regions are held to.
    #[must_use]
    pub const fn schema(&self) -> &Value {
        &self.schema
    }

    /// Judges a Region that is created, or updated from `old`. None means that the API server would take it.
    #[must_use]
    pub fn refusals(&self, new: &Value, old: Option<&Value>) -> Vec<Refusal> {
        let mut found = Refusals::of("Region");
        self.objects.region(new, &mut found);
        if let Some(fields) = self.schema["properties"].as_object() {
            // What every object has was looked at.
            let own = fields
                .iter()
                .filter(|(name, _)| !object::OF_ALL.contains(&name.as_str()));
            for (name, schema) in own {
                if let Some(value) = new.get(name) {
                    check(schema, value, name, &mut found);
                } else if self.schema["required"]
                    .as_array()
                    .is_some_and(|all| all.contains(&name.as_str().into()))
                {
                    found.push(refusal(name, "is missing"));
                }
            }
        }
        let mut refusals = found.all;
        if !refusals.is_empty() {
            return refusals;
        }
        let old = old.map(|old| aligned(&self.schema, new, old));
        if let Err(errors) = self
            .validator
            .validate_compiled(&self.rules, new, old.as_ref())
        {
            refusals.extend(errors.into_vec().into_iter().map(|error| Refusal {
                field: error.field_path,
                message: error.message,
            }));
        }
        refusals
    }

    /// Judges an object that must come with a Region by the schema of its kind. None of a kind that is not known here.
    #[must_use]
    pub fn refusals_beside(&self, object: &Value) -> Vec<Refusal> {
        self.objects.beside(object)
    }
}

/// What is found of an object of a kind.
struct Refusals<'a> {
    kind: &'a str,
    all: Vec<Refusal>,
}

impl<'a> Refusals<'a> {
    const fn of(kind: &'a str) -> Self {
        Self {
            kind,
            all: Vec::new(),
        }
    }

    fn push(&mut self, refusal: Refusal) {
        self.all.push(refusal);
    }
}

fn refusal(field: &str, message: impl Into<String>) -> Refusal {
    Refusal {
        field: field.to_owned(),
        message: message.into(),
    }
}

/// What is wrong with the type of a value, or with the room that it needs.
fn not_of_type(schema: &Value, value: &Value) -> Option<String> {
    let found = match value {
        // The API server drops it, and nobody hears of it.
        Value::Null => return Some(format!("is null, expected {}", wanted(schema))),
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if let Some(expected) = schema["type"].as_str()
        && expected != found
    {
        let bare = expected == "string" && !matches!(value, Value::Array(_) | Value::Object(_));
        let quotes = if bare { "; write it in quotes" } else { "" };
        return Some(format!("is of type {found}, expected {expected}{quotes}"));
    }
    if schema["x-kubernetes-int-or-string"] == true && !["integer", "string"].contains(&found) {
        return Some(format!(
            "is of type {found}, expected a whole number or text; write it in quotes"
        ));
    }
    let is_larger = |number| i32::try_from(number).is_err();
    (schema["format"] == "int32" && value.as_i64().is_some_and(is_larger))
        .then(|| format!("is {value}, expected a whole number of at most 32 bits"))
}

/// Holds a value to the parts of a structural schema that Region's uses.
fn check(schema: &Value, value: &Value, path: &str, refusals: &mut Refusals<'_>) {
    if value.is_null() && schema["nullable"] == true {
        return;
    }
    if let Some(message) = not_of_type(schema, value) {
        refusals.push(refusal(path, message));
        return;
    }
    words(schema, value, path, refusals);
    if let Some(least) = schema["minimum"].as_f64()
        && value.as_f64().is_some_and(|number| number < least)
    {
        refusals.push(refusal(
            path,
            format!("is {value}, expected at least {least}"),
        ));
    }
    match value {
        Value::String(text) => {
            pattern(schema, text, path, refusals);
            bounds(
                schema,
                "minLength",
                "maxLength",
                text.chars().count(),
                "characters",
                path,
                refusals,
            );
        }
        Value::Array(items) => {
            bounds(
                schema,
                "minItems",
                "maxItems",
                items.len(),
                "items",
                path,
                refusals,
            );
            duplicates(schema, items, path, refusals);
            for (index, item) in items.iter().enumerate() {
                check(
                    &schema["items"],
                    item,
                    &format!("{path}[{index}]"),
                    refusals,
                );
            }
        }
        Value::Object(fields) => {
            bounds(
                schema,
                "minProperties",
                "maxProperties",
                fields.len(),
                "entries",
                path,
                refusals,
            );
            check_fields(schema, fields, path, refusals);
        }
        _ => {}
    }
}

/// What a schema wants in the place of nothing.
fn wanted(schema: &Value) -> String {
    let what = match schema["type"].as_str() {
        _ if schema["x-kubernetes-int-or-string"] == true => "a whole number or text",
        Some("object") => "fields",
        Some("array") => "a list",
        Some("string") => "text",
        Some("boolean") => "true or false",
        _ => "a number",
    };
    format!("{what}; give it a value or take it out")
}

fn check_fields(
    schema: &Value,
    fields: &Map<String, Value>,
    path: &str,
    refusals: &mut Refusals<'_>,
) {
    for name in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if !fields.contains_key(name) {
            refusals.push(refusal(
                &format!("{path}.{name}"),
                "is missing, and there is no default",
            ));
        }
    }
    for (name, value) in fields {
        let path = format!("{path}.{name}");
        if let Some(schema) = schema["properties"].get(name) {
            check(schema, value, &path, refusals);
        } else if schema["additionalProperties"].is_object() {
            check(&schema["additionalProperties"], value, &path, refusals);
        } else if schema["properties"].is_object() {
            refusals.push(refusal(&path, no_field(refusals.kind, schema, name, &path)));
        }
    }
}

/// Holds a value to the words of its schema, and says which one was meant, if it is near.
fn words(schema: &Value, value: &Value, path: &str, refusals: &mut Refusals<'_>) {
    let Some(words) = schema["enum"].as_array() else {
        return;
    };
    if words.contains(value) {
        return;
    }
    let meant = value
        .as_str()
        .and_then(|word| nearest(word, words.iter().filter_map(Value::as_str)))
        .map_or_else(String::new, |word| format!("; did you mean {word}?"));
    let words: Vec<String> = words.iter().map(ToString::to_string).collect();
    refusals.push(refusal(
        path,
        format!("is {value}, expected one of {}{meant}", words.join(", ")),
    ));
}

/// What to say of a field that there is not: the one that was meant, if it is near.
fn no_field(kind: &str, schema: &Value, name: &str, path: &str) -> String {
    let known = schema["properties"].as_object().into_iter().flatten();
    if let Some(known) = nearest(name, known.map(|(known, _)| known.as_str())) {
        return format!("is no field of a {kind}; did you mean {known}?");
    }
    let parent = path.strip_suffix(name).unwrap_or(path);
    let parents = format!("{}.{parent}", kind.to_ascii_lowercase());
    format!(
        "is no field of a {kind}; `kubectl explain {}` has those that there are",
        without_places(parents.trim_end_matches('.'))
    )
}

fn bounds(
    schema: &Value,
    least: &str,
    most: &str,
    found: usize,
    what: &str,
    path: &str,
    refusals: &mut Refusals<'_>,
) {
    let found = u64::try_from(found).unwrap_or(u64::MAX);
    if let Some(least) = schema[least].as_u64()
        && found < least
    {
        refusals.push(refusal(
            path,
            format!("has {found} {what}, expected at least {least}"),
        ));
    }
    if let Some(most) = schema[most].as_u64()
        && found > most
    {
        refusals.push(refusal(
            path,
            format!("has {found} {what}, expected at most {most}"),
        ));
    }
}

/// The pattern of a text of one line.
const ONE_LINE: &str = "^[^\\n\\r]*$";

/// Holds text to the pattern of its schema: in the API server's words, which are the pattern, unless there are better ones.
fn pattern(schema: &Value, text: &str, path: &str, refusals: &mut Refusals<'_>) {
    if let Some(pattern) = schema["pattern"].as_str()
        && !Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
    {
        refusals.push(refusal(
            path,
            match pattern {
                ONE_LINE => "has a line break, expected one line".to_owned(),
                _ => format!("should match '{pattern}'"),
            },
        ));
    }
}

/// What an item of a list is told from others by: its keys in a map, itself in a set.
fn identity(schema: &Value, item: &Value) -> Option<String> {
    match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => Some(item.to_string()),
        Some("map") => {
            let keys = schema["x-kubernetes-list-map-keys"].as_array()?;
            let values: Vec<&Value> = keys
                .iter()
                .filter_map(Value::as_str)
                .map(|key| &item[key])
                .collect();
            Some(format!("{values:?}"))
        }
        _ => None,
    }
}

fn duplicates(schema: &Value, items: &[Value], path: &str, refusals: &mut Refusals<'_>) {
    let mut seen = HashSet::new();
    for (index, item) in items.iter().enumerate() {
        if let Some(identity) = identity(schema, item)
            && !seen.insert(identity)
        {
            refusals.push(refusal(
                &format!("{path}[{index}]"),
                "is in the list twice; take one away or give it another name",
            ));
        }
    }
}

/// `old` with its lists in the order of `new`: the API server compares an item with the old one of the same key, the
/// evaluator here with the one at the same place. A new item is compared with itself, which every such rule allows.
fn aligned(schema: &Value, new: &Value, old: &Value) -> Value {
    match (new, old) {
        (Value::Object(new), Value::Object(fields)) => Value::Object(
            fields
                .iter()
                .map(|(name, old)| {
                    let value = new.get(name).map_or_else(
                        || old.clone(),
                        |new| aligned(&schema["properties"][name], new, old),
                    );
                    (name.clone(), value)
                })
                .collect(),
        ),
        (Value::Array(new), Value::Array(items)) if schema["x-kubernetes-list-type"] == "map" => {
            Value::Array(
                new.iter()
                    .map(|item| {
                        items
                            .iter()
                            .find(|old| identity(schema, old) == identity(schema, item))
                            .map_or_else(
                                || item.clone(),
                                |old| aligned(&schema["items"], item, old),
                            )
                    })
                    .collect(),
            )
        }
        _ => old.clone(),
    }
}
