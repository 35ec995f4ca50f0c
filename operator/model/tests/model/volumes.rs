//! Which volumes grow, which cannot, and what a StatefulSet's template says meanwhile.

use bailiwick_api::region::Region;
use bailiwick_model::desired::postgres::COMPONENT;
use bailiwick_model::facts::{ClaimFact, Facts, StatefulSetFact};
use bailiwick_model::growth::{Growth, growing, growths, stuck};
use bailiwick_model::names::{LABEL_NAME, Names};
use bailiwick_model::plan::Plan;
use bailiwick_model::planner::plan;

use crate::fixture::{facts_of_running, identity, platform, tr_with};

const GIB: u64 = 1 << 30;

/// `tr` with data volumes of 4 GiB that ask for `requested` GiB, and a spec that asks for `wanted`.
fn running(wanted: &str, requested: u64, expands: bool) -> (Region, Facts) {
    let region = tr_with(&format!(
        "spec: {{postgres: {{instances: 2, storage: {{data: {{size: {wanted}}}}}}}}}"
    ));
    let names = Names::of(&region);
    let mut facts = facts_of_running(&region);
    for class in facts.storage_classes.values_mut() {
        class.expands = expands;
    }
    facts.stateful_sets.insert(
        names.postgres(),
        StatefulSetFact {
            volume_size: Some("4Gi".to_owned()),
            ..StatefulSetFact::default()
        },
    );
    for ordinal in 0..2 {
        let mut labels = identity(&region);
        labels.insert(LABEL_NAME.to_owned(), COMPONENT.to_owned());
        facts.claims.live.insert(
            names.postgres_claim(ordinal),
            ClaimFact {
                uid: format!("uid-{ordinal}"),
                labels,
                class: Some(region.spec.postgres.storage.data.storage_class.clone()),
                requested: Some(requested * GIB),
                capacity: Some(4 * GIB),
                ..ClaimFact::default()
            },
        );
    }
    (region, facts)
}

fn planned(region: &Region, facts: &Facts) -> Plan {
    plan(region, &platform(), facts).expect("the Region is accepted")
}

#[test]
fn claims_smaller_than_the_spec_grow_and_the_template_does_not() {
    let (region, facts) = running("8Gi", 4, true);
    let plan = planned(&region, &facts);
    assert_eq!(
        growths(&plan, &facts),
        [0, 1].map(|ordinal| Growth {
            claim: plan.names.postgres_claim(ordinal),
            uid: format!("uid-{ordinal}"),
            size: "8Gi".to_owned(),
        })
    );
    assert_eq!(stuck(&plan, &facts), Vec::<String>::new());
    assert_eq!(plan.postgres_volume.template, "4Gi");
    // The settings go by what the volumes hold now: WAL sized for room that is not there would fill them.
    assert_eq!(plan.postgres_volume.present, 4 * GIB);
}

#[test]
fn a_claim_that_asks_for_enough_only_waits() {
    let (region, facts) = running("8Gi", 8, true);
    let plan = planned(&region, &facts);
    assert_eq!(growths(&plan, &facts), []);
    assert_eq!(growing(&plan, &facts).len(), 2);
}

#[test]
fn the_same_size_in_other_words_is_no_growth() {
    for wanted in ["4Gi", "4096Mi", "4.0Gi"] {
        let (region, facts) = running(wanted, 4, true);
        let plan = planned(&region, &facts);
        assert_eq!(growths(&plan, &facts), [], "{wanted}");
        assert_eq!(growing(&plan, &facts), Vec::<&str>::new(), "{wanted}");
        assert_eq!(stuck(&plan, &facts), Vec::<String>::new(), "{wanted}");
    }
}

#[test]
fn what_cannot_grow_is_named_with_what_to_do() {
    let (region, facts) = running("8Gi", 4, false);
    let plan = planned(&region, &facts);
    assert_eq!(growths(&plan, &facts), []);
    let sentences = stuck(&plan, &facts);
    assert_eq!(sentences.len(), 2, "{sentences:?}");
    for (ordinal, sentence) in sentences.iter().enumerate() {
        for part in [
            &format!("data-tr-pg-{ordinal}"),
            "spec.postgres.storage.data.size asks (8Gi)",
            "allowVolumeExpansion",
        ] {
            assert!(sentence.contains(part), "{sentence}");
        }
    }
}

#[test]
fn a_claim_without_a_volume_is_left_alone() {
    let (region, mut facts) = running("8Gi", 4, true);
    for claim in facts.claims.live.values_mut() {
        claim.capacity = None;
    }
    let plan = planned(&region, &facts);
    assert_eq!(growths(&plan, &facts), []);
    assert_eq!(plan.postgres_volume.present, 8 * GIB);
}
