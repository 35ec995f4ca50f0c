//! What the start fence is told, when a Region waits for its responder, and what is said of a pod that it holds. Values
//! in, values out.

use std::net::IpAddr;

use bailiwick_api::region::Region;
use bailiwick_api::violation::Reason;
use bailiwick_model::desired::{desired, fence as builders};
use bailiwick_model::evidence::Entry;
use bailiwick_model::evidence::sightings::{Sightings, Told};
use bailiwick_model::facts::{Facts, FenceFact, Observed, PodFact, StatefulSetFact};
use bailiwick_model::fence::{Outcome, Targets};
use bailiwick_model::outcome::Outcome as Look;
use bailiwick_model::plan::Plan;
use bailiwick_model::planner::plan;
use bailiwick_model::status::status;

use crate::fixture::{self, applied, facts, platform, report, tr, tr_with};

fn responder(addresses: &[(&str, bool)]) -> Observed<std::collections::BTreeMap<IpAddr, bool>> {
    Observed::Seen(
        addresses
            .iter()
            .map(|(ip, ready)| (ip.parse().unwrap(), *ready))
            .collect(),
    )
}

fn planned_with(region: &Region, facts: &Facts) -> Plan {
    plan(region, &platform(), facts).expect("the Region is accepted")
}

/// What the ConfigMap of the Region holds; none when it is not applied.
fn told(region: &Region, addresses: &[(&str, bool)]) -> Option<Vec<String>> {
    let mut facts = facts(region);
    facts.fence_responder = responder(addresses);
    facts.stateful_sets.insert(
        "tr-pg".to_owned(),
        StatefulSetFact {
            fenced: true,
            ..StatefulSetFact::default()
        },
    );
    let map = builders::config_map(&planned_with(region, &facts))?;
    let text = map.data?.remove(builders::TARGETS)?;
    Some(serde_json::from_str::<Targets>(&text).ok()?.closed)
}

const OUTSIDE: &str = "198.51.100.10:443";

#[test]
fn ready_addresses_are_told_or_else_those_that_are_known_four_a_family() {
    for (addresses, expected) in [
        (
            &[("10.1.0.2", true), ("10.1.0.1", false), ("10.1.0.3", true)][..],
            &["10.1.0.2:7443", "10.1.0.3:7443", OUTSIDE][..],
        ),
        (
            &[("10.1.0.2", false), ("10.1.0.1", false)],
            &["10.1.0.1:7443", "10.1.0.2:7443", OUTSIDE],
        ),
        (
            // Each family by itself: an address that answers in the one says nothing of the other.
            &[("10.1.0.1", true), ("fd00::2", false), ("fd00::1", false)],
            &["10.1.0.1:7443", "[fd00::1]:7443", "[fd00::2]:7443", OUTSIDE],
        ),
        (
            &[
                ("10.1.0.6", true),
                ("10.1.0.5", true),
                ("10.1.0.4", true),
                ("10.1.0.3", true),
                ("10.1.0.2", true),
            ],
            &[
                "10.1.0.2:7443",
                "10.1.0.3:7443",
                "10.1.0.4:7443",
                "10.1.0.5:7443",
                OUTSIDE,
            ],
        ),
    ] {
        assert_eq!(told(&tr(), addresses).unwrap(), expected);
    }
}

#[test]
fn what_a_region_declares_is_no_target_or_its_pods_would_never_start() {
    let region = tr_with(
        "spec: {network: {external: [{name: lab, host: lab.test, cidrs: [203.0.113.0/28], ports: [7443], location: tr-ist-1}]}}",
    );
    assert_eq!(
        told(&region, &[("10.1.0.1", true), ("203.0.113.5", true)]).unwrap(),
        ["10.1.0.1:7443", OUTSIDE]
    );
}

#[test]
fn what_was_told_stays_while_nothing_is_known() {
    assert_eq!(told(&tr(), &[]), None);
    let mut facts = facts(&tr());
    facts.stateful_sets.insert(
        "tr-pg".to_owned(),
        StatefulSetFact {
            fenced: true,
            ..StatefulSetFact::default()
        },
    );
    for unknown in [
        Observed::NotAsked,
        Observed::Failed(bailiwick_model::facts::ReadFailure::Forbidden.into()),
        responder(&[]),
    ] {
        facts.fence_responder = unknown;
        let plan = planned_with(&tr(), &facts);
        let maps: Vec<String> = desired(&plan)
            .iter()
            .filter(|manifest| manifest.resource.kind == "ConfigMap")
            .map(bailiwick_model::manifest::Manifest::id)
            .collect();
        assert_eq!(maps, ["ConfigMap/tr-pg-files", "ConfigMap/tr-accepted"]);
    }
}

