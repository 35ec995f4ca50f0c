//! What holds for every object of every good Region and of every Region in `overlays`, whatever is built: it is in the
//! Region's namespaces and on its nodes, nothing is open to the world, and every container is held back. Reads files
//! of the repository.

mod components;
mod network;
mod ownership;
mod pods;

use std::path::Path;

use bailiwick_api::region::Region;
use bailiwick_model::assumption;
use bailiwick_model::canary::questions;
use bailiwick_model::desired::postgres::jobs::{Task, job};
use bailiwick_model::desired::{canary, desired};
use bailiwick_model::manifest::Manifest;
use bailiwick_model::plan::{Plan, Platform};
use bailiwick_model::planner::plan;
use serde::Deserialize;
use serde_json::Value;

use crate::cases;

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
