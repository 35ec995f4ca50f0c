//! What the operator needs to be allowed, as platform/operator says it, and what it holds beyond or short of that. Sets
//! of rights in, differences out; no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde::Deserialize;

use crate::facts::Right;
use crate::names::{DELEGATED_CLUSTER_ROLE, Names, OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT};

/// The roles as they are shipped.
const SHIPPED: [&str; 2] = [
    include_str!("../../../platform/operator/rbac.yaml"),
    include_str!("../../../platform/operator/region-role.yaml"),
];

/// API groups in which everybody may ask about themselves (`system:basic-user`).
/// <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#discovery-roles>
const ABOUT_ONESELF: [&str; 2] = ["authentication.k8s.io", "authorization.k8s.io"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    api_groups: Vec<String>,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
    verbs: Vec<String>,
}

#[derive(Deserialize)]
struct Role {
    kind: String,
    #[serde(default)]
    rules: Vec<Rule>,
}

/// What the operator may do in a Region's data namespace by what is shipped. Empty if that cannot be read, which a test
/// keeps from happening.
#[must_use]
pub fn needed() -> BTreeSet<Right> {
    NEEDED.clone()
}

/// Read once: it is the same for every look at every Region.
static NEEDED: LazyLock<BTreeSet<Right>> = LazyLock::new(|| {
    let mut needed = BTreeSet::new();
    for document in SHIPPED.iter().flat_map(|text| text.split("\n---")) {
        let Ok(role) = serde_yaml::from_str::<Role>(document) else {
            continue;
        };
        if role.kind == "ClusterRole" {
            for rule in &role.rules {
                needed.extend(rights_of(
                    &rule.verbs,
                    &rule.api_groups,
                    &rule.resources,
                    &rule.resource_names,
                ));
            }
        }
    }
    needed
});

/// Every right that a rule gives.
#[must_use]
pub fn rights_of(
    verbs: &[String],
    groups: &[String],
    resources: &[String],
    names: &[String],
) -> BTreeSet<Right> {
    let names: Vec<Option<&String>> = if names.is_empty() {
        vec![None]
    } else {
        names.iter().map(Some).collect()
    };
    let mut rights = BTreeSet::new();
    for verb in verbs {
        for group in groups {
            for resource in resources {
                for name in &names {
                    rights.insert(Right {
                        verb: verb.clone(),
                        group: group.clone(),
                        resource: resource.clone(),
                        name: name.cloned(),
                    });
                }
            }
        }
    }
    rights
}

fn covers(held: &Right, asked: &Right) -> bool {
    let any = |held: &str, asked: &str| held == "*" || held == asked;
    any(&held.verb, &asked.verb)
        && any(&held.group, &asked.group)
        && any(&held.resource, &asked.resource)
        && (held.name.is_none() || held.name == asked.name)
}

fn text(right: &Right) -> String {
    let resource = if right.group.is_empty() {
        right.resource.clone()
    } else {
        format!("{}.{}", right.resource, right.group)
    };
    match &right.name {
        Some(name) => format!("{} {resource} {name}", right.verb),
        None => format!("{} {resource}", right.verb),
    }
}

/// What is held and not needed, as `verb resource.group`.
#[must_use]
pub fn excess(held: &BTreeSet<Right>) -> Vec<String> {
    held.iter()
        .filter(|right| !ABOUT_ONESELF.contains(&right.group.as_str()))
        .filter(|right| !NEEDED.iter().any(|need| covers(need, right)))
        .map(text)
        .collect()
}

/// What is needed and not held, as `verb resource.group`.
#[must_use]
pub fn missing(held: &BTreeSet<Right>) -> Vec<String> {
    NEEDED
        .iter()
        .filter(|need| !held.iter().any(|right| covers(right, need)))
        .map(text)
        .collect()
}

