//! What holds for every object of every good Region and of every Region in `overlays`, whatever is built: it is in the
//! Region's namespaces and on its nodes, nothing is open to the world, and every container is held back. Reads files
//! of the repository.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

mod cases;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bailiwick_model::assumption;
use bailiwick_model::canary::questions;
use bailiwick_model::desired::canary;
use bailiwick_model::desired::postgres::jobs::{Task, job};
use bailiwick_model::desired::{Manifest, desired};
use bailiwick_model::names::{
    LABEL_FLOW, LABEL_JURISDICTION, LABEL_LOCATION, LABEL_MANAGED_BY, LABEL_REGION, MANAGED_BY,
    NODE_REGION,
};
use bailiwick_model::plan::{Plan, Platform, plan};
use bailiwick_model::region::Region;
use serde::Deserialize;
use serde_json::{Value, json};

/// A Region's plan and its objects as JSON, Jobs among them.
struct Rendered {
    plan: Plan,
    objects: Vec<Value>,
}

fn regions() -> Vec<Region> {
    let mut all: Vec<Region> = cases::valid()
        .into_values()
        .map(|value| serde_json::from_value(value).unwrap())
        .collect();
    let overlays = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../overlays");
    let mut found = 0;
    for overlay in std::fs::read_dir(overlays).unwrap() {
        let Ok(files) = std::fs::read_dir(overlay.unwrap().path().join("regions")) else {
            continue;
        };
        for file in files {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            for document in serde_yaml::Deserializer::from_str(&text) {
                let value = Value::deserialize(document).unwrap();
                if value["kind"] == "Region" {
                    found += 1;
                    all.push(serde_json::from_value(value).unwrap());
                }
            }
        }
    }
    assert!(found >= 2, "only {found} Regions in overlays");
    all
}

fn rendered() -> Vec<Rendered> {
    let all: Vec<Rendered> = regions()
        .into_iter()
        .map(|region| {
            let region = assumption::applied(region);
            let platform = assumption::platform(&region, Platform::default());
            let plan = plan(&region, &platform, &assumption::facts(&region)).unwrap();
            let jobs = [Task::Stanza, Task::FullBackup].map(|task| {
                Manifest::of(&job(
                    &plan,
                    &format!("{}-{}", plan.names.region(), task.label()),
                    task,
                ))
            });
            let asked: Vec<Manifest> = questions(&plan)
                .iter()
                .map(|(guise, question)| {
                    Manifest::of(&canary::job(&plan, *guise, question, &question.id))
                })
                .collect();
            let objects: Vec<Value> = desired(&plan)
                .iter()
                .chain(&jobs)
                .chain(&asked)
                .map(|manifest| serde_json::to_value(&manifest.object).unwrap())
                .collect();
            assert!(objects.len() >= 15, "only {} objects", objects.len());
            Rendered { plan, objects }
        })
        .collect();
    assert!(all.len() >= 5, "only {} Regions", all.len());
    all
}

