//! What follows from the answers.

use std::sync::Arc;

use bailiwick_api::region::ChannelState;
use bailiwick_model::canary::question::{Class, Tried};
use bailiwick_model::canary::questions;
use bailiwick_model::canary::verdict::{ClassVerdict, Heard, STALE, verdict};
use bailiwick_model::channel::Channel;
use bailiwick_model::facts::Facts;
use bailiwick_model::flow::Guise;
use bailiwick_model::plan::Platform;
use bailiwick_model::residency::ExternalEndpoint;

use super::{NOW, answered, around, judged, planned_with, with_answers};
use crate::fixture::{platform, tr};

/// No plan lets Postgres out to what the canary tries; if one did, nobody would be told that it is shut.
#[test]
fn what_one_guise_leaves_out_is_not_tested() {
    let mut plan = planned_with(&tr(), &platform(), &around());
    let endpoint = ExternalEndpoint {
        name: "wide".to_owned(),
        cidrs: vec!["198.0.0.0/8".to_owned()],
        ports: vec![443],
        location: "tr-ist-1".to_owned(),
    };
    plan.externals.push(
        plan.policy
            .admit("spec.network.external[0]", endpoint)
            .unwrap(),
    );
    let tries = |guise: Guise| {
        questions(&plan)[&guise]
            .targets
            .iter()
            .any(|target| target.class == Class::OutsideAddress)
    };
    assert!(tries(Guise::Plain));
    assert!(!tries(Guise::Postgres));
    let facts = with_answers(&plan, &around(), 1, |_, _, _| None);
    assert_eq!(
        verdict(&plan, &facts).classes[&Class::OutsideAddress],
        ClassVerdict::NotTested
    );
    assert_eq!(judged(&plan, &facts).1, "NotTested");
    for id in [1, 9] {
        let judged = Channel::of(id).unwrap().judge(&plan, &facts);
        assert_eq!(judged.state, ChannelState::Unknown, "{id}");
        assert_eq!(judged.leak, None, "{id}");
    }
}

/// What one guise saw does not stand for what the other did not: each class, each guise.
#[test]
fn one_guise_does_not_answer_for_the_other() {
    let mut facts = around();
    facts.node_addresses.remove("tr-1");
    facts.nodes.remove("tr-1");
    let plan = planned_with(&tr(), &platform(), &facts);
    // Of the one node that is known, Postgres' canary runs on it: it tried none.
    let mut heard = with_answers(&plan, &facts, 1, |_, _, _| None);
    for (name, pod) in &mut heard.pods.live {
        let node = if name.contains("canary-pg") {
            "es-1"
        } else {
            "tr-1"
        };
        pod.node = Some(node.to_owned());
    }
    assert_eq!(
        verdict(&plan, &heard).classes[&Class::OtherNode],
        ClassVerdict::NotTested
    );
    let plan = planned_with(&tr(), &platform(), &around());
    let mut tried = 0;
    for guise in Guise::ALL {
        for class in Class::ALL {
            let facts = with_answers(&plan, &around(), 1, |who, what, _| {
                (who == guise && what == class).then_some(Tried::Failed)
            });
            let found = &verdict(&plan, &facts).classes[&class];
            assert!(
                matches!(found, ClassVerdict::NotTested | ClassVerdict::Broken { .. }),
                "{guise:?} {class:?}: {found:?}"
            );
            tried += 1;
        }
    }
    assert_eq!(tried, 18);
}

#[test]
fn what_holds_is_told_class_by_class() {
    let facts = around();
    let plan = planned_with(&tr(), &platform(), &facts);
    let facts = with_answers(&plan, &facts, 4, |_, _, _| None);
    let (state, reason, message) = judged(&plan, &facts);
    assert_eq!((state, reason), (Some(true), "Held"), "{message}");
    let verdict = verdict(&plan, &facts);
    // Both tried three pods; of two nodes one was their own.
    let held = |attempts| ClassVerdict::Held { attempts };
    assert_eq!(verdict.classes[&Class::OtherRegionPod], held(6));
    assert_eq!(verdict.classes[&Class::OtherNode], held(2));
    for class in verdict.held() {
        assert!(message.contains(class), "{message}");
    }
    assert_eq!(verdict.held().len(), 7);
    // Later answers that say the same change no word.
    let later = with_answers(&plan, &around(), 1, |_, _, _| None);
    assert_eq!(judged(&plan, &later).2, message);
}

