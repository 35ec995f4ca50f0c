//! What Git holds for clusters: every overlay builds, its Regions are in order, its images are pinned, and the
//! operator's rights are those that its objects need. Runs `kubectl kustomize`; no cluster.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use bailiwick_api::region::Region;
use bailiwick_model::assumption;
use bailiwick_model::delegation::POD_SECURITY_VERSION;
use bailiwick_model::desired::desired;
use bailiwick_model::names::{
    DELEGATED_CLUSTER_ROLE, LABEL_CLIENT, LABEL_JURISDICTION, LABEL_LOCATION, LABEL_REGION,
    NODE_REGION, OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT,
};
use bailiwick_model::plan::Platform;
use bailiwick_model::planner::plan;
use bailiwick_operator::commands::check;
use serde::Deserialize;
use serde_json::Value;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every folder under `folders` with a kustomization.
fn kustomizations(folders: &[&str]) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        if folder.join("kustomization.yaml").exists() {
            found.push(folder.to_owned());
        }
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            }
        }
    }
    let mut found = Vec::new();
    for folder in folders {
        walk(&repository().join(folder), &mut found);
    }
    found
}

fn documents(yaml: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(yaml)
        .map(|document| Value::deserialize(document).unwrap())
        .filter(|document| !document.is_null())
        .collect()
}