fn id(object: &Value) -> String {
    format!(
        "{} {}/{}",
        text(&object["kind"]),
        text(&object["metadata"]["namespace"]),
        text(&object["metadata"]["name"])
    )
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Every object, with its plan; the count guards against looking at nothing.
fn each_object(least: usize, mut look: impl FnMut(&Plan, &Value) -> bool) {
    let mut looked = 0;
    for Rendered { plan, objects } in rendered() {
        for object in &objects {
            looked += usize::from(look(&plan, object));
        }
    }
    assert!(looked >= least, "only {looked} objects were looked at");
}

/// The pod template of an object, a schedule's too; null where there is none.
fn template(object: &Value) -> &Value {
    let job = &object["spec"]["jobTemplate"];
    if job.is_object() {
        &job["spec"]["template"]
    } else {
        &object["spec"]["template"]
    }
}

/// Every pod template, with its object's id.
fn each_pod(mut look: impl FnMut(&Plan, &str, &Value)) {
    each_object(20, |plan, object| {
        let template = template(object);
        if template["spec"]["containers"].is_array() {
            look(plan, &id(object), template);
            true
        } else {
            false
        }
    });
}

/// Every container, init containers too, with its place and whether it runs for as long as the pod.
fn each_container(mut look: impl FnMut(&str, &Value, bool)) {
    each_pod(|_, pod, template| {
        let forever = text(&template["spec"]["restartPolicy"]) != "Never";
        for container in list(&template["spec"]["containers"]) {
            look(
                &format!("{pod}, {}", text(&container["name"])),
                container,
                forever,
            );
        }
        for container in list(&template["spec"]["initContainers"]) {
            let sidecar = container["restartPolicy"] == "Always";
            look(
                &format!("{pod}, {}", text(&container["name"])),
                container,
                sidecar,
            );
        }
    });
}

#[test]
fn the_boundary_is_first_and_closes_every_namespace() {
    for Rendered { plan, objects } in rendered() {
        let policies: Vec<&Value> = objects
            .iter()
            .take_while(|object| object["kind"] == "NetworkPolicy")
            .collect();
        assert_eq!(
            policies.len(),
            objects
                .iter()
                .filter(|object| object["kind"] == "NetworkPolicy")
                .count(),
            "a policy comes after what it protects"
        );
        let closed: BTreeSet<&str> = policies
            .iter()
            .take(3)
            .filter(|policy| {
                let spec = &policy["spec"];
                let all = spec["podSelector"]
                    .as_object()
                    .is_none_or(serde_json::Map::is_empty);
                let both = spec["policyTypes"] == json!(["Ingress", "Egress"]);
                all && both && spec["ingress"].is_null() && spec["egress"].is_null()
            })
            .map(|policy| text(&policy["metadata"]["namespace"]))
            .collect();
        let namespaces = plan.names.namespaces();
        assert_eq!(closed, namespaces.iter().map(String::as_str).collect());
    }
}

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

#[test]
fn no_policy_is_open_to_everything() {
    let mut rules = 0;
    each_object(30, |plan, object| {
        if object["kind"] != "NetworkPolicy" {
            return false;
        }
        let declared: BTreeSet<&str> = plan
            .externals
            .iter()
            .flat_map(|external| external.place().cidrs.iter().map(String::as_str))
            .collect();
        for (direction, side) in [("ingress", "from"), ("egress", "to")] {
            for rule in list(&object["spec"][direction]) {
                rules += 1;
                // A rule without peers is open to all peers; one without ports, on all ports.
                assert!(list(&rule[side]).next().is_some(), "{}: {rule}", id(object));
                assert!(
                    list(&rule["ports"]).next().is_some(),
                    "{}: {rule}",
                    id(object)
                );
                for port in list(&rule["ports"]) {
                    assert!(
                        port["port"].is_i64() || port["port"].is_string(),
                        "{}: {port}",
                        id(object)
                    );
                }
                for peer in list(&rule[side]) {
                    let selects = |selector: &Value| {
                        ["matchLabels", "matchExpressions"].iter().any(|key| {
                            selector[*key]
                                .as_object()
                                .is_some_and(|labels| !labels.is_empty())
                                || selector[*key]
                                    .as_array()
                                    .is_some_and(|terms| !terms.is_empty())
                        })
                    };
                    let cidr = text(&peer["ipBlock"]["cidr"]);
                    if cidr.is_empty() {
                        assert!(
                            selects(&peer["podSelector"]) || selects(&peer["namespaceSelector"]),
                            "{}: {peer}",
                            id(object)
                        );
                        // A namespace that is anybody's must be named by something.
                        assert!(
                            peer["namespaceSelector"].is_null()
                                || selects(&peer["namespaceSelector"]),
                            "{}: {peer}",
                            id(object)
                        );
                    } else {
                        let single = cidr.ends_with("/32") || cidr.ends_with("/128");
                        assert!(single || declared.contains(cidr), "{}: {cidr}", id(object));
                        assert_eq!(direction, "egress", "{}: {cidr}", id(object));
                    }
                }
            }
        }
        true
    });
    assert!(rules >= 30, "only {rules} rules were looked at");
}

#[test]
fn every_service_stays_inside_the_cluster() {
    each_object(25, |_, object| {
        if object["kind"] != "Service" {
            return false;
        }
        let spec = &object["spec"];
        assert!(
            spec["type"].is_null() || spec["type"] == "ClusterIP",
            "{}",
            id(object)
        );
        for field in ["externalIPs", "externalName", "loadBalancerIP"] {
            assert!(spec[field].is_null(), "{} has {field}", id(object));
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
