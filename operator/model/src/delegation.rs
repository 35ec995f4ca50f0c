//! A Region's own file: the namespaces, rights and identity that a person or Git gives it, and the Region. The
//! operator makes none of these objects: it holds no right on Roles, and deleting the file must not delete data.
//! A draft in, documents and YAML out; no I/O.

use std::collections::BTreeMap;

use bailiwick_api::MAX_INSTANCES;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde_yaml::Value;

use crate::names::{
    ANNOTATION_ARGO_SYNC, DELEGATED_CLUSTER_ROLE, LABEL_DELETION_PROTECTION, LABEL_JURISDICTION,
    LABEL_LOCATION, LABEL_REGION, Names, OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT, RETAINED,
};
use crate::yaml;

/// The version of the Pod Security Standards that a Region's namespaces enforce; raised on purpose, not with the
/// cluster.
pub const POD_SECURITY_VERSION: &str = "v1.33";

/// One document of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// What it is for, in a line or two; empty for none.
    pub comment: String,
    /// The object, its fields in the order in which they are written.
    pub object: Value,
}

/// A document could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{object} cannot be written as YAML; this is a defect of Bailiwick, please report it")]
pub struct DocumentError {
    /// The object, as `Kind name`.
    pub object: String,
    /// Why.
    #[source]
    pub source: serde_yaml::Error,
}

/// The objects of documents, as the API server gets them.
///
/// # Errors
/// A defect of the types: an object that JSON has no words for.
pub fn objects(documents: &[Document]) -> Result<Vec<serde_json::Value>, DocumentError> {
    documents
        .iter()
        .map(|document| {
            serde_yaml::from_value(document.object.clone()).map_err(|source| DocumentError {
                object: document.comment.clone(),
                source,
            })
        })
        .collect()
}

/// What must stand before a Region can: its namespaces, the operator's rights in them, and Patroni's identity.
///
/// # Errors
/// A defect of the types: an object that cannot be written.
pub fn delegation(
    names: &Names,
    jurisdiction: &str,
    location: &str,
) -> Result<Vec<Document>, DocumentError> {
    let mut documents = Vec::new();
    for (index, namespace) in names.namespaces().iter().enumerate() {
        let comment = match index {
            0 => {
                "The data's namespace. Neither pruning nor deleting this file deletes it: take the label \
                  bailiwick.dev/deletion-protection\n# away first, on purpose and by hand."
            }
            1 => "The namespace of the Region's metrics and logs.",
            _ => "The namespace of restore drills.",
        };
        documents.push(document(
            comment,
            &self::namespace(names, namespace, jurisdiction, location),
        )?);
    }
    for (index, namespace) in names.namespaces().iter().enumerate() {
        let comment = if index == 0 {
            "The operator's rights, in these namespaces and in no other."
        } else {
            ""
        };
        documents.push(document(comment, &operator_binding(names, namespace))?);
    }
    documents.push(document(
        "Patroni's identity: its members agree on the primary in four ConfigMaps and label their own pods.",
        &service_account(names),
    )?);
    documents.push(document("", &patroni_role(names))?);
    documents.push(document("", &patroni_binding(names))?);
    Ok(documents)
}

/// The documents as one YAML stream.
#[must_use]
pub fn to_yaml(documents: &[Document]) -> String {
    let mut text = String::new();
    for document in documents {
        if !text.is_empty() {
            text.push_str("---\n");
        }
        if !document.comment.is_empty() {
            text.extend(["# ", &document.comment, "\n"]);
        }
        text.push_str(&yaml::document(&document.object));
    }
    text
}

fn document(comment: &str, object: &impl Serialize) -> Result<Document, DocumentError> {
    Ok(Document {
        comment: comment.to_owned(),
        object: serde_yaml::to_value(object).map_err(|source| DocumentError {
            object: comment.to_owned(),
            source,
        })?,
    })
}

fn strings<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// The label that every object here carries. Not `managed-by`: the operator must not take them for its own.
fn metadata(names: &Names, namespace: Option<&str>, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: namespace.map(str::to_owned),
        labels: Some(strings([(LABEL_REGION, names.region())])),
        annotations: Some(strings([(ANNOTATION_ARGO_SYNC, RETAINED)])),
        ..ObjectMeta::default()
    }
}

fn namespace(names: &Names, name: &str, jurisdiction: &str, location: &str) -> Namespace {
    let mut metadata = metadata(names, None, name);
    metadata.labels = Some(strings([
        (LABEL_REGION, names.region()),
        (LABEL_LOCATION, location),
        (LABEL_JURISDICTION, jurisdiction),
        (LABEL_DELETION_PROTECTION, "true"),
        ("pod-security.kubernetes.io/enforce", "restricted"),
        (
            "pod-security.kubernetes.io/enforce-version",
            POD_SECURITY_VERSION,
        ),
        ("pod-security.kubernetes.io/audit", "restricted"),
        (
            "pod-security.kubernetes.io/audit-version",
            POD_SECURITY_VERSION,
        ),
        ("pod-security.kubernetes.io/warn", "restricted"),
        (
            "pod-security.kubernetes.io/warn-version",
            POD_SECURITY_VERSION,
        ),
    ]));
    Namespace {
        metadata,
        ..Namespace::default()
    }
}

fn operator_binding(names: &Names, namespace: &str) -> RoleBinding {
    RoleBinding {
        metadata: metadata(names, Some(namespace), OPERATOR_SERVICE_ACCOUNT),
        role_ref: role_ref("ClusterRole", DELEGATED_CLUSTER_ROLE),
        subjects: Some(vec![subject(OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT)]),
    }
}

fn service_account(names: &Names) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(names, Some(&names.namespace()), &names.postgres()),
        // Pods that need the token say so themselves.
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// What Patroni needs of its ConfigMap store (`use_endpoints: false`), and no more: without `delete`, a member that
/// was broken into cannot make the others forget who leads; without other names, it reads no other ConfigMap by name.
fn patroni_role(names: &Names) -> Role {
    let scope = names.postgres();
    let rule = |resource: &str, verbs: &[&str], resource_names: Option<Vec<String>>| PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        resource_names,
        ..PolicyRule::default()
    };
    let state = ["config", "leader", "failover", "sync"]
        .map(|suffix| format!("{scope}-{suffix}"))
        .to_vec();
    let members = (0..MAX_INSTANCES)
        .map(|ordinal| names.postgres_member(ordinal))
        .collect();
    Role {
        metadata: metadata(names, Some(&names.namespace()), &scope),
        rules: Some(vec![
            // A name cannot limit these three.
            rule("configmaps", &["create", "list", "watch"], None),
            rule("configmaps", &["get", "patch", "update"], Some(state)),
            rule("pods", &["list", "watch"], None),
            rule("pods", &["get", "patch"], Some(members)),
        ]),
    }
}

fn patroni_binding(names: &Names) -> RoleBinding {
    RoleBinding {
        metadata: metadata(names, Some(&names.namespace()), &names.postgres()),
        role_ref: role_ref("Role", &names.postgres()),
        subjects: Some(vec![subject(&names.namespace(), &names.postgres())]),
    }
}

fn role_ref(kind: &str, name: &str) -> RoleRef {
    RoleRef {
        api_group: "rbac.authorization.k8s.io".to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
    }
}

fn subject(namespace: &str, service_account: &str) -> Subject {
    Subject {
        kind: "ServiceAccount".to_owned(),
        name: service_account.to_owned(),
        namespace: Some(namespace.to_owned()),
        ..Subject::default()
    }
}