/// The cache's kubectl, or else that of the machine.
fn kubectl() -> PathBuf {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    variable("BAILIWICK_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|path| path.join("bailiwick")))
        .or_else(|| variable("HOME").map(|path| path.join(".cache/bailiwick")))
        .map(|cache| cache.join("bin/kubectl"))
        .filter(|path| path.exists())
        .unwrap_or_else(|| PathBuf::from("kubectl"))
}

fn build(folder: &Path) -> Vec<Value> {
    let output = Command::new(kubectl())
        .arg("kustomize")
        .arg(folder)
        .output()
        .expect("kubectl is missing; `make binaries` builds it into the cache");
    assert!(
        output.status.success(),
        "{}: {}",
        folder.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    documents(&String::from_utf8(output.stdout).unwrap())
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn id(object: &Value) -> (String, String, String) {
    let field = |pointer| text(object, pointer).to_owned();
    (
        field("/kind"),
        field("/metadata/namespace"),
        field("/metadata/name"),
    )
}

/// The files with Regions of every overlay.
fn region_files() -> Vec<PathBuf> {
    kustomizations(&["overlays"])
        .into_iter()
        .filter(|folder| folder.ends_with("regions"))
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap() != "kustomization.yaml")
        .collect()
}

#[test]
fn every_kustomization_builds_and_names_each_object_once() {
    let folders = kustomizations(&["crds", "platform", "overlays"]);
    assert!(folders.len() >= 6, "only {folders:?}");
    for folder in folders {
        let objects = build(&folder);
        assert!(!objects.is_empty(), "{} is empty", folder.display());
        let ids: BTreeSet<_> = objects.iter().map(id).collect();
        assert_eq!(
            ids.len(),
            objects.len(),
            "{}: an object twice",
            folder.display()
        );
    }
}

#[test]
fn every_region_file_passes_check_and_is_applied_by_its_overlay() {
    let files = region_files();
    assert!(files.len() >= 2, "only {files:?}");
    for file in files {
        let (mut out, mut hints) = (Vec::new(), Vec::new());
        let result = check::run(check::Check::of(vec![file.clone()]), &mut out, &mut hints);
        assert!(result.is_ok(), "{}", String::from_utf8_lossy(&out));
        let applied: BTreeSet<_> = build(file.parent().unwrap()).iter().map(id).collect();
        for object in documents(&std::fs::read_to_string(&file).unwrap()) {
            assert!(
                applied.contains(&id(&object)),
                "{:?} is in no overlay",
                id(&object)
            );
            let options = text(
                &object,
                "/metadata/annotations/argocd.argoproj.io~1sync-options",
            );
            let expected = if object["kind"] == "Region" {
                "Prune=confirm,Delete=confirm"
            } else {
                "Prune=false,Delete=false"
            };
            assert_eq!(options, expected, "{:?}", id(&object));
        }
    }
}

#[test]
fn overlays_hold_the_definition_and_pin_their_images() {
    let mut images = 0;
    for folder in kustomizations(&["overlays"])
        .iter()
        .filter(|folder| !folder.ends_with("regions"))
    {
        let objects = build(folder);
        for kind in [
            "CustomResourceDefinition",
            "ValidatingAdmissionPolicyBinding",
            "Deployment",
        ] {
            assert!(
                objects.iter().any(|object| object["kind"] == kind),
                "{} has no {kind}",
                folder.display()
            );
        }
        for object in &objects {
            let pod = &object["spec"]["template"]["spec"];
            if text(object, "/metadata/name") == "bailiwick-operator"
                && object["kind"] == "Deployment"
            {
                let container = &pod["containers"][0];
                let own = container["env"].as_array().unwrap().iter();
                let own: Vec<&Value> = own.filter(|it| it["name"] == "OPERATOR_IMAGE").collect();
                assert_eq!(own.len(), 1, "{}", folder.display());
                // Canaries run the image that asks them.
                assert_eq!(own[0]["value"], container["image"], "{}", folder.display());
            }
            let in_environment = pod["containers"]
                .as_array()
                .into_iter()
                .flatten()
                .flat_map(|container| container["env"].as_array().into_iter().flatten())
                .filter(|variable| text(variable, "/name").ends_with("_IMAGE"))
                .map(|variable| text(variable, "/value").to_owned());
            let named = pod["containers"]
                .as_array()
                .into_iter()
                .flatten()
                .flat_map(|container| {
                    let flags = container["args"].as_array().cloned().unwrap_or_default();
                    let flags = flags.into_iter().filter_map(|flag| {
                        let flag = flag.as_str()?.to_owned();
                        flag.contains("-image=")
                            .then(|| flag.rsplit('=').next().unwrap_or_default().to_owned())
                    });
                    std::iter::once(text(container, "/image").to_owned())
                        .chain(flags)
                        .collect::<Vec<_>>()
                });
            for image in named.chain(in_environment) {
                images += 1;
                let tag = image
                    .rsplit('/')
                    .next()
                    .unwrap()
                    .split_once(':')
                    .map(|(_, tag)| tag);
                assert!(
                    tag.is_some_and(|tag| tag != "latest"),
                    "{:?}: {image}",
                    id(object)
                );
            }
        }
    }
    assert!(images >= 5, "only {images} images were looked at");
}

fn policy<'a>(objects: &'a [Value], name: &str) -> &'a Value {
    objects
        .iter()
        .find(|object| {
            object["kind"] == "ValidatingAdmissionPolicy" && text(object, "/metadata/name") == name
        })
        .unwrap_or_else(|| panic!("no policy {name}"))
}

/// The registries are written twice, for the operator and for the policy on pods, and must be the same.
#[test]
fn policies_and_operator_agree_on_registries() {
    let mut overlays = 0;
    for folder in kustomizations(&["overlays"])
        .iter()
        .filter(|folder| !folder.ends_with("regions"))
    {
        let objects = build(folder);
        let flags: BTreeMap<String, String> = objects
            .iter()
            .filter(|object| object["kind"] == "Deployment")
            .flat_map(|object| {
                let container = &object["spec"]["template"]["spec"]["containers"][0];
                container["args"].as_array().cloned().unwrap_or_default()
            })
            .filter_map(|flag| {
                let (registry, location) = flag
                    .as_str()?
                    .strip_prefix("--image-registry=")?
                    .split_once('=')?;
                Some((registry.to_owned(), location.to_owned()))
            })
            .collect();
        assert!(!flags.is_empty(), "{}: no registry", folder.display());
        let expression = policy(&objects, "bailiwick-pods")["spec"]["variables"]
            .as_array()
            .unwrap()
            .iter()
            .find(|variable| variable["name"] == "registries")
            .map(|variable| text(variable, "/expression").replace('\'', "\""))
            .unwrap();
        let written: BTreeMap<String, String> = serde_json::from_str(&expression)
            .unwrap_or_else(|error| panic!("{}: {expression}: {error}", folder.display()));
        assert_eq!(
            written,
            flags,
            "{}: the policy on pods and the operator's --image-registry",
            folder.display()
        );
        overlays += 1;
    }
    assert!(overlays >= 1, "no overlay");
}

