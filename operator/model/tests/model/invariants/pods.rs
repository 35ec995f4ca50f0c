//! Where each pod runs, what it may do and behind what it starts.

use std::collections::BTreeMap;

use bailiwick_model::names::{LABEL_FLOW, NODE_REGION};
use serde_json::{Value, json};

use super::{each_container, each_object, each_pod, id, list, text};

#[test]
fn every_pod_must_run_on_the_regions_nodes() {
    each_pod(|plan, pod, template| {
        let required = &template["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
        let terms: Vec<&Value> = list(&required["nodeSelectorTerms"]).collect();
        // Terms are alternatives, so each must hold the pod.
        assert!(!terms.is_empty(), "{pod}");
        let location = (NODE_REGION.to_owned(), plan.policy.location().to_owned());
        let selector = &plan.nodes.place().selector;
        for term in terms {
            for (key, value) in selector.iter().chain([(&location.0, &location.1)]) {
                let expected = json!({"key": key, "operator": "In", "values": [value]});
                assert!(
                    list(&term["matchExpressions"]).any(|found| *found == expected),
                    "{pod}: {key}"
                );
            }
        }
        for passes_by in ["nodeName", "tolerations"] {
            assert!(
                template["spec"][passes_by].is_null(),
                "{pod} has {passes_by}"
            );
        }
        assert!(
            !text(&template["metadata"]["labels"][LABEL_FLOW]).is_empty(),
            "{pod} has no flow"
        );
    });
}

#[test]
fn every_volume_is_of_an_admitted_class_and_no_pod_sees_its_node() {
    let mut claims = 0;
    each_pod(|_, pod, template| {
        let spec = &template["spec"];
        for shared in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"] {
            assert_ne!(spec[shared], true, "{pod} has {shared}");
        }
        for volume in list(&spec["volumes"]) {
            let kinds: Vec<&String> = volume
                .as_object()
                .unwrap()
                .keys()
                .filter(|key| *key != "name")
                .collect();
            assert_eq!(kinds.len(), 1, "{pod}: {volume}");
            let allowed = ["configMap", "emptyDir", "projected", "secret"];
            assert!(allowed.contains(&kinds[0].as_str()), "{pod}: {volume}");
            if !volume["emptyDir"].is_null() {
                assert!(
                    volume["emptyDir"]["sizeLimit"].is_string(),
                    "{pod}: {volume} has no limit"
                );
            }
        }
    });
    each_object(10, |plan, object| {
        let admitted = [
            plan.postgres_class.place().name.as_str(),
            plan.object_store_class.place().name.as_str(),
        ];
        let mut any = false;
        for claim in list(&object["spec"]["volumeClaimTemplates"]) {
            any = true;
            claims += 1;
            assert!(
                admitted.contains(&text(&claim["spec"]["storageClassName"])),
                "{}: {claim}",
                id(object)
            );
        }
        any
    });
    assert!(claims >= 10, "only {claims} claims");
}

#[test]
fn every_container_is_held_back() {
    let mut containers = 0;
    each_container(|place, container, forever| {
        containers += 1;
        let security = &container["securityContext"];
        assert_eq!(security["allowPrivilegeEscalation"], false, "{place}");
        assert_eq!(security["readOnlyRootFilesystem"], true, "{place}");
        assert_eq!(security["capabilities"]["drop"], json!(["ALL"]), "{place}");
        assert!(security["capabilities"]["add"].is_null(), "{place}");
        assert_ne!(security["privileged"], true, "{place}");
        let resources = &container["resources"];
        for (kind, amount) in [
            ("requests", "cpu"),
            ("requests", "memory"),
            ("limits", "memory"),
        ] {
            assert!(
                resources[kind][amount].is_string(),
                "{place} has no {kind}.{amount}"
            );
        }
        // Ready is what the pod is, not each container: see the next test.
        if forever {
            assert!(
                container["livenessProbe"].is_object(),
                "{place} has no livenessProbe"
            );
        }
        for port in list(&container["ports"]) {
            assert!(port["hostPort"].is_null(), "{place}: {port}");
        }
    });
    assert!(containers >= 20, "only {containers} containers");
}

#[test]
fn every_pod_that_serves_says_when_it_can() {
    let mut serving = 0;
    each_pod(|_, pod, template| {
        let spec = &template["spec"];
        if text(&spec["restartPolicy"]) == "Never" {
            return;
        }
        serving += 1;
        assert!(
            list(&spec["containers"]).any(|container| container["readinessProbe"].is_object()),
            "{pod} has no readinessProbe"
        );
    });
    assert!(serving >= 10, "only {serving} pods serve");
}

