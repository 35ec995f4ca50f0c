//! A new Region as one multi-document file: the Region that somebody asks for in a few words, with the bootstrap manifest
//! that its namespaces and rights come from. Words in, text out; no I/O.

#[cfg(feature = "arguments")]
pub mod arguments;

use bailiwick_api::region::{Access, CrdError, Service};
use jiff::Timestamp;
use serde::Serialize;
use serde_yaml::{Mapping, Value};

use crate::admission::{Admission, Refusal};
use crate::delegation::{Document, DocumentError, delegation, objects, to_yaml};
use crate::names::{ANNOTATION_ARGO_SYNC, LABEL_REGION, Names};
use crate::offline;
use crate::yaml::read;

/// What a new Region's file is written from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The Region's name.
    pub name: String,
    /// Its jurisdiction.
    pub jurisdiction: String,
    /// Its location.
    pub location: String,
    /// The storage class of its volumes.
    pub storage_class: String,
    /// The major version of PostgreSQL.
    pub postgres_version: i32,
    /// How many Postgres members it has.
    pub instances: i32,
    /// How many servers its object store has.
    pub store_servers: i32,
    /// The size of each volume, a Kubernetes quantity.
    pub volume_size: String,
    /// CPU of each pod, a Kubernetes quantity.
    pub cpu: String,
    /// Memory of each pod, a Kubernetes quantity.
    pub memory: String,
    /// Its databases.
    pub databases: Vec<String>,
    /// Its buckets, each with a user of the same name.
    pub buckets: Vec<String>,
    /// Its clients: a name, and the label of their namespaces.
    pub clients: Vec<DraftClient>,
}

/// A client of a new Region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftClient {
    /// Its name.
    pub name: String,
    /// The key of the label that its namespaces carry.
    pub label: String,
    /// The value of that label.
    pub value: String,
}

/// The whole file of a new Region, in the order in which it is applied.
///
/// # Errors
/// A defect of the types: an object that cannot be written.
pub fn manifest(draft: &Draft) -> Result<Vec<Document>, DocumentError> {
    let names = Names::new(&draft.name);
    let mut documents = delegation(&names, &draft.jurisdiction, &draft.location)?;
    documents.push(Document {
        comment: "The Region itself. `kubectl explain region.spec` tells of every field."
            .to_owned(),
        object: region(draft),
    });
    Ok(documents)
}

/// The options that a draft is made from, by the fields that they end up in, the more special first.
const OPTIONS: [(&str, &str); 13] = [
    ("metadata", "NAME"),
    ("spec.residency.jurisdiction", "--jurisdiction"),
    ("spec.residency", "--location"),
    ("spec.postgres.version", "--postgres-version"),
    ("spec.postgres.instances", "--instances"),
    ("spec.postgres.durability", "--instances"),
    ("spec.objectStore.servers", "--store-servers"),
    ("spec.postgres.databases", "--database"),
    ("spec.postgres.roles", "--database"),
    ("spec.objectStore.buckets", "--bucket"),
    ("spec.objectStore.users", "--bucket"),
    ("spec.network.clients", "--client"),
    ("", "NAME"),
];

/// The options of a field of both Postgres and the object store, by the field's last part.
const OPTIONS_OF_BOTH: [(&str, &str); 4] = [
    ("storageClass", "--storage-class"),
    ("size", "--volume-size"),
    ("cpu", "--cpu"),
    ("memory", "--memory"),
];

/// The option that the value of a field came from.
fn option(field: &str) -> &'static str {
    let last = field.rsplit('.').next().unwrap_or_default();
    OPTIONS_OF_BOTH
        .into_iter()
        .find(|(part, _)| *part == last)
        .or_else(|| {
            OPTIONS
                .into_iter()
                .find(|(part, _)| field.starts_with(part))
        })
        .map_or("NAME", |(_, option)| option)
}

/// What was given to an option that may be repeated, where a field tells which one it is about, and how it is given.
fn given(draft: &Draft, option: &str, field: &str) -> Option<(String, &'static str)> {
    let (_, place) = field.split_once('[')?;
    let index: usize = place.split_once(']')?.0.parse().ok()?;
    let (given, form) = match option {
        "--database" => (draft.databases.get(index)?.clone(), "clinical"),
        "--bucket" => (draft.buckets.get(index)?.clone(), "documents"),
        "--client" => {
            let DraftClient { name, label, value } = draft.clients.get(index)?;
            (format!("{name}:{label}={value}"), "patient:team=patient")
        }
        _ => return None,
    };
    Some((given, form))
}

/// What to say of a fault: the option, which of several it is, what was expected, and how it is given.
fn line(draft: &Draft, fault: &Refusal) -> String {
    let (option, message) = (option(&fault.field), &fault.message);
    let Some((given, form)) = given(draft, option, &fault.field) else {
        return match option {
            "--storage-class" => format!(
                "{option}: {message}: `{option} {}-local`, or leave it out",
                draft.location
            ),
            _ => format!("{option}: {message}"),
        };
    };
    let each: Vec<String> = given
        .split([',', ';', ' '])
        .filter(|part| !part.is_empty())
        .map(|part| format!("{option} {part}"))
        .collect();
    let form = if each.len() > 1 {
        format!("give it once for each, as `{}`", each.join(" "))
    } else {
        format!("give it as `{option} {form}`")
    };
    format!("{option} {given:?}: {message}; {form}")
}