/// Names that policies hold as text are those that the code and the manifests hold.
#[test]
fn policies_name_what_there_is() {
    let objects = build(&repository().join("platform/policies"));
    let operator =
        format!("'system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR_SERVICE_ACCOUNT}'");
    let holds = |name: &str, words: &str| {
        let policy = policy(&objects, name)["spec"].to_string();
        assert!(policy.contains(words), "{name} does not name {words}");
    };
    holds("bailiwick-network-policies", &operator);
    holds(
        "bailiwick-role-bindings",
        &format!("== '{OPERATOR_NAMESPACE}' && it.name == '{OPERATOR_SERVICE_ACCOUNT}'"),
    );
    holds(
        "bailiwick-namespace-claims",
        &format!("'{POD_SECURITY_VERSION}'"),
    );
    for label in [
        LABEL_REGION,
        LABEL_LOCATION,
        LABEL_JURISDICTION,
        LABEL_CLIENT,
    ] {
        holds("bailiwick-namespace-labels", label);
    }
    holds("bailiwick-pods", NODE_REGION);
}

/// The rules of a Role or ClusterRole as `verb resource.group` with the names that limit each.
fn rules(role: &Value) -> Vec<(String, Vec<String>)> {
    let list = |rule: &Value, key: &str| -> Vec<String> {
        rule[key]
            .as_array()
            .into_iter()
            .flatten()
            .map(|value| value.as_str().unwrap().to_owned())
            .collect()
    };
    let mut all = Vec::new();
    for rule in role["rules"].as_array().unwrap() {
        assert!(rule["nonResourceURLs"].is_null(), "{:?}: {rule}", id(role));
        for verb in list(rule, "verbs") {
            for group in list(rule, "apiGroups") {
                for resource in list(rule, "resources") {
                    let full = if group.is_empty() {
                        resource
                    } else {
                        format!("{resource}.{group}")
                    };
                    all.push((format!("{verb} {full}"), list(rule, "resourceNames")));
                }
            }
        }
    }
    all
}

/// What is shipped for the operator itself, the right to see the fence's responder included.
fn of_the_operator() -> Vec<Value> {
    ["platform/operator", "platform/operator/fence"]
        .iter()
        .flat_map(|folder| build(&repository().join(folder)))
        .collect()
}

fn roles() -> Vec<Value> {
    of_the_operator()
        .into_iter()
        .filter(|object| object["kind"] == "ClusterRole" || object["kind"] == "Role")
        .collect()
}

fn actions(name: &str, kind: &str) -> BTreeSet<String> {
    let role = roles()
        .into_iter()
        .find(|role| role["kind"] == kind && text(role, "/metadata/name") == name)
        .unwrap_or_else(|| panic!("no {kind} {name}"));
    rules(&role).into_iter().map(|(action, _)| action).collect()
}

/// What of a Region's namespaces is only looked at, for the leakage channels.
const LOOKED_AT: [&str; 5] = [
    "list endpointslices.discovery.k8s.io",
    "list ingresses.networking.k8s.io",
    "list rolebindings.rbac.authorization.k8s.io",
    "list serviceaccounts",
    "list volumesnapshots.snapshot.storage.k8s.io",
];

