//! The fixture's Regions through the real `plan`: accepted as they are, refused when a fact or a field is wrong.

use bailiwick_api::violation::Reason;
use bailiwick_model::facts::Observed;
use bailiwick_model::facts::postgres::PostgresFacts;
use bailiwick_model::planner::plan;
use bailiwick_model::workload::affinity;

use crate::fixture::{self, es, facts, facts_of_running, platform, tr, tr_with};

#[test]

fn both_regions_are_accepted_and_stay_in_their_places() {
    for region in [tr(), es()] {
        let plan = fixture::planned(&region);
        assert_eq!(plan.nodes.location(), region.spec.residency.location);
        assert_eq!(
            plan.postgres_class.location(),
            region.spec.residency.location
        );
        assert_eq!(plan.incarnation, 1);
    }
}

#[test]
fn a_running_region_is_accepted_again() {
    plan(&tr(), &platform(), &facts_of_running(&tr())).expect("the Region is accepted");
}

#[test]
fn secrets_that_could_not_be_read_are_not_said_to_be_lost() {
    let mut facts = facts_of_running(&tr());
    facts.secrets.clear();
    let reasons = |facts: &bailiwick_model::facts::Facts| -> Vec<Reason> {
        let violations = plan(&tr(), &platform(), facts).expect_err("something is missing");
        violations
            .iter()
            .map(|violation| violation.reason)
            .collect()
    };
    assert!(!facts.claims.is_empty());
    assert!(reasons(&facts).contains(&Reason::KeyMissing));
    facts.missing_rights = vec!["patch networkpolicies in tr".to_owned()];
    assert_eq!(reasons(&facts), [Reason::NotDelegated]);
}

#[test]
fn another_major_version_than_the_running_one_is_refused() {
    let mut facts = facts_of_running(&tr());
    let running = |server_version| {
        Observed::Seen(PostgresFacts {
            server_version,
            ..PostgresFacts::default()
        })
    };
    facts.postgres = running(170_012);
    plan(&tr(), &platform(), &facts).expect("the version is the running one");
    facts.postgres = running(160_004);
    let violations = plan(&tr(), &platform(), &facts).expect_err("16 runs and 17 is asked for");
    assert_eq!(violations.len(), 1, "{violations:?}");
    assert_eq!(violations[0].field, "spec.postgres.version");
}

#[test]
fn another_places_storage_is_refused_with_its_field() {
    let region = tr_with("spec: {postgres: {storage: {data: {storageClass: es-mad-1-local}}}}");
    let violations = fixture::refused(&region);
    assert_eq!(violations.len(), 1, "{violations:?}");
    assert_eq!(
        violations[0].field,
        "spec.postgres.storage.data.storageClass"
    );
    assert_eq!(violations[0].reason, Reason::OutsideJurisdiction);
}

#[test]
fn storage_of_another_allowed_place_is_refused_as_admission_would() {
    let region = tr_with(
        "spec: {residency: {allowedLocations: [tr-ist-1, es-mad-1]}, \
         postgres: {storage: {data: {storageClass: es-mad-1-local}}}}",
    );
    let violations = fixture::refused(&region);
    assert_eq!(violations.len(), 1, "{violations:?}");
    assert!(
        violations[0]
            .message
            .contains("where no pod of the Region runs"),
        "{violations:?}"
    );
}

#[test]
fn a_class_whose_name_does_not_say_where_it_is_is_refused() {
    let region = tr_with("spec: {postgres: {storage: {data: {storageClass: fast}}}}");
    let mut facts = facts(&region);
    for (name, accepted) in [
        ("tr-ist-1", true),
        ("tr-ist-1-fast", true),
        ("fast", false),
        ("tr-ist-10-fast", false),
        ("fast-tr-ist-1", false),
    ] {
        let class = facts.storage_classes["tr-ist-1-local"].clone();
        facts.storage_classes.insert(name.to_owned(), class);
        let mut region = region.clone();
        region.spec.postgres.storage.data.storage_class = name.to_owned();
        let result = plan(&region, &platform(), &facts);
        assert_eq!(result.is_ok(), accepted, "{name}: {result:?}");
    }
}

#[test]
fn pods_stay_in_the_location_when_a_selector_leaves_it_out() {
    let region = tr_with("spec: {residency: {nodeSelector: {pool: fast}}}");
    let mut facts = facts(&region);
    let node = facts.nodes.get_mut("tr-1").expect("the fixture has it");
    node.insert("pool".to_owned(), "fast".to_owned());
    let plan = plan(&region, &platform(), &facts).expect("the Region is accepted");
    let affinity = serde_json::to_value(affinity(&plan, "postgres")).expect("it is written");
    assert_eq!(
        affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"],
        serde_json::json!([{"matchExpressions": [
            {"key": "pool", "operator": "In", "values": ["fast"]},
            {"key": "topology.kubernetes.io/region", "operator": "In", "values": ["tr-ist-1"]}
        ]}])
    );
}

#[test]
fn a_region_without_its_namespaces_is_refused() {
    let mut facts = facts(&tr());
    facts.namespaces.clear();
    let violations = plan(&tr(), &platform(), &facts).expect_err("the Region is refused");
    assert_eq!(violations.len(), 3, "{violations:?}");
    assert!(
        violations
            .iter()
            .all(|it| it.reason == Reason::NotDelegated)
    );
}