/// What a RoleBinding grants to whom, as one text: `ClusterRole/admin to User/jane, Group/admins`. `subjects` are kinds,
/// namespaces (empty for people) and names.
#[must_use]
pub fn grant(role_kind: &str, role: &str, subjects: &[(String, String, String)]) -> String {
    let mut subjects: Vec<String> = subjects
        .iter()
        .map(|(kind, namespace, name)| {
            if namespace.is_empty() {
                format!("{kind}/{name}")
            } else {
                format!("{kind}/{namespace}/{name}")
            }
        })
        .collect();
    subjects.sort();
    format!("{role_kind}/{role} to {}", subjects.join(", "))
}

/// The RoleBindings, as `namespace/name`, that are not those of the Region's own manifest.
pub fn foreign_bindings<'a>(
    names: &Names,
    bindings: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = &'a str> {
    let account = |namespace: &str, name: &str| {
        vec![(
            "ServiceAccount".to_owned(),
            namespace.to_owned(),
            name.to_owned(),
        )]
    };
    let mut expected: BTreeMap<String, String> = names
        .namespaces()
        .into_iter()
        .map(|namespace| {
            (
                format!("{namespace}/{OPERATOR_SERVICE_ACCOUNT}"),
                grant(
                    "ClusterRole",
                    DELEGATED_CLUSTER_ROLE,
                    &account(OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT),
                ),
            )
        })
        .collect();
    let (namespace, patroni) = (names.namespace(), names.postgres());
    expected.insert(
        format!("{namespace}/{patroni}"),
        grant("Role", &patroni, &account(&namespace, &patroni)),
    );
    bindings
        .iter()
        .filter(move |(name, grant)| expected.get(*name) != Some(*grant))
        .map(|(name, _)| name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(verb: &str, group: &str, resource: &str) -> Right {
        Right {
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            name: None,
        }
    }

    #[test]
    fn what_is_shipped_is_neither_too_much_nor_too_little() {
        let held = needed();
        assert!(held.len() > 40, "{}", held.len());
        assert_eq!(excess(&held), Vec::<String>::new());
        assert_eq!(missing(&held), Vec::<String>::new());
    }

    #[test]
    fn every_right_that_is_taken_away_is_named() {
        let all = needed();
        assert!(all.len() > 40, "{}", all.len());
        for right in &all {
            let mut held = all.clone();
            held.remove(right);
            assert_eq!(missing(&held), [text(right)]);
        }
    }

    #[test]
    fn every_right_beyond_is_named() {
        for (more, named) in [
            (right("list", "", "secrets"), "list secrets"),
            (right("create", "", "pods/exec"), "create pods/exec"),
            (right("*", "*", "*"), "* *.*"),
            (
                right("bind", "rbac.authorization.k8s.io", "roles"),
                "bind roles.rbac.authorization.k8s.io",
            ),
        ] {
            let mut held = needed();
            held.insert(more);
            assert_eq!(excess(&held), [named]);
        }
        let mut held = needed();
        held.insert(right(
            "create",
            "authorization.k8s.io",
            "selfsubjectrulesreviews",
        ));
        assert_eq!(excess(&held), Vec::<String>::new());
    }

    #[test]
    fn a_binding_is_foreign_by_its_name_its_role_or_its_subject() {
        let names = Names::new("tr");
        let own = grant(
            "ClusterRole",
            "bailiwick-region",
            &[(
                "ServiceAccount".to_owned(),
                "bailiwick-system".to_owned(),
                "bailiwick-operator".to_owned(),
            )],
        );
        let bindings: BTreeMap<String, String> = [
            ("tr/bailiwick-operator", own.as_str()),
            (
                "tr-obs/bailiwick-operator",
                "ClusterRole/admin to ServiceAccount/bailiwick-system/bailiwick-operator",
            ),
            (
                "tr-drill/bailiwick-operator",
                "ClusterRole/bailiwick-region to User/jane",
            ),
            ("tr/tr-pg", "Role/tr-pg to ServiceAccount/tr/tr-pg"),
            ("tr/another", own.as_str()),
        ]
        .map(|(name, grant)| (name.to_owned(), grant.to_owned()))
        .into();
        let foreign: Vec<&str> = foreign_bindings(&names, &bindings).collect();
        assert_eq!(
            foreign,
            [
                "tr-drill/bailiwick-operator",
                "tr-obs/bailiwick-operator",
                "tr/another"
            ]
        );
    }
}
