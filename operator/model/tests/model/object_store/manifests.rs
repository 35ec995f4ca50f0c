//! The objects of one server and of several.

use std::collections::BTreeSet;

use bailiwick_model::desired::object_store::manifests;
use bailiwick_model::desired::secret_component;
use bailiwick_model::facts::PodFact;
use bailiwick_model::plan::Plan;
use bailiwick_model::secret::Contents;
use serde_json::{Value, json};

use super::region;
use crate::fixture;

#[test]

fn one_server_and_several_become_a_stateful_set() {
    let one = fixture::planned(&fixture::tr());
    insta::assert_yaml_snapshot!("one_server", objects(&one));
    let four = fixture::planned(&fixture::tr_with(
        "spec: {objectStore: {servers: 4, volumesPerServer: 2}}",
    ));
    let arguments = |plan: &Plan| {
        let set = objects(plan).pop().expect("the StatefulSet");
        set["spec"]["template"]["spec"]["containers"][0]["args"][5].clone()
    };
    assert_eq!(arguments(&one), json!("/data0"));
    assert_eq!(
        arguments(&four),
        json!("https://tr-s3-{0...3}.tr-s3-peers.tr.svc:9000/data{0...1}")
    );
    let single = fixture::planned(&fixture::tr_with(
        "spec: {objectStore: {servers: 1, volumesPerServer: 4}}",
    ));
    assert_eq!(arguments(&single), json!("/data{0...3}"));
    let set = objects(&four).pop().expect("the StatefulSet");
    assert_eq!(set["spec"]["replicas"], json!(4));
    assert_eq!(
        set["spec"]["volumeClaimTemplates"].as_array().map(Vec::len),
        Some(2)
    );

    let asleep = fixture::planned(&fixture::tr_with("spec: {lifecycle: {hibernated: true}}"));
    let set = objects(&asleep).pop().expect("the StatefulSet");
    assert_eq!(set["spec"]["replicas"], json!(0));
}

#[test]
fn it_sleeps_once_the_last_member_has_written_its_wal() {
    let region = fixture::tr_with("spec: {lifecycle: {hibernated: true}}");
    let ending = PodFact {
        terminating: true,
        ..PodFact::default()
    };
    for (pods, servers) in [
        (vec!["tr-pg-0", "tr-pg-1"], 1),
        (vec!["tr-pg-1"], 1),
        (vec!["tr-s3-0"], 0),
    ] {
        let mut facts = fixture::facts(&region);
        for pod in &pods {
            facts.pods.live.insert((*pod).to_owned(), ending.clone());
        }
        let plan = bailiwick_model::planner::plan(&region, &fixture::platform(), &facts)
            .expect("the Region is accepted");
        let set = objects(&plan).pop().expect("the StatefulSet");
        assert_eq!(set["spec"]["replicas"], json!(servers), "{pods:?}");
    }
}

fn objects(plan: &Plan) -> Vec<Value> {
    manifests(plan)
        .iter()
        .map(|manifest| serde_json::to_value(&manifest.object).expect("an object"))
        .collect()
}

#[test]
fn a_secret_is_of_the_component_that_asks_for_it_whatever_the_region_is_called() {
    let mut region = region();
    region.metadata.name = Some("tr-s3-pg-role".to_owned());
    let plan = fixture::planned(&region);
    let mut counts = [0, 0];
    for secret in &plan.secrets {
        let own = secret
            .name
            .strip_prefix("tr-s3-pg-role-")
            .expect("its name");
        let (expected, index) = if own.starts_with("s3-") {
            ("object-store", 0)
        } else {
            ("postgres", 1)
        };
        assert_eq!(secret_component(&plan, &secret.name), expected, "{own}");
        counts[index] += 1;
    }
    assert!(counts[0] > 5 && counts[1] > 5, "{counts:?}");
}

#[test]
fn each_server_has_its_name_in_the_certificate() {
    let plan = fixture::planned(&fixture::tr_with("spec: {objectStore: {servers: 4}}"));
    let name = plan.names.object_store_certificate();
    let secret = plan.secrets.iter().find(|secret| secret.name == name);
    let Some(Contents::Certificate { dns_names, .. }) = secret.map(|secret| &secret.contents)
    else {
        panic!("{secret:?} is no certificate");
    };
    for expected in [
        "tr-s3.tr.svc",
        "tr-s3-0.tr-s3-peers.tr.svc",
        "tr-s3-3.tr-s3-peers.tr.svc",
    ] {
        assert!(dns_names.iter().any(|name| name == expected), "{expected}");
    }
    let names: BTreeSet<&String> = plan.secrets.iter().map(|secret| &secret.name).collect();
    assert_eq!(
        names.len(),
        plan.secrets.len(),
        "a Secret is described twice"
    );
}