#[test]
fn no_role_has_a_wildcard_or_runs_anything_in_pods() {
    let mut checked = 0;
    for role in roles() {
        for (action, _) in rules(&role) {
            checked += 1;
            if LOOKED_AT.contains(&action.as_str()) {
                continue;
            }
            assert!(!action.contains('*'), "{:?}: {action}", id(&role));
            for forbidden in [
                "pods/exec",
                "pods/attach",
                "pods/portforward",
                "pods/ephemeralcontainers",
                "pods/proxy",
                "nodes/proxy",
                "serviceaccounts",
                "rbac.authorization.k8s.io",
                "impersonate",
                "escalate",
                "bind ",
            ] {
                assert!(!action.contains(forbidden), "{:?}: {action}", id(&role));
            }
            assert!(
                ![
                    "list secrets",
                    "watch secrets",
                    "list configmaps",
                    "watch configmaps",
                    "deletecollection"
                ]
                .iter()
                .any(|forbidden| action.starts_with(forbidden)),
                "{:?}: {action}",
                id(&role)
            );
        }
    }
    assert!(checked >= 50, "only {checked} rights were looked at");
}

#[test]
fn cluster_wide_the_operator_only_reads_what_holds_no_data() {
    let writes: Vec<String> = actions(OPERATOR_SERVICE_ACCOUNT, "ClusterRole")
        .into_iter()
        .filter(|action| !action.starts_with("list ") && !action.starts_with("watch "))
        .collect();
    assert_eq!(
        writes,
        [
            "get regions.bailiwick.dev",
            "patch regions.bailiwick.dev",
            "patch regions/status.bailiwick.dev",
            "update regions/finalizers.bailiwick.dev",
        ]
    );
    for action in actions(OPERATOR_SERVICE_ACCOUNT, "ClusterRole") {
        assert!(
            !action.contains("secrets") && !action.contains("configmaps"),
            "{action}"
        );
    }
    // The role of a Region's namespaces is bound by Regions' own files and by nothing here.
    for object in of_the_operator() {
        assert_ne!(
            text(&object, "/roleRef/name"),
            DELEGATED_CLUSTER_ROLE,
            "{:?}",
            id(&object)
        );
        if object["kind"] == "RoleBinding" || object["kind"] == "ClusterRoleBinding" {
            assert_eq!(object["subjects"].as_array().unwrap().len(), 1);
            assert_eq!(text(&object, "/subjects/0/name"), OPERATOR_SERVICE_ACCOUNT);
            assert_eq!(text(&object, "/subjects/0/namespace"), OPERATOR_NAMESPACE);
        }
    }
}

/// Everything that the operator applies in a Region's namespaces: it may write it, and may write no kind in vain.
#[test]
fn the_delegated_role_is_what_the_objects_of_a_region_need() {
    let file = repository().join("operator/model/tests/regions/valid/full.yaml");
    let region: Region = serde_yaml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let region = assumption::applied(region);
    let platform = assumption::platform(&region, Platform::default());
    let plan = plan(&region, &platform, &assumption::facts(&region)).unwrap();
    let kinds: BTreeMap<String, String> = desired(&plan)
        .into_iter()
        .map(|manifest| {
            let group = &manifest.resource.group;
            let dot = if group.is_empty() { "" } else { "." };
            (
                format!("{}{dot}{group}", manifest.resource.plural),
                manifest.id(),
            )
        })
        .collect();
    assert!(kinds.len() >= 5, "only {kinds:?}");
    let granted = actions(DELEGATED_CLUSTER_ROLE, "ClusterRole");
    for (resource, example) in &kinds {
        for verb in ["get", "create", "patch", "delete"] {
            let action = format!("{verb} {resource}");
            assert!(
                granted.contains(&action),
                "{example} needs the right to {action}"
            );
        }
    }
    // Made by steps and by minting, not by apply. Claims are made by StatefulSets: no right to them is needed.
    let beside = [
        "secrets",
        "jobs.batch",
        "pods",
        "events.events.k8s.io",
        "persistentvolumeclaims",
    ];
    for action in &granted {
        let resource = action.split(' ').nth(1).unwrap();
        assert!(
            kinds.contains_key(resource)
                || beside.contains(&resource)
                || LOOKED_AT.contains(&action.as_str()),
            "nothing needs the right to {action}"
        );
    }
}
