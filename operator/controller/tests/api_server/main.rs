//! What a real API server makes of everything declarative: the definition of Region and its rules, the admission
//! policies, and the operator's rights. Starts one on this machine; without the cache's binaries it fails and says
//! how to get them.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

#[path = "../../../model/tests/cases/mod.rs"]
mod cases;
mod policies;
mod regions;
mod rights;
#[path = "../support/mod.rs"]
mod support;
mod volumes;

use std::path::Path;

use bailiwick_api::region::Region;
use bailiwick_model::names::FENCE_NAMESPACE;
use kube::Client;
use kube::api::{Api, DynamicObject, PostParams};
use kube::core::ApiResource;
use policies::{
    labels_of_a_regions_namespace_stay, policies_are_in_force,
    protected_regions_and_namespaces_stay,
};
use regions::{
    an_older_api_server_can_afford_the_rules, bad_regions_are_refused_at_their_field,
    good_regions_are_taken_and_keep_their_lists, unknown_fields_are_refused,
};
use rights::{
    patroni_has_the_rights_it_needs_and_no_more, the_operator_has_the_rights_it_needs_and_no_more,
    the_operator_writes_the_status_and_nothing_else_of_a_region,
};
use serde_json::Value;
use support::api_server::{ApiServer, wait_until_established};
use volumes::{
    the_operator_lets_a_volume_grow_and_makes_none, what_is_marked_as_retained_keeps_the_rest,
};

fn repository(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
        .display()
        .to_string()
}

/// Regions as they are written, without the operator's defaults.
fn regions(client: &Client) -> Api<DynamicObject> {
    Api::all_with(client.clone(), &ApiResource::erase::<Region>(&()))
}

fn object(value: &Value) -> DynamicObject {
    serde_json::from_value(value.clone()).unwrap()
}

fn dry_run() -> PostParams {
    PostParams {
        dry_run: true,
        ..PostParams::default()
    }
}

#[tokio::test]
async fn a_real_api_server_agrees() {
    let server = ApiServer::start().await;
    let client = server.client();

    server.run_kubectl(&["apply", "--server-side", "-k", &repository("crds")]);
    wait_until_established(&client, "regions.bailiwick.dev").await;
    good_regions_are_taken_and_keep_their_lists(&client).await;
    bad_regions_are_refused_at_their_field(&client).await;
    unknown_fields_are_refused(&client).await;

    server.run_kubectl(&[
        "apply",
        "--server-side",
        "-k",
        &repository("platform/operator"),
    ]);
    server.run_kubectl(&["create", "namespace", FENCE_NAMESPACE]);
    server.run_kubectl(&[
        "apply",
        "--server-side",
        "-k",
        &repository("platform/operator/fence"),
    ]);
    server.run_kubectl(&[
        "apply",
        "--server-side",
        "-k",
        &repository("overlays/dev-local/regions"),
    ]);
    an_older_api_server_can_afford_the_rules(&client).await;
    the_operator_has_the_rights_it_needs_and_no_more(&client).await;
    patroni_has_the_rights_it_needs_and_no_more(&client).await;
    the_operator_writes_the_status_and_nothing_else_of_a_region(&server).await;
    the_operator_lets_a_volume_grow_and_makes_none(&server).await;
    what_is_marked_as_retained_keeps_the_rest(&server).await;

    server.run_kubectl(&[
        "apply",
        "--server-side",
        "-k",
        &repository("platform/policies"),
    ]);
    policies_are_in_force(&client).await;
    protected_regions_and_namespaces_stay(&client).await;
    labels_of_a_regions_namespace_stay(&client).await;
}
