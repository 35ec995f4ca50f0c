//! The fixture's Regions through the real `plan`: accepted as they are, refused when a fact or a field is wrong.

mod fixture;

use bailiwick_model::facts::Observed;
use bailiwick_model::plan::plan;
use bailiwick_model::sql::PostgresFacts;
use bailiwick_model::violation::Reason;
use fixture::{es, facts, facts_of_running, platform, tr, tr_with};

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
