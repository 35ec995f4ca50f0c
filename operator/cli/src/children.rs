//! The objects of a Region as a tree: what owns what. Names, kinds and owners in, lines out; no I/O.

use bailiwick_api::region::RegionStatus;
use bailiwick_model::names::LABEL_ROLE;
use kube::api::ObjectMeta;
use serde::Serialize;

/// An object of a Region, by its metadata alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Child {
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its controller in the same namespace, as kind and name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<(String, String)>,
    /// What else is known of it: a role, a node, that it is being deleted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Child {
    /// An object of `kind`; none when it has no name. What the Region's status knows of a member is noted with it.
    #[must_use]
    pub fn of(kind: &str, metadata: &ObjectMeta, status: Option<&RegionStatus>) -> Option<Self> {
        let name = metadata.name.clone()?;
        let owner = metadata
            .owner_references
            .iter()
            .flatten()
            .find(|owner| owner.controller == Some(true))
            // The Region itself owns what nothing in a namespace owns.
            .filter(|owner| owner.kind != "Region")
            .map(|owner| (owner.kind.clone(), owner.name.clone()));
        let mut notes = Vec::new();
        if kind == "Pod" {
            notes.extend(
                metadata
                    .labels
                    .as_ref()
                    .and_then(|labels| labels.get(LABEL_ROLE))
                    .cloned(),
            );
            let member = status
                .and_then(|status| status.postgres.as_ref())
                .and_then(|postgres| postgres.instances.iter().find(|member| member.name == name));
            if let Some(member) = member {
                notes.push(member.state.clone());
                if let Some(node) = &member.node {
                    let location = member.node_location.as_deref().unwrap_or("no location");
                    notes.push(format!("on {node} in {location}"));
                }
            }
        }
        if metadata.deletion_timestamp.is_some() {
            notes.push("being deleted".to_owned());
        }
        Some(Self {
            kind: kind.to_owned(),
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name,
            owner,
            notes,
        })
    }
}

/// The tree of a Region: each line its depth, from 1, and its text. Namespaces come first, then what nothing owns.
#[must_use]
pub fn tree(children: &[Child]) -> Vec<(usize, String)> {
    let mut sorted: Vec<&Child> = children.iter().collect();
    sorted.sort_by(|a, b| (&a.namespace, &a.kind, &a.name).cmp(&(&b.namespace, &b.kind, &b.name)));
    let mut lines = Vec::new();
    let mut namespace = None;
    for child in &sorted {
        let owned = child
            .owner
            .as_ref()
            .is_some_and(|owner| sorted.iter().any(|other| owns(other, child, owner)));
        if owned {
            continue;
        }
        if namespace != Some(&child.namespace) {
            namespace = Some(&child.namespace);
            lines.push((1, format!("Namespace {}", child.namespace)));
        }
        descend(child, &sorted, 2, &mut lines);
    }
    lines
}

/// Owners of owners, as deep as Kubernetes' own controllers go (CronJob, Job, Pod).
const DEEPEST: usize = 5;

fn descend(child: &Child, all: &[&Child], depth: usize, lines: &mut Vec<(usize, String)>) {
    let notes = if child.notes.is_empty() {
        String::new()
    } else {
        format!("  {}", child.notes.join(", "))
    };
    lines.push((depth, format!("{} {}{notes}", child.kind, child.name)));
    if depth >= DEEPEST {
        return;
    }
    for other in all {
        if other
            .owner
            .as_ref()
            .is_some_and(|owner| owns(child, other, owner))
        {
            descend(other, all, depth + 1, lines);
        }
    }
}

fn owns(owner: &Child, child: &Child, (kind, name): &(String, String)) -> bool {
    owner.namespace == child.namespace && owner.kind == *kind && owner.name == *name
}
