//! A Region's own file: what it holds, in which order, and that it gives no right beyond what is needed.

use bailiwick_model::admission::Admission;
use bailiwick_model::delegation::to_yaml;
use bailiwick_model::draft::{Draft, DraftClient, manifest};
use serde::Deserialize;
use serde_json::Value;

fn draft() -> Draft {
    Draft {
        name: "tr".to_owned(),
        jurisdiction: "TR".to_owned(),
        location: "tr-ist-1".to_owned(),
        storage_class: "tr-ist-1-local".to_owned(),
        postgres_version: 17,
        instances: 3,
        store_servers: 4,
        volume_size: "10Gi".to_owned(),
        cpu: "250m".to_owned(),
        memory: "512Mi".to_owned(),
        databases: vec!["clinical".to_owned()],
        buckets: vec!["documents".to_owned()],
        clients: vec![DraftClient {
            name: "patient".to_owned(),
            label: "team".to_owned(),
            value: "patient".to_owned(),
        }],
    }
}

fn objects(draft: &Draft) -> Vec<Value> {
    let yaml = to_yaml(&manifest(draft).unwrap());
    serde_yaml::Deserializer::from_str(&yaml)
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

fn id(object: &Value) -> String {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or("-")
            .to_owned()
    };
    format!(
        "{} {}/{}",
        text("/kind"),
        text("/metadata/namespace"),
        text("/metadata/name")
    )
}

#[test]
fn the_file_is_applied_from_top_to_bottom() {
    let ids: Vec<String> = objects(&draft()).iter().map(id).collect();
    assert_eq!(
        ids,
        [
            "Namespace -/tr",
            "Namespace -/tr-obs",
            "Namespace -/tr-drill",
            "RoleBinding tr/bailiwick-operator",
            "RoleBinding tr-obs/bailiwick-operator",
            "RoleBinding tr-drill/bailiwick-operator",
            "ServiceAccount tr/tr-pg",
            "Role tr/tr-pg",
            "RoleBinding tr/tr-pg",
            "Region -/tr",
        ]
    );
}

/// The country whose code is a word: readers of Kubernetes take a bare `NO` for false.
#[test]
fn norway_is_a_jurisdiction() {
    let draft = Draft {
        jurisdiction: "NO".to_owned(),
        ..draft()
    };
    let yaml = to_yaml(&manifest(&draft).unwrap());
    assert!(yaml.contains("jurisdiction: 'NO'\n"), "{yaml}");
    assert!(!yaml.contains("jurisdiction: NO\n"), "{yaml}");
}

#[test]
fn nothing_but_the_region_is_pruned_or_deleted_with_the_file() {
    let mut regions = 0;
    let objects = objects(&draft());
    for object in &objects {
        regions += usize::from(object["kind"] == "Region");
        let options = &object["metadata"]["annotations"]["argocd.argoproj.io/sync-options"];
        let expected = if object["kind"] == "Region" {
            "Prune=confirm,Delete=confirm"
        } else {
            "Prune=false,Delete=false"
        };
        assert_eq!(options, expected, "{}", id(object));
        // The operator prunes what it manages; none of this is its own.
        assert!(
            object["metadata"]["labels"]["app.kubernetes.io/managed-by"].is_null(),
            "{}",
            id(object)
        );
    }
    assert!(
        regions == 1 && objects.len() >= 10,
        "{regions} of {}",
        objects.len()
    );
}

#[test]
fn namespaces_say_where_they_are_and_what_they_allow() {
    let mut namespaces = 0;
    for object in objects(&draft())
        .iter()
        .filter(|object| object["kind"] == "Namespace")
    {
        namespaces += 1;
        let labels = &object["metadata"]["labels"];
        for (label, value) in [
            ("bailiwick.dev/region", "tr"),
            ("bailiwick.dev/location", "tr-ist-1"),
            ("bailiwick.dev/jurisdiction", "TR"),
            ("bailiwick.dev/deletion-protection", "true"),
            ("pod-security.kubernetes.io/enforce", "restricted"),
            ("pod-security.kubernetes.io/audit", "restricted"),
            ("pod-security.kubernetes.io/warn", "restricted"),
        ] {
            assert_eq!(labels[label], value, "{}: {label}", id(object));
        }
    }
    assert_eq!(namespaces, 3);
}

#[test]
fn patroni_changes_its_own_state_and_pods_and_deletes_nothing() {
    let objects = objects(&draft());
    let role = objects
        .iter()
        .find(|object| object["kind"] == "Role")
        .unwrap();
    let mut named = 0;
    for rule in role["rules"].as_array().unwrap() {
        for verb in rule["verbs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|verb| verb.as_str().unwrap())
        {
            match verb {
                "list" | "watch" => {}
                "create" => assert_eq!(rule["resources"], serde_json::json!(["configmaps"])),
                "get" | "patch" | "update" => {
                    named += 1;
                    assert!(rule["resourceNames"].is_array(), "{rule}");
                }
                other => panic!("Patroni needs no {other}: {rule}"),
            }
        }
        for resource in rule["resources"].as_array().unwrap() {
            assert!(resource == "configmaps" || resource == "pods", "{rule}");
        }
    }
    assert!(named >= 4, "{role}");
}

#[test]
fn the_region_of_the_file_would_be_taken() {
    let admission = Admission::new().unwrap();
    let bare = Draft {
        databases: Vec::new(),
        buckets: Vec::new(),
        clients: Vec::new(),
        store_servers: 1,
        instances: 1,
        ..draft()
    };
    for draft in [draft(), bare] {
        let objects = objects(&draft);
        let region = objects.last().unwrap();
        assert_eq!(admission.refusals(region, None), [], "{region}");
    }
}

#[test]
fn a_draft_that_is_no_good_is_refused_at_its_field() {
    let admission = Admission::new().unwrap();
    for (draft, field) in [
        (
            Draft {
                name: "TR".to_owned(),
                ..draft()
            },
            "",
        ),
        (
            Draft {
                jurisdiction: "tr".to_owned(),
                ..draft()
            },
            "spec.residency.jurisdiction",
        ),
        (
            Draft {
                store_servers: 2,
                ..draft()
            },
            "spec.objectStore.servers",
        ),
        (
            Draft {
                volume_size: "ten".to_owned(),
                ..draft()
            },
            "spec.objectStore.volume.size",
        ),
    ] {
        let objects = objects(&draft);
        let refusals = admission.refusals(objects.last().unwrap(), None);
        assert!(
            refusals.iter().any(|refusal| refusal.field == field),
            "{field}: {refusals:?}"
        );
    }
}
