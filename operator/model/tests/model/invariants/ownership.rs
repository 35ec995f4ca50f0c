//! Whose each object is, and what may refer to it.

use std::collections::BTreeSet;

use bailiwick_model::names::{
    LABEL_JURISDICTION, LABEL_LOCATION, LABEL_MANAGED_BY, LABEL_REGION, MANAGED_BY,
};
use serde_json::{Value, json};

use super::{Rendered, each_object, each_pod, id, list, rendered, template, text};

#[test]
fn every_object_is_in_the_regions_namespaces_and_says_whose_it_is() {
    each_object(75, |plan, object| {
        let metadata = &object["metadata"];
        let namespaces = plan.names.namespaces();
        assert!(
            namespaces
                .iter()
                .any(|namespace| metadata["namespace"] == *namespace),
            "{}",
            id(object)
        );
        let labels = |labels: &Value, what: &str| {
            for (label, value) in [
                (LABEL_MANAGED_BY, MANAGED_BY),
                (LABEL_REGION, plan.names.region()),
                (LABEL_LOCATION, plan.policy.location()),
                (LABEL_JURISDICTION, plan.policy.jurisdiction()),
            ] {
                assert_eq!(labels[label], value, "{} {what}: {label}", id(object));
            }
        };
        labels(&metadata["labels"], "itself");
        if template(object).is_object() {
            labels(&template(object)["metadata"]["labels"], "pods");
        }
        for claim in list(&object["spec"]["volumeClaimTemplates"]) {
            labels(&claim["metadata"]["labels"], "claims");
        }
        true
    });
}

#[test]
fn every_object_goes_with_the_region_and_no_volume_does() {
    each_object(75, |_, object| {
        let owners = &object["metadata"]["ownerReferences"];
        if object["kind"] == "NetworkPolicy" {
            // The fence is the last thing to go: the operator removes it, and no garbage collector.
            assert!(owners.is_null(), "{}", id(object));
        } else {
            assert_eq!(owners[0]["kind"], "Region", "{}", id(object));
        }
        assert!(
            !["PersistentVolumeClaim", "Secret"].contains(&text(&object["kind"])),
            "{}",
            id(object)
        );
        if object["kind"] == "StatefulSet" {
            assert_eq!(
                object["spec"]["persistentVolumeClaimRetentionPolicy"],
                json!({"whenDeleted": "Retain", "whenScaled": "Retain"}),
                "{}",
                id(object)
            );
            for claim in list(&object["spec"]["volumeClaimTemplates"]) {
                assert!(
                    claim["metadata"]["ownerReferences"].is_null(),
                    "{}",
                    id(object)
                );
            }
        }
        true
    });
}

#[test]
fn nothing_is_listed_twice_and_nothing_carries_a_secret() {
    for Rendered { plan, objects } in rendered() {
        let ids: BTreeSet<String> = objects.iter().map(id).collect();
        assert_eq!(ids.len(), objects.len(), "{}", plan.names.region());
        let secrets: BTreeSet<&str> = plan
            .secrets
            .iter()
            .map(|secret| secret.name.as_str())
            .collect();
        assert_eq!(
            secrets.len(),
            plan.secrets.len(),
            "{}: a Secret is wanted twice",
            plan.names.region()
        );
        for object in &objects {
            let written = object.to_string();
            for word in ["PRIVATE KEY", "SCRAM-SHA-256$"] {
                assert!(!written.contains(word), "{}: {word}", id(object));
            }
        }
    }
}

/// What pods read of Secrets is wanted, so that it is there before they start.
#[test]
fn every_secret_that_a_pod_reads_is_wanted() {
    let mut read = 0;
    each_pod(|plan, pod, template| {
        let spec = &template["spec"];
        let mut names = BTreeSet::new();
        for volume in list(&spec["volumes"]) {
            names.insert(text(&volume["secret"]["secretName"]));
            for source in list(&volume["projected"]["sources"]) {
                names.insert(text(&source["secret"]["name"]));
            }
        }
        for container in list(&spec["containers"]).chain(list(&spec["initContainers"])) {
            for variable in list(&container["env"]) {
                names.insert(text(&variable["valueFrom"]["secretKeyRef"]["name"]));
            }
        }
        for name in names.into_iter().filter(|name| !name.is_empty()) {
            read += 1;
            assert!(
                plan.secrets.iter().any(|secret| secret.name == name),
                "{pod}: Secret {name}"
            );
        }
    });
    assert!(read >= 30, "only {read} Secrets are read");
}

/// What is retained of a Region is not pruned by whoever deploys it from Git, from the first moment on.
#[test]
fn every_claim_template_says_that_nobody_prunes_its_claims() {
    let mut claims = 0;
    for Rendered { objects, .. } in rendered() {
        for object in objects {
            for claim in list(&object["spec"]["volumeClaimTemplates"]) {
                assert_eq!(
                    claim["metadata"]["annotations"]["argocd.argoproj.io/sync-options"],
                    "Prune=false,Delete=false",
                    "{}",
                    id(&object)
                );
                claims += 1;
            }
        }
    }
    assert!(claims >= 10, "only {claims} claim templates");
}