/// What `check` would say of the file of a new Region, as a line for each option that is wrong.
///
/// # Errors
/// A defect of the types: the definition of Region or an object of the file cannot be written.
fn faults(draft: &Draft, documents: &[Document]) -> Result<Vec<String>, DraftError> {
    let documents: Vec<read::Document> = objects(documents)?
        .into_iter()
        .map(|object| read::Document {
            object,
            ..read::Document::default()
        })
        .collect();
    let Some(region) = documents.last() else {
        return Ok(Vec::new());
    };
    let admission = Admission::new()?;
    // No option is about a moment.
    let found = offline::faults(&admission, region, &documents, Timestamp::UNIX_EPOCH)?;
    let mut lines = Vec::new();
    for fault in found {
        // Postgres and the object store have several values of one option.
        let line = line(draft, &fault);
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    Ok(lines)
}

/// Whether a draft can be made could not be told: a defect of Bailiwick.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The definition of Region could not be written.
    #[error(transparent)]
    Definition(#[from] CrdError),
    /// An object could not be written.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The options make no Region that `check` accepts.
    #[error("these options make no Region:\n{}", .0.join("\n"))]
    Refused(Vec<String>),
}

/// The text of a new Region's file, which `check` accepts.
///
/// # Errors
/// The options contradict each other or the rules of a Region; each is named.
pub fn text(draft: &Draft) -> Result<String, DraftError> {
    let documents = manifest(draft)?;
    let faults = faults(draft, &documents)?;
    if faults.is_empty() {
        Ok(to_yaml(&documents))
    } else {
        Err(DraftError::Refused(faults))
    }
}

/// The Region as people write it: what has a good default is left out.
fn region(draft: &Draft) -> Value {
    let resources = mapping([
        ("cpu", draft.cpu.as_str().into()),
        ("memory", draft.memory.as_str().into()),
    ]);
    let volume = mapping([
        ("size", draft.volume_size.as_str().into()),
        ("storageClass", draft.storage_class.as_str().into()),
    ]);
    let named = |name: &String| mapping([("name", name.as_str().into())]);
    let clients = draft.clients.iter().map(|client| {
        mapping([
            ("name", client.name.as_str().into()),
            (
                "namespaceSelector",
                mapping([(
                    "matchLabels",
                    mapping([
                        // Another region's client of the same name is not let in.
                        (LABEL_REGION, draft.name.as_str().into()),
                        (client.label.as_str(), client.value.as_str().into()),
                    ]),
                )]),
            ),
            (
                "to",
                sequence(
                    [Service::Postgres, Service::ObjectStore]
                        .into_iter()
                        .map(word),
                ),
            ),
        ])
    });
    let users = draft.buckets.iter().map(|bucket| {
        let grant = mapping([
            ("bucket", bucket.as_str().into()),
            ("access", word(Access::ReadWrite)),
        ]);
        mapping([
            ("name", bucket.as_str().into()),
            ("grants", sequence([grant])),
        ])
    });
    let spec = mapping([
        (
            "residency",
            mapping([
                ("jurisdiction", draft.jurisdiction.as_str().into()),
                ("location", draft.location.as_str().into()),
            ]),
        ),
        ("network", mapping([("clients", sequence(clients))])),
        (
            "postgres",
            mapping([
                ("version", draft.postgres_version.into()),
                ("instances", draft.instances.into()),
                ("resources", resources.clone()),
                ("storage", mapping([("data", volume.clone())])),
                ("databases", sequence(draft.databases.iter().map(named))),
            ]),
        ),
        (
            "objectStore",
            mapping([
                ("servers", draft.store_servers.into()),
                ("volume", volume),
                ("resources", resources),
                ("buckets", sequence(draft.buckets.iter().map(named))),
                ("users", sequence(users)),
            ]),
        ),
    ]);
    mapping([
        ("apiVersion", "bailiwick.dev/v1alpha1".into()),
        ("kind", "Region".into()),
        (
            "metadata",
            mapping([
                ("name", draft.name.as_str().into()),
                (
                    "annotations",
                    mapping([(ANNOTATION_ARGO_SYNC, "Prune=confirm,Delete=confirm".into())]),
                ),
            ]),
        ),
        ("spec", spec),
    ])
}

/// A mapping in this order, without the entries that are empty.
fn mapping<const N: usize>(entries: [(&str, Value); N]) -> Value {
    let mut mapping = Mapping::new();
    for (key, value) in entries {
        let empty = match &value {
            Value::Sequence(values) => values.is_empty(),
            Value::Mapping(values) => values.is_empty(),
            _ => false,
        };
        if !empty {
            mapping.insert(key.into(), value);
        }
    }
    Value::Mapping(mapping)
}

fn sequence(values: impl IntoIterator<Item = Value>) -> Value {
    Value::Sequence(values.into_iter().collect())
}

/// The word of an enumeration's value in YAML.
fn word(value: impl Serialize) -> Value {
    serde_yaml::to_value(value).unwrap_or_default()
}
