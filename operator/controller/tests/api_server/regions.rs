//! Good and bad Regions, and what their rules cost.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::{dry_run, object, regions};
use crate::cases::{self, Bad, RefusedBy};

/// The fields and the words of a refusal.
fn causes(error: kube::Error) -> (Vec<String>, String) {
    let kube::Error::Api(status) = error else {
        panic!("not a refusal: {error}")
    };
    let fields = status
        .details
        .iter()
        .flat_map(|details| &details.causes)
        .map(|cause| cause.field.clone())
        .collect();
    (fields, status.message.clone())
}

/// API servers that take no note of how long a value that may be a number can be, estimate the cost of its rules by the size
/// of a request: so does this one of a definition that does not say it.
pub async fn an_older_api_server_can_afford_the_rules(client: &Client) {
    fn unbound(schema: &mut Value, count: &mut usize) {
        match schema {
            Value::Object(fields) => {
                if fields.get("x-kubernetes-int-or-string") == Some(&json!(true)) {
                    *count += usize::from(fields.remove("maxLength").is_some());
                }
                for schema in fields.values_mut() {
                    unbound(schema, count);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| unbound(item, count)),
            _ => {}
        }
    }
    let mut definition = serde_json::to_value(bailiwick_api::region::crd().unwrap()).unwrap();
    let mut count = 0;
    unbound(&mut definition, &mut count);
    assert!(count >= 7, "only {count} fields may be numbers");
    let name = definition["metadata"]["name"].as_str().unwrap().to_owned();
    let patch = PatchParams {
        dry_run: true,
        ..PatchParams::apply("test").force()
    };
    Api::<CustomResourceDefinition>::all(client.clone())
        .patch(&name, &patch, &Patch::Apply(&definition))
        .await
        .unwrap_or_else(|error| panic!("{error}"));
}

pub async fn good_regions_are_taken_and_keep_their_lists(client: &Client) {
    let api = regions(client);
    for (name, value) in cases::valid() {
        let live = api
            .create(&PostParams::default(), &object(&value))
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        // What is written in a list comes back as it was written: nothing for a tool to find a difference in.
        let written = &value["spec"];
        let read = &live.data["spec"];
        for path in [
            "/postgres/databases",
            "/postgres/roles",
            "/objectStore/buckets",
            "/backup/repos",
        ] {
            if let Some(list) = written.pointer(path) {
                assert_eq!(Some(list), read.pointer(path), "{name}: {path}");
            }
        }
        assert_eq!(read["lifecycle"]["deletionProtection"], true, "{name}");
    }
}

pub async fn bad_regions_are_refused_at_their_field(client: &Client) {
    let api = regions(client);
    let (mut refused, mut named) = (0, 0);
    for Bad {
        name,
        by,
        field,
        update_of,
        region,
    } in cases::invalid()
    {
        let mut bad = object(&region);
        let result = match &update_of {
            Some(old) => {
                let live = api
                    .get(old["metadata"]["name"].as_str().unwrap())
                    .await
                    .unwrap();
                bad.metadata.resource_version = live.resource_version();
                api.replace(&live.name_any(), &dry_run(), &bad).await
            }
            None => api.create(&dry_run(), &bad).await,
        };
        match (by, result) {
            (RefusedBy::Plan, Ok(_)) => {}
            (RefusedBy::Plan, Err(error)) => panic!("{name} is for plan to refuse: {error}"),
            (RefusedBy::Admission, Ok(_)) => panic!("{name} was taken"),
            (RefusedBy::Admission, Err(error)) => {
                let (fields, message) = causes(error);
                assert!(
                    fields.iter().any(|found| *found == field
                        || (field.is_empty() && message.contains("metadata.name"))),
                    "{name}: expected {field}, found {fields:?}: {message}"
                );
                // A rule on a map tells the key.
                for (case, said) in [
                    ("parameter-turns-tls-off", "ssl sets what the operator owns"),
                    ("parameter-misspelt", "max_conections names no setting"),
                ] {
                    if name == case {
                        assert!(message.contains(said), "{name}: {message}");
                        named += 1;
                    }
                }
                refused += 1;
            }
        }
    }
    println!("{refused} bad Regions were refused by the API server at their field");
    assert_eq!(named, 2, "rules that tell a key");
    assert!(refused >= 60, "only {refused} bad Regions were refused");
}

pub async fn unknown_fields_are_refused(client: &Client) {
    let mut value = cases::valid()["small"].clone();
    value["metadata"]["name"] = "unknown".into();
    value["spec"]["postgres"]["standby"] = 1.into();
    // As kubectl does since 1.27, and the operator's own writes do.
    let patch = PatchParams {
        dry_run: true,
        ..PatchParams::apply("test").validation_strict()
    };
    let error = regions(client)
        .patch("unknown", &patch, &Patch::Apply(&value))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("spec.postgres.standby"),
        "{error}"
    );
}