#[test]
fn every_pod_is_restricted_and_only_patroni_has_a_token() {
    let mut tokens = BTreeMap::new();
    each_pod(|plan, pod, template| {
        let spec = &template["spec"];
        let security = &spec["securityContext"];
        assert_eq!(security["runAsNonRoot"], true, "{pod}");
        assert!(
            security["runAsUser"].as_i64().is_some_and(|uid| uid > 0),
            "{pod}"
        );
        assert_eq!(
            security["seccompProfile"]["type"], "RuntimeDefault",
            "{pod}"
        );
        let token = spec["automountServiceAccountToken"] == true;
        assert!(
            token || spec["automountServiceAccountToken"] == false,
            "{pod} does not say"
        );
        if token {
            assert_eq!(spec["serviceAccountName"], plan.names.postgres(), "{pod}");
        }
        *tokens.entry(token).or_insert(0) += 1;
    });
    assert!(tokens[&true] >= 5 && tokens[&false] >= 15, "{tokens:?}");
}

#[test]
fn every_image_is_admitted_and_pinned() {
    each_pod(|plan, pod, template| {
        let admitted = [
            plan.postgres_image.place().image.as_str(),
            plan.object_store_image.place().image.as_str(),
            plan.operator_image.place().image.as_str(),
            plan.fence_image.place().image.as_str(),
        ];
        let spec = &template["spec"];
        for container in list(&spec["containers"]).chain(list(&spec["initContainers"])) {
            let image = text(&container["image"]);
            assert!(admitted.contains(&image), "{pod}: {image}");
            let tag = image
                .rsplit('/')
                .next()
                .unwrap()
                .split_once([':', '@'])
                .map(|(_, tag)| tag);
            assert!(tag.is_some_and(|tag| tag != "latest"), "{pod}: {image}");
            assert_eq!(
                container["imagePullPolicy"], "IfNotPresent",
                "{pod}: {image}"
            );
        }
    });
}

/// Nothing of a pod starts before its own address was seen to be closed.
#[test]
fn every_pod_starts_behind_the_fence() {
    let mut fenced: BTreeMap<&str, usize> = BTreeMap::new();
    each_pod(|plan, pod, template| {
        let spec = &template["spec"];
        let first = &spec["initContainers"][0];
        assert_eq!(first["name"], "fence", "{pod}");
        assert!(first["restartPolicy"].is_null(), "{pod}: it must end first");
        assert_eq!(
            first["image"],
            plan.fence_image.place().image.as_str(),
            "{pod}"
        );
        assert_eq!(first["terminationMessagePolicy"], "File", "{pod}");
        let words: Vec<&str> = list(&first["args"]).map(text).collect();
        let value = |name: &str| {
            let found = words.iter().position(|word| *word == name);
            found.map_or("", |at| words[at + 1])
        };
        assert_eq!(words[0], "wait", "{pod}");
        assert_eq!(value("--targets"), "/fence/targets.json", "{pod}");
        assert_eq!(value("--report"), "/dev/termination-log", "{pod}");
        let mounts = json!([{"name": "fence", "mountPath": "/fence", "readOnly": true}]);
        assert_eq!(first["volumeMounts"], mounts, "{pod}");
        let volume = json!({"name": "fence", "configMap": {"name": plan.names.fence_config()}});
        assert!(list(&spec["volumes"]).any(|it| *it == volume), "{pod}");
        // Only who serves must come up without what it needs, and only a canary on an open address.
        let canary = spec["containers"][0]["name"] == "canary";
        let serves = text(&spec["restartPolicy"]) != "Never";
        assert_eq!(
            value("--not-closed"),
            if canary { "report" } else { "fail" },
            "{pod}"
        );
        assert_eq!(
            value("--not-open"),
            if canary || serves { "start" } else { "fail" },
            "{pod}"
        );
        assert_eq!(words.contains(&"--open"), !serves, "{pod}");
        let kind = if canary {
            "canary"
        } else if serves {
            "serves"
        } else {
            "job"
        };
        *fenced.entry(kind).or_default() += 1;
    });
    each_object(10, |_, object| {
        let job = if object["spec"]["jobTemplate"].is_object() {
            &object["spec"]["jobTemplate"]["spec"]
        } else {
            &object["spec"]
        };
        let Some(deadline) = job["activeDeadlineSeconds"].as_i64() else {
            return false;
        };
        // There is time for what it is for, however long it was held.
        let args = list(&job["template"]["spec"]["initContainers"][0]["args"]);
        let words: Vec<&str> = args.map(text).collect();
        let held: i64 = words
            .windows(2)
            .filter(|pair| ["--open-for", "--closed-for"].contains(&pair[0]))
            .map(|pair| pair[1].parse::<i64>().unwrap())
            .sum();
        assert!(held >= 40 && deadline - held >= 120, "{}", id(object));
        true
    });
    println!("{fenced:?}");
    assert!(
        fenced["serves"] >= 10 && fenced["job"] >= 10 && fenced["canary"] >= 20,
        "{fenced:?}"
    );
}