#[test]
fn any_way_out_is_a_leak() {
    let facts = around();
    let plan = planned_with(&tr(), &platform(), &facts);
    let mut tried = 0;
    for guise in Guise::ALL {
        for class in Class::ALL.into_iter().filter(|class| !class.allowed(guise)) {
            let ways: &[Tried] = if class == Class::OutsideName {
                &[Tried::Resolved]
            } else {
                &[Tried::Reached, Tried::Refused]
            };
            for way in ways {
                let facts = with_answers(&plan, &facts, 1, |who, what, name| {
                    (who == guise && what == class && name != "tr-1").then_some(*way)
                });
                let (state, reason, message) = judged(&plan, &facts);
                assert_eq!((state, reason), (Some(false), "LeakFound"), "{class:?}");
                assert!(message.contains(class.as_str()), "{message}");
                let flow = format!("flow {}", guise.flow().label());
                assert!(message.contains(&flow), "{message}");
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 24);

    // A pod's own node is open to it by specification.
    let own = with_answers(&plan, &facts, 1, |_, class, name| {
        (class == Class::OtherNode && name == "tr-1").then_some(Tried::Reached)
    });
    assert_eq!(judged(&plan, &own).1, "Held");
    // A leak is told of even while another canary is silent.
    let mut half = with_answers(&plan, &facts, 1, |_, class, _| {
        (class == Class::MetadataAddress).then_some(Tried::Reached)
    });
    half.pods.live.retain(|name, _| !name.contains("canary-pg"));
    assert_eq!(judged(&plan, &half).1, "LeakFound");
}

#[test]
fn what_was_not_tried_is_never_held() {
    let facts = around();
    let plan = planned_with(&tr(), &platform(), &facts);
    let unknown = |facts: &Facts| {
        let (state, reason, message) = judged(&plan, facts);
        assert_eq!(state, None, "{message}");
        reason
    };
    assert_eq!(unknown(&facts), "CanaryMissing");

    for (class, otherwise, expected) in [
        (Class::OwnObjectStore, Tried::Blocked, "AllowedFlowBroken"),
        (Class::ClusterName, Tried::NotResolved, "AllowedFlowBroken"),
        (Class::OtherRegionService, Tried::NotResolved, "NotTested"),
        (Class::OutsideAddress, Tried::Failed, "NotTested"),
        (Class::OutsideName, Tried::Failed, "NotTested"),
    ] {
        let facts = with_answers(&plan, &facts, 1, |_, what, _| {
            (what == class).then_some(otherwise)
        });
        assert_eq!(unknown(&facts), expected, "{class:?}");
    }
    // For Patroni, the API server is an allowed flow of one of them.
    let shut = with_answers(&plan, &facts, 1, |who, class, _| {
        (who == Guise::Postgres && class == Class::ApiServer).then_some(Tried::Blocked)
    });
    assert_eq!(unknown(&shut), "AllowedFlowBroken");

    let age = STALE.as_mins();
    let fresh = with_answers(&plan, &facts, age, |_, _, _| None);
    assert_eq!(judged(&plan, &fresh).1, "Held");
    let stale = with_answers(&plan, &facts, age + 1, |_, _, _| None);
    assert_eq!(unknown(&stale), "CanaryStale");
    assert!(
        verdict(&plan, &stale)
            .canaries
            .values()
            .all(|heard| matches!(heard, Heard::Stale { .. }))
    );
    // An old leak is no proof of one now, nor of its end.
    let old_leak = with_answers(&plan, &facts, age + 1, |_, class, _| {
        (class == Class::MetadataAddress).then_some(Tried::Reached)
    });
    assert_eq!(unknown(&old_leak), "CanaryStale");

    let good = with_answers(&plan, &facts, 1, |_, _, _| None);
    let mut moved = facts.clone();
    Arc::make_mut(&mut moved.neighbours).clear();
    let elsewhere = planned_with(&tr(), &platform(), &moved);
    assert_eq!(judged(&elsewhere, &good).1, "CanaryStale", "other targets");
    assert!(
        verdict(&elsewhere, &good)
            .canaries
            .values()
            .all(|heard| *heard == Heard::Outdated)
    );
}

#[test]
fn garbage_is_no_answer() {
    let facts = around();
    let plan = planned_with(&tr(), &platform(), &facts);
    let id = questions(&plan)[&Guise::Plain].id.clone();
    for message in [
        "",
        "killed",
        "{}",
        "[]",
        r#"{"question": "x"}"#,
        &format!(r#"{{"question": "{id}", "outcomes": []}}"#),
        &format!(r#"{{"question": "{id}", "outcomes": ["Held"]}}"#),
        &format!(r#"{{"question": "{id}", "outcomes": ["Blocked"], "more": 1}}"#),
    ] {
        let mut facts = with_answers(&plan, &facts, 1, |_, _, _| None);
        facts.pods.live.retain(|name, _| name.contains("canary-pg"));
        let (name, pod) = answered(Guise::Plain, message, NOW);
        facts.pods.live.insert(name, pod);
        let (state, reason, _) = judged(&plan, &facts);
        assert_eq!(state, None, "{message}");
        assert!(
            ["CanaryMissing", "CanaryStale"].contains(&reason),
            "{message}"
        );
    }
}

#[test]
fn the_newest_answer_counts() {
    let facts = around();
    let plan = planned_with(&tr(), &platform(), &facts);
    let leak = |minutes| {
        with_answers(&plan, &facts, minutes, |_, class, _| {
            (class == Class::MetadataAddress).then_some(Tried::Reached)
        })
    };
    let mut healed = leak(6);
    healed
        .pods
        .live
        .extend(with_answers(&plan, &facts, 1, |_, _, _| None).pods.live);
    assert_eq!(judged(&plan, &healed).1, "Held");
    let mut broken = leak(1);
    broken
        .pods
        .live
        .extend(with_answers(&plan, &facts, 6, |_, _, _| None).pods.live);
    assert_eq!(judged(&plan, &broken).1, "LeakFound");
}

#[test]
fn what_nobody_named_is_not_tested_and_what_is_not_there_is_not_applicable() {
    let bare = Platform {
        outside_address: None,
        outside_name: None,
        ..platform()
    };
    let plan = planned_with(&tr(), &bare, &around());
    let facts = with_answers(&plan, &around(), 1, |_, _, _| None);
    let (state, reason, message) = judged(&plan, &facts);
    assert_eq!((state, reason), (None, "NotTested"));
    assert!(message.contains("OutsideAddress, OutsideName"), "{message}");

    // A cluster of one node and one Region.
    let mut alone = around();
    Arc::make_mut(&mut alone.neighbours).clear();
    alone.nodes.retain(|node, _| node == "tr-1");
    alone.node_addresses.retain(|node, _| node == "tr-1");
    let plan = planned_with(&tr(), &platform(), &alone);
    let facts = with_answers(&plan, &alone, 1, |_, _, _| None);
    let (state, _, message) = judged(&plan, &facts);
    assert_eq!(state, Some(true), "{message}");
    assert!(
        message.contains("there is none: OtherRegionPod, OtherRegionService, OtherNode"),
        "{message}"
    );

    // Nodes whose addresses are not known are not none.
    let mut hidden = around();
    hidden.node_addresses.remove("es-1");
    let plan = planned_with(&tr(), &platform(), &hidden);
    let facts = with_answers(&plan, &hidden, 1, |_, _, _| None);
    assert_eq!(judged(&plan, &facts).1, "NotTested");
}