#[test]
fn the_file_of_the_fence_comes_before_the_pods_and_changes_no_template() {
    let mut facts = facts(&tr());
    let templates = |facts: &Facts| -> Vec<String> {
        let manifests = desired(&planned_with(&tr(), facts));
        let kinds: Vec<&str> = manifests
            .iter()
            .map(|manifest| manifest.resource.kind.as_str())
            .collect();
        let map = kinds.iter().position(|kind| *kind == "ConfigMap").unwrap();
        let first = ["StatefulSet", "CronJob"]
            .iter()
            .filter_map(|kind| kinds.iter().position(|it| it == kind))
            .min();
        assert!(map < first.unwrap(), "{kinds:?}");
        manifests
            .iter()
            .filter(|manifest| {
                ["StatefulSet", "CronJob"].contains(&manifest.resource.kind.as_str())
            })
            .map(|manifest| serde_json::to_string(&manifest.object).unwrap())
            .collect()
    };
    let before = templates(&facts);
    assert_eq!(before.len(), 4);
    facts.fence_responder = responder(&[("10.9.9.9", true)]);
    assert_eq!(templates(&facts), before);
}

#[test]
fn a_region_that_has_no_file_yet_waits_for_the_responder() {
    let mut facts = facts(&tr());
    for (unknown, word) in [
        (responder(&[]), "has no address"),
        (Observed::NotAsked, "could not be looked for"),
    ] {
        facts.fence_responder = unknown;
        // Pods that were made before there was a fence have no file either.
        facts
            .stateful_sets
            .insert("tr-pg".to_owned(), StatefulSetFact::default());
        let violations = plan(&tr(), &platform(), &facts).expect_err("it waits");
        assert_eq!(violations.len(), 1, "{violations:?}");
        assert_eq!(violations[0].reason, Reason::FenceResponderMissing);
        for expected in [word, "namespace bailiwick-fence", "apply platform/fence"] {
            let message = &violations[0].message;
            assert!(message.contains(expected), "{message}");
        }
    }
    facts.fence_responder = responder(&[("10.9.9.9", false)]);
    planned_with(&tr(), &facts);
}

/// The messages of a Region of which this pod's fence is so.
fn messages(fence: FenceFact) -> Vec<(String, String)> {
    let region = tr();
    let mut facts = facts(&region);
    facts.pods.live.insert(
        "tr-pg-1".to_owned(),
        PodFact {
            node: Some("tr-1".to_owned()),
            fence,
            ..PodFact::default()
        },
    );
    let plan = planned_with(&region, &facts);
    let status = status(&region, &Look::Applied(applied(&plan, &facts)), facts.now);
    status
        .conditions
        .into_iter()
        .filter(|condition| condition.message.contains("waits for its fence"))
        .map(|condition| (condition.type_, condition.message))
        .collect()
}

#[test]
fn the_status_names_the_pod_that_its_fence_holds() {
    let held = |failures, report| FenceFact::Holds { failures, report };
    // It may only just have begun, and then nothing is said, or the status would move with each start.
    assert_eq!(messages(held(0, None)), []);
    assert_eq!(messages(fixture::fenced()), []);
    let found = messages(held(2, Some(report(Outcome::Open, Some(60_000)))));
    let types: Vec<&str> = found.iter().map(|(type_, _)| type_.as_str()).collect();
    assert_eq!(types, ["Degraded", "PostgresAvailable", "Progressing"]);
    for (type_, message) in found {
        assert!(
            message.contains("Pod tr-pg-1 waits for its fence: its address still reaches outside"),
            "{type_}: {message}"
        );
    }
    assert!(messages(held(1, None))[0].1.contains("see its report"));
}

#[test]
fn a_pod_that_did_not_start_behind_the_fence_is_in_the_evidence_log_once() {
    let mut facts = facts(&tr());
    facts.pods.live.insert(
        "tr-pg-0".to_owned(),
        PodFact {
            node: Some("tr-1".to_owned()),
            ..PodFact::default()
        },
    );
    let plan = planned_with(&tr(), &facts);
    let mut told = Told::default();
    let mut violations = |facts: &Facts| -> Vec<(Reason, String)> {
        told.take(Sightings::of(&plan, facts, &[]), true)
            .into_iter()
            .filter_map(|entry| match entry {
                Entry::Violation { reason, object, .. } => {
                    Some((reason, object.name.as_str().to_owned()))
                }
                _ => None,
            })
            .collect()
    };
    assert_eq!(
        violations(&facts),
        [(Reason::Unfenced, "tr-pg-0".to_owned())]
    );
    assert_eq!(violations(&facts), []);
    facts.pods.live.get_mut("tr-pg-0").unwrap().fence = fixture::fenced();
    assert_eq!(violations(&facts), []);
}
